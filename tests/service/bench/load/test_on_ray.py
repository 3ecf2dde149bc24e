"""One process beside replicas: what is counted, and how many speakers each is said to hold."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.bench.load.loadtest import Level
from service.bench.load.on_ray import _row, capacities, ray_table


def row(replicas: int, sessions: int, ms: float, failed: int = 0) -> dict[str, Any]:
    level = Level(sessions, partials=[ms] * 20, finals=[ms])
    level.failures.update({"lost": failed} if failed else {})
    return _row(replicas, level, 200.0)


def test_a_row_says_by_what_it_was_served() -> None:
    rows = [row(0, 4, 10.0), row(2, 4, 12.0)]
    assert [each["served_by"] for each in rows] == ["process", "ray"]
    assert [each["replicas"] for each in rows] == [1, 2]
    table = ray_table(rows, 200.0)
    assert "| ray | 2 | 4 | 12 |" in table
    assert table.endswith("Speakers within 200 ms at p95: process 4, ray 2 4")


@given(st.lists(st.floats(1, 400), min_size=1, max_size=6))
def test_what_is_held_ends_with_the_first_level_that_is_late(times: list[float]) -> None:
    rows = [row(1, 2**number, ms) for number, ms in enumerate(times)]
    held = 0
    for number, level in enumerate(rows):
        if level["update_ms_p95"] > 200.0:
            break
        held = 2**number
    assert capacities(rows, 200.0) == {"ray 1": held}


def test_a_level_that_lost_a_session_is_not_held() -> None:
    rows = [row(0, 1, 10.0), row(0, 2, 10.0, failed=1), row(0, 4, 10.0)]
    assert capacities(rows, 200.0) == {"process": 1}
