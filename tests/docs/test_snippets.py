"""Every block of the documentation: run as it stands there, against a real service.

A block that cannot run says why in a comment before it, `<!-- not run: WHY -->`, and is held to the
syntax of its language. What the programs of `embed.md`, `python.md`, `voice.md` and the clients'
own pages must print is in tests of their own; here they are only read.
"""

import csv
import json
import os
import re
import shlex
import subprocess
import wave
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from service.config import variables
from tests.lazily import Lazily
from tests.service.conftest import Service, service
from tests.web.test_client import find_node
from tokenspeed.cli import main, parse
from tokenspeed.model.profile import read_profile
from tokenspeed.text.glossary_files import read_glossary

if TYPE_CHECKING:
    import openai
else:
    openai = Lazily("openai")

__all__ = ["service"]
ROOT = Path(__file__).parents[2]
CLIENTS = sorted((ROOT / "clients").glob("*/README.md"))
PAGES = (
    ROOT / "README.md", ROOT / "web" / "README.md", *CLIENTS, *sorted((ROOT / "docs").glob("*.md")),
)  # fmt: skip
OWN_TESTS = {*CLIENTS, *(ROOT / "docs" / name for name in ("embed.md", "python.md", "voice.md"))}
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*$")


@dataclass(frozen=True)
class Block:
    """One block. language: `sh` where it is indented; reason: why it is not run, if it is not."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def at(self, running: Service) -> str:
        """Return the text, speaking to a running service."""
        return self.text.replace("127.0.0.1:8000", f"127.0.0.1:{running.port}")


def blocks(page: Path) -> list[Block]:
    """Return what a page has; fenced blocks name their language, indented ones are of a shell."""
    found, reason = [], None
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            language = token.info.strip() if token.type == "fence" else "sh"
            found.append(Block(page, token.map[0] + 1, language, token.content, reason))
            reason = None
        elif token.type == "html_block":
            match = NOT_RUN.search(token.content)
            reason = match[1] if match else None
    return found


ALL = [block for page in PAGES for block in blocks(page)]


class Balanced(HTMLParser):
    """Wants an end for each tag."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        match words:
            case ["tokenspeed", *arguments]:
                parse(arguments)  # ends the test where an option is not there
            case ["make", *arguments]:
                made = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True)
                assert made.returncode == 0, made.stderr
            case ["python", "-m", module, *_]:
                assert find_spec(module) is not None, module
            case ["python", script, *_]:
                assert (ROOT / script).is_file(), script


def check_json(block: Block) -> None:
    text = block.text.strip()
    json.loads(text if text.startswith("{") else f"{{{text}}}")  # else some fields of one


def check_html(block: Block) -> None:
    reader = Balanced()
    reader.feed(block.text)
    assert reader.open == []


def check_braces(block: Block) -> None:
    assert block.text.count("{") == block.text.count("}") > 0
    for line in filter(None, map(str.strip, block.text.splitlines())):
        assert line.endswith(("{", "}", ";")), line


def check_javascript(block: Block) -> None:
    command = [str(find_node()), "--check", "--input-type=module", "-"]
    done = subprocess.run(command, input=block.text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def check_csv(block: Block) -> None:
    assert len({len(row) for row in csv.reader(block.text.splitlines())}) == 1


def check_toml(block: Block) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "profile.toml"
        path.write_text(block.text, encoding="utf-8")
        assert read_profile(path).pairs


CHECKS: dict[str, Callable[[Block], None]] = {
    "sh": check_shell,
    "json": check_json,
    "html": check_html,
    "css": check_braces,
    "nginx": check_braces,
    "js": check_javascript,
    "csv": check_csv,
    "toml": check_toml,
    "python": lambda block: compile(block.text, str(block), "exec") and None,
}


@pytest.mark.parametrize("block", ALL, ids=str)
def test_it_is_written_in_its_language(block: Block) -> None:
    CHECKS[block.language](block)


def runnable(language: str) -> pytest.MarkDecorator:
    found = [block for block in ALL if block.language == language and block.reason is None]
    assert found, language
    return pytest.mark.parametrize("block", found, ids=str)


@runnable("sh")
def test_commands_run(
    block: Block, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nGood morning.\n")
    with wave.open(str(tmp_path / "talk.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(3200))
    (tmp_path / "README.md").write_text("# Good morning\n")
    (tmp_path / "guide.html").write_text("<p>Good morning.</p>\n")
    (tmp_path / "app.po").write_text('msgid "Good morning."\nmsgstr ""\n')
    (tmp_path / "locale").mkdir()
    for line in block.at(service).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "tokenspeed":
            assert main(words[1:]) == 0
        elif re.fullmatch(r"TOKENSPEED_\w+=.*", line):
            assert line.partition("=")[0] in {variable.name for variable, _ in variables()}
        else:
            assert words[0] == "curl", line
            environment = {**os.environ, "KEY": "any", "NO_PROXY": "*"}
            shell = ["bash", "-euc", line]
            done = subprocess.run(shell, capture_output=True, text=True, env=environment)
            assert done.returncode == 0, done.stderr
            answer = done.stdout.strip()
            assert answer
            assert '"error"' not in answer, answer


@runnable("js")
def test_programs_in_javascript_run(block: Block, service: Service) -> None:
    if block.page in OWN_TESTS:
        return
    command = [str(find_node()), "--input-type=module", "--eval", block.at(service)]
    done = subprocess.run(command, cwd=ROOT / "web", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "GOOD MORNING, EVERYONE." in done.stdout


@runnable("python")
def test_programs_in_python_run(block: Block, service: Service) -> None:
    if block.page in OWN_TESTS:
        return
    client = openai.OpenAI(base_url=f"{service.http}/v1", api_key="any")
    answers: list[openai.types.chat.ChatCompletion] = []
    text = block.at(service).strip()
    exec(compile(f"answers.append({text})", str(block), "exec"))
    assert answers[0].choices[0].message.content == "GOOD MORNING."
    client.close()


@runnable("csv")
def test_glossaries_are_read(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "glossary.csv"
    file.write_text(block.text, encoding="utf-8")
    assert read_glossary(file)


def test_a_block_that_is_not_run_says_why_in_words() -> None:
    skipped = [block for block in ALL if block.reason is not None]
    assert all(len(str(block.reason).split()) > 1 for block in skipped)
    assert len(skipped) < len(ALL) / 2  # most of them do
