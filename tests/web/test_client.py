"""The JavaScript unit tests, and the library in Node.js."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import playwright
import pytest

from service.wire import protocol
from tests.web.fake_server import FakeServer

WEB = Path(__file__).parents[2] / "web"


def find_node() -> Path:
    """Return Playwright's own Node.js, which the browser tests need anyway, else the system's."""
    bundled = Path(playwright.__file__).parent / "driver" / "node"
    found = bundled if bundled.is_file() else shutil.which("node")
    if found is None:
        pytest.fail("The tests of web/ need Node.js 20 or newer: `apt-get install nodejs`")
    return Path(found)


def test_javascript_unit_tests_pass() -> None:
    files = sorted(str(file) for file in (WEB / "tests").glob("*.test.js"))
    assert len(files) >= 4
    command = [str(find_node()), "--test", "--test-reporter=tap", *files]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)
    assert passed, done.stdout[-2000:]
    assert int(passed[1]) >= 90


SCRIPT = """
import { connect } from "./src/client.js";
import { EMPTY, applyEvent, newestLines } from "./src/captions.js";

const session = connect({ url: process.argv[1], source: "en", targets: ["de"] });
session.update({ segmentId: "1", stable: "Good ", unstable: "morn" });
session.commit({ segmentId: "1", text: "Good morning, everyone." });
let captions = EMPTY;
for await (const event of session) {
  captions = applyEvent(captions, event);
  if (event.type === "translation.final") void session.close();
}
console.log(JSON.stringify(newestLines(captions, "de", 2).map(({ line }) => line.stable)));
"""


async def test_the_library_works_outside_of_a_browser() -> None:
    server = FakeServer()
    async with server.running():
        process = await asyncio.create_subprocess_exec(
            *(str(find_node()), "--input-type=module", "--eval", SCRIPT),
            f"ws://127.0.0.1:{server.port}/v1/stream",
            cwd=WEB,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err.decode()
    assert json.loads(out) == ["Guten Morgen zusammen."]
    kinds = [type(event) for event in server.received if not isinstance(event, protocol.Ping)]
    assert kinds == [protocol.SessionUpdate, protocol.SourceCommit, protocol.SessionClose]


def overlay_problems(folder: Path, config: str) -> list[str]:
    """What the overlay uses that browsers of 2022 lack, by the names of the language's library."""
    file = folder / "tsconfig.json"
    file.write_text(config, encoding="utf-8")
    compiler = WEB / "node_modules" / "typescript" / "bin" / "tsc"
    command = [str(find_node()), str(compiler), "-p", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


def test_the_overlay_works_in_browsers_of_2022(tmp_path: Path) -> None:
    """Chrome 103, which video programs of that time have inside, has ES2022 and no more."""
    assert '"lib": ["es2022", "dom", "dom.iterable"]' in (WEB / "tsconfig.overlay.json").read_text()
    modern = tmp_path / "modern.js"
    modern.write_text("export const found = [1].with(0, 2).toSorted();\n")
    config = {"extends": str(WEB / "tsconfig.overlay.json"), "include": []}
    files = [str(WEB / "src" / "overlay.js"), str(modern)]
    problems = overlay_problems(tmp_path, json.dumps({**config, "files": files}))
    assert len(problems) == 1, problems  # the one that was put there
    assert "'with' does not exist" in problems[0]
    style = (WEB / "overlay.css").read_text()
    newer = ":has(", "light-dark(", "color-mix(", "dvh", "@container", "@layer", "text-wrap", "&"
    assert [name for name in newer if name in style] == []
    page = (WEB / "overlay.html").read_text()
    assert re.findall(r'(?:href|src)="([^"]+)"', page) == ["overlay.css", "src/overlay.js"]


def test_no_private_registry_is_committed() -> None:
    lock = (WEB / "package-lock.json").read_text()
    assert set(re.findall(r'"resolved": "https?://([^/"]+)', lock)) <= {"registry.npmjs.org"}


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for name in ("index.html", "style.css", *(f"src/{f.name}" for f in (WEB / "src").glob("*.js"))):
        outside = re.findall(
            r"(?:src|href|import|url)\W{1,3}(?:https?:)?//", (WEB / name).read_text()
        )
        assert outside == [], name
