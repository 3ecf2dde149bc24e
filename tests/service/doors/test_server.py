"""The way down: a drain at a signal, and the end where the engine is lost."""

import asyncio
import logging
import signal
from contextlib import suppress

import httpx
import pytest

from service.wire import protocol as p
from tests.service.asyncapi import check_frame
from tests.service.client import session
from tests.service.conftest import Run
from tests.service.doors.test_app import close_code, eventually, texts
from tests.service.fakes import FakeEngine


async def test_a_drain_finishes_segments_and_takes_nobody_new(run: Run) -> None:
    service = run(FakeEngine(delay_s=0.5))
    async with (
        session(service.ws) as client,
        httpx.AsyncClient(base_url=service.http, trust_env=False) as http,
    ):
        await client.start("de")
        await client.send(p.SourceUpdate(1, "we go home", segment_id="a"))
        await eventually(lambda: bool(service.engine.running))
        service.server.handle_exit(signal.SIGTERM, None)
        await client.until(p.SessionGoingAway)
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/livez")).status_code == 200
        async with session(service.ws) as late:
            assert check_frame(await late.socket.recv())["error"]["code"] == "overloaded"
            assert await close_code(late) == 1013
        assert await close_code(client) == 1001
    _, (final,) = texts(client, "de")
    assert final.text == "WE GO HOME"
    assert client.received[-1].type == "session.closed"


async def test_a_lost_engine_is_told_and_ends_the_server(run: Run) -> None:
    service = run(FakeEngine(delay_s=60.0))
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceCommit("a", text="we go home"))
        await eventually(lambda: bool(service.engine.running))
        service.engine.is_alive = False
        (error,) = await client.until(p.Error)
        assert isinstance(error, p.Error)
        assert (error.error.code, error.error.message) == ("internal", "the engine has stopped")
        assert await close_code(client) == 1011
    await eventually(lambda: service.server.should_exit)
    assert service.server.is_engine_lost


async def test_a_drain_lets_requests_end_and_takes_no_new_ones(run: Run) -> None:
    service = run(FakeEngine(delay_s=0.5))
    body = {"q": "we go home", "source": "en", "target": "de"}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        waiting = asyncio.create_task(http.post("/translate", json=body))
        await eventually(lambda: bool(service.engine.running))
        service.server.handle_exit(signal.SIGTERM, None)
        await eventually(lambda: service.state.is_draining and service.state.gate.is_closed)
        late = await http.post("/translate", json=body)
        assert (late.status_code, late.headers["retry-after"]) == (503, "1")
        assert (await waiting).json() == {"translatedText": "WE GO HOME"}


HALF_BODY = b"POST /translate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n"
JSON = b"content-type: application/json\r\n\r\n"
ENDLESS = b'{"q":"a b","source":"en","target":"de"}'
CHAT = b'{"stream":true,"translation":{"target":"de"},"messages":[{"role":"user","content":"a b"}]}'


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + JSON + body


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"GET /livez HTTP/1.1\r\nhost: lo", b""),  # half a head
        (HALF_BODY + JSON + b"{", b"HTTP/1.1 503"),
        (post("/translate", ENDLESS), b"HTTP/1.1 503"),
        (post("/v1/chat/completions", CHAT), b"HTTP/1.1 200"),  # amid its answer
        (b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n" * 20_000, b"HTTP/1.1 200"),  # not read
    ],
)
async def test_whoever_is_not_done_after_a_drain_is_let_go_without_an_error_in_the_log(
    run: Run, sent: bytes, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    service = run(FakeEngine(delay_s=60.0), drain_s=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        writer.write(sent)
        await eventually(lambda: bool(service.server.server_state.connections))
        await asyncio.sleep(0.3)
        service.server.handle_exit(signal.SIGTERM, None)
        await eventually(lambda: service.server.should_exit)
        await eventually(lambda: not service.server.server_state.tasks)
        await eventually(lambda: not service.server.server_state.connections)
        with suppress(ConnectionResetError):
            assert (await reader.read(1 << 16)).startswith(answer)
    finally:
        writer.transport.abort()
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert not service.engine.running
