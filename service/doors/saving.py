"""Saves how a session stands for other replicas, before its client is sent what it says.

Knows what a session consists of, and its events that wait; does not know the socket.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from service.captions.session import Session
from service.doors.seat import Seat
from service.doors.sharing import News, Share
from service.doors.turns import Turns
from service.wire import protocol
from service.wire.outbox import Outbox

if TYPE_CHECKING:  # needs an optional extra
    from service.doors.shared_sessions import SharedSessions

SAVE_WITHIN_S: Final = 0.05  # after a client event, if no frame is sent sooner


class Saving:
    """Saves one session.

    Args:
        shared: what replicas share.
        share: the session as saved.
        session, seat, outbox: what it consists of.
        turns: charged for the work.
        now_s: the clock of all calls, in seconds.
        began_s: when the session began, on that clock.
        on_due: called when a client event is to be saved, although no frame has to be sent.

    Attributes:
        has_begun: whether a client event has been processed. Before that, nothing is worth saving.
    """

    def __init__(
        self,
        shared: "SharedSessions",
        share: Share,
        session: Session,
        seat: Seat,
        outbox: Outbox,
        turns: Turns,
        now_s: Callable[[], float],
        began_s: float,
        on_due: Callable[[], None],
    ) -> None:
        self.has_begun = False
        self._shared = shared
        self._share = share
        self._session = session
        self._seat = seat
        self._outbox = outbox
        self._turns = turns
        self._now_s = now_s
        self._began = time.time() - (now_s() - began_s)  # wall-clock time
        self._on_due = on_due
        self._lock = asyncio.Lock()
        self._due: asyncio.TimerHandle | None = None  # saves what the client said
        shared.share(share)

    @property
    def holds(self) -> bool:
        """Whether something that the room is to hear waits to be saved."""
        return self._seat.holds

    def note_event(self) -> None:
        """A client event was processed, which may change what is to be saved."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(SAVE_WITHIN_S, self._on_due)

    async def save(self, *, has_reader: bool = True) -> list[str]:
        """Save the session's state; return the frames that may now be sent.

        If nothing can be saved, the session continues anyway.

        Args:
            has_reader: whether frames are to be sent; otherwise events keep waiting and are saved
                as such.
        """
        share = self._share
        async with self._lock:
            has_news = self._due is not None or self._seat.holds or share.needs_whole
            self._cancel_due()
            frames, finals = self._popped() if has_reader else ([], [])
            if not self.has_begun or not (frames or has_news):
                return frames
            number = self._seat.number
            while self._shared.takes(share):
                news = await self._turns.turn(partial(self._news, frames, finals))
                share.needs_whole = True  # until it is known to have been written
                outcome = await self._shared.save(share, news)
                if outcome == "saved":
                    share.needs_whole = share.is_unsure = False
                if outcome != "missing" or news.is_whole:
                    break
            if share.is_superseded:
                return []
            self._seat.release(number)
            return frames

    def end(self, *, is_over: bool) -> None:
        """Stop saving. `is_over`: nobody else continues the session."""
        self._cancel_due()
        self._shared.end(self._share, is_over=is_over)

    def _cancel_due(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _popped(self) -> tuple[list[str], list[str]]:
        """Take all waiting frames, and which of them are finals."""
        frames, finals = [], []
        while (popped := self._outbox.pop(self._now_s())) is not None:
            frames.append(popped[1])
            if isinstance(popped[0], protocol.TranslationFinal):
                finals.append(popped[1])
        return frames, finals

    def _news(self, frames: list[str], finals: list[str]) -> News:
        is_whole = self._share.needs_whole
        line = {
            "began": self._began,
            "t_ms": self._outbox.t_ms(self._now_s()),
            "waiting": self._outbox.waiting(),
        }
        parts = self._session.dump(is_whole=is_whole)
        parts |= {"line": line, "seat": self._seat.dump()}
        if is_whole:
            frames, finals = self._outbox.kept(), self._outbox.kept_finals()
        return News(is_whole, parts, self._outbox.last_seq, frames, finals)
