"""The scheduler under many speakers: nothing is lost, finals end, and costs are what they are."""

import random
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.bench.load.simulator import (
    BUDGET_MS,
    LinearCost,
    Script,
    Simulation,
    Traffic,
    find_capacity,
    fit_cost,
    measure_cost,
    random_script,
    toy_translation,
)
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.bench.manual_engine import SimulatedClock, SkippingClock
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

CPU = LinearCost(base_ms=3.0, row_ms=0.4, context_ms=0.001)


def scripts(
    sessions: int, seconds: float, seed: int, traffic: Traffic | None = None
) -> list[Script]:
    rng = random.Random(seed)
    return [random_script(traffic or Traffic(), seconds, rng) for _ in range(sessions)]


@settings(max_examples=25, deadline=None)
@given(
    st.builds(LinearCost, st.floats(0.1, 40), st.floats(0, 3), st.floats(0, 0.01)),
    st.integers(1, 12),
    st.integers(1, 8),
    st.booleans(),
    st.integers(0, 99),
)
@example(LinearCost(29.0, 2.0, 0.01), 12, 2, False, 94)  # two slots, and steps over a share
def test_no_update_is_lost_and_every_final_ends(
    cost: LinearCost, sessions: int, num_slots: int, verifies: bool, seed: int
) -> None:
    traffic = Traffic(verifies=verifies, max_words=12)
    # Every translation is held against the toy's own while it runs.
    report = Simulation(
        cost,
        scripts(sessions, 3.0, seed, traffic),
        traffic=traffic,
        seed=seed,
        num_slots=num_slots,
        max_step_ms=30,
    ).run()
    assert report.completed == report.requests > 0
    assert len(report.update_ms) + len(report.final_ms) == report.requests
    assert len(report.final_ms) >= sessions
    assert report.superseded <= len(report.update_ms)
    assert min(report.update_ms + report.final_ms) >= 0


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6), st.integers(0, 99))
def test_nobody_waits_long_on_a_machine_with_room(sessions: int, seed: int) -> None:
    report = Simulation(LinearCost(1.0, 0.05), scripts(sessions, 5.0, seed), seed=seed).run()
    assert max(report.update_ms + report.final_ms) < BUDGET_MS
    assert report.superseded == 0
    assert report.within_budget == 1


def test_the_same_seed_is_the_same_run() -> None:
    first, second = (Simulation(CPU, scripts(5, 4.0, 3)).run() for _ in range(2))
    assert first == second
    assert first != Simulation(CPU, scripts(5, 4.0, 4)).run()


def test_verification_saves_steps_and_holds_more_speakers() -> None:
    runs = {
        verifies: find_capacity(CPU, seconds=4.0, traffic=Traffic(verifies=verifies))
        for verifies in (True, False)
    }
    most = {
        verifies: max(run.sessions for run in found if run.is_within_budget)
        for verifies, found in runs.items()
    }
    assert most[True] > most[False]
    with_drafts, without = runs[True][0], runs[False][0]
    assert with_drafts.sessions == without.sessions == 1
    assert with_drafts.steps < 0.5 * without.steps
    sessions = [run.sessions for run in runs[True]]
    assert sessions == sorted(set(sessions))


def test_the_end_of_an_open_source_is_a_guess() -> None:
    rng = random.Random(1)
    words = [rng.randrange(16, 5000) for _ in range(30)]
    final = toy_translation(words, is_open=False)
    for count in range(1, 31):
        guess = toy_translation(words[:count], is_open=True)
        assert guess[: max(count - 4, 0)] == final[: max(count - 4, 0)]
    assert toy_translation(words[:29], is_open=True) != final[:29]


@given(st.floats(0.1, 50), st.floats(0.001, 5), st.floats(0, 0.01))
def test_a_cost_is_found_again(base: float, row: float, context: float) -> None:
    truth = LinearCost(base, row, context)
    steps = [
        (rows, rows * start, truth.ms(rows, rows * start))
        for rows in (1, 2, 4, 16, 64)
        for start in (0, 100, 400)
    ]
    found = fit_cost(steps)
    for rows, total, ms in steps:
        assert found.ms(rows, total) == pytest.approx(ms, rel=1e-3)


def test_one_width_is_not_enough() -> None:
    with pytest.raises(ValueError, match="at least two widths"):
        fit_cost([(4, 0, 1.0), (4, 400, 2.0)])


def test_the_cost_of_a_backend_is_measured(tiny_model: Path) -> None:
    backend = ReferenceBackend(
        open_checkpoint(tiny_model), EngineConfig(num_slots=1, max_length=64)
    )
    cost = measure_cost(backend, time.perf_counter, repeats=1)
    backend.close()
    assert cost.ms(1, 0) > 0
    assert cost.ms(64, 640) >= cost.ms(1, 0)


def test_clocks_skip_what_is_idle() -> None:
    simulated = SimulatedClock()
    simulated.skip_to(2.0)
    simulated.skip_to(1.0)
    assert simulated() == 2.0
    real = SkippingClock()
    before = real()
    real.skip_to(before + 1000)
    real.skip_to(before)
    assert before + 1000 <= real() < before + 1010
