"""Files, modules and classes that the pages name for those who read the code are there.

CHANGELOG.md is left out, as it tells of what was. What belongs to others is listed here.
"""

import ast
import importlib
import os
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = {"node_modules", "build", "dist", "__pycache__"}


@cache
def files() -> list[Path]:
    """Every file of the sources."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        hidden = {name for name in folders if name.startswith(".") and name != ".ci"}
        folders[:] = sorted(set(folders) - OUTSIDE - hidden)
        found += [Path(folder, name) for name in names]
    return found


PAGES = sorted(path for path in files() if path.suffix == ".md" and path.name != "CHANGELOG.md")
# Where paths of a page begin, other than at the root or in the page's own folder.
BASES = {"SECURITY.md": "tests/service"}
# What they are about: each capitalised name in their code marks is one of the code.
ABOUT_CODE = {
    "CONTRIBUTING.md",
    "docs/how-it-works.md",
    "docs/words.md",
    "tokenspeed/native/README.md",
}

# Files of a model's repository, and of a training corpus.
FOREIGN_FILES = {"added_tokens.json", "en-xx.valid.tsv", "generation_config.json", "tokenizer.json"}
# A key of a model's config.json.
NO_MODULES = {"tokenspeed.context"}
# Of pipecat, livekit and browsers.
FOREIGN_CLASSES = {
    "AbortSignal", "AgentSession", "EndFrame", "ErrorFrame", "InterimTranscriptionFrame",
    "InterruptionFrame", "SpeechData", "TextFrame", "TranscriptionFrame", "TranslationFrame",
    "WebSocket",
}  # fmt: skip

FILE = re.compile(
    r"[\w.*/-]*\w/|[\w.*/-]+\.(?:py|js|ts|cpp|toml|ya?ml|json|html|css|sh|md|tsv|svg)"
)
MODULE = re.compile(r"(?:tokenspeed|tokenspeed_client|service|tests)(?:\.\w+)+")
CLASS = re.compile(r"(?:[A-Z][a-z0-9]+){2,}")
NAME = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")
MEMBER = re.compile(rf"({NAME.pattern})(?:\.(\w+))?(?:\(.*\))?")


def code_marks(page: Path) -> list[str]:
    """What stands between backquotes in the text of a page, blocks left out."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def path_ends() -> frozenset[str]:
    """The paths of all files and folders, and every end of each."""
    paths = [path.relative_to(ROOT) for path in files()]
    ways = {way.parts for path in paths for way in (path, *path.parents)}
    return frozenset("/".join(way[i:]) for way in ways for i in range(len(way)))


@cache
def classes() -> dict[str, dict[str, set[str]]]:
    """Names that Python, JavaScript and C++ sources define: file -> name -> its members."""
    found: dict[str, dict[str, set[str]]] = {}
    for folder in ("tokenspeed", "service", "clients/python", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            tops = ast.parse(path.read_text(encoding="utf-8")).body
            found[relative(path)] = {
                name: members for top in tops for name, members in defined(top)
            }
    defining = re.compile(r"\b(?:class|struct|@typedef \{.*\}) +(\w+)")
    for pattern in ("web/src/*.js", "clients/javascript/*.ts", "tokenspeed/native/*.h"):
        for path in ROOT.glob(pattern):
            names = defining.findall(path.read_text(encoding="utf-8"))
            found[relative(path)] = {name: set() for name in names}
    return found


def defined(top: ast.stmt) -> list[tuple[str, set[str]]]:
    if isinstance(top, ast.ClassDef):
        members = {
            name
            for node in ast.walk(top)
            for name in (getattr(node, "name", None), getattr(node, "attr", None))
            if isinstance(name, str)
        }
        members |= {node.id for node in ast.walk(top) if isinstance(node, ast.Name)}
        return [(top.name, members)]
    if isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef):
        return [(top.name, set())]
    targets = top.targets if isinstance(top, ast.Assign) else [getattr(top, "target", None)]
    return [(target.id, set()) for target in targets if isinstance(target, ast.Name)]


def is_there(name: str, page: Path) -> bool:
    """Whether a file that a page names exists; the end of its path is enough."""
    if name.startswith("/") or name in FOREIGN_FILES:
        return True  # an address of the service, or a place on the reader's machine
    bases = (ROOT, page.parent, ROOT / BASES.get(relative(page), "."))
    return any(list(base.glob(name.strip("/"))) for base in bases if ".." not in name) or (
        name.strip("/") in path_ends() or any((base / name).exists() for base in bases)
    )


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


def test_pages_are_found() -> None:
    assert {"README.md", "docs/how-it-works.md", "clients/python/README.md"} <= {
        relative(page) for page in PAGES
    }


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = [mark for mark in code_marks(page) if FILE.fullmatch(mark)]
    assert [name for name in named if not is_there(name, page)] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_modules_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [mark for mark in code_marks(page) if MODULE.fullmatch(mark)]
    named = [name for name in named if name not in NO_MODULES]
    named += re.findall(r"^::: ([\w.]+)$", text, flags=re.M)
    assert [name for name in named if not resolves(name)] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_classes_that_a_page_names_are_there(page: Path) -> None:
    wanted = NAME if relative(page) in ABOUT_CODE else CLASS
    missing = []
    for mark in code_marks(page):
        found = MEMBER.fullmatch(mark)
        if found is None or not wanted.fullmatch(found[1]) or found[1] in FOREIGN_CLASSES:
            continue
        places = [names[found[1]] for names in classes().values() if found[1] in names]
        if not any(found[2] is None or not place or found[2] in place for place in places):
            missing.append(mark)
    assert missing == []


def test_a_class_is_in_the_file_that_stands_behind_it() -> None:
    page = ROOT / "docs" / "how-it-works.md"
    pairs = re.findall(rf"`({NAME.pattern})` \(`([\w/.]+\.py)`\)", page.read_text(encoding="utf-8"))
    assert pairs
    for name, file in pairs:
        holders = [path for path, names in classes().items() if name in names]
        assert any(path.endswith(f"/{file}") or path == file for path in holders), (name, holders)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("service/captions/session.py", True),
        ("session.py", True),
        ("service/session.py", False),
        ("service/captions/", True),
        ("benchmarks/results/*.json", True),
        ("benchmarks/results/*.nothing", False),
    ],
)
def test_a_file_that_is_not_there_is_seen(name: str, there: bool) -> None:
    assert is_there(name, ROOT / "README.md") == there


def test_a_module_that_is_not_there_is_seen() -> None:
    assert resolves("tokenspeed.engine.core.EngineCore")
    assert not resolves("tokenspeed.engine.core.Nothing")
    assert not resolves("service.nothing")
