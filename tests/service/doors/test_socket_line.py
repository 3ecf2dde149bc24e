"""Handshakes, over raw sockets; frames are in test_autobahn.py."""

import socket

import pytest
from websockets.frames import Frame, Opcode

from tests.service.conftest import Service
from tests.service.doors.test_app import eventually
from tests.service.doors.test_lines import answer, connected

HANDSHAKE = (
    b"host: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
)
OPENING = b"GET /v1/stream HTTP/1.1\r\n" + HANDSHAKE + b"\r\n"


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


@pytest.mark.parametrize("waits", [True, False])
def test_who_sends_far_too_much_is_told_so(service: Service, waits: bool) -> None:
    """Also whoever does not wait for the answer to the handshake."""
    size = 16_000_000
    frame = b"\x81\xff" + size.to_bytes(8) + bytes(4) + b"x" * size
    with connected(service) as line:
        line.sendall(OPENING + (b"" if waits else frame))
        found = line.recv(65536)
        found += answer(line, frame if waits else b"")
        assert found.startswith(b"HTTP/1.1 101 ")
        assert (1009).to_bytes(2) + b"frame with 16000000 bytes" in found


def test_what_comes_with_the_handshake_is_read(service: Service) -> None:
    asked = Frame(Opcode.TEXT, b'{"type": "session.nonsense"}').serialize(mask=True)
    ends = Frame(Opcode.CLOSE, (1000).to_bytes(2)).serialize(mask=True)
    with connected(service) as line:
        found = answer(line, OPENING + asked + ends)
    assert found.startswith(b"HTTP/1.1 101 ")
    assert b"session.nonsense" in found


def test_who_goes_on_sending_after_that_is_cut_off(service: Service) -> None:
    with connected(service) as line:
        line.sendall(OPENING + b"\x83\x80abcd")
        with pytest.raises(ConnectionError):
            send_on(line)


async def test_who_is_gone_when_his_frame_fails_is_dropped(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """What is still said to him is answered with a reset, and then there is no line to end."""
    with connected(service) as line:
        line.sendall(OPENING)
        assert line.recv(65536).startswith(b"HTTP/1.1 101 ")
        # So much is parsed in slices, the last of them when he has gone.
        line.sendall(b"\x8a\x80abcd" * 5000 + b"\x83\x80abcd")
    await eventually(lambda: not service.server.server_state.connections)
    assert [record for record in caplog.records if record.exc_info] == []


def send_on(line: socket.socket) -> None:
    while True:
        line.sendall(b"x" * 1_000_000)
