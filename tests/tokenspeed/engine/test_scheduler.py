"""Order, room and admission, without a device."""

import math
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tokenspeed.backends import ANY_TOKEN, Step
from tokenspeed.engine.fairness import ALLOWANCE_S, FairShares
from tokenspeed.engine.kv_cache import MIN_FORK_TOKENS, KVCache, Slot
from tokenspeed.engine.request import Request, Sequence
from tokenspeed.engine.scheduler import (
    ATTENDED_S,
    FINAL_HEAD_START_S,
    MAX_COPIED,
    MAX_DEFERRED,
    Scheduler,
    StepCost,
    WaitingSequences,
    share_rows,
)


def sequence(
    deadline_s: float = math.inf,
    *,
    prompt: int = 4,
    is_final: bool = False,
    first: int = 1,
    client: str | None = None,
) -> Sequence:
    tokens = (first, *range(2, prompt + 1))
    request = Request(tokens, deadline_s=deadline_s, is_final=is_final, client=client)
    return Sequence(request, frozenset([0]))


def run_step(scheduler: Scheduler, now_s: float, seconds: float) -> list[Sequence]:
    """Admit, plan and account one step; return whose rows it had. Nothing is decoded."""
    scheduler.admit(now_s)
    plan = scheduler.plan(now_s)
    assert plan is not None
    scheduler.observe(plan, seconds)
    return [s for s, _ in plan.parts]


@given(st.lists(st.integers(0, 1000), max_size=20), st.integers(1, 8))
def test_slots_are_given_in_deadline_order(deadlines: list[int], num_slots: int) -> None:
    scheduler = Scheduler(KVCache(num_slots, 32), max_step_tokens=64)
    for deadline_s in deadlines:
        scheduler.add(sequence(float(deadline_s)))
    scheduler.admit(now_s=0.0)
    admitted = [s.request.deadline_s for s in scheduler.running]
    assert admitted == sorted(deadlines)[:num_slots]


@pytest.mark.parametrize(("room", "guesses"), [(2, 0), (3, 0), (4, 1), (5, 2), (6, 3), (9, 3)])
def test_guesses_take_the_rows_that_nobody_needs(room: int, guesses: int) -> None:
    """The most urgent first; and a guess is verified without the favour that a draft has."""
    scheduler = Scheduler(KVCache(3, 32), max_step_tokens=64)
    for i in range(3):
        request = Request((100 + i, 2), deadline_s=i / 10, bias=0.5)
        scheduler.add(Sequence(request, frozenset([0])))
    scheduler.admit(now_s=0.0)
    plan = scheduler.plan(now_s=0.0)
    assert plan is not None
    for one, rows in plan.parts:
        one.advance(rows, [7])
        one.expect([8])
    scheduler.max_step_tokens = room
    plan = scheduler.plan(now_s=0.0)
    assert plan is not None
    batch = plan.batch
    assert [len(rows.tokens) for _, rows in plan.parts] == ([2] * guesses + [1] * 3)[: min(room, 3)]
    assert batch.drafts.tolist() == ([8, -1] * guesses + [-1] * 3)[: len(batch.drafts)]
    is_plain = [bias == 0.5 for bias in batch.biases]
    assert is_plain == ([False, False] * guesses + [True] * 3)[: len(batch.drafts)]


@pytest.mark.parametrize(("room", "guesses"), [(4, 0), (6, 0), (7, 1), (8, 2), (20, 2)])
def test_guesses_of_live_work_leave_background_work_its_rows(room: int, guesses: int) -> None:
    scheduler = Scheduler(KVCache(3, 32), max_step_tokens=64)
    live = [Sequence(Request((100 + i, 2), deadline_s=0.1), frozenset([0])) for i in range(2)]
    for one in live:
        scheduler.add(one)
    scheduler.admit(now_s=0.0)
    plan = scheduler.plan(now_s=0.0)
    assert plan is not None
    for one, rows in plan.parts:
        one.advance(rows, [7])
        one.expect([8])
    scheduler.add(Sequence(Request((1, 2, 3, 4), deadline_s=9.0), frozenset([0])))
    scheduler.admit(now_s=0.0)
    scheduler.max_step_tokens = room
    plan = scheduler.plan(now_s=0.0)
    assert plan is not None
    assert [len(rows.tokens) for _, rows in plan.parts[2:]] == [min(4, room - 2)]
    assert sum(rows.is_guess for _, rows in plan.parts) == guesses
    assert plan.num_live_rows == 2 + guesses
    assert len(plan.batch.tokens) <= room


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 50)), min_size=1, max_size=8),
    st.integers(1, 40),
)
def test_a_step_never_exceeds_its_room(shapes: list[tuple[int, int]], room: int) -> None:
    scheduler = Scheduler(KVCache(8, 64), max_step_tokens=room)
    for i, (prompt, deadline_s) in enumerate(shapes):
        scheduler.add(sequence(float(deadline_s), prompt=prompt, first=100 + i))
    scheduler.admit(now_s=0.0)
    plan = scheduler.plan(now_s=0.0)
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
    assert base + slope * fitting <= 0.05 * 1.01


