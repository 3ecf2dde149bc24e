"""What a client sends: frames, read no faster than their work is paid for, for its session.

Knows frames and what has to be at hand for an event; does not know what a session makes of it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from service.doors.saving import Saving
from service.doors.seat import Seat
from service.doors.socket import Socket
from service.doors.state import AppState
from service.doors.turns import Turns
from service.driver import Driver
from service.errors import ProtocolError, RestError
from service.load.meter import in_thread
from service.wire import protocol


class Intake:
    """Takes the events of one client.

    Args:
        state: what all connections share.
        driver: gets the events.
        seat: checks which room they ask for.
        turns: charged for the work.
        saving: saves what they change; None if replicas share nothing.
        check_first: awaited with the first event, before the session gets it.
        on_taken: called after each frame.

    Attributes:
        is_over: whether frames are dropped: the client repeats them where its session goes on.
    """

    def __init__(
        self,
        state: AppState,
        driver: Driver,
        seat: Seat,
        turns: Turns,
        saving: Saving | None,
        check_first: Callable[[protocol.ClientEvent], Awaitable[None]],
        on_taken: Callable[[], None],
    ) -> None:
        self.is_over = False
        self._state = state
        self._driver = driver
        self._seat = seat
        self._turns = turns
        self._saving = saving
        self._check_first = check_first
        self._on_taken = on_taken
        self._arrived_s = state.now_s()  # the newest frame; it may wait long for its turn
        self._is_first = True  # no event has been processed yet
        self._has_room = asyncio.Event()

    def note_begun(self) -> None:
        """An event was processed; here, or where the session was before."""
        self._is_first = False
        if self._saving is not None:
            self._saving.has_begun = True

    def note_room(self) -> None:
        """A job ended, so that there may be room for more."""
        self._has_room.set()

    async def run(self, socket: Socket) -> None:
        """Read frames; a client that costs or asks too much is read more slowly.

        Raises:
            Disconnected: the client is gone.
            Resumes: the client resumes an older session instead.
        """
        while True:
            frame = await socket.receive()
            if self.is_over:
                continue
            while self._driver.is_full:
                self._has_room.clear()
                await self._has_room.wait()
            self._arrived_s = self._state.now_s()
            await self.take(frame)
            delay_s = self._turns.delay_s()
            if delay_s > 0:
                await asyncio.sleep(delay_s)

    async def take(self, frame: str | bytes) -> None:
        """Take a frame.

        Raises:
            Resumes: the client resumes an older session instead.
        """
        event = await self._turns.turn(partial(self._take_plain, frame))
        if event is not None:
            if self._is_first:
                await self._check_first(event)
                self.note_begun()
            try:
                await self._seat.check(event)
                await self._look_up(event)
            except ProtocolError as exc:
                self._driver.refuse(exc)
            else:
                prepare = await self._turns.turn(partial(self._driver.session.preparation, event))
                if prepare is not None:
                    await in_thread(prepare)
                await self._turns.turn(partial(self._receive, event))
        self._on_taken()

    def _take_plain(self, frame: str | bytes) -> protocol.ClientEvent | None:
        """Take a frame, or return its event if more has to be known before the session gets it."""
        try:
            event = protocol.parse_client(frame)
        except ProtocolError as exc:
            self._driver.refuse(exc)
            return None
        if self._is_first or isinstance(event, protocol.SessionUpdate):
            return event
        self._receive(event)
        return None

    async def _look_up(self, event: protocol.ClientEvent) -> None:
        """Have the stored glossaries at hand that an event names.

        Raises:
            ProtocolError: they cannot be reached now.
        """
        if not isinstance(event, protocol.SessionUpdate):
            return
        targets = (event.session.targets or ())[: self._state.config.limits.targets]
        try:
            for key in {each.glossary_id for each in targets if each.glossary_id is not None}:
                await self._state.glossaries.find(key, self._state.now_s())
        except RestError as exc:
            raise ProtocolError("overloaded", str(exc), "session.targets") from exc

    def _receive(self, event: protocol.ClientEvent) -> None:
        self._driver.receive(event, time.time(), self._arrived_s)
        self._seat.follow()
        if self._saving is not None:
            self._saving.note_event()
