"""Questions to a fleet: a card's capacity, a day, a lost zone, the routers; as rows of a result.

And how far the crowd's numbers are from the exact simulation's, where both can be run.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from service.bench.captions.scores import percentile
from service.bench.fleet.crowd import Crowd, Tick, day
from service.bench.fleet.curve import Curve
from service.bench.fleet.exact import Failure, Fleet, Growth, Plan, steady
from service.bench.fleet.replica import Host
from service.bench.fleet.routing import ROUTERS
from service.bench.load.costs import Card, MeasuredCost
from service.bench.load.loadtest import STAGGER_S
from service.bench.load.simulator import LinearCost
from service.load.autoscaling import TARGET

Row = dict[str, Any]
DAY_S: Final = 86_400.0
TROUGH_S: Final = 4 * 3600.0  # time of day when the fewest speak
SETTLE_S: Final = 10.0  # before something is lost
AFTER_S: Final = 12.0  # to watch once what was lost is replaced
TICK_S: Final = 0.5  # for events that take seconds
DAY_TICK_S: Final = 30.0
PACKED: Final = 0.85  # of a card's sessions, if no room is kept for a lost zone
ZONES: Final = 3


@dataclass(frozen=True, slots=True)
class Demand:
    """The speakers that a fleet is for.

    Attributes:
        peak: speakers at the busiest time. trough_share: share of them at the quietest.
        stay_s: that a speaker stays, on average.
        fill: share of a card's sessions that the autoscaler fills.
    """

    peak: int = 1_000_000
    trough_share: float = 0.35
    stay_s: float = 1200.0
    fill: float = TARGET

    def at(self, now_s: float) -> float:
        """Return how many want to speak: the number rises and falls once a day."""
        swing = (1 - math.cos(2 * math.pi * (now_s - TROUGH_S) / DAY_S)) / 2
        return self.peak * (self.trough_share + (1 - self.trough_share) * swing)

    def cards(self, speakers: float, capacity: int, fill: float | None = None) -> int:
        """Return how many cards are meant for so many speakers, at this fill or the usual one."""
        return max(math.ceil(speakers / ((fill or self.fill) * capacity)), 1)


def capacity_row(card: Card, curve: Curve, demand: Demand) -> Row:
    """Return how much one card holds, and how much of it an update takes."""
    meant = max(int(demand.fill * curve.max_sessions), 1)
    per_s = meant * curve.updates_per_s
    return {
        "what": "capacity",
        "card": card.name,
        "speakers": curve.speakers_within_budget,
        "max_sessions": curve.max_sessions,
        "meant": meant,
        "p95_ms": _ms(curve.p95_ms(meant)),
        "updates_per_s": round(per_s, 3),
        "card_s_per_1000_updates": round(1000 / per_s, 3),
        "card_hours_per_1000_speaker_hours": round(1000 / meant, 2),
        "start_s": round(card.start_s, 1),
        "sources": list(card.sources),
    }


def day_rows(card: Card, curve: Curve, demand: Demand, seed: int) -> Iterator[Row]:
    """Yield a row of the whole day, then one of each hour."""
    capacity = curve.max_sessions
    speakers = round(demand.at(0.0))
    crowd = Crowd(
        curve,
        demand.cards(speakers, capacity),
        max_sessions=capacity,
        stay_s=demand.stay_s,
        tick_s=DAY_TICK_S,
        start_s=card.start_s,
        speakers=speakers,
        seed=seed,
    )
    ticks = day(crowd, demand.at, DAY_TICK_S, demand.stay_s, DAY_S)
    totals = crowd.totals
    yield {
        "what": "day",
        "card": card.name,
        "most_speakers": max(tick.speakers for tick in ticks),
        "most_cards": max(tick.cards for tick in ticks),
        "mean_cards": round(totals.card_s / DAY_S, 1),
        "p95_ms": _ms(totals.p95_ms),
        "worst_p95_ms": _ms(max(tick.p95_ms for tick in ticks)),
        "updates": round(totals.updates),
        "late_share": round(1 - _in_time(ticks), 6),
        "waiting_share": round(totals.waiting / totals.updates, 6),
        "refused": sum(tick.refused for tick in ticks),
        "moved": sum(tick.moved for tick in ticks),
        "card_hours": round(totals.card_s / 3600),
        "speaker_hours": round(totals.speaker_s / 3600),
        "card_hours_per_1000_speaker_hours": round(1000 * totals.card_s / totals.speaker_s, 2),
    }
    per_hour = round(3600 / DAY_TICK_S)
    for tick in ticks[per_hour - 1 :: per_hour]:
        yield {"what": "hour", "card": card.name, **_rounded(tick)}


def zone_rows(card: Card, curve: Curve, demand: Demand, seed: int, fill: float) -> Iterator[Row]:
    """Yield the effect of a lost zone at the busiest time, then some moments of it.

    As many cards as were lost are started at once in the remaining zones.

    Args:
        fill: share of a card's sessions in use before.
    """
    capacity = curve.max_sessions
    cards = demand.cards(demand.peak, capacity, fill)
    crowd = Crowd(
        curve,
        cards,
        max_sessions=capacity,
        stay_s=demand.stay_s,
        tick_s=TICK_S,
        zones=ZONES,
        start_s=card.start_s,
        speakers=demand.peak,
        seed=seed,
    )
    arrivals = demand.peak * -math.expm1(-TICK_S / demand.stay_s)
    before = [crowd.tick(arrivals) for _ in range(round(SETTLE_S / TICK_S))]
    lost = crowd.fail(zone=0)
    crowd.start(cards - crowd.cards, without_zone=0)
    after_s = card.start_s + 2 * AFTER_S
    after = [crowd.tick(arrivals) for _ in range(round(after_s / TICK_S))]
    begun_s = before[-1].at_s
    yield {
        "what": "zone",
        "card": card.name,
        "fill": fill,
        "cards": cards,
        "lost_speakers": lost,
        "back_95_s": _back_s(after, lost, 0.05, begun_s),
        "back_999_s": _back_s(after, lost, 0.001, begun_s),
        "p95_ms_before": _ms(before[-1].p95_ms),
        "worst_late_share": round(max(tick.late for tick in after), 4),
        "p95_ms_after": _ms(after[-1].p95_ms),
        "refused": sum(tick.refused for tick in after),
    }
    for tick in (*before[-4:], *after):
        yield {"what": "zone tick", "card": card.name, "fill": fill, **_rounded(tick)}


def router_rows(card: Card, curve: Curve, demand: Demand, seed: int) -> Iterator[Row]:
    """Yield how each router does in the busiest minutes."""
    capacity = curve.max_sessions
    cards = demand.cards(demand.peak, capacity, PACKED)
    arrivals = demand.peak * -math.expm1(-DAY_TICK_S / demand.stay_s)
    for router in ROUTERS:
        crowd = Crowd(
            curve,
            cards,
            max_sessions=capacity,
            stay_s=demand.stay_s,
            tick_s=DAY_TICK_S,
            router=router,
            speakers=demand.peak,
            seed=seed,
        )
        # Long enough for an even start not to matter any more: three times a speaker's stay.
        ticks = [crowd.tick(arrivals) for _ in range(round(3 * demand.stay_s / DAY_TICK_S))]
        last = ticks[-max(round(600 / DAY_TICK_S), 1) :]
        yield {
            "what": "router",
            "card": card.name,
            "router": router,
            "most_at_a_card": int(crowd.seated.max()),
            "least_at_a_card": int(crowd.seated.min()),
            "p95_ms": _ms(last[-1].p95_ms),
            "late_share": round(1 - _in_time(last), 6),
            "refused_share": round(sum(tick.refused for tick in last) / (len(last) * arrivals), 4),
        }


def compare_rows(
    card: Card, curve: Curve, host: Host, seed: int, replicas: int = ZONES
) -> Iterator[Row]:
    """Yield what both simulations make of some replicas, one of which is lost and replaced."""
    capacity = curve.max_sessions
    speakers = int(replicas * PACKED * capacity)
    end_s = SETTLE_S + card.start_s + AFTER_S
    plan = Plan(
        replicas,
        steady(speakers, 3.0, seed),
        end_s + 10.0,
        router="round-robin",
        zones=replicas,
        failures=[Failure(SETTLE_S, zones=frozenset([0]))],
        growth=[Growth(SETTLE_S, 1)],
        start_s=card.start_s,
        door_s=SETTLE_S,
        max_sessions=capacity,
        stops_s=end_s + 5.0,
    )
    fleet = Fleet(plan, card.cost, host, seed)
    outcome = fleet.run()
    fleet.check()
    away = _away_at(outcome.away)
    # Clients away shortly after, and just before the replacement; updates late before the loss,
    # until the replacement, and after it.
    moments = (SETTLE_S + 2.0, SETTLE_S + card.start_s - 0.5)
    spans = ((SETTLE_S - 3.0, SETTLE_S - 0.5), (SETTLE_S, moments[1]), (moments[1] + 2.0, end_s))
    about = {"what": "compare", "card": card.name, "seed": seed}
    about |= {"replicas": replicas, "speakers": speakers}
    yield about | {
        "by": "exact",
        "lost_speakers": len(outcome.lost_s),
        "away_after_2_s": away(moments[0]),
        "away_until_replaced": away(moments[1]),
        **_late([outcome.late_share(*span) for span in spans]),
        "refused": outcome.refused,
    }
    crowd = Crowd(
        curve,
        replicas,
        max_sessions=capacity,
        stay_s=math.inf,
        tick_s=TICK_S,
        router="round-robin",
        zones=replicas,
        start_s=card.start_s,
        speakers=speakers,
        seed=seed,
    )
    ticks = [crowd.tick(0.0) for _ in range(round(SETTLE_S / TICK_S))]
    lost = crowd.fail(zone=0)
    crowd.start(1)
    ticks += [crowd.tick(0.0) for _ in range(round((end_s - SETTLE_S) / TICK_S))]
    yield about | {
        "by": "crowd",
        "lost_speakers": lost,
        "away_after_2_s": _tick_at(ticks, moments[0]).away,
        "away_until_replaced": _tick_at(ticks, moments[1]).away,
        **_late([_late_share(ticks, *span) for span in spans]),
        "refused": sum(tick.refused for tick in ticks),
    }


def _late(shares: Sequence[float]) -> Row:
    names = ("late_before", "late_until_replaced", "late_after")
    return {name: round(share, 4) for name, share in zip(names, shares, strict=True)}


def _late_share(ticks: Sequence[Tick], begin_s: float, end_s: float) -> float:
    return 1 - _in_time([tick for tick in ticks if begin_s < tick.at_s <= end_s + TICK_S])


def beside_rows(
    measured: Row, cost: MeasuredCost | LinearCost, host: Host, replicas: int, router: str
) -> Iterator[Row]:
    """Yield what a load test measured, beside a simulation of so many replicas.

    Args:
        measured: the result of `tokenspeed loadtest`.
    """
    for row in measured["rows"]:
        count = row["sessions"]
        rng = random.Random(count)  # as the load test draws it
        plan = Plan(
            replicas,
            [rng.random() * STAGGER_S for _ in range(count)],
            measured["seconds"],
            router=router,
            has_door=False,
            words_per_minute=measured["words_per_minute"],
        )
        outcome = Fleet(plan, cost, host).run()
        partials = [ms for _, ms in outcome.tally.partials]
        finals = [ms for _, ms in outcome.tally.finals]
        yield {
            "sessions": count,
            "replicas": replicas,
            "update_ms_p50": row["update_ms_p50"],
            "simulated_update_ms_p50": round(percentile(partials, 0.5), 1),
            "update_ms_p95": row["update_ms_p95"],
            "simulated_update_ms_p95": round(percentile(partials, 0.95), 1),
            "final_lag_ms_p95": row["final_lag_ms_p95"],
            "simulated_final_lag_ms_p95": round(percentile(finals, 0.95), 1),
            "simulated_busy": round(max(outcome.busy), 3),
        }


def _in_time(ticks: Sequence[Tick]) -> float:
    speakers = sum(tick.speakers for tick in ticks)
    return sum((1 - tick.late) * tick.speakers for tick in ticks) / speakers


def _back_s(ticks: Sequence[Tick], lost: int, share: float, begun_s: float) -> float | None:
    """Return after how long at most this share of the lost clients had no connection."""
    for tick in ticks:
        if tick.away <= share * lost:
            return round(tick.at_s - begun_s, 1)
    return None


def _away_at(changes: Sequence[tuple[float, int]]) -> Callable[[float], int]:
    def at(now_s: float) -> int:
        return next((count for at_s, count in reversed(changes) if at_s <= now_s), 0)

    return at


def _tick_at(ticks: Sequence[Tick], now_s: float) -> Tick:
    return next(tick for tick in ticks if tick.at_s >= now_s - 1e-9)


def _rounded(tick: Tick) -> Row:
    return asdict(tick) | {"late": round(tick.late, 4), "p95_ms": _ms(tick.p95_ms)}


def _ms(value: float) -> float | None:
    """Return a time for a result file, None if it is not finite."""
    return round(value, 1) if math.isfinite(value) else None
