"""The programs of the clients' own pages, run as they stand there, against a real service."""

import re
import subprocess
import sys
from pathlib import Path

from tests.clients.javascript.conftest import Package, package
from tests.service.conftest import Service, service
from tests.web.test_client import find_node

__all__ = ["package", "service"]
CLIENTS = Path(__file__).parents[2] / "clients"


def program(client: str, language: str, running: Service) -> str:
    """Return the only program of a page, speaking to a running service."""
    text = (CLIENTS / client / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found).replace("http://127.0.0.1:8000", running.http)


def test_the_python_program_prints_its_final(service: Service) -> None:
    path = f"import sys; sys.path.insert(0, {str(CLIENTS / 'python')!r})\n"
    script = path + program("python", "python", service)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "GOOD MORNING, EVERYONE."


def test_the_javascript_program_shows_its_final(package: Package, service: Service) -> None:
    script = program("javascript", "js", service)
    # Node.js 20 has no WebSocket, which the page says.
    of_package = 'import WebSocket from "ws";\nglobalThis.WebSocket ??= WebSocket;\n'
    shown = run_node(of_package + script, package.folder)
    assert "GOOD MORNING, EVERYONE." in shown.splitlines()[-1]


def run_node(script: str, folder: Path) -> str:
    command = [str(find_node()), "--input-type=module", "--eval", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
