"""A fleet, update by update: replicas, a router, clients that come, are cut off and come back.

A discrete-event simulation of some replicas. Each runs the service's own code (`Replica`); this
module is what surrounds them: who is sent where, what dies, who waits how long. A million speakers
are simulated in `crowd`, which is compared with this one.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from service.bench.captions.documents import Update
from service.bench.captions.scores import percentile, share_within
from service.bench.fleet.client import Client, Tally, next_delay_s
from service.bench.fleet.replica import MAX_SESSIONS, Host, Replica
from service.bench.fleet.routing import ROUTERS, Knock
from service.bench.load.costs import MeasuredCost
from service.bench.load.simulator import BUDGET_MS, LinearCost

POLL_S: Final = 1.0  # between the router's polls of the replicas
LEAVE_S: Final = 0.5  # between checks whether a client that has finished has all its finals
PATIENCE_S: Final = 60.0  # for a connection, before a client gives up; and for the last finals


@dataclass(frozen=True, slots=True)
class Failure:
    """Replicas that die at one moment.

    Attributes:
        at_s: when. replicas: their numbers. zones: all replicas in these die, too.
    """

    at_s: float
    replicas: frozenset[int] = frozenset()
    zones: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Growth:
    """Replicas started at a moment, ready `Plan.start_s` later, spread over the zones."""

    at_s: float
    count: int


@dataclass(frozen=True)
class Plan:
    """What happens.

    Attributes:
        replicas: at the beginning. zones: that they are spread over in turn.
        arrivals: when each client first comes. seconds: that each speaks.
        router: a name of ROUTERS. start_s: of a replica that is started later.
        has_door: whether the admission decides; otherwise everybody is let in.
        door_s: from when it decides; before that, everybody is let in.
        max_sessions: of a replica.
        words_per_minute: of each. stops_s: when the simulation ends even if they still speak.
    """

    replicas: int
    arrivals: Sequence[float]
    seconds: float
    router: str = "least-p95"
    zones: int = 1
    failures: Sequence[Failure] = ()
    growth: Sequence[Growth] = ()
    start_s: float = 0.0
    has_door: bool = True
    door_s: float = 0.0
    max_sessions: int = MAX_SESSIONS
    words_per_minute: float = 180.0
    stops_s: float = math.inf


@dataclass(slots=True)
class Outcome:
    """What came of a plan.

    Attributes:
        tally: of all updates. refused: how many knocks the doors turned away.
        lost_s: when connections were lost. back_s: how long clients were without one after that.
        away: (when, how many clients were without a connection) at each change.
        sessions: of each replica, if the simulation was stopped.
        lasted_s: until the last client had said everything, or the stop.
        busy: for each replica, the share of time in which steps ran.
        steps: of all replicas. gave_up: number of clients.
    """

    tally: Tally = field(default_factory=Tally)
    refused: int = 0
    lost_s: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)
    away: list[tuple[float, int]] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    steps: int = 0
    gave_up: int = 0
    lasted_s: float = 0.0

    def p95_ms(self, begin_s: float = 0.0, end_s: float = float("inf")) -> float:
        """Return p95 of the updates that were said within a time."""
        return percentile([ms for at_s, ms in self.tally.updates if begin_s <= at_s < end_s], 0.95)

    def late_share(self, begin_s: float, end_s: float) -> float:
        """Return the share of the updates said within a time that were not answered in 200 ms."""
        times = [ms for at_s, ms in self.tally.updates if begin_s <= at_s < end_s]
        return 1 - share_within(times, BUDGET_MS)


class Fleet:
    """Runs a plan.

    Args:
        cost, host: of every replica.
        seed: of everything random.
    """

    def __init__(
        self, plan: Plan, cost: MeasuredCost | LinearCost, host: Host, seed: int = 0
    ) -> None:
        self.plan = plan
        self.outcome = Outcome()
        self._cost, self._host = cost, host
        self._rng = random.Random(seed)
        self._said_s: dict[int, float] = {}  # the newest prediction of each replica
        self._router = ROUTERS[plan.router](lambda number: self._said_s.get(number, 0.0))
        self.replicas: list[Replica] = []
        self._at: dict[int, Replica] = {}  # where each client is
        self._away: set[int] = set()
        self._lost_s: dict[int, float] = {}
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        for _ in range(plan.replicas):
            self._add_replica(0.0)
        self.clients = [
            Client(number, self.outcome.tally, plan.seconds, plan.words_per_minute)
            for number in range(len(plan.arrivals))
        ]
        self._gone: set[int] = set()  # clients that left, or gave up

    def run(self) -> Outcome:
        """Run until everybody has left."""
        plan = self.plan
        self.outcome.lasted_s = min(
            plan.stops_s,
            max(
                at_s + client.script[-1].at_ms / 1e3
                for client, at_s in zip(self.clients, plan.arrivals, strict=True)
            ),
        )
        for client, at_s in zip(self.clients, plan.arrivals, strict=True):
            self._do(at_s, partial(self._arrive, client))
        for failure in plan.failures:
            self._do(failure.at_s, partial(self._fail, failure))
        for growth in plan.growth:
            self._do(growth.at_s, partial(self._grow, growth))
        if plan.router == "least-p95":
            self._do(POLL_S, self._poll)
        while self._events and self._events[0][0] <= plan.stops_s:
            at_s, _, act = heapq.heappop(self._events)
            act(at_s)
        if self._events:
            self._stop(plan.stops_s)
        for replica in self.replicas:
            stats = replica.engine.stats()
            lived_s = max(min(replica.end_s, self.outcome.lasted_s) - replica.ready_s, 1e-9)
            self.outcome.busy.append(stats.busy_s / lived_s)
            self.outcome.steps += stats.steps
            self.outcome.refused += replica.refused
            replica.engine.close()
        return self.outcome

    def _stop(self, now_s: float) -> None:
        for replica in self.replicas:
            replica.run_until(min(now_s, replica.end_s))
            self.outcome.sessions.append(len(replica.seats))
        for client in self.clients:
            if client.number not in self._gone:
                self._depart(client, "under way at the end")

    def check(self) -> None:
        """Check that nobody is on two replicas, or on a dead one."""
        seated = [number for replica in self.replicas for number in replica.seats]
        assert len(seated) == len(set(seated))
        assert all(number in self._at for number in seated)
        assert all(not replica.seats for replica in self.replicas if replica.end_s < float("inf"))

    def _do(self, at_s: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._numbers), act))

    def _add_replica(self, ready_s: float) -> None:
        number = len(self.replicas)
        self.replicas.append(
            Replica(
                number,
                number % self.plan.zones,
                self._cost,
                self._host,
                ready_s,
                has_door=self.plan.has_door,
                max_sessions=self.plan.max_sessions,
            )
        )

    def _ready(self, now_s: float) -> list[int]:
        return [
            replica.number
            for replica in self.replicas
            if replica.ready_s <= now_s and replica.end_s > now_s
        ]

    # ---- what happens ----

    def _arrive(self, client: Client, now_s: float) -> None:
        self._knock(client, now_s, 0, now_s)
        for update in client.script:
            self._do(
                now_s + update.at_ms / 1e3,
                partial(self._say, client, update),
            )
        end_s = now_s + client.script[-1].at_ms / 1e3
        self._do(end_s + LEAVE_S, partial(self._leave, client, end_s))

    def _say(self, client: Client, update: Update, now_s: float) -> None:
        if client.number in self._gone:
            return
        event = client.say(update, now_s)
        replica = self._at.get(client.number)
        if replica is not None:
            replica.receive(client.number, event, now_s)

    def _knock(self, client: Client, since_s: float, refusals: int, now_s: float) -> None:
        """Ask for a connection; if there is none, try again later."""
        if client.number in self._gone:
            return
        if now_s - since_s > PATIENCE_S:
            self._depart(client, "gave up")
            self.outcome.gave_up += 1
            return
        ready, plan = self._ready(now_s), self.plan
        if ready:
            knock = Knock(client.number, refusals)
            replica = self.replicas[self._router.choose(knock, ready, self._rng)]
            if replica.has_room(now_s, asks_door=now_s >= plan.door_s):
                self._at[client.number] = replica
                client.delay_s = 0.0
                replica.open(client, now_s)
                if client.number in self._lost_s:
                    self.outcome.back_s.append(now_s - self._lost_s.pop(client.number))
                self._set_away(client, now_s, is_away=False)
                return
        self._set_away(client, now_s, is_away=True)
        client.delay_s = next_delay_s(client.delay_s, self._rng.random)
        self._do(now_s + client.delay_s, partial(self._knock, client, since_s, refusals + 1))

    def _leave(self, client: Client, end_s: float, now_s: float) -> None:
        """Leave once everything has its final; late ones are waited for, but not for ever."""
        if client.number in self._gone:
            return
        replica = self._at.get(client.number)
        if replica is not None:
            replica.run_until(now_s)
        if not client.is_waiting:
            self._depart(client, None)
        elif now_s - end_s > PATIENCE_S:
            self._depart(client, "never answered")
        else:
            self._do(now_s + LEAVE_S, partial(self._leave, client, end_s))

    def _depart(self, client: Client, cause: str | None) -> None:
        if cause is not None:
            client.give_up(cause)
        self._gone.add(client.number)
        self._away.discard(client.number)
        replica = self._at.pop(client.number, None)
        if replica is not None:
            replica.close(client.number)

    def _fail(self, failure: Failure, now_s: float) -> None:
        for replica in self.replicas:
            is_hit = replica.number in failure.replicas or replica.zone in failure.zones
            if not is_hit or replica.end_s < now_s or replica.ready_s > now_s:
                continue
            replica.end_s = now_s
            replica.run_until(now_s)
            for number in list(replica.seats):
                replica.close(number)
                del self._at[number]
                client = self.clients[number]
                self._lost_s[number] = now_s
                self.outcome.lost_s.append(now_s)
                self._set_away(client, now_s, is_away=True)
                client.delay_s = next_delay_s(0.0, self._rng.random)
                at_s = now_s + client.delay_s
                self._do(at_s, partial(self._knock, client, now_s, 0))

    def _grow(self, growth: Growth, now_s: float) -> None:
        for _ in range(growth.count):
            self._add_replica(now_s + self.plan.start_s)

    def _poll(self, now_s: float) -> None:
        self._said_s = {
            number: self.replicas[number].predict_s(now_s) for number in self._ready(now_s)
        }
        if len(self._gone) < len(self.clients):
            self._do(now_s + POLL_S, self._poll)

    def _set_away(self, client: Client, now_s: float, *, is_away: bool) -> None:
        before = len(self._away)
        (self._away.add if is_away else self._away.discard)(client.number)
        if len(self._away) != before:
            self.outcome.away.append((now_s, len(self._away)))


def steady(count: int, within_s: float, seed: int = 0) -> list[float]:
    """Return when so many clients come, at random within a time."""
    rng = random.Random(seed)
    return sorted(rng.random() * within_s for _ in range(count))
