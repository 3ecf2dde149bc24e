"""A session that is written down and read again goes on as one that was never written down."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.captions.job import Job, Outcome
from service.captions.session import Session
from service.errors import TranslationFailed
from service.wire import protocol as p
from tests.service.captions.desk import LIMITS, MODEL, Desk, desk, targets, update
from tests.service.fakes import ids, new_detokenizer, translation_of

WORDS = (
    "we", "go", "home", "now.", "And", "then,", "TokenSpeed", "a@b.de", "sleep!", "babble",
    "twenty", "three", "<b>", "</b>", "STOP", "🎉", "coffee", "machine",
)  # fmt: skip
PHRASES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=14).map(" ".join)
NAMES = st.sampled_from(["a", "b", None])
LATER_S = 4096.0  # of the clock of the replica that takes over; exact in binary, as are all times
GLOSSARY = (p.GlossaryEntry("coffee machine", "Kaffeemaschine"),)


class Store:
    """What a Redis would hold of a session."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}

    def take(self, session: Session, *, is_whole: bool = False) -> None:
        if is_whole:
            self.parts.clear()
        for name, part in session.dump(is_whole=is_whole).items():
            if part is None:
                self.parts.pop(name, None)
            else:
                self.parts[name] = orjson.dumps(part)

    def read(self) -> dict[str, Any]:
        return {name: orjson.loads(part) for name, part in self.parts.items()}


def taken_over(old: Desk, store: Store) -> Desk:
    """Return another replica's desk, on which the session goes on."""
    new = Desk(model=MODEL)
    new.now, new.began_s = old.now + LATER_S, old.began_s + LATER_S
    new.session = Session("s", MODEL, LIMITS, new_detokenizer, new.began_s)
    new.session.load(store.read())
    new.driver.session = new.session
    new.events.clear()
    new.events += old.events
    old.driver.suspend()
    new.driver.wake()
    return new


def plain(job: Job) -> Job:
    return replace(job, arrival_s=0.0, reached_s=0.0)


