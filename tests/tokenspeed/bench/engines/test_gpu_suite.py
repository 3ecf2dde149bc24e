"""The run on a GPU machine: a part that fails costs neither the others nor what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from tokenspeed.bench.engines import gpu_suite


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gpu_suite, "OUT", tmp_path)
    monkeypatch.setattr(gpu_suite, "result", {"rows": [], "failures": []})
    return tmp_path / "h200.json"


def test_a_section_that_fails_is_written_down_and_the_next_one_runs(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def good() -> None:
        gpu_suite.result["rows"].append({"engine": "tokenspeed"})

    def bad() -> None:
        raise RuntimeError("out of memory")

    late = 1e9
    assert not gpu_suite.section("first", bad, late)
    assert gpu_suite.section("second", good, late)
    assert not gpu_suite.section("third", good, deadline=0.0)
    written = json.loads(out.read_text())
    assert written["rows"] == [{"engine": "tokenspeed"}]
    (failure,) = written["failures"]
    assert failure.startswith("first: ")
    assert "out of memory" in failure
    assert gpu_suite.result["failures"][1] == "third: no time"
    said = capsys.readouterr().out
    assert "FAILED: first" in said
    assert "SKIPPED for time: third" in said


def test_a_step_of_rows_asks_for_every_row() -> None:
    step = gpu_suite.rows_step([(2, 5, [7, 8]), (0, 0, [9])])
    assert step.tokens.tolist() == [7, 8, 9]
    assert step.slots.tolist() == [2, 2, 0]
    assert step.positions.tolist() == [5, 6, 0]
    assert np.array_equal(step.outputs, np.arange(3))
    prompt = gpu_suite.prefill(1, [4, 5, 6])
    assert prompt.slots.tolist() == [1, 1, 1]
    assert prompt.outputs.tolist() == [2]
