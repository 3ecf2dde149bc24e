"""What `pip install tokenspeed-client` brings into an empty environment."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import PackagePath, distribution
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[3] / "clients" / "python"
WANTED = ("orjson", "websockets")
IMPORTED = """
import json, sys
before = set(sys.modules)
import tokenspeed_client, tokenspeed_client.sync
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(names - sys.stdlib_module_names)))
"""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with the client's wheel, and what that says it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: a build leaves things beside its sources.
    shutil.copytree(CLIENT, folder / "client", ignore=shutil.ignore_patterns("__pycache__"))
    pip = (sys.executable, "-m", "pip")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
    run(*pip, *build, str(folder), str(folder / "client"))
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "empty"))
    found = str(folder / "empty" / "bin" / "python")
    (wheel,) = folder.glob("*.whl")
    run(*pip, "--python", found, "install", "--no-deps", "--no-index", "--no-compile", str(wheel))
    (site,) = (folder / "empty" / "lib").glob("python*/site-packages")
    for name in WANTED:  # as from an index, without a network
        for file in distribution(name).files or ():
            _copy(file, site)
    return found


def _copy(file: PackagePath, site: Path) -> None:
    if ".." not in file.parts and "__pycache__" not in file.parts:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file.locate(), site / file)


def test_it_brings_two_packages_and_no_more(python: str) -> None:
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    listed = {each["name"] for each in json.loads(run(*pip, "list", "--format", "json"))}
    assert listed == {"tokenspeed-client", *WANTED}
    assert "No broken requirements" in run(*pip, "check")


def test_it_imports_nothing_but_its_own(python: str) -> None:
    assert json.loads(run(python, "-c", IMPORTED)) == ["orjson", "tokenspeed_client", "websockets"]
    assert "--room" in run(str(Path(python).with_name("tokenspeed-captions")), "--help")