def test_a_step_is_never_so_narrow_that_most_of_it_is_lost() -> None:
    cost = StepCost()
    for rows in (1, 16, 64):
        cost.observe(rows, 0.040 + 0.002 * rows)
    assert [cost.rows_within(seconds) for seconds in (0.01, 0.05, 0.1)] == [20, 20, 30]


def test_where_rows_are_all_that_costs_background_work_does_not_crawl_a_row_a_step() -> None:
    scheduler = Scheduler(KVCache(4, 512), max_step_tokens=256, max_step_s=0.001)
    for rows in (1, 16, 64):
        scheduler.cost.observe(rows, 0.001 * rows)
    scheduler.add(sequence(100.0, prompt=300, client="a"))
    assert num_rows(scheduler, 0.0) == [StepCost.MIN_ROWS]
    scheduler.add(sequence(0.2, prompt=10, first=9, client="b"))
    assert num_rows(scheduler, 0.0) == [8, 2]


def test_steps_narrow_when_the_machine_slows_down() -> None:
    scheduler = Scheduler(KVCache(4, 512), max_step_tokens=256, max_step_s=0.05)
    scheduler.add(sequence(0.2, prompt=200))
    scheduler.admit(now_s=0.0)
    for rows in (1, 16, 64):
        scheduler.cost.observe(rows, 0.010 + 0.001 * rows)
    plan = scheduler.plan(now_s=0.0)
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
    plan = scheduler.plan(now_s=0.0)
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
    assert list(scheduler.waiting) == [second]
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


def test_a_client_over_its_share_comes_after_the_others_whatever_its_deadlines() -> None:
    scheduler = Scheduler(KVCache(2, 64), max_step_tokens=64)
    scheduler.shares.charge({"greedy": 0.5}, 2)
    early, late = sequence(1.0, client="greedy"), sequence(9.0, first=7, client="modest")
    for s in (early, late):
        scheduler.add(s)
    scheduler.admit(now_s=0.0)
    assert scheduler.running == [late, early]


def test_live_work_takes_the_slot_of_background_work_which_goes_on_later() -> None:
    scheduler = Scheduler(KVCache(1, 64), max_step_tokens=64)
    far, near = sequence(100.0, client="a"), sequence(0.2, first=9, client="b")
    scheduler.add(far)
    scheduler.admit(now_s=0.0)
    assert scheduler.running == [far]
    scheduler.add(near)
    scheduler.admit(now_s=0.0)
    assert scheduler.running == [near]
    assert list(scheduler.waiting) == [far]
    scheduler.remove(near)
    scheduler.admit(now_s=0.1)
    assert scheduler.running == [far]


@settings(deadline=None)
@given(
    prompts=st.lists(st.integers(2, 60), min_size=1, max_size=12),
    num_slots=st.integers(1, 4),
    num_clients=st.integers(1, 12),
    base_s=st.floats(0, 0.2),
    row_s=st.floats(0, 0.02),
    new_tokens=st.integers(1, 10),
)
@example([15] * 6, 2, 6, 0.029, 0.002, 6)
def test_all_come_to_an_end_however_many_take_slots_from_each_other(
    prompts: list[int], num_slots: int, num_clients: int, base_s: float, row_s: float,
    new_tokens: int,
) -> None:  # fmt: skip
    """Steps so slow that each takes a client over its share, and the next one its slot."""
    scheduler = Scheduler(KVCache(num_slots, 128), max_step_tokens=64, max_step_s=0.03)
    num_tokens = 0
    for i, prompt in enumerate(prompts):
        tokens = (100 + i, *range(2, prompt + 1))
        request = Request(tokens, deadline_s=0.2, max_new_tokens=new_tokens, client=i % num_clients)
        num_tokens += prompt + new_tokens
        scheduler.add(Sequence(request, frozenset([0])))
    now_s, num_computed = 0.0, 0
    while scheduler.waiting or scheduler.running:
        for lease in scheduler.admit(now_s):
            assert lease.fork_from is None
        plan = scheduler.plan(now_s)
        assert plan is not None
        took_s = base_s + row_s * len(plan.batch.tokens)
        now_s += took_s
        for s, rows in plan.parts:
            s.advance(rows, [7] * len(rows.drafts))
            scheduler.cache.hold(s.slot, s.tokens, s.computed)
        scheduler.observe(plan, took_s)
        for s in [s for s in scheduler.running if s.finish_reason]:
            scheduler.remove(s)
        num_computed += len(plan.batch.tokens)
        assert num_computed <= 3 * num_tokens


