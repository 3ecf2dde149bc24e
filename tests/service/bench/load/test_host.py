"""What the processor takes: of a real server's event loop, and of the engine's own thread."""

import json
from pathlib import Path

import pytest

from service.bench.load.host import measure_steps
from tokenspeed.cli import main


def test_a_real_server_is_measured(
    brief_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "host.json"
    command = ["bench", "host", "--model", str(brief_translator), "--device", "cpu"]
    command += ["--speakers", "2", "--seconds", "1", "--words-per-minute", "900"]
    assert main([*command, "--json", str(path)]) == 0
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    (loop,) = (row for row in rows if "speakers" in row)
    assert loop["speakers"] == 2
    assert loop["updates"] > 0
    assert loop["ms_of_update"] >= 0  # of a clock that counts hundredths of a second
    assert [row["sequences"] for row in rows if "sequences" in row] == [1, 4, 8, 16, 32]
    assert "ms an update" in capsys.readouterr().out


def test_a_step_costs_the_engine_something() -> None:
    assert measure_steps(2).ms_of_step > 0
