"""A fleet of any size, as counts: how many speak at each replica, tick by tick.

All speakers are alike, so their number at each replica is all there is to know; the next numbers
follow from these by chance alone (a Markov chain; lumping speakers is exact as long as they leave
at a constant rate). How soon they are answered is looked up in the `Curve` of one replica. Unlike
`exact`, it leaves out that a queue takes a second to build up or drain, and the prefill of those
who come back. `compare` in `report` shows how much that matters.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.bench.fleet.client import FIRST_DELAY_S, MAX_DELAY_S
from service.bench.fleet.curve import EDGES_MS, Curve, quantile
from service.bench.load.simulator import BUDGET_MS
from service.load.admission import HEARD_S
from service.load.autoscaling import wanted_replicas

# Waits of a client, one after another: the mean values of `client.next_delay_s`.
DELAYS_S: Final = (
    0.75 * FIRST_DELAY_S,
    *(FIRST_DELAY_S * 1.75**n for n in range(1, 8)),
    0.875 * MAX_DELAY_S,
)
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tick:
    """The fleet at the end of a tick.

    Attributes:
        speakers: that want to speak; away: those of them without a connection.
        cards: running, starting and stopping ones; ready: those of them that take sessions.
        p95_ms: of the updates said in the tick; inf if too many had no connection.
        late: share of them not answered within the budget, those without a connection included.
        refused: knocks that were turned away. moved: speakers of replicas that stopped.
    """

    at_s: float
    speakers: int
    away: int
    cards: int
    ready: int
    p95_ms: float
    late: float
    refused: int
    moved: int


@dataclass(slots=True)
class Totals:
    """Sums over a run.

    Attributes:
        updates: said; answered: those answered by replicas, in time or not; waiting: those said
            without a connection, answered once there is one.
        histogram: of the answers, over EDGES_MS.
        card_s, speaker_s: seconds of all cards, and of all speakers.
        came, left: speakers; those at the beginning count as come.
    """

    updates: float = 0.0
    answered: float = 0.0
    waiting: float = 0.0
    histogram: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(EDGES_MS) + 1))
    card_s: float = 0.0
    speaker_s: float = 0.0
    came: int = 0
    left: int = 0

    @property
    def p95_ms(self) -> float:
        """Of all updates; those without a connection count as infinitely late."""
        counts = self.histogram.copy()
        counts[-1] += self.waiting
        return quantile(counts, 0.95)


class Crowd:
    """Replicas and their numbers of speakers.

    Args:
        curve: of one replica.
        replicas: at the beginning, ready.
        max_sessions: of each.
        stay_s: how long a speaker stays, on average.
        tick_s: length of a tick.
        router: a name of `routing.ROUTERS`; "sticky" is a hash, so a random draw for newcomers.
        zones: that the replicas are spread over.
        start_s: until a started replica takes sessions.
        speakers: at the beginning, spread evenly.
    """

    def __init__(
        self,
        curve: Curve,
        replicas: int,
        *,
        max_sessions: int,
        stay_s: float,
        tick_s: float,
        router: str = "least-p95",
        zones: int = 1,
        start_s: float = 0.0,
        speakers: int = 0,
        seed: int = 0,
    ) -> None:
        self.now_s = 0.0
        self.totals = Totals(came=speakers)
        self._curve, self._router = curve, router
        self._max_sessions, self._stay_s, self._tick_s = max_sessions, stay_s, tick_s
        self._zones, self._start_s = zones, start_s
        self._rng = np.random.default_rng(seed)
        self._ready_s: NDArray[np.float64] = np.zeros(replicas)
        self._zone: Counts = np.arange(replicas) % zones
        self._leaving: NDArray[np.bool_] = np.zeros(replicas, bool)
        # Speakers by ticks since they came; those in the last column show in the measurements.
        self._ages = max(math.ceil(HEARD_S / tick_s), 1)
        self._seated: Counts = np.zeros((replicas, self._ages + 1), np.int64)
        self._seated[:, -1] = _shared(speakers, replicas)
        self._waiting: dict[int, Counts] = {}  # by tick of the next knock, by last wait
        self._num_ticks = 0
        self._next = 0  # of the round robin
        self._room = self._make_room()

    @property
    def away(self) -> int:
        """Speakers without a connection."""
        return int(sum(counts.sum() for counts in self._waiting.values()))

    @property
    def speakers(self) -> int:
        """Speakers, with a connection and without."""
        return int(self._seated.sum()) + self.away

    @property
    def seated(self) -> Counts:
        """[replicas] Speakers at each."""
        return self._seated.sum(axis=1)

    @property
    def cards(self) -> int:
        """All replicas, ready or not."""
        return len(self._ready_s)

    def fail(self, zone: int) -> int:
        """Lose a zone; return how many speakers lost their connection."""
        return self._lose(self._zone == zone)

    def fail_some(self, count: int) -> int:
        """Lose so many replicas; return how many speakers lost their connection."""
        return self._lose(np.arange(self.cards) < count)

    def start(self, count: int, without_zone: int | None = None) -> None:
        """Start replicas, spread over the zones, or over the others if one is lost."""
        zones = [zone for zone in range(self._zones) if zone != without_zone]
        self._ready_s = np.concatenate([self._ready_s, np.full(count, self.now_s + self._start_s)])
        self._zone = np.concatenate([self._zone, np.resize(zones, count)])
        self._leaving = np.concatenate([self._leaving, np.zeros(count, bool)])
        more = np.zeros((count, self._ages + 1), np.int64)
        self._seated = np.concatenate([self._seated, more])

    def wanted(self) -> int:
        """Return how many cards there should be, by the service's own autoscaling.

        Each replica reports how busy it is, as in `AppState.busy`, and the p95 that it predicts.
        """
        is_ready = (self._ready_s <= self.now_s) & ~self._leaving
        seated = np.minimum(self.seated[is_ready], self._curve.most)
        busy = np.maximum(self._curve.busy[seated], seated / self._max_sessions)
        late = self._curve.predicted_s[seated] / (BUDGET_MS / 1e3)
        return wanted_replicas(busy.tolist(), late.tolist(), self.cards)

    def scale(self, wanted: int) -> None:
        """Bring the number of replicas to this: start some, or stop the emptiest."""
        staying = np.flatnonzero(~self._leaving)
        if wanted > len(staying):
            self.start(wanted - len(staying))
        elif wanted < len(staying):
            emptiest = staying[np.argsort(self.seated[staying], kind="stable")]
            self._leaving[emptiest[: len(staying) - wanted]] = True

    def tick(self, arrivals: float) -> Tick:
        """Let a tick pass, with so many new speakers on average."""
        self._num_ticks += 1
        self.now_s += self._tick_s
        moved = self._let_go()
        self._leave()
        self._grow_older()
        came = int(self._rng.poisson(arrivals)) if arrivals > 0 else 0
        self.totals.came += came
        knocking = self._waiting.pop(self._num_ticks, np.zeros(len(DELAYS_S) + 1, np.int64))
        knocking[0] += came
        refused = self._knock(knocking)
        return self._count(refused, moved)

    def _lose(self, lost: NDArray[np.bool_]) -> int:
        number = int(self._seated[lost].sum())
        self._keep(~lost)
        self._send_away(0, number)
        return number

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        self._ready_s, self._zone = self._ready_s[kept], self._zone[kept]
        self._leaving, self._seated = self._leaving[kept], self._seated[kept]

    def _let_go(self) -> int:
        """Drain the stopping replicas: their speakers ask for another connection at once."""
        moved = int(self._seated[self._leaving].sum())
        if self._leaving.any():
            self._keep(~self._leaving)
            self._send_away(0, moved)
        return moved

    def _leave(self) -> None:
        share = -math.expm1(-self._tick_s / self._stay_s)
        gone = self._rng.binomial(self._seated, share)
        self._seated -= gone
        self.totals.left += int(gone.sum())
        for counts in self._waiting.values():
            tired = self._rng.binomial(counts, share)
            counts -= tired
            self.totals.left += int(tired.sum())

    def _grow_older(self) -> None:
        self._seated[:, -1] += self._seated[:, -2]
        self._seated[:, 1:-1] = self._seated[:, :-2]
        self._seated[:, 0] = 0

    def _knock(self, knocking: Counts) -> int:
        """Send those who knock to replicas; return how many were turned away.

        Within the tick, those turned away knock again as often as their waits allow.
        """
        refused = 0
        left_s = np.full(len(knocking), self._tick_s)
        while knocking.any():
            turned_away = self._seat(int(knocking.sum()))
            refused += turned_away
            if not turned_away:
                break
            # Which of them are turned away is random.
            share = self._rng.multivariate_hypergeometric(knocking, turned_away, method="marginals")
            knocking = np.zeros_like(knocking)
            for index in map(int, np.flatnonzero(share)):
                wait_s = DELAYS_S[min(index, len(DELAYS_S) - 1)]
                following = min(index + 1, len(DELAYS_S))
                if wait_s < left_s[index]:
                    left_s[following] = left_s[index] - wait_s
                    knocking[following] += share[index]
                else:
                    self._send_away(following, int(share[index]), wait_s)
        return refused

    def _send_away(self, index: int, number: int, wait_s: float = 0.0) -> None:
        """Have speakers knock later; `index`: of the wait that follows their next refusal."""
        if number:
            due = self._num_ticks + max(round(wait_s / self._tick_s), 1)
            counts = self._waiting.setdefault(due, np.zeros(len(DELAYS_S) + 1, np.int64))
            counts[index] += number

    def _seat(self, number: int) -> int:
        """Let some knock once; return how many were turned away."""
        ready = np.flatnonzero((self._ready_s <= self.now_s) & ~self._leaving)
        if not len(ready):
            return number
        seated, heard = self.seated[ready], self._seated[ready, -1]
        fresh = seated - heard
        room = self._room[np.minimum(heard, len(self._room) - 1)] - fresh
        room = np.maximum(np.minimum(room, self._max_sessions - seated), 0)
        let_in = np.minimum(self._routed(number, seated, room), room)
        self._seated[ready, 0] += let_in
        return number - int(let_in.sum())

    def _routed(self, number: int, seated: Counts, room: Counts) -> Counts:
        """Return how many go to each ready replica."""
        count = len(seated)
        if self._router == "round-robin":
            at = (self._next + np.arange(number % count)) % count
            self._next = (self._next + number) % count
            return number // count + np.bincount(at, minlength=count)
        if self._router == "sticky":
            return self._rng.multinomial(number, np.full(count, 1 / count))
        with_room = np.flatnonzero(room)
        among = with_room if len(with_room) else np.arange(count)
        one, other = among[self._rng.integers(0, len(among), (2, number))]
        chosen = np.where(seated[one] <= seated[other], one, other)
        return np.bincount(chosen, minlength=count)

    def _make_room(self) -> Counts:
        """Return how many newcomers a replica has room for, by the speakers that it has heard.

        In a tick longer than HEARD_S, those let in are heard meanwhile, and others follow.
        """
        newcomers = self._curve.newcomers
        found = np.array(newcomers)
        for _ in range(1, math.floor(self._tick_s / HEARD_S)):
            inside = np.minimum(np.arange(len(found)) + found, len(found) - 1)
            found = found + newcomers[inside]
        return found

    def _count(self, refused: int, moved: int) -> Tick:
        seated, curve = self.seated, self._curve
        by_number = np.bincount(np.minimum(seated, curve.most), minlength=curve.most + 1)
        spoken = by_number * np.arange(curve.most + 1)
        said = curve.updates_per_s * self._tick_s
        histogram = spoken @ curve.histograms * said
        away = self.away
        totals = self.totals
        totals.histogram += histogram
        totals.answered += float(histogram.sum())
        totals.waiting += away * said
        totals.updates += self.speakers * said
        totals.card_s += self.cards * self._tick_s
        totals.speaker_s += self.speakers * self._tick_s
        histogram[-1] += away * said
        in_time = histogram[: np.searchsorted(EDGES_MS, BUDGET_MS)].sum()
        everything = histogram.sum()
        return Tick(
            at_s=self.now_s,
            speakers=self.speakers,
            away=away,
            cards=self.cards,
            ready=int(((self._ready_s <= self.now_s) & ~self._leaving).sum()),
            p95_ms=quantile(histogram, 0.95),
            late=float(max(1 - in_time / everything, 0.0)) if everything else 0.0,
            refused=refused,
            moved=moved,
        )


def day(
    crowd: Crowd,
    demand: Callable[[float], float],
    tick_s: float,
    stay_s: float,
    seconds: float,
) -> list[Tick]:
    """Let a crowd follow a demand, and the number of cards follow the crowd.

    Args:
        demand: speakers at a time.
    """
    ticks = []
    for number in range(round(seconds / tick_s)):
        at_s = number * tick_s
        now, soon = demand(at_s), demand(at_s + tick_s)
        ticks.append(crowd.tick(soon - now + now * -math.expm1(-tick_s / stay_s)))
        crowd.scale(crowd.wanted())
    return ticks


def _shared(number: int, among: int) -> Counts:
    return number // among + (np.arange(among) < number % among)
