"""uvicorn's WebSocket protocol, with a price on incoming frames.

One read from the kernel may contain tens of thousands of empty frames. They are parsed a slice at
a time, charged to the client, and only as far as their messages are consumed. Knows bytes and
frames; does not know events or sessions.
"""

import asyncio
import time
from typing import Final

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.load.limits import Account

SLICE_BYTES: Final = 1024  # parsed in one go: 170 of the smallest frames, about 2 ms
SLICE_S: Final = 0.001  # in one turn; its last slice may exceed it
FRAMES_SHARE: Final = 0.1  # of the event loop's time, for parsing one client's frames
# A message that takes longer does not keep us from finding that its client is gone.
HANDLING_S: Final = 0.25


class Messages:
    """Finds where messages end, byte by byte through the frame headers."""

    def __init__(self) -> None:
        self._head = bytearray()  # of a frame, if one has begun
        self._left = 0  # bytes of the frame still to come, mask included
        self._is_last = False  # whether the frame ends a message

    def size(self, data: bytes, start: int, most: int) -> int:
        """Return how many bytes to parse in one go: none beyond the end of a message.

        An error in a later frame ends the connection, and the message before it should be answered
        first.
        """
        at, end = start, min(start + most, len(data))
        while at < end:
            if self._left:
                step = min(self._left, end - at)
                at += step
                self._left -= step
                if self._is_last and not self._left:
                    return at - start
                continue
            self._head.append(data[at])
            at += 1
            if len(self._head) >= 2:
                self._read_head()
        return at - start

    def _read_head(self) -> None:
        code = self._head[1] & 127
        size = {126: 4, 127: 10}.get(code, 2)
        if len(self._head) < size:
            return
        length = int.from_bytes(self._head[2:]) if size > 2 else code
        self._left = length + (4 if self._head[1] & 0x80 else 0)  # the mask comes first
        self._is_last = bool(self._head[0] & 0x80) and self._head[0] & 15 < 8
        self._head.clear()


class PricedFrames(WebSocketsSansIOProtocol):
    """One connection, from the handshake on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of a connection."""
        super().connection_made(transport)
        self._account = Account(FRAMES_SHARE, self.loop.time())
        self._messages = Messages()
        self._unread = b""
        self._offset = 0  # of the bytes that have not been parsed yet
        self._timer: asyncio.TimerHandle | None = None  # until they are parsed
        self._handling: asyncio.TimerHandle | None = None  # of the last message

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what has not been parsed."""
        self._stop_timer()
        self._stop_handling()
        self._unread = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self._unread, self._offset = self._unread[self._offset :] + data, 0
        if self._timer is None:
            self._look()

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next message; what comes after it is parsed once it has been dealt with.

        Whoever asks for a message has dealt with the one before: were a close found earlier, it
        would be answered before that message is.
        """
        if self.queue.empty():
            self._go_on()
        message = await self.queue.get()
        if not self.queue.empty():
            await asyncio.sleep(0)  # others get a turn before the next one
        elif self.read_paused:
            self._stop_handling()
            self._handling = self.loop.call_later(HANDLING_S, self._go_on)
        return message

    def _go_on(self) -> None:
        """Parse and read what comes after the messages so far."""
        self._stop_handling()
        if self.read_paused:
            self.read_paused = False
            self._read_on()

    def _stop_handling(self) -> None:
        if self._handling is not None:
            self._handling.cancel()
            self._handling = None

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message."""
        await super().send(message)
        if message["type"] in ("websocket.accept", "websocket.close"):
            self._read_on()  # what came before the answer, or to find the client's own close

    def handle_ping(self) -> None:
        """Answer a ping, unless the client does not read: answers would pile up here."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """Give up on a client that answers no ping, but not while we are not reading from it."""
        if self.read_paused or self._timer is not None:
            assert self.ping_timeout is not None
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
        else:
            super().keepalive_timeout()

    @property
    def _is_asking(self) -> bool:
        """Whether the handshake is not answered yet: frames that come before are parsed after."""
        return self.handshake_initiated and not self.handshake_complete

    def _may_parse(self) -> bool:
        is_left = self._offset < len(self._unread)
        return is_left and not self.read_paused and not self._is_asking

    def _look(self) -> None:
        """Parse some of what has arrived."""
        self._stop_timer()
        begin_s = time.thread_time()
        spent_s = 0.0
        while self._may_parse() and spent_s < SLICE_S:
            if self.transport.is_closing():
                self._unread, self._offset = b"", 0
                break
            size = len(self._unread)
            if self.handshake_initiated:
                size = self._messages.size(self._unread, self._offset, SLICE_BYTES)
            part = self._unread[self._offset : self._offset + size]
            self._offset += len(part)
            super().data_received(part)
            spent_s = time.thread_time() - begin_s
        self._account.spend(spent_s, self.loop.time())
        self._read_on()

    def _read_on(self) -> None:
        """Continue parsing, or reading, once the available messages are consumed and paid for."""
        if self.read_paused or self._timer is not None or self.disconnected:
            return
        is_left = self._offset < len(self._unread)
        delay_s = self._account.ready_s() - self.loop.time()
        if is_left and self._is_asking:
            self.transport.pause_reading()
        elif is_left or delay_s > 0:
            self.transport.pause_reading()
            self._timer = self.loop.call_later(max(delay_s, 0.0), self._look)
        else:
            self.transport.resume_reading()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
