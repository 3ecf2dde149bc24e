"""What users install: a wheel of two packages, from which the page is served."""

import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.service.process import serving_anew

ROOT = Path(__file__).parents[1]
PARTS = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "tokenspeed", "service", "web")


def run(*command: str, **options: str) -> None:
    # No compiler: what is looked at here does not depend on the native library, which is optional.
    environ = os.environ | {"CC": "false", "CXX": "false"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, env=environ, cwd=options.get("cwd")
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, without the weights of the shipped model."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    left_out = shutil.ignore_patterns("node_modules", "__pycache__", "*.so", "*.safetensors")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, sources / part, ignore=left_out)
        else:
            sources.mkdir(exist_ok=True)
            shutil.copy2(ROOT / part, sources / part)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index")
    run(*pip, "--wheel-dir", str(folder), str(sources), cwd=str(folder))
    (found,) = folder.glob("*.whl")
    return found


def test_a_wheel_holds_two_packages_and_the_page_as_data_of_one(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"service", "tokenspeed"}
    page = {name.removeprefix("service/page/") for name in names if "/page/" in name}
    web = ROOT / "web"
    wanted = {file.name for end in ("html", "css", "svg") for file in web.glob(f"*.{end}")}
    wanted |= {f"src/{file.name}" for file in (web / "src").glob("*.js")}
    wanted |= {str(f.relative_to(web)) for f in (web / "assets").rglob("*") if f.is_file()}
    assert page == wanted
    assert "service/wire/asyncapi.yaml" in names
    assert "tokenspeed/model/profiles/eurollm.toml" in names


def test_an_installed_wheel_serves_the_page(
    wheel: Path, tmp_path: Path, tiny_translator: Path
) -> None:
    target = tmp_path / "installed"
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile")
    run(*pip, "--target", str(target), str(wheel))
    page = target / "service" / "page"
    (page / "index.html").write_text("the installed page", encoding="utf-8")
    with serving_anew(tiny_translator, PYTHONPATH=str(target), PYTHONSAFEPATH="1") as (
        _,
        port,
    ):
        for name in ("", "src/main.js"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=20) as answer:
                assert answer.read() == (page / (name or "index.html")).read_bytes()
