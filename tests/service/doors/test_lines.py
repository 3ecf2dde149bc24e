"""Slow, silent and far too many connections, over raw sockets."""

import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

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
