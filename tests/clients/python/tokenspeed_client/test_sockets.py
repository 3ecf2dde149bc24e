"""Opening and closing lines."""

import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.clients.network import Network
from tests.service.collector import collecting
from tests.service.conftest import Run, Service
from tests.service.process import ROOT
from tokenspeed_client.rooms import open_room
from tokenspeed_client.sockets import NoLine, close_line, open_line, trace_headers


async def test_nobody_answers_in_time(service: Service) -> None:
    async with Network(service.port).running() as network:
        network.is_deaf = True
        with pytest.raises(NoLine, match="no answer within 0.1 s"):
            await open_line(f"ws://127.0.0.1:{network.port}/v1/stream", {}, 0.1, {})
    with pytest.raises(NoLine):
        await open_line(f"ws://127.0.0.1:{network.port}/v1/stream", {}, 5, {})


async def test_something_else_answers(service: Service) -> None:
    with pytest.raises(NoLine, match="HTTP 403"):
        await open_line(f"ws://127.0.0.1:{service.port}/nothing", {}, 5, {})


async def test_a_dead_line_is_closed_soon(service: Service) -> None:
    async with Network(service.port).running() as network:
        socket = await open_line(f"ws://127.0.0.1:{network.port}/v1/stream", {}, 5, {})
        network.is_deaf = True
        began_s = time.monotonic()
        await close_line(socket)
        assert time.monotonic() - began_s < 5


async def test_the_trace_of_the_caller_goes_on_in_the_service(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        service = run(is_traced=True)
        assert trace_headers() == {}  # outside of a span
        with TracerProvider().get_tracer("a program").start_as_current_span("caller") as span:
            await open_room(service.http, "hall")
            await close_line(await open_line(service.ws, {}, 20, {}))
        own = span.get_span_context()
        found = collector.until(f"{own.trace_id:032x}", "POST /v1/rooms", "GET /v1/stream")
        assert {each.parent_span_id.hex() for each in found} == {f"{own.span_id:016x}"}


def test_a_program_without_opentelemetry_gets_none_of_it() -> None:
    program = """
import sys
from tokenspeed_client import client
from tokenspeed_client.sockets import trace_headers
assert trace_headers() == {}
print([name for name in sys.modules if "opentelemetry" in name])
"""
    command = [sys.executable, "-c", program]
    ran = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT / "clients/python", timeout=100
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
