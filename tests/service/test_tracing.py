"""A real service and a real collector: one trace from the client to the step of the engine."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from service.tracing import TracedEngine, Tracing, _Allowance
from service.wire import protocol as p
from tests.service.client import session
from tests.service.collector import Collector, attributes, collecting
from tests.service.process import ROOT, environment, serving
from tokenspeed.engine.engine import TokenStream
from tokenspeed.engine.loading import load_engine
from tokenspeed.engine.request import Request
from tokenspeed.errors import RequestTooLong

CLIENT = "b7ad6b7169203331"  # the span of the client
SECRET = "Rosamunde Quasselstrippe baked Zimtsterne"


def traceparent(trace: str, *, is_sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{CLIENT}-{'01' if is_sampled else '00'}"}


def below(span: Span, spans: list[Span]) -> list[Span]:
    """Those that have a span for their parent."""
    return [each for each in spans if each.parent_span_id == span.span_id]


@dataclass(frozen=True)
class Traced:
    """A service with traces on, and who collects them."""

    port: int
    collector: Collector

    def translate(self, text: str, headers: dict[str, str]) -> None:
        """Have a text translated over plain HTTP, from a query."""
        asked = {"q": text, "source": "en", "target": "de"}
        url = f"http://127.0.0.1:{self.port}/translate"
        httpx.post(url, params=asked, headers=headers, timeout=60).raise_for_status()


@pytest.fixture(scope="module")
def traced(tiny_translator: Path) -> Iterator[Traced]:
    """A process of its own."""
    with collecting() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with serving(tiny_translator, **settings) as (process, port):
            yield Traced(port, collector)
            # A socket that is cut is a span, too, and is sent before the process ends.
            process.terminate()
            assert process.wait(60) == 0
        assert collector.resources[0]["service.name"] == "tokenspeed"
        for word in SECRET.split():
            assert word.encode() not in collector.raw


def test_a_trace_goes_from_the_client_to_the_step_and_holds_no_text(traced: Traced) -> None:
    trace, other = secrets.token_hex(16), secrets.token_hex(16)
    traced.translate(SECRET, traceparent(other, is_sampled=False))
    traced.translate(SECRET, traceparent(trace))
    assert httpx.get(f"http://127.0.0.1:{traced.port}/livez").status_code == 200
    spans = traced.collector.until(trace, "POST /translate", "engine.request", "engine.step")

    (server,) = [span for span in spans if span.name == "POST /translate"]
    assert server.parent_span_id.hex() == CLIENT
    assert server.kind == Span.SPAN_KIND_SERVER
    assert attributes(server)["http.response.status_code"] == 200
    requests = below(server, spans)
    assert {span.name for span in requests} == {"engine.request"}
    steps = [step for request in requests for step in below(request, spans)]
    assert {span.name for span in steps} == {"engine.step"}
    assert all(attributes(span)["tokenspeed.step.rows"] for span in steps)
    for span in spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
    assert traced.collector.spans(other) == []  # its client wanted none
    assert not any("livez" in span.name for span in traced.collector.spans())


async def test_a_session_is_a_span_with_the_updates_of_its_captions_below(traced: Traced) -> None:
    trace = secrets.token_hex(16)
    url = f"ws://127.0.0.1:{traced.port}/v1/stream"
    async with session(url, additional_headers=traceparent(trace)) as client:
        await client.start("de")
        await client.send(p.SourceUpdate(1, SECRET, segment_id=SECRET))
        await client.send(p.SourceCommit(SECRET, text=SECRET))
        await client.until(p.TranslationFinal)
    spans = traced.collector.until(trace, "GET /v1/stream", "caption.update", "engine.step")

    (line,) = [span for span in spans if span.name == "GET /v1/stream"]
    assert line.parent_span_id.hex() == CLIENT
    updates = below(line, spans)
    assert {span.name for span in updates} == {"caption.update"}
    requests = [request for update in updates for request in below(update, spans)]
    assert {span.name for span in requests} == {"engine.request"}
    steps = [step for request in requests for step in below(request, spans)]
    assert {span.name for span in steps} == {"engine.step"}
    assert len({attributes(span)["tokenspeed.session"] for span in [line, *updates]}) == 1


async def test_a_step_that_serves_many_is_below_one_and_linked_to_the_others(
    tiny_translator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_engine(tiny_translator)
    try:
        prompt = model.prompts.build("hello", "en", "de", is_open=False)
        with collecting() as collector:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
            monkeypatch.setenv("OTEL_SERVICE_NAME", "captions of a school")
            tracing = Tracing(model.engine.clock, "here")
            for per_s in (1000.0, 0.0):
                traced = TracedEngine(model.engine, tracing, per_s)
                model.engine.watch_steps(traced.stepped)
                with tracing.tracer.start_as_current_span(f"caller {per_s:.0f}"):
                    streams = [
                        TokenStream(traced.submit, Request(prompt, max_new_tokens=8))
                        for _ in range(4)
                    ]
                    with pytest.raises(RequestTooLong):
                        traced.submit(Request(prompt * 10_000), lambda *_: None)
                await TokenStream(traced.submit, Request(prompt)).completion()  # without a span
                for stream in streams:
                    await stream.completion()
                assert not traced.num_open
            tracing.close()
    finally:
        model.close()

    spans = collector.spans()
    (with_spans,) = [span for span in spans if span.name == "caller 1000"]
    (without,) = [span for span in spans if span.name == "caller 0"]
    assert {span.trace_id for span in spans} == {with_spans.trace_id, without.trace_id}
    for caller in (with_spans, without):
        requests = below(caller, spans)
        assert len(requests) == 5
        (refused,) = [span for span in requests if span.status.code == Status.STATUS_CODE_ERROR]
        assert attributes(refused)["error.type"] == "RequestTooLong"
    requests = below(with_spans, spans)
    ids = {span.span_id for span in requests}
    steps = [span for span in spans if span.name == "engine.step"]
    assert {step.parent_span_id for step in steps} <= ids
    for step in steps:
        linked = {link.span_id for link in step.links}
        assert linked <= ids - {step.parent_span_id}
    # Each request took part in the steps that it says, below it, linked to it or as its event.
    for request in requests:
        if "tokenspeed.steps" in attributes(request):
            own = len(below(request, spans))
            assert own + len(request.events) == attributes(request)["tokenspeed.steps"]
    for request in below(without, spans):
        assert len(request.events) == attributes(request).get("tokenspeed.steps", 0)
    assert collector.resources[0]["service.name"] == "captions of a school"
    assert collector.resources[0]["service.instance.id"] == "here"


def test_without_traces_nothing_of_opentelemetry_is_loaded() -> None:
    program = """
import sys
from service import cli
from service.config import load_config
from service.doors.app import make_app
from service.doors.connection import Connection
from service.doors.server import Server
from service.doors.state import AppState
from service.translator import Translator
from tests.service.fakes import FakeEngine, FakePrompts, FakeTokenizer

config = load_config()
cli.check_traces(config)
engine = FakeEngine()
translator = Translator(engine, FakeTokenizer(), FakePrompts(), 1000, 0.2)
state = AppState(config, translator, "fake", engine)
make_app(state)
assert state.tracing is None
assert translator.engine is engine
print([name for name in sys.modules if "opentelemetry" in name])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


@pytest.mark.parametrize(("per_s", "taken"), [(0.0, 0), (0.5, 1), (1.0, 1), (3.0, 3)])
def test_steps_have_so_many_spans_a_second(per_s: float, taken: int) -> None:
    allowance = _Allowance(per_s)
    assert sum(allowance.take(100.0) for _ in range(10)) == taken
    assert sum(allowance.take(1000.0) for _ in range(10)) == taken
    soon = sum(allowance.take(1000.0 + n / 100) for n in range(1, 201))  # two seconds
    assert soon == int(2 * per_s)
