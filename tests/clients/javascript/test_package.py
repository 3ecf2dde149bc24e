"""What is published: small, complete, typed."""

import json
import re
import subprocess

import tokenspeed_client
from tests.clients.javascript.conftest import Package
from tests.web.test_client import WEB, find_node

PROGRAM = """
import {
  EMPTY, NOBODY, applyEvent, applyRoomEvent, connect, listen, newestLines,
} from "@tokenspeed/client";
import { LiveCaptions } from "@tokenspeed/client/element";

const session = connect({ url: "https://a.example", targets: ["de"], formality: { de: "formal" } });
// @ts-expect-error a segment has a name
session.commit({ text: "Yes." });
let captions = EMPTY;
for await (const event of session) {
  captions = applyEvent(captions, event);
  if (event.type === "translation.final") console.log(event.stats.updates, event.text.length);
  if (event.type === "connection") console.log(event.retry_in_ms);
  // @ts-expect-error there is no such event
  if (event.type === "weather") break;
}
console.log(newestLines(captions, "de", 2).map(({ line }) => line.stable));
let audience = NOBODY;
const line = listen({ url: "https://a.example/r/x", target: "fr" }, {
  onEvent: (event) => {
    if (event.type !== "error" && event.type !== "pong") audience = applyRoomEvent(audience, event);
  },
  onState: (state, reason) => console.log(state, reason),
});
line.close();
console.log(new LiveCaptions().captions.segments.length);
"""


def test_it_is_small_and_complete(package: Package) -> None:
    assert package.size_bytes < 30_000
    told = json.loads((package.installed / "package.json").read_text())
    for places in told["exports"].values():
        assert {place.removeprefix("./") for place in places.values()} <= set(package.names)
    assert {"LICENSE", "README.md", "dist/messages.d.ts"} <= set(package.names)
    assert told["version"] == tokenspeed_client.__version__
    assert "dependencies" not in told


def test_its_modules_import_nothing_but_each_other(package: Package) -> None:
    names = {name.removeprefix("dist/") for name in package.names if name.startswith("dist/")}
    for name in names:
        text = (package.installed / "dist" / name).read_text()
        for imported in re.findall(r'(?:from |import\(?)"([^"]+)"', text):
            assert imported.startswith("./"), name
            wanted = imported.removeprefix("./")
            assert wanted in names or wanted.replace(".js", ".d.ts") in names, (name, imported)


def test_a_strict_program_is_checked_against_its_types(package: Package) -> None:
    (package.folder / "program.ts").write_text(PROGRAM)
    tsc = WEB / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [
            *(str(find_node()), str(tsc), "--noEmit", "--strict", "--exactOptionalPropertyTypes"),
            *("--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler"),
            *("--lib", "es2023,dom,dom.iterable", "program.ts"),
        ],
        cwd=package.folder, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.stdout == ""
    assert done.returncode == 0
