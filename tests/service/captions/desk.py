"""A session behind its driver whose jobs wait until a test answers them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from service.captions.actions import Close
from service.captions.job import FollowJob, Job, JobKey, Outcome
from service.captions.session import Session
from service.captions.settings import ModelInfo
from service.driver import Driver
from service.errors import TranslationFailed
from service.load.limits import Limits
from service.wire import protocol as p
from service.wire.outbox import Outbox
from tests.service.asyncapi import check_frame
from tests.service.fakes import LANGUAGES, ids, new_detokenizer

E = TypeVar("E", bound=p.ServerEvent)


MODEL = ModelInfo(
    "fake",
    tuple(
        p.LanguageInfo(code, code, ("de", "es", "fr") if code == "en" else ("en",))
        for code in LANGUAGES
    ),
    max_context=2,
    formalities=frozenset(["de"]),
)


LIMITS = Limits()


@dataclass
class Held:
    """The handle on a job that waits at a desk."""

    desk: "Desk"
    key: JobKey

    def cancel(self) -> None:
        self.desk.jobs.pop(self.key, None)


@dataclass
class Record:
    """The sink of a desk: what a client would get."""

    events: list[p.ServerEvent] = field(default_factory=list)
    closed: Close | None = None

    def send(self, event: p.ServerEvent, arrival_s: float | None) -> None:
        self.events.append(event)

    def close(self, close: Close) -> None:
        self.closed = close

    def job_started(self, job: Job) -> None: ...
    def job_ended(self, job: Job, outcome: Outcome) -> None: ...
    def job_failed(self, job: Job, problem: TranslationFailed) -> None: ...


class Desk:
    """A session behind its driver; jobs wait until the test answers them."""

    def __init__(self, limits: Limits = LIMITS, model: ModelInfo = MODEL, **params: Any) -> None:
        self.now = self.began_s = 100.0
        self.interval_s = 0.0
        self.is_spent = False  # whether there is no time for more than one step of the work
        self.sink = Record()
        self.events = self.sink.events
        self.session = self.new_session(model, limits)
        self.driver = Driver(
            self.session, self.start, lambda: self.now, self.sink, lambda: self.interval_s
        )
        self.jobs: dict[JobKey, Job] = {}
        self.started: list[tuple[float, Job]] = []
        self.refusal: TranslationFailed | None = None  # of every job from now on
        self._follow: dict[JobKey, FollowJob] = {}
        self.driver.open("e")
        if params:
            self.send(p.SessionUpdate(p.SessionParams(**params)))

    def new_session(self, model: ModelInfo, limits: Limits) -> Session:
        return Session(
            "s", model, limits, new_detokenizer, self.now, is_spent=lambda: self.is_spent
        )

    @property
    def closed(self) -> Close | None:
        return self.sink.closed

    def start(self, job: Job, follow: FollowJob) -> "Held":
        if self.refusal is not None:
            raise self.refusal
        self.jobs[job.key], self._follow[job.key] = job, follow
        self.started.append((self.now, job))
        return Held(self, job.key)

    def new(self, act: Callable[[], object]) -> list[p.ServerEvent]:
        """Return the events that came of it."""
        before = len(self.events)
        act()
        return self.events[before:]

    def send(self, event: p.ClientEvent) -> list[p.ServerEvent]:
        return self.new(lambda: self.driver.receive(event, 1e9))

    def tick(self) -> list[p.ServerEvent]:
        return self.new(self.driver.tick)

    def cut(self) -> list[p.ServerEvent]:
        """Let the session go on with what it has to do, a part at each tick."""
        found: list[p.ServerEvent] = []
        while self.driver.next_tick_s() == 0.0:
            found += self.tick()
        return found

    def follow(self, job: Job) -> FollowJob:
        """Return what hears of a job's news."""
        return self._follow[job.key]

    def progress(self, job: Job, tokens: tuple[int, ...]) -> list[p.ServerEvent]:
        return self.new(lambda: self._follow[job.key](tokens, None))

    def finish(self, job: Job, ending: Outcome | TranslationFailed) -> list[p.ServerEvent]:
        """Let a job end."""
        del self.jobs[job.key]
        tokens = ending.tokens if isinstance(ending, Outcome) else ()
        return self.new(lambda: self._follow[job.key](tokens, ending))

    def answer(self, output: str | None = None) -> list[p.ServerEvent]:
        """Let the engine finish all jobs: capitals of the source, or a given output."""
        found = self.cut()
        while self.jobs:
            job = next(iter(self.jobs.values()))
            said = ids(job.text.strip().upper() if output is None else output)
            found += self.finish(job, Outcome(job.forced + said[len(job.forced) :]))
            found += self.cut()
        return found

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


def targets(*languages: str) -> tuple[p.TargetParams, ...]:
    return tuple(p.TargetParams(language) for language in languages)


def update(text: str, rev: int, segment_id: str | None = "a", unstable: str = "") -> p.SourceUpdate:
    return p.SourceUpdate(rev, text, unstable, segment_id)


def entries(*pairs: tuple[str, str]) -> tuple[p.GlossaryEntry, ...]:
    return tuple(p.GlossaryEntry(source, target) for source, target in pairs)


def desk(**params: Any) -> Desk:
    return Desk(**{"source": p.SourceParams("en"), "targets": targets("de"), **params})


def check_history(events: list[p.ServerEvent], mode: str) -> None:
    """Append is never taken back, nothing follows a final, and the wire's document agrees."""
    appended: dict[tuple[str, str], str] = {}
    ended: set[tuple[str, str]] = set()
    outbox = Outbox(10**6, 10**9, 100.0)
    for event in events:
        if isinstance(event, p.TranslationDelta):
            key = (event.segment_id, event.target)
            assert key not in ended
            appended[key] = appended.get(key, "") + event.append
            assert mode == "captions" or event.unstable == ""
        elif isinstance(event, p.TranslationFinal | p.TranslationRetracted):
            key = (event.segment_id, event.target)
            assert key not in ended
            ended.add(key)
            if isinstance(event, p.TranslationFinal):
                assert event.text.startswith(appended.get(key, ""))
        outbox.push(event)
    seqs = []
    while (popped := outbox.pop(101.0)) is not None:
        seqs.append(check_frame(popped[1])["seq"])
    assert seqs == list(range(1, len(seqs) + 1))


def check_end(desk: Desk, mode: str) -> None:
    """A client that says goodbye has its history, and all that it was shown has come to an end."""
    desk.send(p.SessionClose())
    desk.answer()
    assert desk.closed == Close(1000, "client")
    check_history(desk.events, mode)
    told = desk.of(p.TranslationDelta)
    shown = {(each.segment_id, each.target) for each in told if each.append or each.unstable}
    ended = {(each.segment_id, each.target) for each in desk.of(p.TranslationFinal)}
    retracted = {(each.segment_id, each.target) for each in desk.of(p.TranslationRetracted)}
    assert shown <= ended | retracted
