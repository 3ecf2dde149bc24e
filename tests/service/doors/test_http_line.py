"""Slow, silent and senseless clients, over raw sockets."""

import contextlib
import logging
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.load.limits import Limits
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import eventually
from tests.service.doors.test_lines import HEAD, UPLOAD, answer, connected, is_alive
from tests.service.doors.test_socket_line import HANDSHAKE


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


def test_who_asks_whether_to_send_a_body_is_refused_before_he_does(service: Service) -> None:
    asked = UPLOAD[:-5].replace(b"json", b"xml") + b"\r\nexpect: 100-continue\r\n\r\n"
    with connected(service) as line:
        line.sendall(asked)
        assert line.recv(65536).startswith(b"HTTP/1.1 415 ")


async def test_a_client_that_does_not_read_is_cut_off(hasty: Service) -> None:
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", hasty.port))
        line.settimeout(0.2)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                line.sendall(HEAD.replace(b"/livez", b"/asyncapi.yaml") + b"\r\n")
        await eventually(lambda: not hasty.server.server_state.connections)


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
