"""`tokenspeed doctor` on a small random model and on a broken one."""

import shutil
from pathlib import Path

import pytest

from tokenspeed.cli import main
from tokenspeed.commands.doctor import examine
from tokenspeed.model.families import load_model_config
from tokenspeed.model.mtp import MTP_FILE, Mtp, write_mtp


def test_doctor_names_what_it_found(tiny_translator: Path) -> None:
    findings = {finding.name: finding for finding in examine(tiny_translator)}
    assert findings["model"].state == "ok"
    assert "vocabulary 3" in findings["model"].detail
    assert "marks: de-en, en-de" in findings["profile"].detail
    assert {"python", "torch", "gpu", "native kernels", "backend"} <= findings.keys()
    assert all(f.advice for f in findings.values() if f.state != "ok")


def test_doctor_looks_at_a_layer_that_guesses(tiny_translator: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_translator, model)
    write_mtp(model / MTP_FILE, Mtp(load_model_config(model)))
    findings = {finding.name: finding for finding in examine(model)}
    assert findings["guesses"].state == "ok"
    assert findings["guesses"].detail == "mtp.safetensors: not used, as the model is too small"
    (model / MTP_FILE).write_bytes(b"half a file")
    findings = {finding.name: finding for finding in examine(model)}
    assert findings["guesses"].state == "broken"
    assert "mtp.safetensors: cannot be read" in findings["guesses"].detail


def test_doctor_fails_on_a_broken_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", str(tmp_path)]) == 1
    assert "config.json: not found" in capsys.readouterr().out
