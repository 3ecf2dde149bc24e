"""A model by its name, from a mirror of the hub on this machine."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tokenspeed.model.hub import local_directory, needed

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


class Mirror:
    """A hub with one repository, `there/small`, and one that is gated, `there/gated`."""

    def __init__(self, source: Path) -> None:
        self.files = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
        self.files |= {"pytorch_model.bin": b"a pickle", "onnx/model.safetensors": b"another form"}
        self.files |= {"training.safetensors": b"what was kept from training"}
        self.files |= {"chat_template.json": b"{}", "LICENSE.txt": b"what is allowed"}
        self.fetched: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                mirror.answer(self, with_body=False)

            def do_GET(self) -> None:
                mirror.answer(self, with_body=True)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler, with_body: bool) -> None:
        path = handler.path.partition("?")[0]
        if re.fullmatch(r"/api/models/there/small(/revision/(main|v1|[0-9a-f]{40}))?", path):
            listed = [{"rfilename": name} for name in self.files]
            content = json.dumps({"id": "there/small", "sha": COMMIT, "siblings": listed}).encode()
            return self._send(
                handler, 200, content, {"Content-Type": "application/json"}, with_body
            )
        if path == f"/api/models/there/small/tree/{COMMIT}":
            tree = [
                {"type": "file", "oid": sha1(text), "size": len(text), "path": name}
                for name, text in self.files.items()
            ]
            content = json.dumps(tree).encode()
            return self._send(
                handler, 200, content, {"Content-Type": "application/json"}, with_body
            )
        found = re.fullmatch(r"/there/small/resolve/[^/]+/(.+)", path)
        if found and found[1] in self.files:
            content = self.files[found[1]]
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{sha1(content)}"'}
            if with_body:
                self.fetched.append(found[1])
            return self._send(handler, 200, content, headers, with_body)
        code = "RevisionNotFound" if "/small/" in path else "RepoNotFound"
        code = "GatedRepo" if "/gated" in path else code
        status = 403 if code == "GatedRepo" else 404
        return self._send(handler, status, b"{}", {"X-Error-Code": code}, with_body)

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        content: bytes,
        headers: dict[str, str],
        with_body: bool,
    ) -> None:
        handler.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            handler.send_header(name, value)
        handler.end_headers()
        if with_body:
            handler.wfile.write(content)


@pytest.fixture
def mirror(tiny_translator: Path) -> Iterator[Mirror]:
    made = Mirror(tiny_translator)
    yield made
    made.server.shutdown()
    made.server.server_close()


# The package reads its environment when it is imported: a process of its own for each home.
ASK = """
import sys
from pathlib import Path
from tokenspeed.errors import CheckpointError
from tokenspeed.model.hub import local_directory
for name in sys.argv[1:]:
    try:
        print(local_directory(Path(name)))
    except CheckpointError as exc:
        print(exc)
"""


def ask(home: Path, url: str, *names: str, offline: bool = False) -> list[str]:
    own = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_OFFLINE": str(int(offline))}
    own |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *names],
        env=os.environ | own,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_is_read_is_fetched_once_and_at_one_commit(
    mirror: Mirror, tiny_translator: Path, tmp_path: Path
) -> None:
    first, again = ask(tmp_path, mirror.url, "there/small", "there/small@v1")
    assert Path(first).name == Path(again).name == COMMIT
    wanted = needed(mirror.files)
    assert "pytorch_model.bin" not in wanted
    assert {"chat_template.json", "LICENSE.txt"} <= set(wanted)
    assert sorted(set(mirror.fetched)) == wanted
    assert sorted(mirror.fetched) == wanted, "v1 is the same commit: nothing is fetched again"
    assert {path.name for path in Path(first).iterdir()} == set(wanted)
    config = (tiny_translator / "config.json").read_bytes()
    assert (Path(first) / "config.json").read_bytes() == config
    # Not a question to the network: the address is that of nobody.
    assert ask(tmp_path, "http://127.0.0.1:9", "there/small") == [first]
    next(Path(first).glob("*.safetensors")).unlink()  # cut off: fetched for the rest
    assert ask(tmp_path, mirror.url, "there/small") == [first]


def test_each_thing_that_goes_wrong_has_its_sentence(mirror: Mirror, tmp_path: Path) -> None:
    names = ("there/none", "there/gated", "there/small@v2")
    missing, gated, revision = ask(tmp_path, mirror.url, *names)
    assert "there/none: is neither a directory nor on the hub" in missing
    assert "there/gated: is gated: accept its terms" in gated
    assert "there/small@v2: has no revision 'v2'" in revision
    (offline,) = ask(tmp_path, mirror.url, "there/small", offline=True)
    assert "there/small: is not in the cache, and HF_HUB_OFFLINE" in offline
    (unreachable,) = ask(tmp_path, "http://127.0.0.1:9", "there/small")
    assert "there/small: cannot be fetched from the hub" in unreachable
    mirror.files = {"config.json": b"{}", "model.Q4_K_M.gguf": b"", "pytorch_model.bin": b""}
    (pickle,) = ask(tmp_path, mirror.url, "there/small")
    assert "holds no *.safetensors, only .bin, .gguf" in pickle
    assert mirror.fetched == []


@pytest.mark.parametrize(
    ("files", "weights"),
    [
        (["model.safetensors", "consolidated.safetensors"], ["model.safetensors"]),
        (["a.safetensors", "b/c.safetensors"], ["a.safetensors"]),
        (
            [
                *("model.safetensors.index.json", "consolidated.safetensors"),
                *("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
            ],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        (["model.safetensors", "mtp.safetensors"], ["model.safetensors", "mtp.safetensors"]),
    ],
)
def test_weights_are_chosen_once(files: list[str], weights: list[str]) -> None:
    found = needed(["config.json", "README.md", "model.py", *files])
    assert [name for name in found if name.endswith(".safetensors")] == weights
    assert "model.py" not in found


def test_a_repository_without_a_model_is_named() -> None:
    with pytest.raises(ValueError, match="it is an adapter; merge it"):
        needed(["adapter_config.json", "adapter_model.safetensors"])
    with pytest.raises(ValueError, match="it is no model"):
        needed(["README.md"])


def test_a_path_stays_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for path in ("models/none", "/models/none", "../a/b", "a/b/c", "model"):
        assert local_directory(Path(path)) == Path(path)
