"""The rooms that replicas share: whoever speaks on one is read on all.

Each replica that has something to do with a room keeps a copy of it. What happens to a room is
written to its log (log.py); every copy lets it happen once it comes back from there, in one order
for all. So all copies have the same numbers and frames, and a reader may come back to any of them.

Where Redis is lost, sessions go on; rooms tell their readers, keep what is to be written, and go on
where they were. Where Redis comes back without its memory, a replica writes its copy there again.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from service.errors import RestError, StoreLost
from service.rooms.changes import Change, Closed, Gone
from service.rooms.copies import Copy
from service.rooms.hub import (
    GUESSES,
    GUESSES_IN_ALL,
    GUESSES_S,
    ID_BYTES,
    OnLack,
    check_name,
    check_pass_phrase,
    no_such_room,
    too_many_guesses,
    wrong_pass_phrase,
)
from service.rooms.listener import Listener
from service.rooms.log import Entry, Found, Picture, RoomLog, channel, published
from service.rooms.phrases import guard_of
from service.rooms.room import Room
from service.rooms.signs import Signs
from service.store import Store, for_ever
from service.wire.protocol import SessionNotice

logger = logging.getLogger("service.rooms")

BEAT_S: Final = 3.0  # between a replica's signs of life
DRAW_EVERY: Final = 512  # changes between pictures
FIND_S: Final = 3.0  # to wait for Redis at the start
TOLERATED_S: Final = 0.5  # that Redis may be lost before readers are told
UNUSED_S: Final = 30.0  # that an unused copy is kept here
LOST_EVENTS: Final = 1000  # numbers to skip if Redis lost its memory

_ROOM_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SharedHub:
    """Keeps the rooms that replicas share.

    Args:
        store: the Redis.
        max_rooms: that are kept at one time, by all replicas together.
        idle_s: a room that nobody used for so long is forgotten.
        clock: seconds, monotonic; that of all calls.
        beat_s: between signs of life.

    Attributes:
        on_lack: told of a language that is read here in a room and that something lacks.
        is_lost: whether Redis cannot be reached.
    """

    def __init__(
        self,
        store: Store,
        max_rooms: int,
        idle_s: float,
        clock: Callable[[], float] = time.monotonic,
        beat_s: float = BEAT_S,
    ) -> None:
        self.on_lack: OnLack = lambda room, target: None
        self.is_lost = True
        self._store = store
        self._log = RoomLog(store, idle_s)
        self._max_rooms = max_rooms
        self._clock = clock
        self._beat_s = beat_s
        self._copies: dict[str, Copy] = {}
        self._loading: dict[str, asyncio.Task[Copy | None]] = {}
        self._born = b""  # identifies the memory of Redis
        self._signs = Signs(store, beat_s)
        self._has_changes = asyncio.Event()
        self._is_found = asyncio.Event()
        self._is_stopping = False
        self._listener = Listener(
            store,
            self._signs.channel,
            beat_s,
            clock,
            on_message=self._hear,
            on_open=self._find,
            on_lost=self._lose,
        )
        self._told_trouble: asyncio.TimerHandle | None = None
        self._has_told = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._copies)

    @property
    def num_readers(self) -> int:
        """How many read on this replica, in all rooms."""
        return sum(copy.room.num_readers_here for copy in self._copies.values())

    # ---- hosts and readers ----

    async def create(self, name: str, pass_phrase: str | None, now_s: float) -> tuple[Room, str]:
        """Open a room; return it and its host's token.

        Raises:
            RestError: the name or the pass phrase is too long, there are too many rooms, or Redis
                is lost.
        """
        check_name(name)
        check_pass_phrase(pass_phrase)
        room_id, token = secrets.token_urlsafe(ID_BYTES), secrets.token_urlsafe(32)
        opened_ms = int(time.time() * 1e3)
        room = Room(room_id, name, now_s)
        room.set_guard(await guard_of(pass_phrase))
        head, _ = room.dump()
        picture = Picture(secrets.token_hex(8), 0, opened_ms, _digest(token), head, {})
        try:
            is_created = await self._log.create(room_id, picture, self._max_rooms, opened_ms)
        except StoreLost as exc:
            raise _unreachable() from exc
        if not is_created:
            raise RestError(429, "all rooms are taken")
        return await self.room(room_id), token

    async def room(self, room_id: str) -> Room:
        """Return a room.

        Raises:
            RestError: there is none of this name, or Redis is lost.
        """
        return (await self._copy(room_id)).room

    async def hosted_by(self, token: str | None) -> str | None:
        """Return the id of the room whose host holds this token.

        Raises:
            RestError: Redis is lost, and the room is not known here.
        """
        if not token:
            return None
        digest = _digest(token)
        for room_id, copy in self._copies.items():
            if hmac.compare_digest(copy.host, digest):
                return room_id
        try:
            return await self._log.hosted_by(digest)
        except StoreLost as exc:
            raise _unreachable() from exc

    async def enter(
        self, room_id: str, pass_phrase: str | None, now_s: float, address: str = ""
    ) -> Room:
        """Return a room to somebody who wants to read it.

        Raises:
            RestError: there is none of this name, the pass phrase is missing or wrong, or Redis is
                lost.
        """
        copy = await self._copy(room_id)
        room = copy.room
        if room.guard is None:
            return room
        if copy.guesses.is_over(address, now_s):
            raise too_many_guesses()
        if pass_phrase:
            copy.guesses.note(address)  # counted before it is checked: many may be checked at once
        with contextlib.suppress(StoreLost):
            own, all_ = await self._log.num_guesses(room_id, address)
            if own >= GUESSES or all_ >= GUESSES_IN_ALL:
                raise too_many_guesses()
        if not pass_phrase:
            raise wrong_pass_phrase()
        if await copy.phrases.fits(room.guard, pass_phrase):
            copy.guesses.take_back(address)
            return room
        with contextlib.suppress(StoreLost):
            await self._log.guessed(room_id, address, GUESSES_S)
        raise wrong_pass_phrase()

    async def set_pass_phrase(self, room: Room, pass_phrase: str | None) -> None:
        """Require a new pass phrase of readers from now on, or none.

        Raises:
            RestError: it is too long.
        """
        check_pass_phrase(pass_phrase)
        room.set_guard(await guard_of(pass_phrase))

    def rename(self, room: Room, name: str) -> None:
        """Rename a room.

        Raises:
            RestError: it is too long.
        """
        check_name(name)
        room.rename(name)

    async def settled(self, room: Room) -> bool:
        """Wait until a change made here has happened; return whether it has."""
        copy = self._copies.get(room.id)
        return copy is not None and copy.room is room and await copy.settled()

    def wake_all(self) -> None:
        """Wake all readers: the service is shutting down."""
        for copy in self._copies.values():
            copy.room.wake_all()

    # ---- starting and stopping ----

    async def start(self) -> None:
        """Listen, write and give signs of life from now on."""
        for act in (self._listener.listen, self._write, self._beat):
            self._spawn(for_ever(act))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIND_S):
                await self._is_found.wait()

    async def stop(self) -> None:
        """Write what is waiting, and announce that this replica is gone."""
        self._is_stopping = True
        for copy in self._copies.values():
            if self._store.replica in copy.room.origins:
                self._submit(copy, Gone(self._store.replica))
        for copy in list(self._copies.values()):
            if not self.is_lost:
                await self.settled(copy.room)
        if self._told_trouble is not None:
            self._told_trouble.cancel()
        await self.end_tasks()
        with contextlib.suppress(StoreLost):
            await self._signs.take_back()

    async def end_tasks(self) -> None:
        """Stop everything running here, without telling the other replicas."""
        left = set(self._tasks)
        while left:  # once more: a call to Redis may finish although its task was cancelled
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=0.1)

    # ---- copies ----

    async def _copy(self, room_id: str) -> Copy:
        copy = self._copies.get(room_id)
        if copy is None or room_id in self._loading:  # it is still being read
            if not _ROOM_ID.fullmatch(room_id):
                raise no_such_room()
            if room_id not in self._loading:
                task = self._spawn(self._load(room_id))
                self._loading[room_id] = task
                task.add_done_callback(lambda _: self._loading.pop(room_id, None))
            try:
                copy = await asyncio.shield(self._loading[room_id])
            except StoreLost as exc:
                raise _unreachable() from exc
            if copy is None:
                raise no_such_room()
        copy.used_s = self._clock()
        return copy

    async def _load(self, room_id: str) -> Copy | None:
        """Make a copy of a room; None where there is none.

        Raises:
            StoreLost: Redis is lost.
        """
        if await self._log.read(room_id) is None:
            return None
        # First, so that everything from here on is heard; changes heard meanwhile are read again.
        await self._listener.subscribe(channel(room_id))
        copy = Copy(self._store.replica)
        async with copy.lock:
            copy.room = Room(
                room_id,
                "",
                0.0,
                origin=self._store.replica,
                submit=lambda change: self._submit(copy, change),
                on_lack=self._lacks,
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

    def _take_found(self, copy: Copy, found: Found) -> None:
        picture = found.picture
        if picture is not None:
            copy.load(picture, self._clock() - (time.time() - picture.opened_ms / 1e3))
            self._has_changes.set()
        for entry in found.entries:
            self._take(copy, entry)

    def _take(self, copy: Copy, entry: Entry) -> None:
        """Apply the change whose turn it is."""
        change = copy.apply(entry)
        if change is None:
            return
        if isinstance(change, Gone) and change.origin == self._store.replica:
            if not self._is_stopping:  # wrongly taken for gone while Redis was out of reach
                copy.rejoin()
                self._has_changes.set()
        if entry.number % DRAW_EVERY == 0 and entry.origin == self._store.replica:
            self._spawn(self._draw(copy))

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

    def _lacks(self, room: Room, target: str) -> None:
        self.on_lack(room, target)

    # ---- changes to be written ----

    def _submit(self, copy: Copy, change: Change) -> None:
        copy.put(change)
        copy.used_s = self._clock()
        self._has_changes.set()

    async def _write(self) -> None:
        while True:
            await self._has_changes.wait()
            await self._is_found.wait()
            self._has_changes.clear()
            unwritten = [copy for copy in self._copies.values() if copy.has_unwritten]
            flights = [(copy, copy.take_flight()) for copy in unwritten]
            try:
                written = await self._log.append(
                    [(copy.room.id, copy.life, flight) for copy, flight in flights]
                )
            except StoreLost:
                self._lose()
                self._has_changes.set()
                continue
            for (copy, flight), is_written in zip(flights, written, strict=True):
                if is_written:
                    copy.note_written(flight)
                else:  # Redis has lost the room, or another replica restored it
                    await self._try_to_catch(copy)
                    self._has_changes.set()
                if copy.has_unwritten:
                    self._has_changes.set()

    async def _try_to_catch(self, copy: Copy) -> None:
        try:
            await self._catch(copy)
        except StoreLost:
            self._lose()

    # ---- what is heard ----

    def _hear(self, name: str, data: bytes) -> None:
        copy = self._copies.get(name.rpartition(":")[2])
        if copy is not None and name == channel(copy.room.id):
            if copy.lock.locked():
                copy.is_behind = True
                return
            self._take(copy, published(data))
            if copy.is_behind:
                self._spawn(self._try_to_catch(copy))

    async def _find(self) -> None:
        """Redis is back: listen to all rooms again, and catch up with them."""
        # All at once: on a starved machine one answer of many is always late, and all of this would
        # begin over and over, while nothing that is said here reaches any room.
        if self._copies:
            await self._listener.subscribe(*map(channel, self._copies))
        await self._signs.give()
        self._born = self._born or await self._signs.memory()
        await asyncio.gather(*map(self._catch, self._copies.values()))
        self._born = await self._signs.memory()
        self.is_lost = False
        self._is_found.set()
        if self._told_trouble is not None:
            self._told_trouble.cancel()
            self._told_trouble = None
        if self._has_told:
            self._has_told = False
            notice = SessionNotice("room_back", "the room is connected again")
            for copy in list(self._copies.values()):
                copy.room.set_trouble(notice, is_over=True)

    def _lose(self) -> None:
        """Redis is lost: retry until it is back, and tell readers."""
        if not self.is_lost:
            self.is_lost = True
            self._is_found.clear()
            self._signs.start_over()
            loop = asyncio.get_running_loop()
            self._told_trouble = loop.call_later(TOLERATED_S, self._tell_trouble)
        self._listener.reopen()

    def _tell_trouble(self) -> None:
        self._told_trouble = None
        self._has_told = True
        notice = SessionNotice(
            "room_cut_off", "the room is cut off; what is said is kept and will be shown later"
        )
        for copy in list(self._copies.values()):
            copy.room.set_trouble(notice, is_over=False)

    # ---- signs of life ----

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._beat_s)
            if self.is_lost:
                continue
            try:
                await self._signs.give()
                await self._look_after_rooms()
                await self._look_after_others()
                self._born = await self._signs.memory()
            except StoreLost:
                self._lose()

    async def _look_after_rooms(self) -> None:
        """Keep used rooms alive, drop copies that nobody here uses, and find those that lag."""
        now_s = self._clock()
        for room_id, copy in list(self._copies.items()):
            is_unsent = copy.has_unwritten or copy.lock.locked()
            if not (copy.room.is_kept or is_unsent) and now_s - copy.used_s > UNUSED_S:
                del self._copies[room_id]
                await self._listener.unsubscribe(channel(room_id))
        copies = list(self._copies.values())
        wanted = [(copy.room.id, copy.host if copy.room.is_kept else "") for copy in copies]
        before = [copy.at for copy in copies]
        found = await self._log.look(wanted, int(time.time() * 1e3))
        for copy, at, (life, last) in zip(copies, before, found, strict=True):
            if life != copy.life or (last > at and copy.at == at):
                await self._catch(copy)

    async def _look_after_others(self) -> None:
        """Treat replicas without signs of life as gone."""
        copies = list(self._copies.values())
        others = {origin for copy in copies for origin in copy.room.origins}
        for name in await self._signs.gone(others - {self._store.replica}):
            for copy in copies:
                if name in copy.room.origins:
                    self._submit(copy, Gone(name))

    def _spawn(self, act: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _digest(token: str) -> str:
    # 256 random bits: a slow hash would add nothing.
    return hashlib.sha256(token.encode()).hexdigest()


def _unreachable() -> RestError:
    return RestError(503, "rooms cannot be reached now; try again", 1)
