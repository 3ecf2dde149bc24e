"""Slow, silent and far too many connections, over raw sockets."""

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.doors.lines import Lines
from service.load.limits import Limits
from service.load.metrics import Metrics
from tests.service.client import session
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import eventually
from tests.service.fakes import FakeEngine
from tokenspeed.engine.core import EngineStats

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


@dataclass(eq=False)
class FakeLine:
    """A line that leaves when it is to give way."""

    lines: Lines
    address: str
    is_waiting: bool
    is_stranger: bool
    since_s: float

    def give_way(self) -> None:
        assert self.is_waiting or self.is_stranger
        here: set[Any] = self.lines.connections
        here.discard(self)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["busy", "waits", "stranger"])),
        max_size=30,
    ),
    st.integers(1, 6),
    st.integers(1, 4),
)
def test_room_is_made_by_who_waits_and_has_most(
    comers: list[tuple[str, str]], most: int, most_strangers: int
) -> None:
    lines = Lines(most, most_strangers, Limits(), Metrics(EngineStats))
    here: set[Any] = lines.connections
    for number, (address, kind) in enumerate(comers):
        waiting = {line for line in here if line.is_waiting}
        comer = FakeLine(lines, address, False, False, float(number))
        here.add(comer)
        if not lines.make_room():
            assert not waiting
            here.discard(comer)
            continue
        check_gone(waiting, here)
        comer.is_waiting = kind != "busy"
        comer.is_stranger = kind == "stranger"
        strangers = {line for line in here if line.is_stranger}
        if comer.is_stranger:
            lines.make_room_for_stranger()
        check_gone(strangers, here)
        assert comer in here
        assert len(here) <= most
        assert sum(line.is_stranger for line in here) <= most_strangers


def check_gone(before: set[Any], here: set[Any]) -> None:
    """One went at most: the oldest of an address of which no other had more."""
    gone = before - here
    assert len(gone) <= 1
    for line in gone:
        held = Counter(other.address for other in before)
        assert held[line.address] == max(held.values())
        assert all(line.since_s <= o.since_s for o in before if o.address == line.address)
