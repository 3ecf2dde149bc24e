"""The programs and the requests of the documentation, run as they stand there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import Service, service
from tests.web.test_client import WEB, find_node

__all__ = ["service"]
DOCS = Path(__file__).parents[2] / "docs"


def program(page: str, language: str, running: Service) -> str:
    """Return the program of a page, speaking to a running service."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return re.sub(r"127.0.0.1:8000(?!/src)", f"127.0.0.1:{running.port}", found)


def test_the_javascript_program_shows_a_caption(service: Service) -> None:
    # Node.js imports no modules over HTTP; that the service has these files is another test's.
    script = program("embed.md", "js", service).replace("http://127.0.0.1:8000/src", "./src")
    command = [str(find_node()), "--input-type=module", "--eval", script]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "GOOD MORNING, EVERYONE." in done.stdout.splitlines()[-1]


def test_the_python_program_prints_what_is_committed(service: Service) -> None:
    script = program("embed.md", "python", service)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    kinds = [line.split()[0] for line in done.stdout.splitlines()]
    assert kinds[:2] == ["session.created", "session.updated"]
    # On a busy machine the commit may overtake what would have come before the final.
    assert "translation.final" in kinds[2:]
    assert set(kinds[2:]) <= {"translation.delta", "translation.final", "session.closed"}


@pytest.mark.parametrize("endpoint", ["/translate", "/v1/chat/completions"])
def test_the_requests_translate(service: Service, endpoint: str) -> None:
    text = (DOCS / "rest.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if f":8000{endpoint} " in line]
    command = shlex.split(line.replace(":8000", f":{service.port}"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "GOOD MORNING." in done.stdout, done.stderr
