"""`tokenspeed doctor` on a small random model and on a broken one."""

from pathlib import Path

import pytest

from tokenspeed.cli import main
from tokenspeed.commands.doctor import examine


def test_doctor_names_what_it_found(tiny_translator: Path) -> None:
    findings = {finding.name: finding for finding in examine(tiny_translator)}
    assert findings["model"].state == "ok"
    assert "vocabulary 3" in findings["model"].detail
    assert "marks: de-en, en-de" in findings["profile"].detail
    assert {"python", "torch", "gpu", "native kernels", "backend"} <= findings.keys()
    assert all(f.advice for f in findings.values() if f.state != "ok")


def test_doctor_fails_on_a_broken_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", str(tmp_path)]) == 1
    assert "config.json: not found" in capsys.readouterr().out
