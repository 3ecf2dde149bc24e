"""The driver: what a session decides is carried out, once and in order."""

from service.captions.job import Outcome
from service.errors import ProtocolError, TranslationFailed
from service.wire import protocol as p
from tests.service.captions.test_session import Desk, desk, update
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
