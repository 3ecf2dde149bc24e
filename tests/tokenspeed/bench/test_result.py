"""A result file says what was measured, where, when and by which command."""

import datetime
import json
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeModel
from tokenspeed.bench.result import describe_cpu, describe_model, make_result, write_result


def test_a_result_can_be_repeated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["anything", "bench", "engine", "--model", "a b"])
    rows = [{"engine": "tokenspeed", "ms": 1.5, "text": "für"}]
    result = make_result(rows, machine={"cpu": "x"}, packages=["torch", "no-such-package"])
    assert result["command"] == "tokenspeed bench engine --model 'a b'"
    assert result["versions"].keys() >= {"tokenspeed", "python", "torch"}
    assert "no-such-package" not in result["versions"]
    assert datetime.date.fromisoformat(result["date"])
    path = tmp_path / "new" / "result.json"
    write_result(result, path)
    assert json.loads(path.read_text(encoding="utf-8")) == result
    assert "für" in path.read_text(encoding="utf-8")


def test_a_command_names_no_folder_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["x", "/home/me/model", "--python=/opt/peers/bin/python", "results/a.json", "--x=1"]
    monkeypatch.setattr(sys, "argv", given)
    result = make_result([], machine={}, packages=[], program="python -m bench")
    assert result["command"] == "python -m bench model --python=python results/a.json --x=1"


def test_the_machine_is_described() -> None:
    found = describe_cpu()
    assert found["cpu"]
    assert found["cores"] >= 1


def test_models_of_other_weights_have_other_digits(make_model: MakeModel) -> None:
    first, again, other = make_model(seed=1), make_model(seed=1), make_model(seed=2)
    digits = [describe_model(model)["weights_sha256"] for model in (first, again, other)]
    assert digits[0] == digits[1] != digits[2]
    assert len(digits[0]) == 12
    assert describe_model(first)["name"] == first.name
