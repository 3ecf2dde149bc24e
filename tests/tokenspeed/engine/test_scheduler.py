"""Order, room and admission, without a device."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.engine.kv_cache import MIN_FORK_TOKENS, KVCache
from tokenspeed.engine.request import Request, Sequence
from tokenspeed.engine.scheduler import FINAL_HEAD_START_S, Scheduler, StepCost, share_rows


def sequence(
    deadline_s: float = math.inf, *, prompt: int = 4, is_final: bool = False, first: int = 1
) -> Sequence:
    tokens = (first, *range(2, prompt + 1))
    return Sequence(Request(tokens, deadline_s=deadline_s, is_final=is_final), frozenset([0]))


@given(st.lists(st.integers(0, 1000), max_size=20), st.integers(1, 8))
def test_slots_are_given_in_deadline_order(deadlines: list[int], num_slots: int) -> None:
    scheduler = Scheduler(KVCache(num_slots, 32), max_step_tokens=64)
    for deadline_s in deadlines:
        scheduler.add(sequence(float(deadline_s)))
    scheduler.admit(now_s=0.0)
    admitted = [s.request.deadline_s for s in scheduler.running]
    assert admitted == sorted(deadlines)[:num_slots]


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 50)), min_size=1, max_size=8),
    st.integers(1, 40),
)
def test_a_step_never_exceeds_its_room(shapes: list[tuple[int, int]], room: int) -> None:
    scheduler = Scheduler(KVCache(8, 64), max_step_tokens=room)
    for i, (prompt, deadline_s) in enumerate(shapes):
        scheduler.add(sequence(float(deadline_s), prompt=prompt, first=100 + i))
    scheduler.admit(now_s=0.0)
    plan = scheduler.plan()
    assert plan is not None
    batch = plan.batch
    wanted = sum(prompt for prompt, _ in shapes)
    assert len(batch.tokens) == min(room, wanted)
    assert len(batch.tokens) == len(batch.slots) == len(batch.positions)
    assert len(batch.outputs) == len(batch.drafts) == len(batch.biases)
    deadlines = [s.request.deadline_s for s, _ in plan.parts]
    assert deadlines == sorted(deadlines)


@given(st.lists(st.integers(1, 300), max_size=12), st.integers(1, 256))
def test_rows_are_shared_by_urgency_and_none_is_left(wanted: list[int], room: int) -> None:
    shares = share_rows(wanted, room)
    assert sum(shares) == min(room, sum(wanted))
    assert all(0 <= share <= rows for share, rows in zip(shares, wanted, strict=True))


def test_a_long_prompt_leaves_half_of_the_step_to_captions() -> None:
    assert share_rows([1000, 1, 20], 64) == [43, 1, 20]
    assert share_rows([1000, 40, 40], 64) == [32, 32, 0]
    assert share_rows([1000], 64) == [64]


@given(
    base=st.floats(1e-4, 1e-2),
    slope=st.floats(1e-5, 1e-3),
    widths=st.lists(st.integers(1, 256), min_size=2, max_size=50, unique=True),
)
def test_the_cost_of_a_step_is_learnt(base: float, slope: float, widths: list[int]) -> None:
    cost = StepCost()
    for rows in widths:
        cost.observe(rows, base + slope * rows)
    assert cost.predict(100) == pytest.approx(base + slope * 100, rel=0.01)
    fitting = cost.rows_within(0.05)
    assert fitting == StepCost.MIN_ROWS or base + slope * fitting <= 0.05 * 1.01


def test_steps_narrow_when_the_machine_slows_down() -> None:
    scheduler = Scheduler(KVCache(4, 512), max_step_tokens=256, max_step_s=0.05)
    scheduler.add(sequence(prompt=200))
    scheduler.admit(now_s=0.0)
    for rows in (1, 16, 64):
        scheduler.cost.observe(rows, 0.010 + 0.001 * rows)
    plan = scheduler.plan()
    assert plan is not None
    assert len(plan.batch.tokens) == pytest.approx(40, abs=1)


def test_a_final_overtakes_partials_of_the_same_age_but_not_old_ones() -> None:
    scheduler = Scheduler(KVCache(3, 32), max_step_tokens=64)
    old, young = sequence(10.0), sequence(10.0 + FINAL_HEAD_START_S)
    final = sequence(10.1 + FINAL_HEAD_START_S, is_final=True)
    for s in (young, final, old):
        scheduler.add(s)
    scheduler.admit(now_s=0.0)
    assert scheduler.running == [old, final, young]


def test_the_second_target_waits_for_the_source_of_the_first_and_forks_it() -> None:
    scheduler = Scheduler(KVCache(4, 64), max_step_tokens=64)
    length = MIN_FORK_TOKENS + 4
    german, french = sequence(prompt=length), sequence(prompt=length)
    french.tokens[-1] = 99
    scheduler.add(german)
    scheduler.add(french)
    assert scheduler.admit(now_s=0.0) != []
    assert scheduler.running == [german]
    plan = scheduler.plan()
    assert plan is not None
    german.advance(plan.parts[0][1], [7])
    scheduler.cache.hold(german.slot, german.tokens, german.computed)
    (lease,) = scheduler.admit(now_s=0.0)
    assert (lease.fork_from, lease.reused) == (german.slot, length - 1)


def test_removing_frees_the_slot_at_once() -> None:
    scheduler = Scheduler(KVCache(1, 32), max_step_tokens=8)
    first, second = sequence(1.0), sequence(2.0, first=9)
    scheduler.add(first)
    scheduler.add(second)
    scheduler.admit(now_s=0.0)
    assert scheduler.waiting == [second]
    scheduler.remove(first)
    scheduler.admit(now_s=0.0)
    assert scheduler.running == [second]


def test_a_partial_that_is_overtaken_by_itself_ages_but_never_past_a_final() -> None:
    def partial(arrival_s: float, since: float, first: int) -> Sequence:
        request = Request((first, 2, 3), deadline_s=arrival_s + 0.2)
        return Sequence(request, frozenset([0]), arrival_s=arrival_s, waiting_since_s=since)

    fresh, aged, ancient = partial(1.0, 1.0, 5), partial(1.0, 0.9, 6), partial(1.0, 0.0, 7)
    final = sequence(1.2, is_final=True, first=8)
    final.arrival_s = final.waiting_since_s = 1.0
    scheduler = Scheduler(KVCache(4, 32), max_step_tokens=64)
    for s in (fresh, aged, ancient, final):
        scheduler.add(s)
    scheduler.admit(now_s=1.0)
    assert scheduler.running == [final, ancient, aged, fresh]


@given(st.floats(0.005, 0.05), st.lists(st.booleans(), min_size=60, max_size=60))
def test_no_partial_starves_behind_others(step_s: float, finals: list[bool]) -> None:
    """One slot, a step each, and something new at every step: a machine that is just full."""
    scheduler = Scheduler(KVCache(1, 32), max_step_tokens=64)
    waited = Sequence(Request((9, 9), deadline_s=0.2), frozenset([0]))
    scheduler.add(waited)
    for i, is_final in enumerate(finals):
        now = i * step_s
        request = Request((3, i + 10), deadline_s=now + 0.2, is_final=is_final)
        scheduler.add(Sequence(request, frozenset([0]), arrival_s=now))
        scheduler.admit(now)
        if waited in scheduler.running:
            break
        scheduler.remove(scheduler.running[0])
    assert waited in scheduler.running
    assert now <= FINAL_HEAD_START_S + 2 * step_s
