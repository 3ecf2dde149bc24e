"""A fleet, update by update: nothing is lost without a cause, nobody is in two places."""

from hypothesis import given, settings
from hypothesis import strategies as st

from service.bench.fleet.exact import Failure, Fleet, Growth, Outcome, Plan, steady
from service.bench.fleet.routing import ROUTERS
from tests.service.bench.fleet.machines import COST, HOST

FAILURES = st.lists(
    st.builds(
        Failure,
        st.floats(0.5, 6.0),
        st.frozensets(st.integers(0, 3), max_size=2),
        st.frozensets(st.integers(0, 1), max_size=1),
    ),
    max_size=2,
)


def run(plan: Plan, seed: int = 0) -> Outcome:
    fleet = Fleet(plan, COST, HOST, seed)
    outcome = fleet.run()
    fleet.check()
    return outcome


def check_nothing_is_lost(outcome: Outcome) -> None:
    tally = outcome.tally
    answered = len(tally.partials) + len(tally.finals)
    assert tally.said == tally.unneeded + answered + sum(tally.dropped.values())
    assert tally.repeated_finals == 0
    assert all(ms >= 0 for _, ms in tally.updates)


@settings(max_examples=8, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 8),
    st.sampled_from(sorted(ROUTERS)),
    FAILURES,
    st.lists(st.builds(Growth, st.floats(0.5, 6.0), st.integers(1, 2)), max_size=1),
    st.integers(0, 99),
)
def test_every_update_is_answered_or_dropped_with_its_cause(
    replicas: int,
    speakers: int,
    router: str,
    failures: list[Failure],
    growth: list[Growth],
    seed: int,
) -> None:
    plan = Plan(
        replicas,
        steady(speakers, 1.0, seed),
        5.0,
        router=router,
        zones=2,
        failures=failures,
        growth=growth,
        start_s=1.0,
        max_sessions=8,
    )
    outcome = run(plan, seed)
    check_nothing_is_lost(outcome)
    assert set(outcome.tally.dropped) <= {"gave up", "never answered"}
    if not failures:
        assert not outcome.lost_s
    assert len(outcome.back_s) <= len(outcome.lost_s)


def test_the_same_seed_is_the_same_run() -> None:
    plan = Plan(2, steady(5, 1.0), 4.0, failures=[Failure(2.0, frozenset([0]))])
    assert run(plan, 3) == run(plan, 3)
    assert run(plan, 3) != run(plan, 4)


def test_those_of_a_lost_replica_go_on_at_another() -> None:
    plan = Plan(
        2, steady(6, 1.0), 8.0, router="round-robin", failures=[Failure(3.0, frozenset([1]))]
    )
    outcome = run(plan)
    check_nothing_is_lost(outcome)
    assert len(outcome.lost_s) == len(outcome.back_s) == 3
    assert outcome.tally.dropped == {}
    assert max(outcome.back_s) < 2.0
    assert outcome.away[-1][1] == 0


def test_without_a_replica_they_give_up_in_the_end() -> None:
    plan = Plan(1, steady(2, 0.5), 90.0, failures=[Failure(2.0, zones=frozenset([0]))])
    outcome = run(plan)
    check_nothing_is_lost(outcome)
    assert outcome.gave_up == 2
    assert outcome.tally.dropped["gave up"] > 0


def test_replicas_that_are_started_take_those_who_wait() -> None:
    plan = Plan(
        1,
        steady(4, 0.5),
        12.0,
        failures=[Failure(2.0, frozenset([0]))],
        growth=[Growth(2.0, 1)],
        start_s=3.0,
    )
    outcome = run(plan)
    check_nothing_is_lost(outcome)
    assert outcome.gave_up == 0
    assert min(outcome.back_s) >= 3.0


def test_more_replicas_are_no_worse() -> None:
    speakers = 8
    p95_ms = [
        run(
            Plan(replicas, steady(speakers, 1.0), 5.0, router="round-robin", has_door=False)
        ).p95_ms()
        for replicas in (1, 2, 4)
    ]
    # A step more or less is noise.
    assert p95_ms[2] <= p95_ms[1] + 60 <= p95_ms[0] + 120
