"""Slow, silent and far too many connections, over raw sockets."""

import contextlib
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.load.limits import Limits
from tests.service.client import session
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import eventually
from tests.service.fakes import FakeEngine

HEAD = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n"
UPLOAD = (
    b"POST /translate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: 100\r\n\r\n{"
)
TRANSLATE = UPLOAD.replace(b"100", b"41") + b'"q":"we go","source":"en","target":"de"}'
HANDSHAKE = (
    b"host: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
)


def connected(service: Service, address: str = "127.0.0.1") -> socket.socket:
    """Return a raw line from an address of this machine."""
    return socket.create_connection(
        ("127.0.0.1", service.port), timeout=10, source_address=(address, 0)
    )


def answer(line: socket.socket, data: bytes = b"") -> bytes:
    """Send, then return what comes until the server closes the line."""
    found = b""
    with contextlib.suppress(ConnectionError):
        line.sendall(data)
        while part := line.recv(65536):
            found += part
    return found


def is_alive(service: Service) -> bool:
    """Whether a new client is answered."""
    with connected(service) as line:
        return answer(line, HEAD + b"connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def drip(line: socket.socket, data: bytes) -> None:
    """Send without an end, so that the line is never idle, until it is cut."""
    line.settimeout(0.01)
    with contextlib.suppress(ConnectionError):
        while True:
            line.sendall(data)
            with contextlib.suppress(TimeoutError):
                if not line.recv(65536):
                    return


@pytest.fixture(name="hasty")
def _hasty(run: Run) -> Service:
    """A server without patience."""
    return run(limits=Limits(head_s=0.2, body_s=0.2, answer_s=0.2))


def test_a_head_that_does_not_end_is_not_waited_for(hasty: Service) -> None:
    for begun in (b"", HEAD, HEAD + b"x-slow: "):
        with connected(hasty) as line:
            assert answer(line, begun) == b""
    with connected(hasty) as line:  # nor that of a second request
        found = answer(line, HEAD + b"\r\n" + HEAD)
        assert found.count(b"HTTP/1.1") == found.count(b"HTTP/1.1 200 ") == 1
    with connected(hasty) as line:
        line.sendall(HEAD)
        drip(line, b"x: y\r\n"[:1])
    assert is_alive(hasty)


def test_a_body_that_does_not_end_is_not_waited_for(
    hasty: Service, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (b"/translate", b"/v1/chat/completions", b"/nowhere"):
        with connected(hasty) as line:
            found = answer(line, UPLOAD.replace(b"/translate", path))
            assert found.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 404 ", b"HTTP/1.1 405 "))
            assert found.count(b"HTTP/1.1 ") == 1
            assert b'{"error":' in found
    with connected(hasty) as line:  # where the answer did not wait for the body
        line.sendall(UPLOAD.replace(b"POST", b"GET").replace(b"100", b"100000"))
        drip(line, b"x")
    with connected(hasty) as line:
        line.sendall(UPLOAD)  # and gone
    assert is_alive(hasty)
    assert [record for record in caplog.records if record.exc_info] == []


async def test_a_client_that_does_not_read_is_cut_off(hasty: Service) -> None:
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", hasty.port))
        line.settimeout(0.2)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                line.sendall(HEAD.replace(b"/livez", b"/asyncapi.yaml") + b"\r\n")
        await eventually(lambda: not hasty.server.server_state.connections)


@pytest.fixture(name="crowd")
def _crowd(run: Run) -> Iterator[tuple[Service, list[socket.socket]]]:
    """A server for eight connections, and more lines than that which say nothing whole."""
    service = run(max_sessions=2, max_connections=8)
    with ExitStack() as stack:
        begun = (b"", HEAD, UPLOAD)
        lines = []
        for number in range(30):
            lines.append(stack.enter_context(connected(service)))
            with contextlib.suppress(ConnectionError):
                lines[-1].sendall(begun[number % 3])
        yield service, lines


async def test_lines_that_wait_give_way(crowd: tuple[Service, list[socket.socket]]) -> None:
    service, lines = crowd
    assert is_alive(service)
    assert answer(lines[0]) == b""  # the oldest went first
    assert len(service.server.server_state.connections) <= 8
    assert b'refused_total{reason="gave_way"}' in service.state.metrics.render()
    async with session(service.ws) as client:
        await client.start("de")
        for _ in range(20):
            assert is_alive(service)
        await client.receive()  # sessions give way to nobody


def test_an_address_with_many_lines_takes_none_of_another_s(run: Run) -> None:
    service = run(max_sessions=2, max_connections=8)
    with connected(service, "127.0.0.2") as early, ExitStack() as stack:
        early.sendall(HEAD)
        for _ in range(30):
            stack.enter_context(connected(service)).sendall(HEAD)
        assert answer(early, b"connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")


async def test_where_nobody_is_waited_for_the_next_is_refused(run: Run) -> None:
    service = run(FakeEngine(delay_s=30), max_sessions=2, max_connections=3)
    async with session(service.ws) as one, session(service.ws) as two:
        await one.receive()
        await two.receive()
        with connected(service) as busy:
            busy.sendall(TRANSLATE)
            await eventually(lambda: bool(service.engine.running))
            with connected(service) as late:
                found = answer(late)
            assert found.startswith(b"HTTP/1.1 503 ")
            assert found.endswith(b'{"error":"too many connections"}')
    assert b'refused_total{reason="too_many"}' in service.state.metrics.render()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /v1/stream?x=" + b"a" * 9000 + b" HTTP/1.1\r\n" + HANDSHAKE, b"414"),
        (b"GET /v1/stream HTTP/1.1\r\n" + HANDSHAKE + b"x: y\r\n" * 300, b"431"),
        (b"GET /v1/stream HTTP/1.1\r\n" + HANDSHAKE + b"x: " + b"y" * 9000 + b"\r\n", b"431"),
        (b"GET /v1/stream HTTP/1.1\r\n" + HANDSHAKE + b"content-length: 5\r\n", b"400"),
        (b"POST /v1/stream HTTP/1.1\r\n" + HANDSHAKE, b"405"),
        (b"GET /livez HTTP/9\r\n", b"400"),
    ],
)
def test_handshakes_that_cannot_be_taken_are_answered(
    service: Service, head: bytes, status: bytes
) -> None:
    with connected(service) as line:
        assert answer(line, head + b"\r\n").startswith(b"HTTP/1.1 " + status + b" ")


