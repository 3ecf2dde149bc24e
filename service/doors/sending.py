"""What a client is sent: the frames of its outbox, and those that it missed, a few in a turn.

Where replicas share sessions, no frame is sent before others can know of it. Knows frames and when
they may go; does not know what is said in them, nor when a session ends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from service.captions.actions import Close
from service.doors.saving import Saving
from service.doors.socket import Socket
from service.wire import protocol
from service.wire.outbox import Outbox

SAVE_STUCK_S: Final = 0.25  # between saves for a client that does not read
FRAMES_OF_A_TURN: Final = 8  # sent in a row before others get a turn


class Sending:
    """Sends the frames of one session, on one socket after another.

    Args:
        outbox: has the events that wait, and the frames that were sent.
        now_s: the clock of the outbox, in seconds.
        saving: saves the session for other replicas; None if they share nothing.

    Attributes:
        close: how to close the connection once everything is sent; None while it goes on.
    """

    def __init__(self, outbox: Outbox, now_s: Callable[[], float], saving: Saving | None) -> None:
        self.close: Close | None = None
        self._outbox = outbox
        self._now_s = now_s
        self._saving = saving
        self._has_news = asyncio.Event()
        self._num_sent = 0
        self._is_sending = False  # what was saved: a client that does not read keeps it so

    def note(self) -> None:
        """There may be something to send or to save, or the connection is to be closed."""
        self._has_news.set()

    async def save(self) -> None:
        """Save what has not been saved, for other replicas and the room, without sending it."""
        if self._saving is not None:
            await self._saving.save(has_reader=False)

    async def replay(
        self,
        socket: Socket,
        last_seq: int,
        snapshot: Callable[[], tuple[protocol.SnapshotSegment, ...]],
    ) -> None:
        """Send a client what it missed; if that is no longer kept, its finals and a snapshot.

        Args:
            last_seq: number of the newest event that the client has.
            snapshot: returns the open segments.
        Raises:
            Disconnected: the client is gone.
        """
        outbox = self._outbox
        missed = outbox.replay(last_seq)
        last_seq = min(last_seq, outbox.last_seq)  # it cannot have what was never sent
        # Numbered as the client's newest event: replayed events come after it.
        t_ms = outbox.t_ms(self._now_s())
        resumed = protocol.SessionResumed(missed is not None, last_seq + 1, seq=last_seq, t_ms=t_ms)
        await socket.send(protocol.serialise(resumed))
        for frame in outbox.finals(last_seq) if missed is None else missed:
            await self._send(socket, frame)
        if missed is None:
            outbox.drop_deltas()
            outbox.push(protocol.SessionSnapshot(snapshot()))

    async def run(self, socket: Socket) -> Close:
        """Send what waits and what will come; return `close` once it is set and all is sent.

        Raises:
            Disconnected: the client is gone.
        """
        if self._saving is None:
            return await self._run(socket, self._send_waiting)
        meanwhile = asyncio.create_task(self._save_meanwhile(self._saving))
        try:
            return await self._run(socket, partial(self._send_saved, self._saving))
        finally:
            self._is_sending = False
            meanwhile.cancel()
            await asyncio.gather(meanwhile, return_exceptions=True)

    async def _run(self, socket: Socket, send_all: Callable[[Socket], Awaitable[None]]) -> Close:
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            await send_all(socket)
            if self.close is not None:
                return self.close

    async def _send_waiting(self, socket: Socket) -> None:
        """Send one after another: while the client is slow, what waits goes on being merged."""
        while (popped := self._outbox.pop(self._now_s())) is not None:
            await self._send(socket, popped[1])

    async def _send_saved(self, saving: Saving, socket: Socket) -> None:
        while frames := await saving.save():
            self._is_sending = True
            for frame in frames:
                await self._send(socket, frame)
            self._is_sending = False

    async def _save_meanwhile(self, saving: Saving) -> None:
        """Let the room hear what is said by a client that does not read."""
        while True:
            await asyncio.sleep(SAVE_STUCK_S)
            if self._is_sending and saving.holds:
                await saving.save(has_reader=False)

    async def _send(self, socket: Socket, frame: str) -> None:
        await socket.send(frame)
        self._num_sent += 1
        if not self._num_sent % FRAMES_OF_A_TURN:
            await asyncio.sleep(0)
