"""Translations of a session: which languages, by which way, with what going along."""

from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.captions.actions import events_of
from service.captions.job import Outcome
from service.captions.pacing import READING_CHARS_PER_S
from service.captions.session import Session
from service.errors import TranslationFailed
from service.wire import protocol as p
from tests.service.captions.desk import (
    LIMITS,
    MODEL,
    Desk,
    check_end,
    check_history,
    desk,
    entries,
    targets,
    update,
)
from tests.service.fakes import LANGUAGES, ids, new_detokenizer
from tokenspeed.text.detection import guess_of
from tokenspeed.text.detection import language_of as detected


def test_a_model_without_context_gets_none() -> None:
    session = Session("s", replace(MODEL, max_context=0), LIMITS, new_detokenizer, 0.0)
    params = p.SessionParams(p.SourceParams("en"), targets("de"), context=2)
    (event,) = events_of(session.receive(p.SessionUpdate(params), 0.0, 0.0))
    assert isinstance(event, p.SessionUpdated)
    assert event.session.context == 0


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
    guess_of=lambda text: guess_of(text, LANGUAGES),
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
    d.cut()
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


@pytest.mark.parametrize(
    ("text", "target", "passes"),
    [
        ("Demain matin", "es", [("fr", "en"), ("en", "es")]),  # French, most likely
        ("Demain matin", "fr", [(None, "fr")]),  # not sure enough to pass through
        ("Demain matin", "en", [(None, "en")]),  # one pass, whatever it is
        ("Tomorrow", "es", [(None, "es")]),
        ("Taxi", "es", [(None, "es")]),
    ],
)
def test_an_unclear_text_takes_two_passes_where_it_likely_needs_them(
    text: str, target: str, passes: list[tuple[str | None, str]]
) -> None:
    d = meeting(target)
    d.send(p.SourceCommit("a", text=text))
    d.answer()
    assert [(job.source_language, job.target) for _, job in d.started] == passes
    (final,) = d.of(p.TranslationFinal)
    assert final.text == text.upper()


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
            st.booleans(),
        ),
        max_size=14,
    ),
    st.sampled_from(["auto", "de", "en"]),
    st.sampled_from(["captions", "append_only"]),
)
def test_whatever_is_spoken_appended_text_stays_and_all_finals_come(
    steps: list[tuple[str, int, str, int, bool]], source: str, mode: str
) -> None:
    d = meeting("fr", "en", source=source, mode=mode)
    for rev, (text, count, act, answers, d.is_spent) in enumerate(steps):
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
    check_end(d, mode)


SHORT = replace(LIMITS, segment_chars=300)
PARTS = st.sampled_from(
    (
        "We go home. ",
        "and so on ",
        GERMAN + " ",
        "see {x} or <b>a</b> ",
        "<b>a</b> " * 50,
        "👍",
        "a",
        "A, b; ",
    )
)


@settings(max_examples=50, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=60).map("".join), st.booleans())
def test_a_session_without_time_says_the_same_in_more_turns(text: str, is_typed: bool) -> None:
    said = []
    for is_spent in (False, True):
        d = Desk(SHORT, source=p.SourceParams("en"), targets=targets("de", "es", "fr"))
        d.is_spent = is_spent
        for part in (text[: len(text) // 2], text):
            if is_typed:
                d.send(p.SourceAppend(part, "a"))
            else:
                d.send(p.SourceUpdate(len(part), part, "", "a"))
            d.answer()
        d.send(p.SourceCommit("a"))
        d.answer()
        finals = d.of(p.TranslationFinal)
        said.append([(f.segment_id, f.target, f.source_text, f.text) for f in finals])
    assert said[0]
    assert sorted(said[0]) == sorted(said[1])


def test_of_finals_nothing_is_told_before_they_are_whole_where_these_are_late() -> None:
    d = desk()
    told = []
    for d.interval_s in (0.5, 10.0):
        d.send(p.SourceCommit(f"at {d.interval_s}", text="We go home and we rest."))
        (job,) = d.jobs.values()
        told.append(len(d.progress(job, ids("WE GO HOME"))))
        d.answer()
    assert told == [1, 0]
    assert len(d.of(p.TranslationFinal)) == 2


LONG_SENTENCE: Final = "we go home, and so we rest, " * 20


def test_a_piece_begins_in_a_turn_of_its_own_where_there_is_no_time() -> None:
    d = desk()
    d.is_spent = True
    d.send(p.SourceCommit("a", text=LONG_SENTENCE))
    d.cut()
    told: list[p.ServerEvent] = []
    pieces = []
    while d.jobs:
        (job,) = d.jobs.values()
        pieces.append(job.key.piece)
        told += d.finish(job, Outcome(ids(job.text.upper())))
        assert not d.jobs
        told += d.cut()
    assert len(pieces) > 2
    assert pieces == list(range(len(pieces)))
    (final,) = (event for event in told if isinstance(event, p.TranslationFinal))
    said = final.text.upper().replace(" ", "")  # a piece that goes on begins as engines write that
    assert said == LONG_SENTENCE.upper().replace(" ", "")


def test_what_waits_for_its_turn_as_the_line_is_lost_is_asked_for_again() -> None:
    d = desk()
    d.is_spent = True
    d.send(p.SourceCommit("a", text=LONG_SENTENCE))
    d.cut()
    (job,) = d.jobs.values()
    d.finish(job, Outcome(ids(job.text.upper())))
    d.driver.suspend()
    assert d.driver.next_tick_s() > d.now
    d.driver.wake()
    d.answer()
    assert len(d.of(p.TranslationFinal)) == 1


def test_languages_are_asked_one_by_one_where_there_is_no_time() -> None:
    d = Desk(SHORT, source=p.SourceParams("en"), targets=targets("de", "es", "fr"))
    d.is_spent = True
    d.send(update("We go home. We rest.", 1))
    asked = [len(d.started)]
    while d.driver.next_tick_s() == 0.0:
        d.tick()
        asked.append(len(d.started))
    assert asked[-1] == 6
    assert max(b - a for a, b in pairwise([0, *asked])) == 1


def test_a_language_of_readers_with_many_terms_waits_until_they_are_compiled() -> None:
    terms = tuple(p.GlossaryEntry(f"word {i}", f"mot {i}", language="fr") for i in range(100))
    d = desk(glossary=terms, room="r")
    assert not d.session.hold(frozenset())
    assert d.session.hold(frozenset({"fr"}))
    d.driver.set_audience(frozenset({"fr"}))
    d.send(p.SourceCommit("a", text="a word 7"))
    assert not d.started
    assert d.driver.next_tick_s() > d.now
    compiling = d.session.compiling()
    assert compiling is not None
    compiling()
    assert d.session.compiling() is None
    d.session.let_go()
    d.answer()
    assert {final.target for final in d.of(p.TranslationFinal)} == {"de", "fr"}
