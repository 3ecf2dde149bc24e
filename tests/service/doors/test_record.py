"""What is noted of a session, as operators see it."""

import logging

import pytest

from service.captions.session import Session
from service.doors.record import Record
from service.load.limits import Limits
from service.load.metrics import Metrics
from service.wire import protocol as p
from tests.service.doors.test_state import app_state
from tests.service.fakes import FakeEngine, new_detokenizer


def record() -> tuple[Record, Metrics]:
    """A record of a new session, and the metrics."""
    state = app_state(FakeEngine())
    session = Session("s", state.model, Limits(), new_detokenizer, 0.0)
    return Record(state, session), state.metrics


def series(metrics: Metrics) -> dict[str, float]:
    """Return each series and its value."""
    text = metrics.render().decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_sessions_are_counted_while_they_have_a_line() -> None:
    noted, metrics = record()
    noted.began()
    assert series(metrics)["tokenspeed_sessions"] == 1
    noted.stopped()
    assert series(metrics)["tokenspeed_sessions"] == 0


@pytest.mark.parametrize(
    ("code", "label"),
    [(1000, "1000"), (1006, "1006"), (4408, "4408"), (4999, "other"), (3000, "other")],
)
def test_close_codes_of_clients_are_one_label(
    code: int, label: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    noted, metrics = record()
    noted.line_ended(code, 1.23456)
    assert series(metrics)[f'tokenspeed_sessions_closed_total{{code="{label}"}}'] == 1
    (line,) = [found for found in caplog.records if found.message == "connection ended"]
    assert vars(line)["data"] == {"session": "s", "code": code, "seconds": 1.235}


def test_errors_and_slow_readers_are_counted() -> None:
    noted, metrics = record()
    noted.told(p.make_error("rate_limited", "too much"))
    noted.told(p.SessionNotice("degraded", "fewer partials"))
    noted.read_too_slowly()
    noted.retired(7)
    found = series(metrics)
    assert found['tokenspeed_errors_total{code="rate_limited"}'] == 1
    assert found["tokenspeed_slow_consumers_total"] == 1
    assert found['tokenspeed_coalesced_total{where="deltas"}'] == 7
