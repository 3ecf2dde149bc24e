"""What one replica does by its number of speakers, and whom its door lets in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.fleet.curve import (
    EDGES_MS,
    Curve,
    measure_door,
    measure_level,
    measure_levels,
    quantile,
)
from service.bench.load.costs import MeasuredCost
from service.bench.load.simulator import BUDGET_MS
from tests.service.bench.fleet.machines import COST, HOST


@given(st.lists(st.floats(0.01, 50_000), min_size=1, max_size=40), st.floats(0.01, 1.0))
def test_a_quantile_is_on_the_safe_side_by_one_bin(times: list[float], share: float) -> None:
    counts = np.histogram(times, np.concatenate([[0.0], EDGES_MS, [np.inf]]))[0]
    exact = sorted(times)[max(int(np.ceil(share * len(times))) - 1, 0)]
    found = quantile(counts.astype(float), share)
    assert exact <= found * (1 + 1e-9)
    assert found <= max(exact, float(EDGES_MS[0])) * float(EDGES_MS[1]) * (1 + 1e-9)


def test_nothing_has_no_quantile() -> None:
    assert np.isnan(quantile(np.zeros(3), 0.5))


def test_more_speakers_wait_longer_up_to_the_budget_and_over_it(curve: Curve) -> None:
    most = curve.speakers_within_budget
    assert 1 <= curve.max_sessions <= most < curve.most
    assert curve.p95_ms(1) < curve.p95_ms(curve.most)
    assert curve.p95_ms(curve.most) > BUDGET_MS
    assert curve.histograms.sum(axis=1) == pytest.approx(1.0)
    assert 1.5 < curve.updates_per_s < 3.0


def test_the_door_takes_fewer_the_more_there_are(curve: Curve) -> None:
    assert curve.newcomers[0] >= 1
    assert curve.newcomers[-1] <= curve.newcomers.max()
    assert 0 < curve.bound <= curve.most
    inside, p95_ms = measure_door(COST, HOST, most=curve.most, seconds=4.0)
    assert 1 <= inside <= curve.most
    assert p95_ms > 0


def test_a_machine_that_is_too_slow_for_one_speaker_is_told() -> None:
    with pytest.raises(ValueError, match="a step is too slow"):
        measure_levels(MeasuredCost((1, 2), (400.0, 500.0)), HOST, 3.0)


def test_a_level_is_the_same_for_the_same_seed() -> None:
    assert measure_level(COST, HOST, 2, 5.0) == measure_level(COST, HOST, 2, 5.0)
    numbers = measure_level(COST, HOST, 2, 5.0).numbers()
    assert numbers["speakers"] == 2
    assert "histogram" not in numbers
