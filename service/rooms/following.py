"""The rooms that this replica follows: their copies, kept up with what the log says happened.

A room is read when it is first asked for, and followed until nobody here uses it. What happens in
it is heard of, or read where it was missed; where Redis has lost a room, its copy is written back.
Knows neither who may enter a room, nor when Redis counts as lost.
"""

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from service.errors import StoreLost
from service.rooms.changes import Change, Closed, Gone
from service.rooms.copies import Copy
from service.rooms.hub import OnLack
from service.rooms.listener import Listener
from service.rooms.log import Entry, Found, Picture, RoomLog, channel, published
from service.rooms.room import Room
from service.rooms.signs import Signs
from service.store import Store

logger = logging.getLogger("service.rooms")

DRAW_EVERY: Final = 512  # changes between pictures
UNUSED_S: Final = 30.0  # that an unused copy is kept here
LOST_EVENTS: Final = 1000  # numbers to skip if Redis lost its memory

_ROOM_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Following:
    """The copies of this replica.

    Args:
        store, log, signs: of the Redis.
        wait_s: for the listener.
        clock: seconds, monotonic.
        spawn: runs something beside the rest.
        on_open: called when the listener hears Redis, at first and after each loss.
        on_lost: called when Redis cannot be reached.
        on_lack: told of a language that is read here in a room and that something lacks.

    Attributes:
        listener: hears of changes.
        has_changes: set while some are to be written.
    """

    def __init__(
        self,
        store: Store,
        log: RoomLog,
        signs: Signs,
        wait_s: float,
        clock: Callable[[], float],
        *,
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        on_open: Callable[[], Coroutine[Any, Any, None]],
        on_lost: Callable[[], None],
        on_lack: OnLack,
    ) -> None:
        self.has_changes = asyncio.Event()
        self.listener = Listener(
            store,
            signs.channel,
            wait_s,
            clock,
            on_message=self._hear,
            on_open=on_open,
            on_lost=on_lost,
        )
        self._replica = store.replica
        self._log = log
        self._signs = signs
        self._clock = clock
        self._spawn = spawn
        self._on_lost = on_lost
        self._on_lack = on_lack
        self._copies: dict[str, Copy] = {}
        self._loading: dict[str, asyncio.Task[Copy | None]] = {}
        self._born = b""  # identifies the memory of Redis
        self._is_stopping = False

    def __len__(self) -> int:
        return len(self._copies)

    def __iter__(self) -> Iterator[Copy]:
        """Yield the copies; some may come or go meanwhile."""
        return iter(list(self._copies.values()))

    def get(self, room_id: str) -> Copy | None:
        """Return the copy of a room, if there is one here."""
        return self._copies.get(room_id)

    async def copy(self, room_id: str) -> Copy | None:
        """Return the copy of a room, made now if there is none here; None: there is no such room.

        Raises:
            StoreLost: Redis is lost.
        """
        copy = self._copies.get(room_id)
        if copy is None or room_id in self._loading:  # it is still being read
            if not _ROOM_ID.fullmatch(room_id):
                return None
            if room_id not in self._loading:
                task = self._spawn(self._load(room_id))
                self._loading[room_id] = task
                task.add_done_callback(lambda _: self._loading.pop(room_id, None))
            copy = await asyncio.shield(self._loading[room_id])
        if copy is not None:
            copy.used_s = self._clock()
        return copy

    async def write(self) -> None:
        """Write the changes that wait.

        Raises:
            StoreLost: Redis is lost; they are still to be written.
        """
        self.has_changes.clear()
        unwritten = [copy for copy in self._copies.values() if copy.has_unwritten]
        flights = [(copy, copy.take_flight()) for copy in unwritten]
        try:
            written = await self._log.append(
                [(copy.room.id, copy.life, flight) for copy, flight in flights]
            )
        except StoreLost:
            self.has_changes.set()
            raise
        for (copy, flight), is_written in zip(flights, written, strict=True):
            if is_written:
                copy.note_written(flight)
            else:  # Redis has lost the room, or another replica restored it
                await self._try_to_catch(copy)
                self.has_changes.set()
            if copy.has_unwritten:
                self.has_changes.set()

    async def find(self) -> None:
        """Redis is back: listen to all rooms again, and catch up with them.

        Raises:
            StoreLost: it is lost again.
        """
        # All at once: on a starved machine one answer of many is always late, and all of this would
        # begin over and over, while nothing that is said here reaches any room.
        if self._copies:
            await self.listener.subscribe(*map(channel, self._copies))
        await self._signs.give()
        self._born = self._born or await self._signs.memory()
        await asyncio.gather(*map(self._catch, self._copies.values()))
        self._born = await self._signs.memory()

    async def look_after(self) -> None:
        """Keep used rooms alive and up to date, and see which replicas are gone.

        Raises:
            StoreLost: Redis is lost.
        """
        await self._look_after_rooms()
        await self._look_after_others()
        self._born = await self._signs.memory()

    def leave(self) -> None:
        """Tell the other replicas that this one is gone."""
        self._is_stopping = True
        for copy in self:
            if self._replica in copy.room.origins:
                self._submit(copy, Gone(self._replica))

    async def _load(self, room_id: str) -> Copy | None:
        """Make a copy of a room; None where there is none.

        Raises:
            StoreLost: Redis is lost.
        """
        if await self._log.read(room_id) is None:
            return None
        # First, so that everything from here on is heard; changes heard meanwhile are read again.
        await self.listener.subscribe(channel(room_id))
        copy = Copy(self._replica)
        async with copy.lock:
            copy.room = Room(
                room_id,
                "",
                0.0,
                origin=self._replica,
                submit=lambda change: self._submit(copy, change),
                on_lack=self._on_lack,
            )
            self._copies[room_id] = copy
            try:
                found = await self._log.read(room_id)
            except StoreLost:
                del self._copies[room_id]
                raise
            if found is None:
                del self._copies[room_id]
                return None
            self._take_found(copy, found)
        if copy.is_behind:
            await self._catch(copy)
        return copy

    def _submit(self, copy: Copy, change: Change) -> None:
        copy.put(change)
        copy.used_s = self._clock()
        self.has_changes.set()

    # ---- what happened ----

    def _hear(self, name: str, data: bytes) -> None:
        copy = self._copies.get(name.rpartition(":")[2])
        if copy is not None and name == channel(copy.room.id):
            if copy.lock.locked():
                copy.is_behind = True
                return
            self._take(copy, published(data))
            if copy.is_behind:
                self._spawn(self._try_to_catch(copy))

    def _take_found(self, copy: Copy, found: Found) -> None:
        picture = found.picture
        if picture is not None:
            copy.load(picture, self._clock() - (time.time() - picture.opened_ms / 1e3))
            self.has_changes.set()
        for entry in found.entries:
            self._take(copy, entry)

    def _take(self, copy: Copy, entry: Entry) -> None:
        """Apply the change whose turn it is."""
        change = copy.apply(entry)
        if change is None:
            return
        if isinstance(change, Gone) and change.origin == self._replica:
            if not self._is_stopping:  # wrongly taken for gone while Redis was out of reach
                copy.rejoin()
                self.has_changes.set()
        if entry.number % DRAW_EVERY == 0 and entry.origin == self._replica:
            self._spawn(self._draw(copy))

    # ---- what was missed or lost ----

    async def _try_to_catch(self, copy: Copy) -> None:
        try:
            await self._catch(copy)
        except StoreLost:
            self._on_lost()

    async def _catch(self, copy: Copy) -> None:
        """Read what a copy missed; bring the room back where Redis has lost it.

        Raises:
            StoreLost: Redis is lost.
        """
        async with copy.lock:
            copy.is_behind = True
            while copy.is_behind:
                copy.is_behind = False
                found = await self._log.read(copy.room.id, copy.life, copy.at)
                if found is not None:
                    self._take_found(copy, found)
                elif await self._is_forgotten(copy):
                    copy.room.apply(Closed())
                    self._copies.pop(copy.room.id, None)
                    return
                else:
                    await self._restore(copy)
                    copy.is_behind = True

    async def _is_forgotten(self, copy: Copy) -> bool:
        """Whether a room has expired, as opposed to Redis having lost its memory."""
        return self._born == await self._signs.memory() and not copy.room.is_used

    async def _restore(self, copy: Copy) -> None:
        """Write this copy back to where the room was."""
        # First the replica with its speakers, so that their newest changes need no second sending.
        if not copy.room.has_speakers_here:
            await asyncio.sleep(0.3)
        copy.room.skip(LOST_EVENTS)
        head, segments = copy.room.dump()
        picture = Picture(
            secrets.token_hex(8),
            copy.at + LOST_EVENTS,
            copy.opened_ms,
            copy.host,
            head,
            segments,
            dict(copy.seen),
        )
        is_restored = await self._log.restore(copy.room.id, picture, int(time.time() * 1e3))
        logger.info("room restored", extra={"data": {"is_first": is_restored}})

    async def _draw(self, copy: Copy) -> None:
        """Take a picture of the room, so that newcomers need not read all changes."""
        since = copy.drawn
        with contextlib.suppress(StoreLost):
            while True:
                head, segments = copy.room.dump(since)
                picture = Picture(copy.life, copy.at, 0, "", head, segments)
                before = await self._log.draw(copy.room.id, picture, since)
                if before is None:
                    copy.drawn = head["number"]
                    return
                since = before

    # ---- at each sign of life ----

    async def _look_after_rooms(self) -> None:
        """Keep used rooms alive, drop copies that nobody here uses, and find those that lag."""
        now_s = self._clock()
        for room_id, copy in list(self._copies.items()):
            is_unsent = copy.has_unwritten or copy.lock.locked()
            if not (copy.room.is_kept or is_unsent) and now_s - copy.used_s > UNUSED_S:
                del self._copies[room_id]
                await self.listener.unsubscribe(channel(room_id))
        copies = list(self)
        wanted = [(copy.room.id, copy.host if copy.room.is_kept else "") for copy in copies]
        before = [copy.at for copy in copies]
        found = await self._log.look(wanted, int(time.time() * 1e3))
        for copy, at, (life, last) in zip(copies, before, found, strict=True):
            if life != copy.life or (last > at and copy.at == at):
                await self._catch(copy)

    async def _look_after_others(self) -> None:
        """Treat replicas without signs of life as gone."""
        copies = list(self)
        others = {origin for copy in copies for origin in copy.room.origins}
        for name in await self._signs.gone(others - {self._replica}):
            for copy in copies:
                if name in copy.room.origins:
                    self._submit(copy, Gone(name))