def num_rows(scheduler: Scheduler, now_s: float) -> list[int]:
    """Return the rows of each sequence in the next step."""
    scheduler.admit(now_s)
    plan = scheduler.plan(now_s)
    assert plan is not None
    return [len(rows.tokens) for _, rows in plan.parts]


def test_background_rows_hardly_stretch_a_step_with_live_ones() -> None:
    scheduler = Scheduler(KVCache(4, 512), max_step_tokens=256, max_step_s=0.12)
    for rows in (1, 16, 64):
        scheduler.cost.observe(rows, 0.0091 + 0.001 * rows)
    scheduler.add(sequence(100.0, prompt=300, client="a"))
    assert num_rows(scheduler, 0.0) == [30]
    word = sequence(0.2, prompt=10, first=9, client="b")
    scheduler.add(word)
    assert num_rows(scheduler, 0.0) == [10, 6]
    plan = scheduler.plan(0.0)
    assert plan is not None
    assert plan.num_live_rows == 10
    # A step is short as long as the next word may come, and no longer.
    scheduler.remove(word)
    assert num_rows(scheduler, ATTENDED_S / 2) == [10]
    assert num_rows(scheduler, 2 * ATTENDED_S) == [30]


@given(base=st.floats(0, 0.1), slope=st.floats(0, 0.1))
def test_background_work_goes_on_beside_live_work_however_slow_the_machine(
    base: float, slope: float
) -> None:
    scheduler = Scheduler(KVCache(4, 512), max_step_tokens=64, max_step_s=0.06)
    for rows in (1, 16, 64):
        scheduler.cost.observe(rows, base + slope * rows)
    scheduler.add(sequence(100.0, prompt=300, client="a"))
    scheduler.add(sequence(0.2, prompt=1, first=9, client="b"))
    live, background = num_rows(scheduler, 0.0)
    assert live == 1
    assert 1 <= background <= 63


def test_few_slots_are_filled_for_background_work_before_a_step() -> None:
    """Twenty texts with a long beginning in common, as all of them come with the same orders."""
    scheduler = Scheduler(KVCache(32, 512), max_step_tokens=64)
    orders = [5] * MAX_COPIED

    def begun(number: int, deadline_s: float) -> Sequence:
        request = Request((*orders, 100 + number), deadline_s=deadline_s, client=number)
        return Sequence(request, frozenset([0]))

    def admitted(now_s: float = 0.0) -> list[int]:
        """Return how many tokens are copied for each newcomer."""
        return [lease.reused for lease in scheduler.admit(now_s) if lease.fork_from is not None]

    first = begun(0, 100.0)
    scheduler.add(first)
    assert admitted() == []
    first.computed = len(first.tokens)
    scheduler.cache.hold(first.slot, first.tokens, first.computed)
    for number in range(1, 21):
        scheduler.add(begun(number, 100.0))
    for number in range(1, 4):
        assert admitted() == [len(orders)]
        assert len(scheduler.running) == 1 + number
    # Live work does not wait for that.
    for number in range(21, 25):
        scheduler.add(begun(number, 0.2))
    assert admitted() == [len(orders)] * 4
    for _ in range(17):
        assert admitted() == [len(orders)]
    assert not scheduler.waiting


