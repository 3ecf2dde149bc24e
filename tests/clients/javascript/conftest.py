"""The package as npm would publish it, unpacked where a program finds it."""

import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

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
    """Build it, pack it, unpack it."""
    built, program = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("program")
    for name in ("package.json", "README.md"):
        shutil.copy(SOURCE / name, built)
    subprocess.run([str(find_node()), str(SOURCE / "build.js"), str(built)], check=True, timeout=90)
    packing = subprocess.run(
        ["npm", "pack", "--json", "--ignore-scripts", "--offline"],
        cwd=built, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    (packed,) = json.loads(packing.stdout)
    found = Package(program, packed["size"], [each["path"] for each in packed["files"]])
    with tarfile.open(built / packed["filename"]) as archive:
        archive.extractall(built / "unpacked", filter="data")
    found.installed.parent.mkdir(parents=True)
    shutil.move(built / "unpacked" / "package", found.installed)
    shutil.copytree(WEB / "node_modules" / "ws", program / "node_modules" / "ws")
    (program / "package.json").write_text('{"type": "module"}')
    shutil.copy(HERE / "speak.mjs", program)
    return found
