"""One replica, update by update: the service's own sessions, door and engine in simulated time.

Sessions and their drivers, the translator, the admission, the scheduler with its fair shares and
the cache are the service's; only the model (`ToyBackend`) and the times of a step (`MeasuredCost`)
and of the event loop for an update are simulated. Event loop and engine work side by side, like
their threads: an update that comes during a step is read meanwhile, and is in the next step.
"""

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.bench.captions.transcript import session_params
from service.bench.fleet.client import Client
from service.bench.fleet.toy import ToyPrompts, ToyTokenizer
from service.bench.load.costs import MeasuredCost
from service.bench.load.simulator import BUDGET_MS, END, LinearCost, ToyBackend
from service.captions.actions import Close
from service.captions.job import FollowJob, Job, Outcome, Tokens
from service.captions.session import Session
from service.config import Config
from service.doors.state import MEASURE_S
from service.driver import Driver
from service.errors import TranslationFailed
from service.load.admission import Admission, Work
from service.start import slots
from service.translator import Translator
from service.wire.protocol import ClientEvent, ServerEvent, SessionUpdate
from tokenspeed.backends import Step
from tokenspeed.bench.manual_engine import ManualEngine, SimulatedClock
from tokenspeed.engine.engine import Cancellable
from tokenspeed.model.config import EngineConfig

MAX_SESSIONS: Final = 1024  # TOKENSPEED_MAX_SESSIONS if only the door decides


@dataclass(frozen=True, slots=True)
class Host:
    """Processor time around the steps, as `tokenspeed bench host` measured it.

    Attributes:
        loop_ms: of the event loop for an update: parsing, session, socket.
        step_ms: of the engine's thread for a step: scheduler and bookkeeping.
    """

    loop_ms: float = 0.0
    step_ms: float = 0.0

    def around(self, cost: MeasuredCost | LinearCost) -> MeasuredCost | LinearCost:
        """Return the cost of a step, the engine's work around it included."""
        if isinstance(cost, MeasuredCost):
            return replace(cost, extra_ms=self.step_ms)
        return replace(cost, base_ms=cost.base_ms + self.step_ms)


class _Device(ToyBackend):
    """Lets the event loop work while a step runs."""

    meanwhile: Callable[[], None]

    def step(self, batch: Step) -> NDArray[np.int32]:
        """Run a step, then let the event loop read what came meanwhile."""
        answers = super().step(batch)
        self.meanwhile()
        return answers


