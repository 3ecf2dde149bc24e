"""How many replicas there should be: enough, no more than enough, and no coming and going."""

import math
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.load.autoscaling import BUSY, LATE, SLACK, TARGET, policy, wanted_replicas

shares = st.floats(0.0, 3.0)


@given(st.lists(shares, min_size=1, max_size=20))
def test_what_is_wanted_bears_what_there_is_and_one_less_would_not(busy: list[float]) -> None:
    on_time = [0.1] * len(busy)
    wanted = wanted_replicas(busy, on_time, len(busy))
    total = sum(busy)
    assert total <= wanted * TARGET * 1.001 or wanted > len(busy)
    if wanted > len(busy):
        assert total > (wanted - 1) * TARGET * 0.999
    assert wanted >= 1


@given(st.floats(0.0, 30.0))
def test_a_steady_load_comes_to_rest(total: float) -> None:
    """However it is shared out, the number does not go up and down."""
    target, seen = 1, []
    for _ in range(100):
        target = wanted_replicas([total / target] * target, [0.1] * target, target)
        seen.append(target)
    assert len(set(seen[50:])) == 1
    up_again = any(b > a for a, b in zip(seen, seen[1:], strict=False) if a < seen[0])
    assert not up_again


@given(st.integers(2, 2000), st.floats(0.0, TARGET))
def test_a_fleet_of_any_size_shrinks_to_what_has_slack(count: int, each: float) -> None:
    wanted = wanted_replicas([each] * count, [0.1] * count, count)
    slack = TARGET - SLACK
    assert each * count <= wanted * slack * 1.001 or wanted >= count
    assert wanted == 1 or (wanted - 1) * slack < each * count * 1.001 or wanted >= count


@given(st.lists(shares, min_size=1, max_size=10), st.integers(11, 20))
def test_who_only_starts_is_waited_for(busy: list[float], target: int) -> None:
    assert wanted_replicas(busy, [], target) == target


def test_where_nobody_has_room_in_time_there_is_one_more() -> None:
    assert wanted_replicas([0.4, 0.5], [1.2, 2.0], 2) == 3
    assert wanted_replicas([0.4, 0.5], [1.2, 0.5], 2) == 2  # one has
    assert wanted_replicas([0.1, 0.1], [1.2, 2.0], 2) == 1  # lateness comes from elsewhere


def test_many_readers_are_not_many_speakers() -> None:
    """300 readers of 2,000 and one speaker: by connections alone it would be three replicas."""
    assert wanted_replicas([300 / 2000], [0.1], 1) == 1
    assert wanted_replicas([0.9], [0.1], 1) == 2


@dataclass
class Context:
    aggregated_metrics: dict[str, dict[str, float]] | None
    target_num_replicas: int


@given(st.lists(st.tuples(shares, shares), max_size=5))
def test_ray_gets_what_replicas_said(said: list[tuple[float, float]]) -> None:
    metrics: Any = {
        BUSY: {str(number): busy for number, (busy, _) in enumerate(said)},
        LATE: {str(number): late for number, (_, late) in enumerate(said)},
    }
    found = policy(Context(metrics, max(len(said), 1)))
    busy, late = [b for b, _ in said], [late for _, late in said]
    assert found == (wanted_replicas(busy, late, max(len(said), 1)), {})
    assert policy(Context(None, 2)) == (2, {})
    assert math.isfinite(found[0])
