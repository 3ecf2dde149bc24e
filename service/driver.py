"""Runs a session: tells it what happened, and carries out what it decides.

The one interpreter of a session's actions, for the socket, for simulated replays and for tests.
They differ in the clock, in what starts a job, and in the sink that takes what comes out.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from service.captions.actions import Action, Close, Send, Start, Stop
from service.captions.job import FollowJob, Job, JobKey, Outcome, Tokens
from service.captions.session import Session
from service.errors import ProtocolError, TranslationFailed
from service.wire.protocol import ClientEvent, ServerEvent
from tokenspeed.engine.engine import Cancellable

MAX_RUNNING: Final = 32  # jobs of one session that the engine has at one time
MAX_LIVE: Final = 128  # likewise, of jobs that a reader may be waiting for
LIVE_S: Final = 0.5  # lead time: this long before its reader gets there, a text counts as awaited

StartJob = Callable[[Job, FollowJob], Cancellable]
"""Starts a job, or raises TranslationFailed; its news never arrive before it has returned."""


class Sink(Protocol):
    """Where the results of a session go."""

    def send(self, event: ServerEvent, arrival_s: float | None) -> None:
        """Take an event for the client; `arrival_s` is when its cause arrived."""
        ...

    def close(self, close: Close) -> None:
        """Close the connection once everything before this has been sent."""
        ...

    def job_started(self, job: Job) -> None:
        """Note that a job is given to the engine."""
        ...

    def job_ended(self, job: Job, outcome: Outcome) -> None:
        """Note how a job ended."""
        ...

    def job_failed(self, job: Job, problem: TranslationFailed) -> None:
        """Note that a job could not be run."""
        ...


class Driver:
    """A session, the jobs that it waits for, and its clock.

    Args:
        session: decides.
        start: hands a job to the engine.
        clock: seconds, monotonic.
        sink: takes what comes out.
        interval_s: returns the least time between partials, by how busy the machine is.
    """

    def __init__(
        self,
        session: Session,
        start: StartJob,
        clock: Callable[[], float],
        sink: Sink,
        interval_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.session = session
        self._start_job = start
        self._clock = clock
        self._sink = sink
        self._interval_s = interval_s
        self._running: dict[JobKey, tuple[Job, Cancellable]] = {}
        self._waiting = _WaitingJobs()
        self._suspensions = 0  # news of jobs from before the last suspension are ignored

    @property
    def is_waiting(self) -> bool:
        """Whether jobs are under way."""
        return bool(self._running or self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether so much is waiting that nothing more should be read from the client."""
        self._do(self.session.measure_pending(self._clock()))
        return self.session.is_full

    def open(self, epoch: str, resume_token: str | None = None) -> None:
        """Greet the client."""
        self._do(self.session.open(self._clock(), epoch, resume_token))

    def receive(
        self, event: ClientEvent, wall_time_s: float = 0.0, arrived_s: float | None = None
    ) -> None:
        """Take an event from the client.

        Args:
            wall_time_s: seconds since 1970, for `pong`.
            arrived_s: on the clock; None: just now.
        """
        now_s = self._now_s()
        waited_s = 0.0 if arrived_s is None else now_s - arrived_s
        self._do(self.session.receive(event, now_s, wall_time_s, waited_s))
        self._do(self.session.measure_pending(now_s))

    def refuse(self, problem: ProtocolError) -> None:
        """Take a frame that is not a valid event."""
        self._do(self.session.refuse(problem, self._clock()))

    def set_audience(self, targets: frozenset[str]) -> None:
        """Translate into these languages as well."""
        self._do(self.session.set_audience(targets, self._clock()))

    def next_tick_s(self) -> float:
        """Return when `tick` is due."""
        self.session.backlog = len(self._waiting)
        return self.session.next_tick_s()

    def tick(self) -> None:
        """Do whatever is due."""
        self._do(self.session.tick(self._now_s()))

    def drain(self, time_left_s: float) -> None:
        """The server is shutting down: finish every segment, then close."""
        self._do(self.session.drain(time_left_s, self._clock()))

    def suspend(self) -> None:
        """The connection was lost: free the engine at once."""
        for _, handle in self._running.values():
            handle.cancel()
        self._running.clear()
        self._waiting.clear()
        self._suspensions += 1
        self.session.suspend()

    def wake(self) -> None:
        """The client is back: ask again for what was not finished."""
        self._do(self.session.wake(self._clock()))

    def _now_s(self) -> float:
        self.session.pacing.interval_s = self._interval_s()
        self.session.backlog = len(self._waiting)
        return self._clock()

    def _do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._sink.send(action.event, action.arrival_s)
            elif isinstance(action, Start):
                self._start(action.job)
            elif isinstance(action, Stop):
                self._waiting.discard(action.key)
                running = self._running.pop(action.key, None)
                if running is not None:
                    running[1].cancel()
            else:
                self._sink.close(action)

    def _start(self, job: Job) -> None:
        """Give a job to the engine now, or later if it has enough from this session."""
        is_live = job.reached_s - self._clock() <= LIVE_S
        room = MAX_LIVE if is_live else MAX_RUNNING
        if job.key in self._running or len(self._running) < room:
            self._waiting.discard(job.key)
            self._ask(job)
        else:
            self._waiting.add(job)

    def _fill(self) -> None:
        """Give waiting jobs to the engine, as far as there is room."""
        while self._waiting and len(self._running) < MAX_RUNNING:
            self._ask(self._waiting.pop())

    def _ask(self, job: Job) -> None:
        self._sink.job_started(job)
        suspensions = self._suspensions

        def follow(tokens: Tokens, ending: Outcome | TranslationFailed | None) -> None:
            if suspensions == self._suspensions:
                self._follow(job, tokens, ending)

        try:
            self._running[job.key] = (job, self._start_job(job, follow))
        except TranslationFailed as exc:
            self._fail(job, exc)

    def _follow(self, job: Job, tokens: Tokens, ending: Outcome | TranslationFailed | None) -> None:
        """Pass a job's progress and end on to the session."""
        if ending is None:
            self._do(self.session.progress(job, tokens, self._clock()))
            return
        running = self._running.get(job.key)
        if running is not None and running[0] is job:
            del self._running[job.key]
        if isinstance(ending, TranslationFailed):
            self._fail(job, ending)
        else:
            actions = self.session.complete(job, ending, self._now_s())
            self._sink.job_ended(job, ending)  # only now it is known whether more is due at once
            self._do(actions)
        self._fill()

    def _fail(self, job: Job, problem: TranslationFailed) -> None:
        actions = self.session.fail(job, problem.code, str(problem), self._clock())
        self._sink.job_failed(job, problem)
        self._do(actions)


class _WaitingJobs:
    """Jobs waiting for room in the engine, ordered by when a reader gets to them.

    At most one per key: a newer one replaces an older one, which costs the engine nothing.
    """

    def __init__(self) -> None:
        self._jobs: dict[JobKey, tuple[int, Job]] = {}
        self._heap: list[tuple[float, int, JobKey]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Queue a job."""
        number = next(self._numbers)
        self._jobs[job.key] = (number, job)
        heapq.heappush(self._heap, (job.reached_s, number, job.key))

    def pop(self) -> Job:
        """Remove and return the next job; there must be one."""
        while True:
            _, number, key = heapq.heappop(self._heap)
            found = self._jobs.get(key)
            if found is not None and found[0] == number:
                del self._jobs[key]
                return found[1]

    def discard(self, key: JobKey) -> None:
        """Remove the job of a key, if there is one."""
        self._jobs.pop(key, None)
        if not self._jobs:
            self._heap.clear()

    def clear(self) -> None:
        """Remove all jobs."""
        self._jobs.clear()
        self._heap.clear()
