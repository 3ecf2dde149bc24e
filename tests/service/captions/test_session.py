"""The session: what a client sends, what it gets back, and what never happens."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.captions.actions import Close
from service.captions.job import Outcome
from service.errors import TranslationFailed
from service.wire import protocol as p
from tests.service.captions.desk import (
    LIMITS,
    Desk,
    check_end,
    desk,
    entries,
    targets,
    update,
)
from tests.service.fakes import ids
from tokenspeed.text import vocabulary


def test_a_sentence_word_by_word() -> None:
    d = desk()
    words = "we go home now and then rest".split()
    for n in range(1, len(words) + 1):
        d.send(update(" ".join(words[:n]), n))
        d.answer()
    appended = "".join(delta.append for delta in d.of(p.TranslationDelta))
    assert appended == "WE GO"  # agreed on, and five source words behind
    assert d.of(p.TranslationDelta)[-1].source_rev == 7
    d.send(p.SourceCommit("a"))
    d.answer()
    (final,) = d.of(p.TranslationFinal)
    assert (final.text, final.source_text) == (" ".join(words).upper(), " ".join(words))
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
    check_end(d, mode)


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


def test_an_event_that_waited_for_its_turn_counts_from_its_arrival() -> None:
    d = desk(timing=True)
    d.driver.receive(update("we go home", 1), arrived_s=d.now - 3.0)
    (job,) = d.jobs.values()
    assert (job.arrival_s, job.reached_s) == (d.now - 3.0, d.now - 3.0)
    d.answer()
    d.driver.receive(p.SourceCommit("a"), arrived_s=d.now - 2.0)
    (job,) = d.jobs.values()
    assert (job.arrival_s, job.reached_s) == (d.now - 2.0, d.now - 2.0)
    d.send(p.SourceUpdate(1, "we rest", "", "b"))
    assert d.jobs[job.key._replace(segment_id="b")].arrival_s == d.now


def test_what_was_held_back_or_is_asked_for_again_is_not_late() -> None:
    """Else thinned partials would be thinned further, and who comes back would close the door."""
    d = desk()
    d.interval_s = 0.5
    d.send(update("we go", 1))
    d.answer()
    d.now += 0.1
    d.send(update("we go home now", 2))
    assert not d.jobs
    d.now += 0.5
    d.tick()
    (job,) = d.jobs.values()
    assert job.reached_s == d.now
    d.driver.suspend()
    d.jobs.clear()
    d.now += 60.0
    d.driver.wake()
    (job,) = d.jobs.values()
    assert job.reached_s == d.now