PIECES = st.sampled_from(
    b"GET |POST |/livez|/translate|/v1/stream|/%00| HTTP/1.1|\r\n|\r\n\r\n|: |host: localhost\r\n|"
    b"content-length: 3\r\n|content-length: -1\r\n|abc|{}|\xff|\x00|transfer-encoding: chunked\r\n|"
    b"3\r\nabc\r\n0\r\n\r\n|content-type: application/json\r\n|origin: http://[\r\n|"
    b"expect: 100-continue\r\n|connection: upgrade\r\nupgrade: h2c\r\n|\x81\x80abcd|\x89\x80abcd|"
    b"\x88\x80abcd|\xc1\x80abcd|\x81\x84\0\0\0\0\xff\xff\xff\xff".split(b"|")
    + [b"GET /v1/stream HTTP/1.1\r\n" + HANDSHAKE + b"\r\n", b"a" * 9000, HEAD + b"\r\n", UPLOAD]
)


@settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.lists(st.lists(PIECES | st.binary(max_size=20), max_size=8).map(b"".join), max_size=3))
def test_whatever_comes_nobody_else_is_harmed(
    service: Service, caplog: pytest.LogCaptureFixture, parts: list[bytes]
) -> None:
    with connected(service) as line:
        with contextlib.suppress(OSError):
            for part in parts:
                line.sendall(part)
            line.shutdown(socket.SHUT_WR)
        answer(line)  # it is closed
    assert is_alive(service)
    found = [
        record for record in caplog.records if record.exc_info or record.levelno > logging.WARNING
    ]
    assert found == []
