"""Runs a session: tells it what happened, and carries out what it decides.

The one interpreter of a session's actions, for the socket, for simulated replays and for tests.
They differ in the clock, in what starts a job, and in the sink that takes what comes out.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from service.captions.actions import Action, Close, Send, Start, Stop
from service.captions.job import FollowJob, Job, JobKey, Outcome, Tokens
from service.captions.session import Session
from service.errors import ProtocolError, TranslationFailed
from service.wire.protocol import ClientEvent, ServerEvent
from tokenspeed.engine.engine import Cancellable

StartJob = Callable[[Job, FollowJob], Cancellable]
"""Starts a job, or raises TranslationFailed; its news never come before it has returned."""


class Sink(Protocol):
    """Where the results of a session go."""

    def send(self, event: ServerEvent, arrival_s: float | None) -> None:
        """Take an event for the client; `arrival_s` is when its cause came."""
        ...

    def close(self, close: Close) -> None:
        """End the connection once everything before is sent."""
        ...

    def job_started(self, job: Job) -> None:
        """Note that the engine is asked."""
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
        self._suspensions = 0  # news of jobs from before the last one are of no use

    @property
    def is_waiting(self) -> bool:
        """Whether jobs are under way."""
        return bool(self._running)

    def open(self, epoch: str, resume_token: str | None = None) -> None:
        """Greet the client."""
        self._do(self.session.open(self._clock(), epoch, resume_token))

    def receive(self, event: ClientEvent, wall_time_s: float = 0.0) -> None:
        """Take in an event of the client; `wall_time_s`, seconds since 1970, is for `pong`."""
        self._do(self.session.receive(event, self._now_s(), wall_time_s))

    def refuse(self, problem: ProtocolError) -> None:
        """Take in a frame that is no event."""
        self._do(self.session.refuse(problem, self._clock()))

    def set_audience(self, targets: frozenset[str]) -> None:
        """Translate into these languages, too."""
        self._do(self.session.set_audience(targets, self._clock()))

    def next_tick_s(self) -> float:
        """Return when `tick` is due."""
        return self.session.next_tick_s()

    def tick(self) -> None:
        """Do what has become due."""
        self._do(self.session.tick(self._now_s()))

    def drain(self, time_left_s: float) -> None:
        """The server goes away: finish every segment, then close."""
        self._do(self.session.drain(time_left_s, self._clock()))

    def suspend(self) -> None:
        """The line was lost: free the engine at once."""
        for _, handle in self._running.values():
            handle.cancel()
        self._running.clear()
        self._suspensions += 1
        self.session.suspend()

    def wake(self) -> None:
        """The client is back: ask again for what was not done."""
        self._do(self.session.wake(self._clock()))

    def _now_s(self) -> float:
        self.session.pacing.interval_s = self._interval_s()
        return self._clock()

    def _do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._sink.send(action.event, action.arrival_s)
            elif isinstance(action, Start):
                self._start(action.job)
            elif isinstance(action, Stop):
                running = self._running.pop(action.key, None)
                if running is not None:
                    running[1].cancel()
            else:
                self._sink.close(action)

    def _start(self, job: Job) -> None:
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
        """Tell the session of a job's progress and end."""
        if ending is None:
            self._do(self.session.progress(job, tokens, self._clock()))
            return
        running = self._running.get(job.key)
        if running is not None and running[0] is job:
            del self._running[job.key]
        if isinstance(ending, TranslationFailed):
            self._fail(job, ending)
            return
        self._sink.job_ended(job, ending)
        self._do(self.session.complete(job, ending, self._now_s()))

    def _fail(self, job: Job, problem: TranslationFailed) -> None:
        self._sink.job_failed(job, problem)
        self._do(self.session.fail(job, problem.code, str(problem), self._clock()))