class Replica:
    """A process with its model.

    Args:
        number: among the replicas. zone: that it is in.
        cost: of a step. host: cost of the processor's work around steps.
        ready_s: when it takes sessions.
        has_door: whether the admission decides. max_sessions: as in `Config`.

    Attributes:
        end_s: when it died or will: nothing that it sends later arrives.
        refused: how many the door turned away.
    """

    def __init__(
        self,
        number: int,
        zone: int,
        cost: MeasuredCost | LinearCost,
        host: Host,
        ready_s: float = 0.0,
        *,
        has_door: bool = True,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self.number, self.zone, self.ready_s = number, zone, ready_s
        self.end_s = math.inf
        self.refused = 0
        config = Config(max_sessions=max_sessions)
        sizes = EngineConfig(num_slots=slots(config))
        self._clock = SimulatedClock()
        self._clock.skip_to(ready_s)
        device = _Device(
            host.around(cost),
            self._clock,
            num_slots=sizes.num_slots,
            max_length=sizes.max_length,
            max_step_tokens=sizes.max_step_tokens,
        )
        device.meanwhile = self._read
        self.engine = ManualEngine(
            device, eos_token_ids=[END], max_step_ms=sizes.max_step_ms, clock=self._clock
        )
        tokenizer = ToyTokenizer()
        prompts = ToyPrompts(tokenizer)
        budget_s = BUDGET_MS / 1e3
        self._translator = Translator(self.engine, tokenizer, prompts, sizes.max_length, budget_s)
        self._model = self._translator.model_info("toy")
        self.admission = Admission(budget_s, ready_s)
        self._has_door, self._max_sessions = has_door, max_sessions
        self._limits = config.limits
        self._loop_s = host.loop_ms / 1e3
        self._loop_used_s = 0.0
        self._free_s = ready_s  # when the event loop has finished what it has
        self._now_s = ready_s  # the event loop's time
        self._measured_s = -math.inf
        self._arrivals: list[tuple[float, int, Seat, ClientEvent]] = []
        self._ticks: list[tuple[float, int, Seat]] = []
        self._numbers = itertools.count()
        self.seats: dict[int, Seat] = {}

    def has_room(self, at_s: float, *, asks_door: bool = True) -> bool:
        """Whether the door lets one more session in."""
        self.run_until(at_s)
        self._now_s = max(self._now_s, at_s)
        self.measure()
        is_open = len(self.seats) < self._max_sessions and (
            not (self._has_door and asks_door) or self.admission.admits(self._now_s)
        )
        self.refused += not is_open
        return is_open

    def predict_s(self, at_s: float) -> float:
        """Return the p95 of an update predicted for one more session; inf: no room."""
        self.run_until(at_s)
        if len(self.seats) >= self._max_sessions:
            return math.inf
        return self.admission.predict(max(self._now_s, at_s))

    def open(self, client: Client, at_s: float) -> None:
        """Start a session; the client sends again what has no final."""
        assert client.number not in self.seats
        seat = Seat(self, client, f"{client.number}@{self.number}/{next(self._numbers)}")
        self.seats[client.number] = seat
        self.admission.open(seat.session.id, self._now_s)
        self._push(at_s, seat, SessionUpdate(session_params("en", "de", has_partials=True)))
        for event in client.unfinished():
            self._push(at_s, seat, event)

    def receive(self, client: int, event: ClientEvent, at_s: float) -> None:
        """Take an event of a client."""
        self._push(at_s, self.seats[client], event)

    def close(self, client: int) -> None:
        """End a session."""
        seat = self.seats.pop(client)
        seat.is_gone = True
        seat.driver.suspend()
        self.admission.close(seat.session.id, self._now_s)

    def run_until(self, end_s: float) -> None:
        """Let the replica work until a moment; a step under way then is finished."""
        while self._clock() < end_s:
            if self.engine.is_idle:
                next_s = self._next_s()
                if next_s > end_s:
                    return
                self._clock.skip_to(next_s)
            self._read()
            self.engine.step()

    def run_out(self, limit_s: float) -> None:
        """Work until nobody waits for anything, or until a moment."""
        while self._clock() < limit_s:
            if self.engine.is_idle and not self._arrivals and self._next_s() > limit_s:
                return
            is_waited_for = any(seat.client.is_waiting for seat in self.seats.values())
            if self.engine.is_idle and not self._arrivals and not is_waited_for:
                return
            if self.engine.is_idle:
                self._clock.skip_to(self._next_s())
            self._read()
            self.engine.step()

    def measure(self) -> None:
        """Pass the engine's counters to the admission, as `AppState.measure` does."""
        self.admission.refresh(self._now_s)
        if self._now_s - self._measured_s >= MEASURE_S:
            self._measured_s = self._now_s
            stats = self.engine.stats()
            work = Work(stats.live_rows, stats.step_s, stats.row_s, self._loop_used_s)
            self.admission.measure(work, self._now_s)

    @property
    def now_s(self) -> float:
        """The event loop's time."""
        return self._now_s

    def interval_s(self) -> float:
        """Return the least time between partials of a session."""
        self.admission.refresh(self._now_s)
        return self.admission.interval_s

    def start(self, seat: "Seat") -> Driver:
        """Return what runs a session here."""
        return Driver(seat.session, self._start, lambda: self._now_s, seat, self.interval_s)

    def new_session(self, name: str) -> Session:
        """Return a session of the model here."""
        new = self._translator.new_detokenizer
        return Session(name, self._model, self._limits, new, self._now_s)

    def _start(self, job: Job, follow: FollowJob) -> Cancellable:
        def follow_later(tokens: Tokens, ending: Outcome | TranslationFailed | None) -> None:
            # The event loop handles the engine's news after what it already has.
            self._now_s = max(self._now_s, self._clock(), self._free_s)
            follow(tokens, ending)

        return self._translator.start(job, follow_later)

    def _push(self, at_s: float, seat: "Seat", event: ClientEvent) -> None:
        heapq.heappush(self._arrivals, (at_s, next(self._numbers), seat, event))

    def _next_s(self) -> float:
        """Return when the event loop will have finished its next task."""
        found = math.inf
        if self._arrivals:
            found = max(self._arrivals[0][0], self._free_s) + self._loop_s
        if self._ticks:
            found = min(found, self._ticks[0][0])
        return found

    def _read(self) -> None:
        """Do what the event loop has finished by now."""
        now_s = self._clock()
        while self._ticks and self._ticks[0][0] <= now_s:
            at_s, _, seat = heapq.heappop(self._ticks)
            if seat.due_s == at_s and not seat.is_gone:
                self._now_s = max(self._now_s, at_s)
                seat.due_s = math.inf
                seat.driver.tick()
                self.schedule(seat)
        while self._arrivals:
            done_s = max(self._arrivals[0][0], self._free_s) + self._loop_s
            if done_s > now_s:
                return
            _, _, seat, event = heapq.heappop(self._arrivals)
            if seat.is_gone:
                continue
            self._free_s = done_s
            self._loop_used_s += self._loop_s
            self._now_s = max(self._now_s, done_s)
            seat.driver.receive(event)
            self.schedule(seat)

    def schedule(self, seat: "Seat") -> None:
        """Wake a session when it wants to be woken."""
        due_s = max(seat.driver.next_tick_s(), self._now_s)
        if due_s < seat.due_s:
            seat.due_s = due_s
            heapq.heappush(self._ticks, (due_s, next(self._numbers), seat))


class Seat:
    """A client's session on a replica; the sink of its driver."""

    def __init__(self, replica: Replica, client: Client, name: str) -> None:
        self.client = client
        self.is_gone = False
        self.due_s = math.inf  # when the session is woken next
        self._replica = replica
        self.session = replica.new_session(name)
        self.driver = replica.start(self)

    def send(self, event: ServerEvent, arrival_s: float | None) -> None:
        """Let the client hear, if the replica is still there."""
        if self._replica.now_s <= self._replica.end_s and not self.is_gone:
            self.client.hear(event, self._replica.now_s)

    def close(self, close: Close) -> None:
        """Fail: no simulated client breaks a rule."""
        raise AssertionError(f"a session was closed: {close}")

    def job_started(self, job: Job) -> None:
        """Nothing is counted here: the client counts."""

    def job_ended(self, job: Job, outcome: Outcome) -> None:
        """Report to the admission how late an update was, as `doors.record.Record` does."""
        if outcome.is_current:
            now_s = self._replica.now_s
            self._replica.measure()
            late_s = max(now_s - max(job.arrival_s, job.reached_s), 0.0)
            self._replica.admission.observe(self.session.id, late_s, now_s, is_final=job.is_final)

    def job_failed(self, job: Job, problem: TranslationFailed) -> None:
        """Raise it: a simulation that lacks a translation means nothing."""
        raise problem
