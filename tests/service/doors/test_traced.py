"""What spans say of requests, sessions and updates that do not go as they should."""

import secrets
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from service.doors.rest import Rest
from service.wire import protocol as p
from tests.service.client import session
from tests.service.collector import Collector, attributes, collecting
from tests.service.conftest import Run
from tests.service.doors.test_app import eventually
from tests.service.doors.test_resume import begin, cut, resume
from tests.service.fakes import FakeEngine
from tests.service.test_tracing import CLIENT, below, traceparent

WORD = "Quasselstrippe"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Takes the spans of the services that a test runs."""
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield found
        assert WORD.encode() not in found.raw


def test_what_clients_invent_is_not_repeated(run: Run, collector: Collector) -> None:
    service = run(is_traced=True)
    trace = secrets.token_hex(16)
    for method, path in ((WORD.upper(), "/translate"), ("GET", f"/{WORD}?q={WORD}")):
        told = httpx.request(method, service.http + path, headers=traceparent(trace))
        assert told.status_code in (404, 405)
    httpx.get(f"{service.http}/v1/rooms/{WORD}", headers=traceparent(trace))
    spans = collector.until(trace, "_OTHER /translate", "GET", "GET /v1/rooms/{room}")
    assert len(spans) == 3
    assert {span.parent_span_id.hex() for span in spans} == {CLIENT}
    assert WORD.upper().encode() not in collector.raw


@pytest.mark.parametrize("header", ["", "00-0-0-01", "x" * 5000, "00-" + "0" * 32 + "-1-01"])
def test_a_header_that_says_nothing_begins_a_trace(
    header: str, run: Run, collector: Collector
) -> None:
    service = run(is_traced=True)
    httpx.get(f"{service.http}/languages", headers={"traceparent": header}).raise_for_status()
    service.server.should_exit = True
    (span,) = collector.until("", "GET /languages")
    assert span.parent_span_id == b""


def test_a_bug_is_told_by_its_type_alone(
    run: Run, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def buggy(*_: object) -> None:
        raise ZeroDivisionError(WORD)

    monkeypatch.setattr(Rest, "languages", buggy)
    service = run(is_traced=True)
    trace = secrets.token_hex(16)
    told = httpx.get(f"{service.http}/languages", headers=traceparent(trace))
    assert told.status_code == 500
    (span,) = collector.until(trace, "GET /languages")
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert attributes(span)["error.type"] == "ZeroDivisionError"
    assert not span.events


async def test_an_update_says_how_it_ended(run: Run, collector: Collector) -> None:
    engine = FakeEngine(delay_s=3600.0)  # what is not superseded or cancelled does not end
    service = run(engine, is_traced=True)
    trace = secrets.token_hex(16)
    async with session(service.ws, additional_headers=traceparent(trace)) as client:
        await client.start("de")
        await client.send(p.SourceUpdate(1, f"we go {WORD} home", segment_id="a"))
        await eventually(lambda: len(engine.requests) == 1)
        await client.send(p.SourceUpdate(2, f"we go {WORD} home now", segment_id="a"))
        await client.send(p.SourceCommit("a"))
        await eventually(lambda: len(engine.requests) >= 2)
    spans = collector.until(trace, "GET /v1/stream", "caption.update")
    (line,) = [span for span in spans if span.name == "GET /v1/stream"]
    updates = below(line, spans)
    endings = [attributes(span)["tokenspeed.ending"] for span in updates]
    assert sorted(map(str, endings)) == ["lost", "superseded"]


async def test_a_browser_says_in_the_query_what_it_cannot_say_in_a_header(
    run: Run, collector: Collector
) -> None:
    service = run(FakeEngine(), is_traced=True)
    asked, told = (secrets.token_hex(16) for _ in range(2))
    where = f"{service.ws}?traceparent={traceparent(asked)['traceparent']}"
    async with session(where) as client:
        await client.until(p.SessionCreated)
    async with session(where, additional_headers=traceparent(told)) as client:
        await client.until(p.SessionCreated)  # a header counts more
    async with session(f"{service.ws}?traceparent=nonsense") as client:
        await client.until(p.SessionCreated)
    for trace in (asked, told):
        (line,) = collector.until(trace, "GET /v1/stream")
        assert line.parent_span_id.hex() == CLIENT


async def test_a_job_that_fails_is_an_error_of_its_update(run: Run, collector: Collector) -> None:
    service = run(FakeEngine(is_broken=True), is_traced=True)
    trace = secrets.token_hex(16)
    async with session(service.ws, additional_headers=traceparent(trace)) as client:
        await client.start("de")
        await client.send(p.SourceCommit(text=WORD))
        await client.until(p.Error)
    spans = collector.until(trace, "GET /v1/stream", "caption.update", "engine.request")
    update, *_ = [span for span in spans if span.name == "caption.update"]
    assert update.status.code == Status.STATUS_CODE_ERROR
    assert attributes(update)["tokenspeed.ending"] == "failed"
    for request in below(update, spans):
        assert attributes(request)["error.type"] == "EngineStopped"


async def test_what_is_done_again_after_a_lost_line_is_below_the_new_one(
    run: Run, collector: Collector
) -> None:
    service = run(FakeEngine(delay_s=0.3), is_traced=True)
    traces = [secrets.token_hex(16) for _ in range(2)]
    async with session(service.ws, additional_headers=traceparent(traces[0])) as first:
        created = await first.receive()
        assert isinstance(created, p.SessionCreated)
        await first.start("de")
        await first.send(p.SourceCommit("a", text=f"we go {WORD}"))
        await eventually(lambda: bool(service.engine.running))
        await cut(first, service)
    async with session(service.ws, additional_headers=traceparent(traces[1])) as second:
        await second.send(resume(created.session, first.last_seq))
        await second.until(p.TranslationFinal)
    for trace, ending in zip(traces, ("lost", "done"), strict=True):
        spans = collector.until(trace, "GET /v1/stream", "caption.update")
        (line,) = [span for span in spans if span.name == "GET /v1/stream"]
        (update,) = below(line, spans)
        assert attributes(update)["tokenspeed.ending"] == ending


async def test_a_session_that_is_resumed_goes_on_below_its_new_line(
    run: Run, collector: Collector
) -> None:
    service = run(is_traced=True)
    trace = secrets.token_hex(16)
    async with session(service.ws) as first:
        info = await begin(first, service)
        await cut(first, service)
    async with session(service.ws, additional_headers=traceparent(trace)) as second:
        await second.send(resume(info, first.last_seq))
        await second.until(p.SessionResumed)
        await second.send(p.SourceCommit(text=WORD))
        await second.until(p.TranslationFinal)
    spans = collector.until(trace, "GET /v1/stream", "caption.update", "engine.request")
    (line,) = [span for span in spans if span.name == "GET /v1/stream"]
    assert attributes(line)["tokenspeed.session"] == info.id
    assert attributes(line)["tokenspeed.close_code"]
    assert {span.name for span in below(line, spans)} == {"caption.update"}
