"""uvicorn's WebSocket protocol, with a price on what comes in.

A read from the kernel may hold tens of thousands of frames that say nothing. They are looked at a
slice at a time, at a client's own cost, and none further than somebody takes what they say. Knows
bytes and frames; does not know events or sessions.
"""

import asyncio
import time
from typing import Final

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.load.limits import Account

SLICE_BYTES: Final = 1024  # looked at in one go: 170 of the smallest frames, about 2 ms
SLICE_S: Final = 0.001  # of one turn, and what one slice takes beyond it
FRAMES_SHARE: Final = 0.1  # of the event loop's time, for taking one client's frames apart


class Messages:
    """Finds where messages end, byte by byte through the heads of frames."""

    def __init__(self) -> None:
        self._head = bytearray()  # of a frame, where it has begun
        self._left = 0  # bytes of a frame behind its head
        self._is_last = False  # whether a message ends with it

    def size(self, data: bytes, start: int, most: int) -> int:
        """Return how many bytes to look at in one go: none behind the end of a message.

        What is wrong in a later frame ends the connection, and before that the message is to be
        answered.
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
        self._left = length + (4 if self._head[1] & 0x80 else 0)  # the mask is in between
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
        self._offset = 0  # of what was not looked at yet
        self._timer: asyncio.TimerHandle | None = None  # until it is looked at

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was not looked at."""
        self._stop_timer()
        self._unread = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in."""
        self._unread, self._offset = self._unread[self._offset :] + data, 0
        if self._timer is None:
            self._look()

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next message; nothing is read ahead of it."""
        message = await self.queue.get()
        if not self.queue.empty():
            await asyncio.sleep(0)  # others have their turn before the next one
        elif self.read_paused:
            self.read_paused = False
            self._read_on()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message."""
        await super().send(message)
        if message["type"] == "websocket.close":
            self._read_on()  # the client's own close is to be found

    def handle_ping(self) -> None:
        """Answer a ping, unless the client takes no answers: they would pile up here."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """Give up a client that answers no ping; one that is not listened to cannot."""
        if self.read_paused or self._timer is not None:
            assert self.ping_timeout is not None
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
        else:
            super().keepalive_timeout()

    def _look(self) -> None:
        """Look at some of what came."""
        self._stop_timer()
        begin_s = time.thread_time()
        spent_s = 0.0
        while self._offset < len(self._unread) and spent_s < SLICE_S and not self.read_paused:
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
        """Look on, or let more come, as soon as what is there is taken and paid for."""
        if self.read_paused or self._timer is not None or self.disconnected:
            return
        is_left = self._offset < len(self._unread)
        delay_s = self._account.ready_s() - self.loop.time()
        if is_left or delay_s > 0:
            self.transport.pause_reading()
            self._timer = self.loop.call_later(max(delay_s, 0.0), self._look)
        else:
            self.transport.resume_reading()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
