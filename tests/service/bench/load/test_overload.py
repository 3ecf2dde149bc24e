"""More speakers than the door takes: what is counted."""

from pathlib import Path

from service.bench.load.overload import Overload, admitted_by, crowd, overload_table
from service.bench.load.victim import Report
from service.bench.served import Served
from tests.service.conftest import Run


def test_what_is_lost_and_late_is_counted() -> None:
    fine = Report(sent=2, finals=[10.0, 20.0], partials=5)
    poor = Report(sent=3, finals=[6000.0, 30.0], partials=1, closed=1013)
    found = Overload(3, [fine, poor], 40, 12.34).numbers()
    assert (found["speakers"], found["finals"], found["finals_lost"]) == (2, 4, 1)
    assert (found["finals_late"], found["closed"], found["deltas"]) == (1, 1, 6)
    assert found["final_ms_max"] == 6000.0
    assert "| 3 | 2 | 4 | 1 | 1 |" in overload_table([found])


async def test_the_door_is_tried_until_it_refuses(run: Run) -> None:
    service = run(max_sessions=3)
    server = Served(f"127.0.0.1:{service.port}", 0)
    assert await admitted_by(server, 0.05, 10, settled_s=3.0) == 3
    assert await admitted_by(server, 0.05, 2) == 2


async def test_a_crowd_loses_nothing(brief_translator: Path) -> None:
    found = (await crowd(brief_translator, "cpu", 2, 2, 0.02, 0.2)).numbers()
    assert (found["speakers"], found["finals_lost"], found["closed"]) == (4, 0, 0)
