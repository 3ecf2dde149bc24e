"""The package as npm would publish it, unpacked where a program finds it."""

import fcntl
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import redis, run, service
from tests.web.conftest import browser, page
from tests.web.test_client import WEB, find_node

__all__ = ["browser", "page", "redis", "run", "service"]

HERE = Path(__file__).parent
SOURCE = WEB.parent / "clients" / "javascript"


@dataclass
class Package:
    """An installed package.

    Attributes:
        folder: of a program that has it in `node_modules`, beside `ws`.
        size_bytes: of what is published.
        names: of the files in it.
    """

    folder: Path
    size_bytes: int
    names: list[str]

    @property
    def installed(self) -> Path:
        """Where it is."""
        return self.folder / "node_modules" / "@tokenspeed" / "client"


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Build and pack it, once for all processes that tests run in; unpack it for this one."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "package.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        packed = _packed(shared / "package")
    program = tmp_path_factory.mktemp("program")
    found = Package(program, packed["size"], [each["path"] for each in packed["files"]])
    with tarfile.open(shared / "package" / packed["filename"]) as archive:
        archive.extractall(program / "unpacked", filter="data")
    found.installed.parent.mkdir(parents=True)
    shutil.move(program / "unpacked" / "package", found.installed)
    shutil.copytree(WEB / "node_modules" / "ws", program / "node_modules" / "ws")
    (program / "package.json").write_text('{"type": "module"}')
    shutil.copy(HERE / "speak.mjs", program)
    return found


def _packed(folder: Path) -> dict[str, Any]:
    """Return what npm says of the package that it packed in a folder; build it if it has not."""
    told = folder / "packed.json"
    if not told.exists():
        shutil.rmtree(folder, ignore_errors=True)  # of one that failed
        folder.mkdir()
        for name in ("package.json", "README.md"):
            shutil.copy(SOURCE / name, folder)
        build = [str(find_node()), str(SOURCE / "build.js"), str(folder)]
        subprocess.run(build, check=True, timeout=90)
        packing = subprocess.run(
            ["npm", "pack", "--json", "--ignore-scripts", "--offline"],
            cwd=folder, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        told.write_text(packing.stdout)
    (packed,) = json.loads(told.read_text())
    return dict(packed)
