"""uvicorn's HTTP protocol, which parses what one read brought a slice at a time.

One read may bring 60,000 headers, 40,000 chunks of one byte or a thousand requests: to parse them
in one go takes a quarter of a second. A head is parsed once it is whole, and is bounded; a body of
a known length in one go; chunks a few in each turn of the event loop, which all connections share;
and the next request once this one is answered. Knows bytes; does not know what is asked for, nor
how long a client may take.
"""

import asyncio
import re
from http import HTTPStatus
from typing import Final, cast

import h11
import orjson
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.doors.lines import Lines

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 128  # to parse one takes 5 µs
MAX_TRAILER_BYTES: Final = 1024  # after the chunks of a body, and of the line before a chunk
CHUNKED_BYTES: Final = 512  # parsed in one go: 85 of the smallest chunks
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_FIRST_SIGN: Final = 0x21  # of what can begin a request
_HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
    (b"connection", b"close"),
)


class SlicedHttp(H11Protocol):
    """One HTTP connection, until it ends or becomes a WebSocket."""

    server_state: Lines
    _is_due = False  # whether more is parsed in its turn
    _body_left = 0  # bytes of a body of known length
    _is_upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection."""
        super().connection_made(transport)
        self._unread = bytearray()
        self.flow = _Flow(transport, self._unread)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what has not been parsed."""
        self._drop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self._unset_keepalive_if_required()
        self._unread += data
        self._look()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        super().on_response_complete()
        self._look()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over."""
        self._is_upgraded = True
        early = bytes(self._unread)
        self._drop()
        self.transport.resume_reading()
        super().handle_websocket_upgrade(event)
        if early:  # the client did not wait for the answer to its handshake
            cast("asyncio.Protocol", self.transport.get_protocol()).data_received(early)

    def refuse(self, status: int, message: str) -> None:
        """Answer, if that is still possible, and close."""
        self._drop()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = orjson.dumps({"error": message})
            headers = [*_HEADERS, (b"content-length", str(len(body)).encode())]
            for event in (
                h11.Response(
                    status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()
                ),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self.refuse(400, msg)

    def parse(self) -> None:
        """Parse some of what has come."""
        self._is_due = False
        size = 0 if self.transport.is_closing() else self._size()
        if size:
            part = bytes(self._unread[:size])
            del self._unread[:size]
            is_head = self.conn.their_state is h11.IDLE
            super().data_received(part)
            if is_head and self.conn.their_state is h11.SEND_BODY:
                self._body_left = _length(self.headers)
            else:
                self._body_left -= min(size, self._body_left)
        if not self._is_upgraded:
            self._look()

    def _size(self) -> int:
        """Return how many bytes to parse in one go."""
        state = self.conn.their_state
        if state is h11.IDLE:
            return self._size_of_head()
        if state is h11.SEND_BODY:
            return min(self._body_left or CHUNKED_BYTES, len(self._unread))
        if state in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
            self._unread.clear()  # nothing that comes now is read
        return 0

    def _size_of_head(self) -> int:
        """Return how many bytes a head has; 0 while it is not whole, or if it is refused."""
        begun, _ = self.conn.trailing_data  # what came in one slice with the end of chunks
        head = bytes(begun + self._unread[:MAX_HEAD_BYTES])
        if head and head[0] < _FIRST_SIGN:
            self.send_400_response("Invalid HTTP request received.")
            return 0
        end = _HEAD_END.search(head)
        size = len(head) if end is None else end.end()
        is_long = end is None and len(self._unread) > MAX_HEAD_BYTES
        if is_long or head.count(b"\n", 0, size) > MAX_HEADERS + 2:
            self.refuse(431, f"at most {MAX_HEADERS} headers in {MAX_HEAD_BYTES} bytes")
            return 0
        return 0 if end is None else size - len(begun)

    def _look(self) -> None:
        """Have the rest parsed in its turn, or read on."""
        if not self._is_due and self._unread and self._size():
            self._is_due = True
            self.server_state.slices.do(self.parse)
        is_begun = self.conn.their_state is h11.IDLE
        if self._is_due or (self._unread and not is_begun):
            self.transport.pause_reading()
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    def _drop(self) -> None:
        self._unread.clear()


class _Flow(FlowControl):
    """uvicorn's, but nothing more is read before what has come is parsed."""

    def __init__(self, transport: asyncio.Transport, unread: bytearray) -> None:
        super().__init__(transport)
        self._unread = unread

    def resume_reading(self) -> None:
        """Read on, if the body that waits is taken."""
        if self._unread:
            self.read_paused = False
        else:
            super().resume_reading()


def _length(headers: list[tuple[bytes, bytes]]) -> int:
    """Return the length of a body; 0 if it comes in chunks."""
    names = dict(headers)
    return 0 if b"transfer-encoding" in names else int(names.get(b"content-length", b"0"))