@settings(max_examples=50, deadline=None)
@given(
    num_paste=st.integers(1, 200),
    prompt=st.integers(4, 60),
    pause=st.lists(st.integers(1, 10), min_size=5, max_size=20),
    num_slots=st.integers(1, 16),
)
def test_no_client_delays_another_by_more_than_the_allowance_and_its_own_share(
    num_paste: int, prompt: int, pause: list[int], num_slots: int
) -> None:
    """A paste of finals that are all due at once, and somebody who says a word now and then."""
    step_s, now_s = 0.02, 0.0
    scheduler = Scheduler(KVCache(num_slots, 128), max_step_tokens=64)
    for i in range(num_paste):
        scheduler.add(sequence(0.1, prompt=prompt, is_final=True, first=100 + i, client="paste"))
    waited_s = 0.0
    for steps in pause:
        for _ in range(steps):
            scheduler.admit(now_s)
            plan = scheduler.plan(now_s)
            if plan is not None:  # rows go in, and nothing ends: the machine is never idle
                scheduler.observe(plan, step_s)
            now_s += step_s
        word = sequence(now_s + 0.2, first=7, client="speaker")
        scheduler.add(word)
        asked_s = now_s
        while word not in run_step(scheduler, now_s, step_s):
            now_s += step_s
            assert now_s - asked_s < 60, "it never comes"
        waited_s += now_s - asked_s
        scheduler.remove(word)
        now_s += step_s
    # Two share the machine while a word waits, so a debt grows at half the pace of the time. What
    # the speaker uses beyond its half of a step gives the other's debt back.
    used_s = len(pause) * step_s
    assert waited_s <= 2 * (ALLOWANCE_S + used_s + step_s)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 0.1)), max_size=60))
def test_shares_add_up_and_nobody_saves_up(uses: list[tuple[str, float]]) -> None:
    shares = FairShares()
    for client, seconds in uses:
        shares.charge({client: seconds}, 3)
        assert all(shares.debt_s(c) >= 0 for c in "abc")
    total = sum(seconds for _, seconds in uses)
    for client in "abc":
        own = sum(seconds for c, seconds in uses if c == client)
        assert own - total / 3 <= shares.debt_s(client) + 1e-9
        assert shares.debt_s(client) <= own + 1e-9


def test_planning_looks_at_few_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler(KVCache(8, 64), max_step_tokens=64)
    for i in range(10_000):
        scheduler.add(sequence(float(i), first=100 + i, client=f"c{i % 50}"))
    looks = 0
    is_over = FairShares.is_over

    def counted(self: FairShares, client: str) -> bool:
        nonlocal looks
        looks += 1
        return is_over(self, client)

    monkeypatch.setattr(FairShares, "is_over", counted)
    monkeypatch.setattr(
        "tokenspeed.engine.scheduler.urgency", pytest.fail
    )  # nothing is sorted anew
    assert len(list(scheduler.waiting.ordered())[:8]) == 8
    assert len(scheduler.waiting) == 10_000
    monkeypatch.undo()
    monkeypatch.setattr(FairShares, "is_over", counted)
    looks = 0
    scheduler.admit(now_s=0.0)
    assert len(scheduler.running) == 8
    assert looks < 200  # one for each client, and a few for each slot


@given(st.integers(1, 60), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_planning_looks_at_few_of_many_that_are_alike(length: int, num_kinds: int) -> None:
    """Prompts with long beginnings in common are what makes looking dear."""
    scheduler = Scheduler(KVCache(8, 128), max_step_tokens=64)
    for i in range(500):
        tokens = (i % num_kinds, *[5] * length, 1000 + i)
        request = Request(tokens, deadline_s=float(i), client=f"c{i % 5}", max_new_tokens=4)
        scheduler.add(Sequence(request, frozenset([0])))
    looks = 0

    def counted(slot: Slot, tokens: list[int]) -> int:
        nonlocal looks
        looks += 1
        return match(slot, tokens)

    match = Slot.match
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slot, "match", counted)
        for _ in range(6):
            looks = 0
            scheduler.admit(0.0)
            # Each slot for whoever gets one or is the first to wait for a beginning.
            assert looks <= 9 * (8 + MAX_DEFERRED + 1)
            plan = scheduler.plan(0.0)
            assert plan is not None
            for s, rows in plan.parts:
                s.advance(rows, [7] * len(rows.drafts))
                scheduler.cache.hold(s.slot, s.tokens, s.computed)
                if s.finish_reason:
                    scheduler.remove(s)


