"""The Dockerfiles: linted, by digest, and with settings that there are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.config import load_config, variables
from tests.deploy.chart import ROOT

DOCKER = ROOT / "deploy" / "docker"
FILES = sorted(path for path in DOCKER.glob("Dockerfile*") if path.suffix != ".dockerignore")
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("hadolint")
    return subprocess.run(
        [program, "--config", DOCKER / "hadolint.yaml", file],
        capture_output=True,
        text=True,
        timeout=100,
    )


@every_file
def test_hadolint_finds_nothing(file: Path) -> None:
    ran = hadolint(file)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


def test_hadolint_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nRUN cd /tmp && pip install x\n")
    assert hadolint(tmp_path / "Dockerfile").returncode != 0


@every_file
def test_images_are_named_by_digest_and_run_without_root(file: Path) -> None:
    text = file.read_text()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)", text, re.MULTILINE))
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2, "what builds is not in the image"
    for base in bases:
        named = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], base)
        assert re.fullmatch(r"[a-z0-9./-]+:[\w.-]+@sha256:[0-9a-f]{64}", named)
    last = text[text.rindex("\nFROM ") :]
    assert re.findall(r"^USER (.*)", last, re.MULTILINE) == ["10001:10001"]
    assert last.count("HEALTHCHECK ") == 1
    assert (DOCKER / f"{file.name}.dockerignore").is_file()


@every_file
def test_their_settings_and_extras_are_there(file: Path) -> None:
    text = file.read_text()
    told = dict(
        re.findall(r"\b(TOKENSPEED_\w+)=([\w.:]+)", text.replace("TOKENSPEED_API_KEYS", ""))
    )
    assert told.keys() <= {variable.name for variable, _ in variables()}
    load_config({**told, "TOKENSPEED_API_KEYS": "a-key-of-more-than-16"}).check()
    project = (ROOT / "pyproject.toml").read_text()
    for extras in re.findall(r"EXTRAS=([\w,]+)", text):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
