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
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from service.errors import RestError, StoreLost
from service.rooms.copies import Copy
from service.rooms.following import Following
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
from service.rooms.log import Picture, RoomLog
from service.rooms.phrases import guard_of
from service.rooms.room import Room
from service.rooms.signs import Signs
from service.store import Store, for_ever
from service.wire.protocol import SessionNotice

BEAT_S: Final = 3.0  # between a replica's signs of life
FIND_S: Final = 3.0  # to wait for Redis at the start
TOLERATED_S: Final = 0.5  # that Redis may be lost before readers are told


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
        self._beat_s = beat_s
        self._signs = Signs(store, beat_s)
        self._is_found = asyncio.Event()
        self._following = Following(
            store,
            self._log,
            self._signs,
            beat_s,
            clock,
            spawn=self._spawn,
            on_open=self._find,
            on_lost=self._lose,
            on_lack=self._lacks,
        )
        self._told_trouble: asyncio.TimerHandle | None = None
        self._has_told = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._following)

    @property
    def num_readers(self) -> int:
        """How many read on this replica, in all rooms."""
        return sum(copy.room.num_readers_here for copy in self._following)

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
        for copy in self._following:
            if hmac.compare_digest(copy.host, digest):
                return copy.room.id
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
        copy = self._following.get(room.id)
        return copy is not None and copy.room is room and await copy.settled()

    def wake_all(self) -> None:
        """Wake all readers: the service is shutting down."""
        for copy in self._following:
            copy.room.wake_all()

    # ---- starting and stopping ----

    async def start(self) -> None:
        """Listen, write and give signs of life from now on."""
        for act in (self._following.listener.listen, self._write, self._beat):
            self._spawn(for_ever(act))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIND_S):
                await self._is_found.wait()

    async def stop(self) -> None:
        """Write what is waiting, and announce that this replica is gone."""
        self._following.leave()
        for copy in self._following:
            if not self.is_lost:
                await copy.settled()
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

    async def _copy(self, room_id: str) -> Copy:
        """Return the copy of a room.

        Raises:
            RestError: there is none of this name, or Redis is lost.
        """
        try:
            copy = await self._following.copy(room_id)
        except StoreLost as exc:
            raise _unreachable() from exc
        if copy is None:
            raise no_such_room()
        return copy

    def _lacks(self, room: Room, target: str) -> None:
        self.on_lack(room, target)

    # ---- Redis, lost and found ----

    async def _write(self) -> None:
        while True:
            await self._following.has_changes.wait()
            await self._is_found.wait()
            try:
                await self._following.write()
            except StoreLost:
                self._lose()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._beat_s)
            if self.is_lost:
                continue
            try:
                await self._signs.give()
                await self._following.look_after()
            except StoreLost:
                self._lose()

    async def _find(self) -> None:
        """Redis is back: catch up with all rooms, and tell readers.

        Raises:
            StoreLost: it is lost again.
        """
        await self._following.find()
        self.is_lost = False
        self._is_found.set()
        if self._told_trouble is not None:
            self._told_trouble.cancel()
            self._told_trouble = None
        if self._has_told:
            self._has_told = False
            notice = SessionNotice("room_back", "the room is connected again")
            for copy in self._following:
                copy.room.set_trouble(notice, is_over=True)

    def _lose(self) -> None:
        """Redis is lost: retry until it is back, and tell readers."""
        if not self.is_lost:
            self.is_lost = True
            self._is_found.clear()
            self._signs.start_over()
            loop = asyncio.get_running_loop()
            self._told_trouble = loop.call_later(TOLERATED_S, self._tell_trouble)
        self._following.listener.reopen()

    def _tell_trouble(self) -> None:
        self._told_trouble = None
        self._has_told = True
        notice = SessionNotice(
            "room_cut_off", "the room is cut off; what is said is kept and will be shown later"
        )
        for copy in self._following:
            copy.room.set_trouble(notice, is_over=False)

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
