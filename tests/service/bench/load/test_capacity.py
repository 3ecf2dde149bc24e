"""`tokenspeed eval capacity`: costs as they are typed, and the prediction from one."""

import json
from pathlib import Path

import pytest

from service.bench.load.capacity import read_cost
from service.bench.load.simulator import LinearCost
from tokenspeed.cli import main


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "a,b", "-1,2"])
def test_what_is_no_cost_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected BASE,ROW"):
        read_cost(text)


def test_a_cost_is_read_as_typed() -> None:
    assert read_cost("1.5,0.25") == LinearCost(1.5, 0.25)
    assert read_cost("1.5,0.25,0.001") == LinearCost(1.5, 0.25, 0.001)


def test_a_dearer_machine_holds_fewer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    most = []
    for cost in ("2,0.5", "20,5"):
        out = tmp_path / f"{cost}.json"
        arguments = ["eval", "capacity", "--cost", cost, "--seconds", "3", "--json", str(out)]
        assert main([*arguments, "--max-sessions", "8"]) == 0
        rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
        within = [row["sessions"] for row in rows if row["p95_ms"] <= 200]
        most.append(max(within, default=0))
    assert most[0] > most[1]
    assert "p95" in capsys.readouterr().out
