"""The crowd: speakers are neither lost nor doubled, whatever fails, starts or goes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.bench.fleet.client import next_delay_s
from service.bench.fleet.crowd import DELAYS_S, Crowd, day
from service.bench.fleet.curve import Curve
from service.bench.fleet.routing import ROUTERS

HAPPENS = st.lists(
    st.sampled_from(["tick", "tick", "tick", "zone", "some", "start", "more", "fewer"]),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 20),
    st.floats(0, 1),
    st.sampled_from(sorted(ROUTERS)),
    st.sampled_from([0.5, 1.0, 10.0]),
    HAPPENS,
    st.integers(0, 99),
)
def test_nobody_is_lost_doubled_or_one_too_many(
    curve: Curve,
    replicas: int,
    fill: float,
    router: str,
    tick_s: float,
    happens: list[str],
    seed: int,
) -> None:
    most = curve.max_sessions
    crowd = Crowd(
        curve,
        replicas,
        max_sessions=most,
        stay_s=30.0,
        tick_s=tick_s,
        router=router,
        zones=3,
        start_s=2.0,
        speakers=int(fill * most * replicas),
        seed=seed,
    )
    for what in happens:
        speakers = crowd.speakers
        if what == "tick":
            tick = crowd.tick(arrivals=2.0 * replicas)
            assert tick.away == crowd.away
            assert 0 <= tick.late <= 1
        elif what == "zone":
            assert crowd.fail(zone=1) <= speakers
        elif what == "some":
            crowd.fail_some(2)
        elif what == "start":
            crowd.start(1, without_zone=1)
        else:
            crowd.scale(crowd.cards + 1 if what == "more" else max(crowd.cards - 1, 0))
        if what != "tick":
            assert crowd.speakers == speakers
        assert crowd.totals.came - crowd.totals.left == crowd.speakers
        assert (crowd.seated >= 0).all()
        assert (crowd.seated <= most).all()
    totals = crowd.totals
    assert totals.updates == pytest.approx(totals.answered + totals.waiting)


def test_the_same_seed_is_the_same_crowd(curve: Curve) -> None:
    def run(seed: int) -> list[object]:
        crowd = Crowd(
            curve,
            10,
            max_sessions=curve.max_sessions,
            stay_s=20.0,
            tick_s=1.0,
            speakers=10,
            seed=seed,
        )
        return [crowd.tick(3.0) for _ in range(20)]

    assert run(1) == run(1)
    assert run(1) != run(2)


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 40), st.integers(1, 40), st.integers(0, 9))
def test_more_cards_are_never_worse(curve: Curve, cards: int, more: int, seed: int) -> None:
    speakers = 4 * curve.max_sessions

    def late(count: int) -> float:
        crowd = Crowd(
            curve,
            count,
            max_sessions=curve.max_sessions,
            stay_s=30.0,
            tick_s=1.0,
            speakers=min(speakers, count * curve.max_sessions),
            seed=seed,
        )
        ticks = [crowd.tick(speakers / 30.0) for _ in range(40)]
        return sum(tick.late for tick in ticks) / len(ticks)

    assert late(cards + more) <= late(cards) + 0.05  # the noise of chance arrivals


def test_waits_are_the_middles_of_the_clients() -> None:
    delay_s = 0.0
    for middle in DELAYS_S[:-1]:
        assert next_delay_s(delay_s, lambda: 0.5) == pytest.approx(middle, rel=0.05)
        delay_s = next_delay_s(delay_s, lambda: 0.5)


def test_a_lost_zone_comes_back_at_once_where_there_is_room(curve: Curve) -> None:
    crowd = Crowd(
        curve,
        300,
        max_sessions=curve.max_sessions,
        stay_s=1e9,
        tick_s=0.5,
        zones=3,
        speakers=150,
    )
    lost = crowd.fail(zone=0)
    assert crowd.away == lost == 50
    for _ in range(20):
        crowd.tick(0.0)
    assert crowd.away == 0
    assert crowd.speakers == 150


def test_cards_follow_the_crowd(curve: Curve) -> None:
    crowd = Crowd(
        curve, 5, max_sessions=curve.max_sessions, stay_s=60.0, tick_s=5.0, start_s=2.0, speakers=10
    )
    ticks = day(
        crowd,
        lambda at_s: 10 + at_s / 10,
        tick_s=5.0,
        stay_s=60.0,
        seconds=600.0,
    )
    assert len(ticks) == 120
    assert ticks[-1].cards > ticks[0].cards
    assert ticks[-1].speakers > 40
    crowd.scale(1)
    tick = crowd.tick(0.0)
    assert tick.moved > 0
    assert tick.cards == 1
