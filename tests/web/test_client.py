"""The JavaScript unit tests, and the names that both languages must share."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service import protocol

WEB = Path(__file__).parents[2] / "web"


def test_javascript_unit_tests_pass() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("The tests of web/ need Node.js 20 or newer: `apt-get install nodejs`")
    files = sorted(str(file) for file in (WEB / "tests").glob("*.test.js"))
    assert len(files) >= 3
    command = [node, "--test", *files]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)
    assert passed, done.stdout[-2000:]
    assert int(passed[1]) >= 3


def test_the_client_knows_only_events_that_the_service_sends() -> None:
    text = (WEB / "src/protocol.js").read_text()
    names = set(re.findall(r'type: "([a-z.]+)"[,}]', text)) - {"client"}
    assert {"session.created", "translation.delta", "translation.final"} <= names
    assert names <= protocol.SERVER_EVENTS.keys()


def test_the_client_sends_only_events_that_the_service_knows() -> None:
    text = "".join((WEB / "src" / name).read_text() for name in ("client.js", "pending.js"))
    names = set(re.findall(r'type: "([a-z]+\.[a-z]+|ping)"', text))
    assert {"session.update", "source.update", "source.commit", "ping"} <= names
    assert names <= protocol.CLIENT_EVENTS.keys()
    assert re.search(r'"tokenspeed\.v1"', (WEB / "src/protocol.js").read_text())
    assert protocol.SUBPROTOCOL == "tokenspeed.v1"


def test_no_private_registry_is_committed() -> None:
    lock = (WEB / "package-lock.json").read_text()
    assert set(re.findall(r'"resolved": "https?://([^/"]+)', lock)) <= {"registry.npmjs.org"}


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for name in ("index.html", "style.css", *(f"src/{f.name}" for f in (WEB / "src").glob("*.js"))):
        outside = re.findall(
            r"(?:src|href|import|url)\W{1,3}(?:https?:)?//", (WEB / name).read_text()
        )
        assert outside == [], name
