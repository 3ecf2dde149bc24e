"""The session: what a client sends, what it gets back, and what never happens."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.captions.actions import Close, events_of
from service.captions.job import FollowJob, Job, JobKey, Outcome
from service.captions.pacing import READING_CHARS_PER_S
from service.captions.session import Session
from service.captions.settings import ModelInfo
from service.driver import Driver
from service.errors import TranslationFailed
from service.load.limits import Limits
from service.wire import protocol as p
from service.wire.outbox import Outbox
from tests.service.asyncapi import check_frame
from tests.service.fakes import LANGUAGES, ids, new_detokenizer
from tokenspeed.text import vocabulary
from tokenspeed.text.detection import language_of as detected

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
        self.now = 100.0
        self.interval_s = 0.0
        self.sink = Record()
        self.events = self.sink.events
        self.session = Session("s", model, limits, new_detokenizer, self.now)
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
        """Let the session cut what is too long, a part at each tick."""
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


def test_a_sentence_word_by_word() -> None:
    d = desk()
    words = "we go home now and rest".split()
    for n in range(1, len(words) + 1):
        d.send(update(" ".join(words[:n]), n))
        d.answer()
    appended = "".join(delta.append for delta in d.of(p.TranslationDelta))
    assert appended == "WE GO"  # agreed on, and four source words behind
    assert d.of(p.TranslationDelta)[-1].source_rev == 6
    d.send(p.SourceCommit("a"))
    d.answer()
    (final,) = d.of(p.TranslationFinal)
    assert (final.text, final.source_text) == ("WE GO HOME NOW AND REST", "we go home now and rest")
    assert final.stats.updates > 2
    assert final.stats.erased == 0


def test_the_session_is_reported_as_it_is_applied() -> None:
    d = desk(
        source=p.SourceParams("en-US"), stability="high", glossary=(p.GlossaryEntry("a", "b"),)
    )
    (updated,) = d.of(p.SessionUpdated)
    assert updated.session.source == p.SourceParams("en")
    assert updated.session.stability == "high"
    assert updated.session.glossary == (p.GlossaryEntry("a", "b"),)
    d.send(p.SessionUpdate(p.SessionParams(timing=True)))
    assert d.of(p.SessionUpdated)[-1].session == replace(updated.session, timing=True)


@pytest.mark.parametrize(
    ("params", "param", "code"),
    [
        ({"targets": targets("xx")}, "session.targets[0].language", "unsupported_language"),
        ({"targets": targets("fr", "xx")}, "session.targets[1].language", "unsupported_language"),
        ({"source": p.SourceParams("xx")}, "session.source.language", "unsupported_language"),
        ({"source": p.SourceParams("fr")}, "session.source.language", "unsupported_language"),
        ({"context": 3}, "session.context", "invalid_event"),
        ({"targets": targets(*"abcdefghi")}, "session.targets", "invalid_event"),
        ({"glossary": entries(("a", " "))}, "session.glossary[0].target", "glossary_invalid"),
        (
            {"glossary": entries(("a", "b"), ("A", "c"))},
            "session.glossary[1].target",
            "glossary_invalid",
        ),
        ({"glossary": entries(("a", "b")) * 501}, "session.glossary", "glossary_invalid"),
        (
            {"glossary": (p.GlossaryEntry("a", "b", language="xx"),)},
            "session.glossary[0].language",
            "glossary_invalid",
        ),
        ({"do_not_translate": ("a", "x" * 101)}, "session.do_not_translate[1]", "glossary_invalid"),
        ({"do_not_translate": ("a",) * 501}, "session.do_not_translate", "glossary_invalid"),
    ],
)
def test_a_wrong_setting_changes_nothing(params: dict[str, Any], param: str, code: str) -> None:
    d = desk()
    (event,) = d.send(p.SessionUpdate(p.SessionParams(mode="append_only", **params), event_id="e1"))
    assert isinstance(event, p.Error)
    assert (event.error.param, event.error.code, event.error.event_id) == (param, code, "e1")
    d.send(p.SessionUpdate(p.SessionParams()))
    assert d.of(p.SessionUpdated)[-1].session.mode == "captions"


def test_glossary_entries_are_for_one_language_or_all_and_finals_count_them() -> None:
    glossary = (
        p.GlossaryEntry("router", "Netzkasten", language="de"),
        p.GlossaryEntry("cable", "CABLE X"),
        p.GlossaryEntry("lamp", "Leuchte", language="de"),
    )
    d = desk(targets=targets("de", "fr"), glossary=glossary, do_not_translate=("QuiD",))
    d.send(p.SourceCommit("a", text="QuiD router and cable"))
    german, french = list(d.jobs.values())
    for job in (german, french):
        # Names that stand in are copied; all other words come out in capitals.
        said = " ".join(
            word if word in vocabulary.NAMES else word.upper() for word in job.text.split()
        )
        d.finish(job, Outcome(ids(said)))
    finals = {final.target: final for final in d.of(p.TranslationFinal)}
    assert finals["de"].text == "QuiD Netzkasten AND CABLE X"
    assert finals["fr"].text == "QuiD ROUTER AND CABLE X"
    assert {t: (f.stats.terms, f.stats.violations) for t, f in finals.items()} == {
        "de": (3, 0),
        "fr": (2, 0),
    }
    d.send(p.SourceCommit("b", text="the lamp"))
    d.answer("das licht")
    last = {final.target: final for final in d.of(p.TranslationFinal)}
    assert (last["de"].stats.terms, last["de"].stats.violations) == (1, 1)
    assert (last["fr"].stats.terms, last["fr"].stats.violations) == (0, 0)


def test_a_model_without_context_gets_none() -> None:
    session = Session("s", replace(MODEL, max_context=0), LIMITS, new_detokenizer, 0.0)
    params = p.SessionParams(p.SourceParams("en"), targets("de"), context=2)
    (event,) = events_of(session.receive(p.SessionUpdate(params), 0.0, 0.0))
    assert isinstance(event, p.SessionUpdated)
    assert event.session.context == 0


def test_older_revisions_are_ignored_and_counted() -> None:
    d = desk()
    d.send(update("we go home", 5))
    d.answer()
    assert d.send(update("we", 5)) == []
    assert d.send(update("we", 4)) == []
    assert d.session.counters.stale_revisions == 2
    d.send(p.SourceCommit("a"))
    d.answer()
    assert d.send(update("we go home", 5)) == []
    assert d.send(p.SourceCommit("a")) == []
    assert d.send(p.SourceCommit("a", text="we go home")) == []
    late: list[p.ClientEvent] = [
        update("we", 5),
        update("we", 0),
        update("we go away", 6),
        p.SourceCommit("a", text="we go away"),
        p.SourceCommit("a", rev=2, text="we go home"),
    ]
    for event in late:
        (told,) = d.send(event)
        assert isinstance(told, p.Error)
        assert (told.error.code, told.error.param) == ("unknown_segment", "segment_id")
    assert len(d.of(p.TranslationFinal)) == 1


def test_segments_without_a_name_follow_each_other() -> None:
    d = desk()
    d.send(p.SourceAppend("we go "))
    d.send(p.SourceAppend("home"))
    d.send(p.SourceCommit())
    d.send(p.SourceCommit())
    d.send(p.SourceAppend("good night"))
    d.send(p.SourceFlush())
    d.answer()
    finals = [(final.segment_id, final.text) for final in d.of(p.TranslationFinal)]
    assert finals == [("auto-1", "WE GO HOME"), ("auto-2", "GOOD NIGHT")]


def test_every_target_gets_its_final() -> None:
    d = desk(targets=targets("de", "fr"))
    d.send(update("we go home", 1))
    d.send(p.SessionUpdate(p.SessionParams(targets=targets("fr", "es"))))
    d.send(p.SourceCommit("a", text="We go home."))
    d.answer()
    assert sorted(f.target for f in d.of(p.TranslationFinal)) == ["es", "fr"]
    assert {f.text for f in d.of(p.TranslationFinal)} == {"WE GO HOME."}


@given(st.permutations(range(6)), st.sets(st.integers(0, 5), max_size=2))
def test_finals_of_a_target_leave_in_the_order_of_the_commits(
    order: list[int], withdrawn: set[int]
) -> None:
    d = Desk(source=p.SourceParams("en"), targets=targets("de", "fr"))
    for n in range(6):
        d.send(p.SourceCommit(f"s{n}", text="We go home. " * (n % 3 + 1)))
    for n in order:
        for key, job in [item for item in d.jobs.items() if item[0].segment_id == f"s{n}"]:
            if key in d.jobs and n in withdrawn and key.target == "fr":
                d.send(p.SourceCancel(f"s{n}"))
            elif key in d.jobs:
                d.finish(job, Outcome(ids("wir gehen")))
    d.answer()
    assert d.of(p.Error) == []
    for target in ("de", "fr"):
        said = [f.segment_id for f in d.of(p.TranslationFinal) if f.target == target]
        assert said == sorted(said)
        assert {f"s{n}" for n in range(6) if n not in withdrawn} <= set(said)
    check_history(d.events, "captions")


def test_a_final_that_waits_for_an_earlier_one_is_readable_before() -> None:
    d = desk()
    d.send(p.SourceCommit("long", text="We go home and rest."))
    d.send(p.SourceCommit("short", text="Yes."))
    (job,) = [job for key, job in d.jobs.items() if key.segment_id == "short"]
    (delta,) = d.new(lambda: d.finish(job, Outcome(ids("Ja."))))
    assert isinstance(delta, p.TranslationDelta)
    assert (delta.segment_id, delta.append) == ("short", "Ja.")
    d.answer()
    assert [final.segment_id for final in d.of(p.TranslationFinal)] == ["long", "short"]
    # A language that is dropped holds up nobody.
    d.send(p.SourceCommit("a", text="We go home."))
    d.send(p.SessionUpdate(p.SessionParams(targets=targets("fr"))))
    d.send(p.SourceCommit("b", text="Yes."))
    d.answer()
    assert d.of(p.TranslationFinal)[-1].segment_id == "b"


def test_a_cancelled_segment_is_retracted() -> None:
    d = desk()
    d.send(update("we go home", 1))
    (event,) = d.send(p.SourceCancel("a"))
    assert event == p.TranslationRetracted("a", "de")
    assert d.jobs == {}
    (again,) = d.send(p.SourceCancel("a"))
    assert isinstance(again, p.Error)
    assert again.error.code == "unknown_segment"


def test_a_snapshot_says_which_translations_of_a_segment_are_final() -> None:
    d = desk(targets=targets("de", "fr"))
    d.send(p.SourceCommit("a", text="We go home."))
    german, _ = d.jobs.values()
    d.finish(german, Outcome(ids("WE GO HOME.")))
    assert d.session.snapshot() == (
        p.SnapshotSegment("a", "de", "WE GO HOME.", is_final=True),
        p.SnapshotSegment("a", "fr", ""),
    )


def test_a_target_must_be_set_first() -> None:
    d = Desk()
    (event,) = d.send(update("we go", 1))
    assert isinstance(event, p.Error)
    assert event.error.code == "invalid_event"


def test_sentences_inside_a_segment_are_committed_one_by_one() -> None:
    d = desk()
    d.send(update("We go home. Then we", 1))
    assert [(job.text, job.is_final) for job in d.jobs.values()] == [
        ("We go home.", True),
        ("Then we", False),
    ]
    d.answer()
    assert "".join(delta.append for delta in d.of(p.TranslationDelta)) == "WE GO HOME."
    d.send(update("We went home. Then we sleep now again", 2))  # what was stable is rewritten
    assert [job.text for job in d.jobs.values()] == ["Then we sleep now again"]
    d.answer()
    d.send(p.SourceCommit("a"))
    d.answer()
    (final,) = d.of(p.TranslationFinal)
    assert final.text == "WE GO HOME. THEN WE SLEEP NOW AGAIN"


def test_unstable_sentences_are_translated_but_not_committed() -> None:
    d = desk()
    d.send(update("", 1, unstable="We go home. Then we sleep"))
    d.answer()
    d.send(update("", 2, unstable="We go home. Then we sleep now"))
    d.answer()
    assert [delta.append for delta in d.of(p.TranslationDelta)] == ["", "", ""]
    assert d.of(p.TranslationDelta)[-1].unstable == "WE GO HOME. THEN WE"


def test_a_segment_that_is_too_long_goes_on_under_another_name() -> None:
    d = Desk(replace(LIMITS, segment_chars=50), source=p.SourceParams("en"), targets=targets("de"))
    text = "we go " * 20
    d.send(update(text, 1))
    d.send(update(text + "home", 2))
    d.send(p.SourceCommit("a"))
    d.answer()
    finals = d.of(p.TranslationFinal)
    assert [final.segment_id for final in finals] == ["a", "a~2", "a~3"]
    assert "".join(final.source_text for final in finals) == text + "home"
    assert d.of(p.Error) == []
    told = d.of(p.SessionNotice)
    assert {event.code for event in told} == {"segment_cut"}
    assert [(n.segment_id, n.next_segment_id) for n in told] == [("a", "a~2"), ("a~2", "a~3")]


def test_too_many_updates_are_coalesced_and_none_is_lost() -> None:
    d = Desk(replace(LIMITS, updates_per_s=2), source=p.SourceParams("en"), targets=targets("de"))
    for rev in range(1, 7):
        d.send(update(" ".join("we go home and rest then".split()[: rev + 1]), rev))
    assert [event.code for event in d.of(p.SessionNotice)] == ["coalescing"]
    d.answer()
    assert d.of(p.TranslationDelta)[-1].source_rev == 2
    assert d.driver.next_tick_s() == pytest.approx(100.5)
    d.now = d.driver.next_tick_s()
    d.tick()
    d.answer()
    assert d.of(p.TranslationDelta)[-1].source_rev == 6
    assert d.session.counters.coalesced == 4


def test_a_page_may_be_pasted_at_once() -> None:
    d = desk()
    for n in range(100):
        d.send(p.SourceCommit(f"s{n}", text=f"we go home {n}"))
    d.answer()
    assert len(d.of(p.TranslationFinal)) == 100
    assert d.of(p.Error) == []


def test_a_page_that_is_committed_again_is_translated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.captions.segments.MAX_CLOSED_SEGMENTS", 2)
    d = desk()
    for _ in range(2):
        for n in range(5):
            d.send(p.SourceCommit(f"s{n}", text="We go home."))
    assert d.session.counters.repeated_commits == 5
    d.answer()
    assert [final.segment_id for final in d.of(p.TranslationFinal)] == [f"s{n}" for n in range(5)]


def test_only_so_many_segments_are_open_at_once() -> None:
    d = desk()
    for n in range(LIMITS.open_segments + 1):
        d.send(update("we go", 1, f"s{n}"))
    (event,) = d.of(p.Error)
    assert (event.error.code, event.error.retryable) == ("rate_limited", True)


def test_a_silent_client_is_closed_with_its_finals() -> None:
    d = desk()
    d.send(update("we go home", 1))
    d.now = d.driver.next_tick_s()
    assert d.now == 160.0
    d.tick()
    assert d.closed is None
    d.answer()
    assert d.closed == Close(4408, "idle")
    assert [event.type for event in d.events[-2:]] == ["translation.final", "session.closed"]


def test_close_waits_for_the_finals() -> None:
    d = desk()
    d.send(update("we go home", 1))
    assert d.send(p.SessionClose()) == []
    (refused,) = d.send(update("we go home now", 2))
    assert isinstance(refused, p.Error)
    d.answer()
    closed = d.events[-1]
    assert isinstance(closed, p.SessionClosed)
    assert (closed.reason, closed.usage.source_chars) == ("client", 10)
    assert d.closed == Close(1000, "client")


@pytest.mark.parametrize("ends_with", [p.SourceCommit("a"), p.SourceCancel("a")])
@pytest.mark.parametrize("is_committed", [False, True])
def test_a_language_that_is_taken_away_gets_the_end_of_what_it_began(
    ends_with: p.ClientEvent, is_committed: bool
) -> None:
    d = meeting("de", "fr", source="en")
    d.send(update("we go home", 1))
    d.answer()
    if is_committed:
        d.send(ends_with)
    d.send(p.SessionUpdate(p.SessionParams(targets=targets("fr"))))
    if not is_committed:
        d.send(ends_with)
    d.answer()
    finals, retracted = d.of(p.TranslationFinal), d.of(p.TranslationRetracted)
    ends = [e.target for e in finals] + [e.target for e in retracted]
    assert sorted(ends) == ["de", "fr"]
    d.send(p.SourceCommit("b", text="we rest"))  # nobody saw German of this one
    d.answer()
    assert [e.target for e in d.of(p.TranslationFinal) if e.segment_id == "b"] == ["fr"]


def test_no_revision_grows_beyond_what_javascript_counts() -> None:
    d = desk()
    d.send(update("we go", 2**53 - 1))
    (refused,) = d.send(p.SourceAppend(" home", "a"))
    assert isinstance(refused, p.Error)
    assert refused.error.code == "invalid_event"
    d.send(p.SourceCommit("a"))
    d.answer()
    assert [final.text for final in d.of(p.TranslationFinal)] == ["WE GO"]


def test_a_session_is_worth_what_would_be_lost_with_it() -> None:
    d = desk()
    assert d.session.worth == 0
    d.send(update("we go home", 1))
    assert d.session.worth == 2
    d.send(p.SourceCommit("a"))
    assert d.session.worth == 2  # its final is awaited
    d.answer()
    assert d.session.worth == 1


def test_drain_tells_finishes_and_closes() -> None:
    d = desk()
    d.send(update("we go home", 1))
    (notice,) = d.new(lambda: d.driver.drain(5.0))
    assert notice == p.SessionGoingAway(5000.0, "shutdown")
    d.answer()
    assert [event.type for event in d.events[-2:]] == ["translation.final", "session.closed"]
    assert d.closed == Close(1001, "shutdown")


def test_a_failed_job_is_told_and_its_final_still_comes() -> None:
    d = desk()
    d.send(update("we go home", 1))
    d.answer()
    d.send(p.SourceCommit("a"))
    (job,) = d.jobs.values()
    events = d.finish(job, TranslationFailed("internal", "a step failed"))
    assert [event.type for event in events] == ["error", "translation.final"]
    assert d.of(p.TranslationFinal)[0].text == "WE GO HOME"


def test_context_pairs_go_along_when_asked_for() -> None:
    d = desk(context=1)
    for name, text in (("a", "One two."), ("b", "Three four."), ("c", "Five six.")):
        d.send(update(text, 1, name))
        d.answer()
        d.send(p.SourceCommit(name))
        if name == "c":
            assert [job.context for job in d.jobs.values()] == [
                (("Three four.", ids("THREE FOUR.")),)
            ]
        d.answer()


def test_ping_and_resume() -> None:
    d = desk()
    assert d.send(p.Ping("7")) == [p.Pong(1e9, "7")]
    (event,) = d.send(p.SessionResume("s", "t", 3, "e"))
    assert isinstance(event, p.Error)
    assert event.error.code == "session_expired"


TEXT = st.lists(st.sampled_from(["we", "go.", "Home", "你好。", "👍🏽", "and"]), max_size=12).map(
    " ".join
)
NAMES = st.sampled_from([None, "a", "b"])
EVENTS = st.one_of(
    st.builds(p.SourceUpdate, st.integers(0, 30), TEXT, TEXT, NAMES),
    st.builds(p.SourceAppend, TEXT, NAMES),
    st.builds(p.SourceCommit, NAMES, st.none() | st.integers(0, 30), st.none() | TEXT),
    st.builds(p.SourceCancel, NAMES),
    st.just(p.SourceFlush()),
    st.builds(
        lambda names, **more: p.SessionUpdate(p.SessionParams(targets=targets(*names), **more)),
        st.sampled_from([["de"], ["fr"], ["de", "fr"]]),
        stability=st.sampled_from([None, "low", "high"]),
        partials=st.sampled_from([None, True, False]),
        source=st.sampled_from([None, None, p.SourceParams("auto"), p.SourceParams("en")]),
    ),
)
STEPS = st.lists(
    st.tuples(EVENTS, st.integers(0, 3), st.text(alphabet="ab .é你", max_size=12)), max_size=25
)


@settings(max_examples=150)
@given(STEPS, st.sampled_from(["captions", "append_only"]), st.booleans())
def test_whatever_happens_appended_text_stays(
    steps: list[tuple[p.ClientEvent, int, str]], mode: str, timing: bool
) -> None:
    d = Desk(
        replace(LIMITS, segment_chars=40, updates_per_s=5),
        source=p.SourceParams("en"),
        targets=targets("de", "fr"),
        mode=mode,
        timing=timing,
    )
    for event, count, output in steps:
        d.send(event)
        for key in list(d.jobs)[:count]:
            job = d.jobs[key]
            tokens = (job.forced if count % 2 else ()) + ids(output)
            if len(output) % 3 == 0:
                d.progress(job, tokens)
                continue
            if output.startswith("a"):
                d.finish(job, TranslationFailed("internal", "x"))
            else:
                d.finish(job, Outcome(tokens, len(output) < 5))
        d.now += 0.11
        d.tick()
    d.send(p.SessionClose())
    d.answer()
    assert d.closed == Close(1000, "client")
    check_history(d.events, mode)
    shown = {(e.segment_id, e.target) for e in d.of(p.TranslationDelta) if e.append or e.unstable}
    ended = {(e.segment_id, e.target) for e in d.of(p.TranslationFinal)}
    assert shown <= ended | {(e.segment_id, e.target) for e in d.of(p.TranslationRetracted)}


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


def test_what_comes_at_once_is_due_as_it_is_read() -> None:
    d = desk()
    sentence = "We go home and rest. "
    d.send(p.SourceCommit("page", text=sentence * 50))
    d.answer()
    reached = [job.reached_s - d.now for _, job in d.started]
    assert reached[0] == 0.0
    assert reached == sorted(reached)
    assert reached[-1] > 49 * (len(sentence) - 2) / READING_CHARS_PER_S
    d.now += 60.0  # all is read
    d.send(update("we go on", 1, "b"))
    (job,) = d.jobs.values()
    assert job.reached_s == job.arrival_s == d.now


def test_a_pasted_page_is_cut_a_part_at_a_tick_and_then_committed() -> None:
    d = Desk(replace(LIMITS, segment_chars=50), source=p.SourceParams("en"), targets=targets("de"))
    text = "we go home now " * 40
    d.send(p.SourceCommit("a", text=text))
    assert d.jobs == {}  # nothing is done at once
    most = 0
    while d.driver.next_tick_s() == 0.0:
        before = len(d.started)
        d.tick()
        most = max(most, len(d.started) - before)
    assert most <= 2
    assert d.send(p.SourceCommit("a")) == []  # the same again is no news
    d.answer()
    finals = d.of(p.TranslationFinal)
    assert "".join(final.source_text for final in finals) == text
    assert [final.segment_id for final in finals] == ["a", *(f"a~{n}" for n in range(2, 15))]


def test_what_is_being_cut_takes_no_more_text() -> None:
    d = Desk(replace(LIMITS, segment_chars=50), source=p.SourceParams("en"), targets=targets("de"))
    d.send(p.SourceCommit("a", text="we go home now " * 40))
    d.tick()
    (event,) = d.send(p.SourceAppend("and rest", "a"))
    assert isinstance(event, p.Error)
    assert event.error.code == "unknown_segment"
    d.send(p.SessionClose())
    assert d.closed is None
    d.answer()
    assert d.closed == Close(1000, "client")


def test_names_of_the_service_and_of_the_client_do_not_collide() -> None:
    d = Desk(replace(LIMITS, segment_chars=50), source=p.SourceParams("en"), targets=targets("de"))
    d.send(p.SourceCommit("auto-1", text="good night"))
    d.send(p.SourceAppend("good morning"))
    d.send(p.SourceCommit())
    d.answer()
    assert [f.segment_id for f in d.of(p.TranslationFinal)] == ["auto-1", "auto-2"]
    d.send(update("mine", 1, "a~2"))
    d.send(update("we go home now " * 5, 1))
    d.cut()
    d.send(update("we go home now " * 5 + "and", 2))
    (event,) = d.send(update("not mine", 1, "a~3"))
    assert isinstance(event, p.Error)
    assert (event.error.code, event.error.param) == ("invalid_event", "segment_id")
    d.send(p.SourceFlush())
    d.answer()
    texts = {f.segment_id: f.source_text for f in d.of(p.TranslationFinal)}
    assert texts["a~2"] == "mine"
    assert texts["a"] + texts["a~3"] == "we go home now " * 5 + "and"


def test_a_text_that_is_short_again_before_it_was_cut_stays_whole() -> None:
    d = Desk(replace(LIMITS, segment_chars=50), source=p.SourceParams("en"), targets=targets("de"))
    d.send(update("we go home now " * 40, 1))
    d.send(update("we go home", 2))
    assert d.cut() == []
    d.send(p.SourceCommit("a"))
    d.answer()
    assert [(f.segment_id, f.source_text) for f in d.of(p.TranslationFinal)] == [
        ("a", "we go home")
    ]
    assert d.of(p.Error) == []


def test_a_reader_of_the_room_gets_a_language_from_then_on() -> None:
    d = Desk()
    d.send(p.SessionUpdate(p.SessionParams(p.SourceParams("en"), (), room="r")))
    d.send(p.SourceUpdate(1, "we go", segment_id="a"))
    assert not d.jobs
    d.driver.set_audience(frozenset({"de", "xx"}))  # the model has no xx
    assert [job.target for job in d.jobs.values()] == ["de"]
    d.driver.set_audience(frozenset())
    assert not d.jobs
    d.send(p.SourceCommit("a", text="we go home"))
    assert [e.type for e in d.events if isinstance(e, p.SourceDelta | p.SourceFinal)] == [
        "source.delta",
        "source.final",
    ]


def test_readers_who_come_while_the_line_is_lost_are_served_when_it_is_back() -> None:
    d = Desk()
    d.send(p.SessionUpdate(p.SessionParams(p.SourceParams("en"), (), room="r")))
    d.send(p.SourceUpdate(1, "we go", segment_id="a"))
    d.driver.suspend()
    d.driver.set_audience(frozenset({"de"}))
    assert not d.jobs
    d.driver.wake()
    assert [job.target for job in d.jobs.values()] == ["de"]


def test_a_snapshot_has_no_languages_of_readers() -> None:
    d = Desk()
    languages = (p.TargetParams("fr"),)
    d.send(p.SessionUpdate(p.SessionParams(p.SourceParams("en"), languages, room="r")))
    d.send(p.SourceUpdate(1, "we go", segment_id="a"))
    d.driver.set_audience(frozenset({"de"}))
    assert {segment.target for segment in d.session.snapshot()} == {"fr"}


def test_a_form_of_address_is_asked_for_in_its_language() -> None:
    d = Desk(source=p.SourceParams("en"))
    wanted = (p.TargetParams("de", "formal"), p.TargetParams("fr"))
    (told,) = d.send(p.SessionUpdate(p.SessionParams(targets=wanted)))
    assert isinstance(told, p.SessionUpdated)
    assert told.session.targets == wanted
    d.send(p.SourceCommit("a", text="Can you help me?"))
    assert {job.target: job.formality for job in d.jobs.values()} == {"de": "formal", "fr": None}
    d.send(p.SessionUpdate(p.SessionParams(targets=(p.TargetParams("de", "informal"),))))
    d.send(p.SourceCommit("b", text="Can you help me?"))
    assert [job.formality for job in d.jobs.values()][-1] == "informal"
    wrong = (p.TargetParams("de"), p.TargetParams("fr", "formal"))
    (error,) = d.send(p.SessionUpdate(p.SessionParams(targets=wrong)))
    assert isinstance(error, p.Error)
    assert error.error.code == "unsupported"
    assert error.error.param == "session.targets[1].formality"


# ---- languages ----

PIVOTED = replace(
    MODEL,
    languages=tuple(
        replace(
            info,
            targets=tuple(code for code in LANGUAGES if code != info.code),
            pivot_targets=tuple(code for code in LANGUAGES if code not in (info.code, "en"))
            if info.code != "en"
            else (),
        )
        for info in MODEL.languages
    ),
    language_of=lambda text, expected: detected(text, LANGUAGES, expected),
)
GERMAN = "Die Folien schicke ich euch später per E-Mail."
ENGLISH = "The patch was merged yesterday and it will be deployed tonight."
FRENCH = "Nous avons gagné beaucoup de nouveaux clients cette année."


def meeting(*languages: str, source: str = "auto", **params: Any) -> Desk:
    said = {"source": p.SourceParams(source), "targets": targets(*languages), **params}
    return Desk(model=PIVOTED, **said)


@pytest.mark.parametrize("source", ["auto", "de", "en"])
def test_what_is_in_the_wanted_language_passes_through(source: str) -> None:
    d = meeting("en", source=source)
    d.send(p.SourceCommit("a", text=f"{GERMAN} {ENGLISH} {GERMAN}"))
    d.send(p.SourceCommit("b", text=ENGLISH))
    assert {job.source_language for job in d.jobs.values()} == {"de"}
    d.answer()
    said = {final.segment_id: final.text for final in d.of(p.TranslationFinal)}
    assert said == {"a": f"{GERMAN.upper()} {ENGLISH} {GERMAN.upper()}", "b": ENGLISH}


def test_a_session_of_one_language_beside_others_is_taken() -> None:
    d = meeting("en", "de", source="en")
    assert d.of(p.Error) == []
    d.send(p.SourceCommit("a", text="OK, bye"))
    d.answer()
    said = {final.target: final.text for final in d.of(p.TranslationFinal)}
    assert said == {"en": "OK, bye", "de": "OK, BYE"}


@pytest.mark.parametrize("mode", ["captions", "append_only"])
def test_a_text_that_passes_through_grows_word_by_word(mode: str) -> None:
    d = meeting("en", mode=mode, stability="low")
    words = ENGLISH.split()
    for n in range(1, len(words) + 1):
        d.send(update(" ".join(words[:n]), n))
        d.answer()
    # The first words may be in any language.
    assert all(len(job.text.split()) < 4 for _, job in d.started)
    shown = [e.unstable for e in d.of(p.TranslationDelta)]
    d.send(p.SourceCommit("a"))
    assert [final.text for final in d.of(p.TranslationFinal)] == [ENGLISH]
    assert (shown[-1] == " tonight.") == (mode == "captions")
    check_history(d.events, mode)


def test_a_named_language_that_is_wrong_is_told_once_a_segment() -> None:
    d = meeting("en", source="fr")
    d.send(update(FRENCH, 1, "a"))
    d.send(p.SourceCommit("a"))
    assert d.of(p.SessionNotice) == []
    d.send(p.SourceCommit("b", text="Danke schön."))  # too short to say
    d.send(update(GERMAN, 1, "c"))
    d.send(p.SourceCommit("c", text=GERMAN + " Bis dann."))
    (notice,) = d.of(p.SessionNotice)
    assert (notice.code, notice.segment_id) == ("language_mismatch", "c")
    assert (notice.language, notice.detected_language) == ("fr", "de")
    assert "French" in notice.message
    assert "German" in notice.message
    assert [job.source_language for job in d.jobs.values()] == ["fr", "fr", "de", "de"]
    d.answer()
    check_history(d.events, "captions")


@pytest.mark.parametrize("source", ["auto", "de"])
def test_a_language_that_the_model_lacks_passes_through_and_is_told(source: str) -> None:
    text = "Ciao a tutti, oggi parliamo del nuovo progetto della città."
    d = meeting("fr", "en", source=source)
    d.send(p.SourceCommit("a", text=f"{text} {ENGLISH}"))
    d.answer()
    said = {final.target: final.text for final in d.of(p.TranslationFinal)}
    assert said == {"fr": f"{text} {ENGLISH.upper()}", "en": f"{text} {ENGLISH}"}
    (notice,) = d.of(p.SessionNotice)
    assert (notice.code, notice.detected_language) == ("language_mismatch", "it")
    assert notice.language == (None if source == "auto" else "de")
    assert "Italian; the model does not know it" in notice.message or source == "de"


def test_another_named_language_is_looked_at_anew() -> None:
    d = meeting("en", source="fr")
    d.send(update(GERMAN, 1))
    d.send(p.SessionUpdate(p.SessionParams(source=p.SourceParams("es"))))
    told = [notice.language for notice in d.of(p.SessionNotice)]
    assert told == ["fr", "es"]


def test_a_short_text_is_in_the_language_that_was_spoken_before() -> None:
    d = meeting("en")
    d.send(p.SourceCommit("a", text=ENGLISH))
    d.send(p.SourceCommit("b", text="OK."))
    d.send(p.SourceCommit("c", text=GERMAN))
    d.send(p.SourceCommit("d", text="Ja."))
    assert [job.source_language for job in d.jobs.values()] == ["de", "de"]
    assert [final.text for final in d.of(p.TranslationFinal)] == [ENGLISH, "OK."]


def test_a_pair_that_the_model_lacks_goes_through_english() -> None:
    d = meeting("fr", "en", source="de")
    d.send(p.SourceCommit("a", text=f"{GERMAN} Wir sehen uns dann."))
    asked = [(job.source_language, job.target, job.key.is_pivot) for job in d.jobs.values()]
    assert sorted(asked) == sorted([("de", "en", True), ("de", "en", False)] * 2)
    d.answer()
    passes = [job.text for _, job in d.started if job.target == "fr"]
    # What the first pass says in capitals is read as a sentence.
    assert passes == [GERMAN.capitalize(), "Wir sehen uns dann."]
    assert {job.source_language for _, job in d.started if job.target == "fr"} == {"en"}
    said = {final.target: final.text for final in d.of(p.TranslationFinal)}
    assert set(said) == {"fr", "en"}  # the first pass itself is not told
    assert said["fr"] == f"{GERMAN} Wir sehen uns dann.".upper()


def test_a_meeting_of_three_languages_reads_well_in_one() -> None:
    d = meeting("fr")
    d.send(p.SourceCommit("a", text=" ".join((GERMAN, ENGLISH, FRENCH))))
    d.answer()
    (final,) = d.of(p.TranslationFinal)
    assert final.text == f"{GERMAN.upper()} {ENGLISH.upper()} {FRENCH}"
    asked = [(job.source_language, job.target) for _, job in d.started]
    assert sorted(asked) == [("de", "en"), ("en", "fr"), ("en", "fr")]


def test_a_second_pass_streams_with_the_first() -> None:
    d = meeting("fr", source="de", stability="low")
    words = "Wir gehen jetzt alle zusammen nach Hause und ruhen uns aus".split()
    for n in range(1, len(words) + 1):
        d.send(update(" ".join(words[:n]), n))
        d.answer()
    deltas = d.of(p.TranslationDelta)
    assert {delta.target for delta in deltas} == {"fr"}
    assert deltas[-1].source_rev == len(words)
    before = "".join(delta.append for delta in deltas)
    assert before  # committed while the segment was open
    d.send(p.SourceCommit("a"))
    d.answer()
    (final,) = d.of(p.TranslationFinal)
    assert final.text == " ".join(words).upper()
    check_history(d.events, "captions")


def test_terms_come_through_both_passes() -> None:
    d = meeting(
        "fr", source="de", glossary=entries(("Folien", "diapositives")), do_not_translate=("Zug",)
    )
    d.send(p.SourceCommit("a", text="Die Folien liegen im Zug bereit."))
    d.answer()
    (final,) = d.of(p.TranslationFinal)
    # Names stand in for terms, and the fake engine has only capitals, so none is found again.
    assert (final.stats.terms, final.stats.violations) == (2, 2)


def test_a_failed_first_pass_is_told_and_the_final_still_comes() -> None:
    d = meeting("fr", source="de")
    d.send(p.SourceCommit("a", text="Guten Abend"))
    (job,) = d.jobs.values()
    d.finish(job, TranslationFailed("internal", "x"))
    (final,) = d.of(p.TranslationFinal)
    assert final.text == ""
    assert [event.error.code for event in d.of(p.Error)] == ["internal"]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([GERMAN, ENGLISH, FRENCH, "OK.", "Hm"]),
            st.integers(1, 12),
            st.sampled_from(["update", "commit", "cancel", "cut", "targets"]),
            st.integers(0, 3),
        ),
        max_size=14,
    ),
    st.sampled_from(["auto", "de", "en"]),
    st.sampled_from(["captions", "append_only"]),
)
def test_whatever_is_spoken_appended_text_stays_and_all_finals_come(
    steps: list[tuple[str, int, str, int]], source: str, mode: str
) -> None:
    d = meeting("fr", "en", source=source, mode=mode)
    for rev, (text, count, act, answers) in enumerate(steps):
        text = " ".join(text.split()[:count])
        if act == "commit":
            d.send(p.SourceCommit("a", text=f"{text} {GERMAN}"))
        elif act == "cancel":
            d.send(p.SourceCancel("a"))
        elif act == "cut":
            d.driver.suspend()
            d.jobs.clear()
            d.driver.wake()
        elif act == "targets":
            d.send(p.SessionUpdate(p.SessionParams(targets=targets(*["fr", "de"][: answers + 1]))))
        else:
            d.send(update(f"{text} {ENGLISH}" if answers else text, rev))
        for job in list(d.jobs.values())[:answers]:
            d.finish(job, Outcome((*job.forced, *ids(job.text.upper())[len(job.forced) :])))
        d.now += 0.11
        d.tick()
    d.send(p.SessionClose())
    d.answer()
    assert d.closed == Close(1000, "client")
    check_history(d.events, mode)
    shown = {(e.segment_id, e.target) for e in d.of(p.TranslationDelta) if e.append or e.unstable}
    ended = {(e.segment_id, e.target) for e in d.of(p.TranslationFinal)}
    assert shown <= ended | {(e.segment_id, e.target) for e in d.of(p.TranslationRetracted)}
