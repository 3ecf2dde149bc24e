"""Requests in pieces, one after another and without measure, over raw sockets."""

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.doors.http_slices import CHUNKED_BYTES, MAX_HEAD_BYTES, MAX_HEADERS
from tests.service.conftest import Service
from tests.service.doors.test_lines import HEAD, answer, connected, is_alive
from tests.service.doors.test_socket_line import HANDSHAKE

BODY = json.dumps({"q": "we go", "source": "en", "target": "de"}).encode()
POST = b"POST /translate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
WHOLE = POST + b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY)
LAST = HEAD + b"connection: close\r\n\r\n"


def in_chunks(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n" + in_chunks(BODY, 1)


def asked(service: Service, *parts: bytes) -> bytes:
    """Send parts, each by itself; return all that is answered."""
    with connected(service) as line:
        for part in parts[:-1]:
            line.sendall(part)
            time.sleep(0.001)  # so that the next one is another read
        return answer(line, parts[-1])


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    st.lists(st.sampled_from((WHOLE, CHUNKED, HEAD + b"\r\n")), max_size=4),
    st.lists(st.integers(0, 1500), max_size=4),
)
def test_however_requests_are_cut_each_is_answered_in_order(
    service: Service, requests: list[bytes], cuts: list[int]
) -> None:
    data = b"".join([*requests, LAST])
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[a:b] for a, b in zip(places, places[1:], strict=False)]
    found = asked(service, *parts)
    wanted = [b'"WE GO"' if request.startswith(b"POST") else b'"ok"' for request in requests]
    replies = found.split(b"HTTP/1.1 200 ")[1:]
    assert len(replies) == len(requests) + 1, found
    assert all(said in reply for said, reply in zip([*wanted, b'"ok"'], replies, strict=True))


def test_a_long_body_in_small_chunks_is_read_whole(service: Service) -> None:
    text = "We go. " * 200
    body = json.dumps({"q": text, "source": "en", "target": "de"}).encode()
    for size in (1, 7, CHUNKED_BYTES, 1000):
        head = POST + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        found = asked(service, head + in_chunks(body, size))
        assert found.startswith(b"HTTP/1.1 200 ")
        assert text.upper().encode() in found


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"x: y\r\n" * (MAX_HEADERS - 2), b"200"),
        (b"x: y\r\n" * (MAX_HEADERS + 1), b"431"),
        (b"x: " + b"y" * (MAX_HEAD_BYTES - 200) + b"\r\n", b"200"),
        (b"x: " + b"y" * MAX_HEAD_BYTES + b"\r\n", b"431"),
        (b"x: y\r\n" * 40_000, b"431"),
        (b": y\r\n" * 20, b"400"),
    ],
)
def test_a_head_is_bounded(service: Service, head: bytes, status: bytes) -> None:
    found = asked(service, LAST[:-2] + head + b"\r\n")
    assert found.startswith(b"HTTP/1.1 " + status + b" ")
    assert found.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02", b"\r\n\r\n", b"\0", b" GET / HTTP/1.1"])
def test_what_cannot_be_a_request_is_refused_at_once(service: Service, junk: bytes) -> None:
    assert asked(service, junk).startswith(b"HTTP/1.1 400 ")
    found = asked(service, HEAD + b"\r\n", junk)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 400 " in found


def test_trailers_without_measure_are_refused(service: Service) -> None:
    chunks = in_chunks(BODY, 10)[:-2] + b"x: y\r\n" * 5000 + b"\r\n"
    found = asked(service, POST + b"transfer-encoding: chunked\r\n\r\n" + chunks)
    assert not found or found.startswith(b"HTTP/1.1 400 ")
    assert is_alive(service)


def test_a_line_becomes_a_socket_after_other_requests(service: Service) -> None:
    upgrade = b"GET /v1/stream HTTP/1.1\r\n" + HANDSHAKE + b"\r\n"
    with connected(service) as line:
        line.sendall(WHOLE + CHUNKED + upgrade)
        found = b""
        while b"session.created" not in found:
            part = line.recv(65536)
            assert part, found
            found += part
    assert found.count(b"HTTP/1.1 200 ") == 2
    assert b"HTTP/1.1 101 " in found
