"""The driver: what a session decides is carried out, once and in order."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from service.captions.job import Job, JobKey, Outcome
from service.driver import MAX_LIVE, MAX_RUNNING, _WaitingJobs
from service.errors import ProtocolError, TranslationFailed
from service.wire import protocol as p
from tests.service.captions.desk import LIMITS, Desk, desk, targets, update
from tests.service.fakes import ids


def test_news_of_jobs_from_before_a_suspension_are_of_no_use() -> None:
    d = desk()
    d.send(update("we go home", 1))
    (job,) = d.jobs.values()
    follow = d.follow(job)
    assert d.driver.is_waiting
    d.driver.suspend()
    assert not d.driver.is_waiting
    assert d.jobs == {}  # cancelled
    before = list(d.events)
    follow(ids("wir gehen"), None)
    follow(ids("wir gehen heim"), Outcome(ids("wir gehen heim")))
    assert d.events == before
    d.driver.wake()
    (again,) = d.jobs.values()
    assert (again.text, again.key) == (job.text, job.key)


def test_a_job_that_cannot_be_started_is_told_and_leaves_nothing_behind() -> None:
    d = desk()
    d.refusal = TranslationFailed("text_too_long", "it does not fit the model")
    events = d.send(p.SourceCommit("a", text="we go home"))
    assert [event.type for event in events] == ["error", "translation.final"]
    assert not d.driver.is_waiting
    d.refusal = None
    d.send(p.SourceCommit("b", text="we go home"))
    d.answer()
    assert d.of(p.TranslationFinal)[-1].text == "WE GO HOME"


def test_only_the_newest_job_of_a_key_counts_as_waiting() -> None:
    d = desk(stability="low")
    d.send(update("we go", 1))
    (older,) = d.jobs.values()
    follow = d.follow(older)
    d.send(update("we go home", 2))
    follow((), Outcome((), is_current=False))  # superseded
    assert d.driver.is_waiting
    d.answer()
    assert not d.driver.is_waiting


def test_a_frame_that_is_no_event_is_an_error_of_the_session() -> None:
    d: Desk = desk()
    (event,) = d.new(lambda: d.driver.refuse(ProtocolError("invalid_event", "not JSON")))
    assert isinstance(event, p.Error)
    assert d.session.counters.errors == 1


def test_the_pace_follows_the_machine() -> None:
    d = desk()
    d.interval_s = 0.5
    d.send(update("we go home", 1))
    assert d.session.pacing.interval_s == 0.5


def test_the_engine_has_only_so_many_jobs_of_a_session() -> None:
    d = desk(targets=targets("de", "fr", "es"))
    most = 0
    for n in range(100):
        d.send(p.SourceCommit(f"s{n}", text="We go home, and then we rest for a while."))
        most = max(most, len(d.jobs))
    assert most == MAX_RUNNING
    while d.jobs:
        job = next(iter(d.jobs.values()))
        d.finish(job, Outcome(ids(job.text.upper())))
        most = max(most, len(d.jobs))
    assert most == MAX_RUNNING
    assert len(d.of(p.TranslationFinal)) == 300
    assert not d.driver.is_waiting


def test_what_somebody_may_be_waiting_for_passes_what_is_read_later() -> None:
    d = desk()
    d.send(p.SourceCommit("page", text="We go home and rest. " * 60))
    d.cut()
    assert len(d.jobs) == MAX_RUNNING
    d.now += 60.0  # the page is read, as far as it is there
    d.send(update("good morning", 1, "b"))
    assert any(key.segment_id == "b" for key in d.jobs)
    for n in range(2 * MAX_LIVE):
        d.now += 0.06
        d.send(update(f"good morning {n}", n + 2, "b"))
    assert len(d.jobs) == MAX_RUNNING + 1  # a newer one of a key takes no place of its own


def test_what_somebody_waits_for_waits_for_no_place_up_to_a_bound() -> None:
    languages = targets("de", "fr", "es")
    d = Desk(replace(LIMITS, open_segments=100), source=p.SourceParams("en"), targets=languages)
    for n in range(100):
        d.now += 0.2
        d.send(update(f"good morning {n}", 1, f"s{n}"))
        assert len(d.jobs) == min(3 * (n + 1), MAX_LIVE)
        if n + 1 == LIMITS.open_segments:  # as many as a client may have open, in three languages
            assert len(d.jobs) == 3 * LIMITS.open_segments
    assert len(d.jobs) == MAX_LIVE
    d.answer()
    assert {(job.key.segment_id, job.key.target) for _, job in d.started} == {
        (f"s{n}", target) for n in range(100) for target in ("de", "fr", "es")
    }
    assert not d.driver.is_waiting


def test_a_job_that_waits_is_replaced_or_dropped_without_the_engine() -> None:
    d = desk(stability="low")
    d.send(p.SourceCommit("page", text="We go home and rest. " * 60))
    d.cut()
    waiting = JobKey("s", "page", "de", 59)
    assert waiting not in d.jobs
    before = len(d.started)
    d.send(p.SourceCancel("page"))
    assert d.jobs == {}
    assert not d.driver.is_waiting
    assert len(d.started) == before


def test_a_client_that_wants_too_much_is_told_and_not_read_until_half_is_done() -> None:
    limits = replace(LIMITS, pending_chars=1000)
    d = Desk(limits, source=p.SourceParams("en"), targets=targets("de"))
    for n in range(10):
        assert not d.driver.is_full
        d.send(p.SourceCommit(f"s{n}", text="We go home."))  # counts for a hundred
    d.send(p.SourceCommit("more", text="We go home."))
    assert d.driver.is_full
    assert [event.code for event in d.of(p.SessionNotice)] == ["backlog"]
    d.now += 2 * LIMITS.idle_s  # nobody listened, so the client was not silent
    assert d.driver.next_tick_s() == float("inf")
    jobs = list(d.jobs.values())
    for n, job in enumerate(jobs):
        assert d.driver.is_full == (n < 6)
        d.finish(job, Outcome(ids("X")))
    assert d.driver.next_tick_s() == d.now + LIMITS.idle_s
    assert len(d.of(p.TranslationFinal)) == 11


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("commit"), st.integers(1, 30)),
            st.tuples(st.just("answer"), st.integers(1, 20)),
            st.tuples(st.just("update"), st.integers(1, 30)),
        ),
        min_size=3,
        max_size=12,
    ),
    st.integers(1, 3),
)
@settings(max_examples=40)
def test_what_a_session_costs_is_bounded_by_what_it_sent(
    acts: list[tuple[str, int]], num_targets: int
) -> None:
    """In jobs at one time, and in characters that the engine is asked for in all."""
    d = desk(targets=targets(*("de", "fr", "es")[:num_targets]))
    committed = updated = 0
    for number, (act, count) in enumerate(acts):
        text = "We go home and rest. " * count
        d.now += 0.2
        if act == "commit":
            d.send(p.SourceCommit(f"s{number}", text=text))
            d.cut()
            committed += len(text)
        elif act == "update":
            d.send(p.SourceUpdate(1, text, segment_id=f"u{number}"))
            d.send(p.SourceCancel(f"u{number}"))
            updated += len(text)
        for job in list(d.jobs.values())[: count if act == "answer" else 0]:
            d.finish(job, Outcome(ids(job.text.upper())))
        assert len(d.jobs) <= MAX_LIVE
    d.answer()
    asked = sum(len(job.text) for _, job in d.started)
    assert asked <= num_targets * (committed + updated), "a piece is asked for once"
    assert d.of(p.Error) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=40))
def test_jobs_leave_in_the_order_in_which_they_are_read(
    changes: list[tuple[str, int, bool]],
) -> None:
    waiting = _WaitingJobs()
    expected: dict[str, int] = {}
    for name, reached_s, is_added in changes:
        key = JobKey("s", name, "de", 0)
        if is_added:
            waiting.add(Job(key, 1, name, False, True, (), (), 0.0, reached_s=float(reached_s)))
            expected[name] = reached_s
        else:
            waiting.discard(key)
            expected.pop(name, None)
        assert len(waiting) == len(expected)
    left = [waiting.pop() for _ in range(len(waiting))]
    assert {job.text: job.reached_s for job in left} == expected
    assert [job.reached_s for job in left] == sorted(job.reached_s for job in left)