class TwoSessions(RuleBasedStateMachine):
    """The same happens to two sessions; one changes its replica where the other loses its line."""

    def __init__(self) -> None:
        super().__init__()
        self.stayed, self.moved = desk(timing=False), desk(timing=False)
        self.store = Store()
        self.store.take(self.moved.session, is_whole=True)
        self.revs = 0
        self.said: dict[str | None, str] = {}

    @property
    def both(self) -> tuple[Desk, Desk]:
        return self.stayed, self.moved

    def say(self, event: p.ClientEvent) -> None:
        for each in self.both:
            each.now += 0.125  # each replica counts the updates of a second for itself
            each.send(event)
        self.store.take(self.moved.session)

    @rule(text=PHRASES, name=NAMES, stable=st.integers(0, 14))
    def update(self, text: str, name: str | None, stable: int) -> None:
        self.revs += 1
        words = text.split(" ")
        sure = " ".join(words[:stable])
        self.say(p.SourceUpdate(self.revs, sure, text[len(sure) :], name, speaker="Ann"))

    @rule(text=PHRASES, name=NAMES, moves=st.integers(0, 14))
    def talk(self, text: str, name: str | None, moves: int) -> None:
        """Say more of a segment word by word, each answered; the replica changes in between."""
        words = text.split()
        self.talk_words(words[:moves], name)
        self.change_replica()
        self.talk_words(words[moves:], name)

    def talk_words(self, words: list[str], name: str | None = "a") -> None:
        for word in words:
            self.revs += 1
            said = self.said[name] = f"{self.said.get(name, '')} {word}".strip()
            self.say(p.SourceUpdate(self.revs, said, "", name))
            for each in self.both:
                each.answer()
            self.store.take(self.moved.session)

    def configure_with(self, glossary: tuple[p.GlossaryEntry, ...]) -> None:
        self.say(p.SessionUpdate(p.SessionParams(glossary=glossary)))

    @rule(text=PHRASES, name=NAMES, times=st.sampled_from([1, 1, 1, 60]))
    def append(self, text: str, name: str | None, times: int) -> None:
        self.say(p.SourceAppend(f"{text} " * times, name))

    @rule(name=NAMES, text=st.none() | PHRASES)
    def commit(self, name: str | None, text: str | None) -> None:
        self.said.pop(name, None)
        self.say(p.SourceCommit(name, text=text))

    @rule(name=NAMES)
    def cancel(self, name: str | None) -> None:
        self.say(p.SourceCancel(name))

    @rule()
    def flush(self) -> None:
        self.say(p.SourceFlush())

    @rule(
        languages=st.sampled_from([("de",), ("de", "fr"), ("fr",), ("es", "de")]),
        source=st.sampled_from(["en", "en", "auto"]),
        glossary=st.sampled_from([(), GLOSSARY]),
        context=st.integers(0, 2),
    )
    def configure(
        self,
        languages: tuple[str, ...],
        source: str,
        glossary: tuple[p.GlossaryEntry, ...],
        context: int,
    ) -> None:
        params = p.SessionParams(
            p.SourceParams(source),
            targets(*languages),
            glossary=glossary,
            context=context,
            captions=p.CaptionParams(),
        )
        self.say(p.SessionUpdate(params))

    @rule(read=st.frozensets(st.sampled_from(["de", "es", "fr"])))
    def read_along(self, read: frozenset[str]) -> None:
        for each in self.both:
            each.driver.set_audience(read)
        self.store.take(self.moved.session)

    @precondition(lambda self: self.stayed.jobs)
    @rule(which=st.integers(0, 100), how=st.sampled_from(["whole", "whole", "part", "fails"]))
    def answer(self, which: int, how: str) -> None:
        for each in self.both:
            job = list(each.jobs.values())[which % len(each.jobs)]
            said = ids(translation_of(job.text.strip()))
            tokens = job.forced + said[len(job.forced) :]
            if how == "part":
                each.progress(job, tokens[: max(len(tokens) // 2, len(job.forced))])
            elif how == "fails":
                each.finish(job, TranslationFailed("internal", "no"))
            else:
                each.finish(job, Outcome(tokens))
        self.store.take(self.moved.session)

    @rule()
    def tick(self) -> None:
        for each in self.both:
            each.now += 0.25
            if each.driver.next_tick_s() <= each.now:
                each.tick()
        self.store.take(self.moved.session)

    @rule()
    def change_replica(self) -> None:
        self.stayed.driver.suspend()
        self.stayed.driver.wake()
        self.moved = taken_over(self.moved, self.store)
        self.store.take(self.moved.session, is_whole=True)

    @invariant()
    def both_told_the_same(self) -> None:
        assert self.moved.events == self.stayed.events
        moved, stayed = ([plain(job) for job in each.jobs.values()] for each in self.both)
        assert moved == stayed

    @invariant()
    def what_was_written_bit_by_bit_is_all(self) -> None:
        whole = Store()
        changed = self.moved.session.dump(is_whole=False)
        for name in changed:
            assert name == "head"
        whole.take(self.moved.session, is_whole=True)
        assert whole.parts == self.store.parts

    def teardown(self) -> None:
        self.say(p.SourceFlush())
        for each in self.both:
            while each.session.worth > 1:
                each.answer()
        self.both_told_the_same()


TestTwoSessions = TwoSessions.TestCase
TestTwoSessions.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)


SPOKEN = (
    "we go home now and rest for a while until the rain is over and then we leave",
    "the coffee machine of TokenSpeed is at a@b.de and x.org/y and costs twenty three pounds",
    "we go home. And then we sleep! The coffee machine is on 🎉 and so we stay",
)


@pytest.mark.parametrize("text", SPOKEN)
def test_wherever_the_replica_changes_as_much_is_committed_and_as_soon(text: str) -> None:
    words = text.split()
    for at in range(1, len(words)):
        session = TwoSessions()
        session.configure_with(GLOSSARY)
        session.talk_words(words[:at])
        session.change_replica()
        session.talk_words(words[at:])
        session.both_told_the_same()
        session.teardown()


@pytest.mark.parametrize("num_ticks", range(4))
def test_a_long_text_that_was_being_cut_is_cut_like_one_that_stayed(num_ticks: int) -> None:
    session = TwoSessions()
    session.configure_with(())
    session.append("we we home then,", "a", times=90)
    for _ in range(num_ticks):
        session.tick()
    session.change_replica()
    session.tick()
    session.both_told_the_same()
    session.update("we", "a", stable=0)
    session.both_told_the_same()
    session.teardown()


def test_a_session_in_the_middle_of_a_sentence_goes_on_with_what_was_committed() -> None:
    d, store = desk(), Store()
    words = "we go home now and then rest".split()
    for n in range(1, len(words) + 1):
        d.send(update(" ".join(words[:n]), n))
        d.answer()
    store.take(d.session, is_whole=True)
    new = taken_over(d, store)
    (job,) = new.jobs.values()
    assert job.forced == ids("WE GO")  # the prompt is computed once, and what readers have stays
    new.send(p.SourceCommit("a"))
    new.answer()
    (final,) = new.of(p.TranslationFinal)
    assert final.text == "WE GO HOME NOW AND THEN REST"
    assert final.stats.updates > 3


@pytest.mark.parametrize("part", ["version", "model"])
def test_what_another_version_or_model_wrote_is_refused(part: str) -> None:
    d, store = desk(), Store()
    store.take(d.session, is_whole=True)
    parts = store.read()
    parts["head"][part] = 0
    fresh = Session("s", MODEL, LIMITS, new_detokenizer, 0.0)
    with pytest.raises(ValueError, match="another version or model"):
        fresh.load(parts)


def test_a_session_that_was_about_to_close_closes() -> None:
    d, store = desk(), Store()
    d.send(p.SourceUpdate(1, "we go home", segment_id="a"))
    d.send(p.SessionClose())
    store.take(d.session, is_whole=True)
    new = taken_over(d, store)
    assert new.closed is None
    new.answer()
    assert [final.text for final in new.of(p.TranslationFinal)] == ["WE GO HOME"]
    assert new.closed is not None