class Due(float):
    """A deadline that counts how often it is compared."""

    num_compared = 0

    def __sub__(self, other: float) -> "Due":
        return Due(float(self) - other)

    def __lt__(self, other: float) -> bool:
        Due.num_compared += 1
        return float(self) < float(other)


def operations_of_steps(num_waiting: int, num_clients: int) -> int:
    """Return the most that planning one of some steps takes: bytecodes, and compared deadlines."""
    scheduler = Scheduler(KVCache(8, 64), max_step_tokens=64)
    for i in range(num_waiting):
        client = f"c{i % num_clients}"
        scheduler.add(sequence(Due(i * 7919 % 997), prompt=8, first=100 + i, client=client))
    num_bytecodes = 0

    def count(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal num_bytecodes
        frame.f_trace_opcodes = True
        num_bytecodes += event == "opcode"
        return count

    worst = 0
    for step in range(12):
        num_bytecodes = Due.num_compared = 0
        tracer = sys.gettrace()
        sys.settrace(count)
        try:
            scheduler.admit(now_s=0.1 * step)
            plan = scheduler.plan(now_s=0.1 * step)
            assert plan is not None
            scheduler.observe(plan, 0.1)
        finally:
            sys.settrace(tracer)
        worst = max(worst, num_bytecodes + Due.num_compared)
        for s in scheduler.running[:4]:
            scheduler.remove(s)
    return worst


@pytest.mark.parametrize("num_clients", [1, 50, 10_000])
def test_planning_a_step_takes_no_more_where_ten_thousand_wait(num_clients: int) -> None:
    few = operations_of_steps(100, min(num_clients, 100))
    assert operations_of_steps(10_000, num_clients) < 1.5 * few


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.floats(0, 0.5)), max_size=40)
)
def test_clients_over_their_share_come_last_and_come_back(
    items: list[tuple[str, int, float]],
) -> None:
    shares = FairShares()
    waiting = WaitingSequences(shares)
    for client, deadline_s, seconds in items:
        waiting.add(sequence(float(deadline_s), client=client))
        shares.charge({client: seconds}, 2)
        expected = sorted((shares.is_over(s.request.client), s.request.deadline_s) for s in waiting)
        found = list(waiting.ordered())
        assert expected == [(shares.is_over(s.request.client), s.request.deadline_s) for s in found]
        waiting.discard(found[len(found) // 2])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=40))
def test_waiting_sequences_come_in_order_and_leave_for_good(
    items: list[tuple[str, int, bool]],
) -> None:
    waiting = WaitingSequences(FairShares())
    kept = []
    for client, deadline_s, stays in items:
        s = sequence(float(deadline_s), client=client)
        waiting.add(s)
        if stays:
            kept.append(s)
        else:
            waiting.discard(s)
    found = list(waiting.ordered())
    assert set(found) == set(kept) == set(waiting)
    assert [s.request.deadline_s for s in found] == sorted(s.request.deadline_s for s in kept)
    assert list(waiting.ordered()) == found  # looking changes nothing
    assert waiting.clients == {s.request.client for s in kept}


def decode(scheduler: Scheduler) -> list[list[int]] | None:
    """Run a step in which everybody decodes token 9; return its `stops`."""
    scheduler.admit(0.0)
    plan = scheduler.plan(0.0)
    assert plan is not None
    for s, rows in plan.parts:
        s.advance(rows, [9] * len(rows.drafts))
    return None if plan.batch.stops is None else plan.batch.stops.tolist()


def test_a_step_says_when_the_next_one_is_another() -> None:
    scheduler = Scheduler(KVCache(2, 64), max_step_tokens=16)
    first, second, third = sequence(1.0), sequence(1.0, first=20), sequence(1.0, first=30)
    scheduler.add(first)
    assert decode(scheduler) == [[ANY_TOKEN, 0]]  # its prompt: see below
    assert decode(scheduler) == [[ANY_TOKEN, 0]]
    scheduler.add(second)
    assert decode(scheduler) is None
    assert decode(scheduler) == [[ANY_TOKEN, 0]]  # the same end mark of both
    scheduler.add(third)  # there is no slot for it, until one of them ends
    assert decode(scheduler) == [[ANY_TOKEN, 0]]
    scheduler.remove(second)
    assert decode(scheduler) is None  # the prompt of the third
    assert decode(scheduler) == [[ANY_TOKEN, 0]]
    scheduler.alone.add(first)
    assert decode(scheduler) is None


@settings(max_examples=50, deadline=None)
@given(
    requests=st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from([0.1, 0.6, 9.0]), st.integers(5, 30)),
        min_size=2,
        max_size=8,
    ),
    arrivals=st.lists(st.integers(0, 6), min_size=8, max_size=8),
    drafts=st.lists(st.lists(st.integers(1, 4), max_size=8) | st.just([]), min_size=8, max_size=8),
    cancelled=st.integers(0, 30),
    guesses=st.sampled_from([0, 1, 3]),
    room=st.integers(2, 16),
    row_s=st.sampled_from([0.0, 0.001, 0.01]),
)
def test_a_step_that_goes_on_is_the_one_that_would_be_chosen_anew(
    requests: list[tuple[int, float, int]],
    arrivals: list[int],
    drafts: list[list[int]],
    cancelled: int,
    guesses: int,
    room: int,
    row_s: float,
) -> None:
    """Same rows of the same sequences, whatever else waits, ends, is guessed or is offered again.

    Args:
        requests: of each the length of its prompt, its deadline and its longest output.
        cancelled: the step behind which one is. guesses: of so many predictions one is guessed; 0:
            none.
    """

    def spoken(position: int) -> int:
        return (position // 3 * 5 + position) % 4 + 1 if position < 20 else 0

    def run(is_anew: bool) -> list[Any]:
        scheduler = Scheduler(KVCache(6, 64), max_step_tokens=room, max_step_s=0.05)
        found: list[Any] = []
        for step in range(60):
            now_s = step * 0.02
            for i, (prompt, deadline_s, most) in enumerate(requests):
                if arrivals[i] == step:
                    tokens = (100 + i, *range(2, prompt + 1))
                    request = Request(tokens, (), tuple(drafts[i]), 0.0, most, deadline_s, client=i)
                    scheduler.add(Sequence(request, frozenset([0])))
            scheduler.admit(now_s)
            if is_anew:
                scheduler._last = None
            plan = scheduler.plan(now_s)
            if plan is None:
                continue
            batch, rows = plan.batch, {s.request.client: rows for s, rows in plan.parts}
            columns = (batch.tokens, batch.slots, batch.positions)
            by_row = sorted(zip(*(column.tolist() for column in columns), strict=True))
            stops = None if batch.stops is None else batch.stops.tolist()
            found.append((rows, by_row, len(batch.outputs), stops, plan.num_live_rows))
            assert batch.drafts.tolist() == [d for _, each in plan.parts for d in each.drafts]
            scheduler.observe(plan, 0.001 + row_s * len(batch.tokens) * (1 + step // 10))
            first = scheduler.running[0]
            for s, each in plan.parts:
                start = each.start + len(each.tokens) - len(each.drafts)
                following = [spoken(start + at) for at in range(len(each.drafts) + 1)]
                s.advance(each, following[:-1])
                if guesses:
                    s.expect([token if step % guesses == 0 else 9 for token in following[1:]])
                if s.finish_reason or (step == cancelled and s is first):
                    scheduler.remove(s)
        return found

    assert run(False) == run(True)


def test_a_step_with_a_draft_says_when_decoding_on_behind_it_ends() -> None:
    """Of one sequence alone: behind any output the end mark, behind each token its own place."""
    scheduler = Scheduler(KVCache(2, 64), max_step_tokens=16)
    one = Sequence(Request((1, 2), draft=(5, 6, 7, 8)), frozenset({0}))
    batch = added(scheduler, one)
    assert batch.stops is not None
    assert batch.stops.tolist() == [[ANY_TOKEN, 0], [5, 6], [6, 7]]
    assert batch.num_ends == 1
    one.advance(one.rows(16), [5, 9, 0, 0, 0])
    plan = scheduler.plan(0.0)
    assert plan is not None
    assert plan.batch.tokens.tolist() == [9]
    assert plan.batch.stops is not None
    assert plan.batch.stops.tolist() == [[ANY_TOKEN, 0], [6, 7]]
    assert plan.batch.num_ends is None
    batch = added(scheduler, Sequence(Request((3, 4), draft=(5, 6)), frozenset({0})))
    assert batch.stops is None
    assert batch.num_ends is None


def added(scheduler: Scheduler, sequence: Sequence) -> Step:
    """Return the first step with a sequence."""
    scheduler.add(sequence)
    scheduler.admit(0.0)
    plan = scheduler.plan(0.0)
    assert plan is not None
    return plan.batch
