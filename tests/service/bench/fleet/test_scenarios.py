"""What is asked of a fleet: rows that hang together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.fleet.curve import Curve
from service.bench.fleet.scenarios import (
    DAY_S,
    TROUGH_S,
    Demand,
    beside_rows,
    capacity_row,
    compare_rows,
    day_rows,
    router_rows,
    zone_rows,
)
from service.bench.load.simulator import LinearCost
from tests.service.bench.fleet.machines import CARD, HOST

DEMAND = Demand(peak=200, stay_s=300.0)


@given(st.floats(0, DAY_S), st.integers(1, 10**6), st.integers(1, 200))
def test_demand_lies_between_trough_and_peak_and_cards_suffice(
    at_s: float, peak: int, capacity: int
) -> None:
    demand = Demand(peak=peak)
    wanted = demand.at(at_s)
    assert demand.at(TROUGH_S) - 1e-6 <= wanted <= peak + 1e-6
    assert demand.cards(wanted, capacity) * capacity >= wanted * (1 - 1e-12)


def test_the_price_of_a_card_is_that_of_its_updates(curve: Curve) -> None:
    row = capacity_row(CARD, curve, DEMAND)
    assert row["meant"] <= row["max_sessions"] <= row["speakers"]
    assert row["updates_per_s"] * row["card_s_per_1000_updates"] == pytest.approx(1000, rel=0.01)


def test_a_day_has_24_hours_and_nobody_waits_where_cards_follow(curve: Curve) -> None:
    whole, *hours = day_rows(CARD, curve, DEMAND, seed=0)
    assert len(hours) == 24
    assert whole["most_cards"] >= whole["mean_cards"] > 0
    assert whole["speaker_hours"] == pytest.approx(24 * 200 * 0.675, rel=0.05)
    assert 0 <= whole["late_share"] < 1
    assert max(hour["speakers"] for hour in hours) <= whole["most_speakers"]


def test_with_room_for_a_lost_zone_all_are_back_sooner(curve: Curve) -> None:
    found: list[dict[str, Any]] = []
    for fill in (0.95, 0.4):
        first, *ticks = zone_rows(CARD, curve, DEMAND, 0, fill)
        assert first["what"] == "zone"
        assert {tick["what"] for tick in ticks} == {"zone tick"}
        found.append(first)
    packed, spare = found
    assert spare["cards"] > packed["cards"]
    assert spare["back_999_s"] <= (packed["back_999_s"] or float("inf"))
    assert packed["lost_speakers"] > 0


def test_the_least_loaded_is_the_most_even(curve: Curve) -> None:
    rows = {row["router"]: row for row in router_rows(CARD, curve, DEMAND, seed=0)}
    spread = {name: row["most_at_a_card"] - row["least_at_a_card"] for name, row in rows.items()}
    assert spread["least-p95"] <= min(spread["round-robin"], spread["sticky"]) + 1


def test_both_simulations_lose_as_many(curve: Curve) -> None:
    exact, crowd = compare_rows(CARD, curve, HOST, seed=0, replicas=3)
    assert (exact["by"], crowd["by"]) == ("exact", "crowd")
    assert exact["speakers"] == crowd["speakers"]
    assert abs(exact["lost_speakers"] - crowd["lost_speakers"]) <= exact["speakers"] / 2


def test_the_speakers_of_a_load_test_are_simulated_on_more_replicas() -> None:
    measured = {
        "seconds": 3.0,
        "words_per_minute": 300.0,
        "rows": [
            {"sessions": 4, "update_ms_p50": 9.0, "update_ms_p95": 19.0, "final_lag_ms_p95": 12.0}
        ],
    }
    cost = LinearCost(20.0, 1.0)
    (one,) = beside_rows(measured, cost, HOST, 1, "round-robin")
    (two,) = beside_rows(measured, cost, HOST, 2, "round-robin")
    assert one["update_ms_p95"] == 19.0
    assert two["simulated_busy"] < one["simulated_busy"]
    assert two["simulated_update_ms_p50"] <= one["simulated_update_ms_p50"]
