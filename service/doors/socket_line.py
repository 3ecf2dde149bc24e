"""uvicorn's WebSocket protocol, as strict as RFC 6455 requires, and evictable at the door.

Knows bytes and frames; does not know events or sessions.
"""

import asyncio
import codecs
from typing import Any, Final

from uvicorn.config import Config
from websockets.frames import CloseCode, Frame, Opcode
from websockets.server import ServerProtocol

from service.doors.frames import PricedFrames
from service.doors.lines import Lines
from service.doors.socket import FAREWELL_S, LINE

BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
DRAINED_BYTES: Final = 32 * 1024 * 1024  # from a client that keeps sending after a failure
_new_decoder: Final = codecs.getincrementaldecoder("utf-8")


class _Protocol(ServerProtocol):
    """websockets' parser, but a close between the fragments of a message is no error."""

    def recv_frame(self, frame: Frame) -> None:
        """Take one frame."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None  # the rest of the message will not come
        super().recv_frame(frame)


class SocketLine(PricedFrames):
    """One connection, from the handshake on.

    Attributes:
        address: the client's.
        is_stranger: whether it has no session and may be evicted.
        since_s: since when.
    """

    def __init__(
        self,
        config: Config,
        server_state: Lines,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.address = ""
        self.is_stranger = False
        self.since_s = 0.0
        self.conn = _Protocol(
            extensions=self.conn.available_extensions,
            max_size=config.ws_max_size,
            logger=self.conn.logger,
        )
        self._lines = server_state
        self._gave_way = False
        self._drained_bytes = -1  # since the connection failed
        self._decoder = _new_decoder()

    @property
    def is_waiting(self) -> bool:
        """Whether it serves nobody, or nobody yet."""
        return self.is_stranger or (self.close_sent and not self._gave_way)

    def shutdown(self) -> None:
        """The service ends: say so, and cut off clients that do not read it."""
        super().shutdown()
        self.loop.call_later(FAREWELL_S, self.transport.abort)

    # ---- what the application may do with it ----

    def abort(self) -> None:
        """Drop it at once, without a closing handshake."""
        self.transport.abort()

    def keep(self) -> None:
        """Protect it from eviction: it has a session."""
        self.is_stranger = False

    def stand_by(self, address: str) -> None:
        """Allow its eviction: it has no session."""
        self.address = address
        self.is_stranger = True
        self.since_s = self.loop.time()
        self._lines.make_room_for_stranger()

    def give_way(self) -> None:
        """Close it to make room for another."""
        self.is_stranger = False
        self._gave_way = True
        self.transport.abort()

    # ---- what comes in ----

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: nobody finds it in its scope any more, nor keeps both there."""
        super().connection_lost(exc)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"].pop(LINE, None)

    def data_received(self, data: bytes) -> None:
        """Take bytes; those after a failure are discarded."""
        if self._drained_bytes < 0:
            super().data_received(data)
            return
        self._drained_bytes += len(data)
        if self._drained_bytes > DRAINED_BYTES:
            self.transport.abort()

    def handle_parser_exception(self) -> None:
        """Say why the connection fails, and give its client a moment to read it.

        A line that is closed while its client still sends is reset, and the reason is lost.
        """
        if self._drained_bytes >= 0:
            return
        assert self.conn.close_sent is not None
        code, reason = self.conn.close_sent.code, self.conn.close_sent.reason
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._drained_bytes = 0
        if self.close_timer is not None:
            self.close_timer.cancel()
        try:
            self.transport.write_eof()
        except OSError:  # the client had gone, which nobody notices while nothing is read
            self.transport.abort()
            return
        self.close_timer = self.loop.call_later(FAREWELL_S, self.transport.abort)

    def handle_connect(self, event: Any) -> None:
        """Take a handshake; hand the connection to the application."""
        super().handle_connect(event)
        self.address = self.client[0] if self.client else ""
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][LINE] = self

    def handle_events(self) -> None:
        """Handle what was parsed, and answer a handshake that could not be."""
        super().handle_events()
        if self.conn.handshake_exc is not None and not self.transport.is_closing():
            # uvicorn leaves the answer unsent.
            self.transport.write(b"".join(self.conn.data_to_send()) or BAD_REQUEST)
            self.transport.close()

    def handle_text(self, event: Frame) -> None:
        """Take a text, or its beginning."""
        self._decoder = _new_decoder()
        if self._is_text(event):
            super().handle_text(event)

    def handle_cont(self, event: Frame) -> None:
        """Take more of a message."""
        if self.curr_msg_data_type != "text" or self._is_text(event):
            super().handle_cont(event)

    def _is_text(self, event: Frame) -> bool:
        """Whether a frame continues as valid UTF-8; if not, the connection fails at once."""
        try:
            self._decoder.decode(bytes(event.data), final=event.fin)
        except UnicodeDecodeError:
            if not self.close_sent:
                self.conn.fail(CloseCode.INVALID_DATA, "text that is no UTF-8")
                self.handle_parser_exception()
            return False
        return True
