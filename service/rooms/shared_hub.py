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
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from redis.asyncio.client import PubSub

from service.errors import RestError, StoreLost
from service.rooms.changes import Change, Closed, Gone, Reads, Spoke, decode, encode
from service.rooms.hub import (
    GUESSES,
    GUESSES_IN_ALL,
    GUESSES_S,
    ID_BYTES,
    OnLack,
    check_name,
    check_pass_phrase,
    new_guesses,
    no_such_room,
    too_many_guesses,
    wrong_pass_phrase,
)
from service.rooms.log import Entry, Found, Picture, RoomLog, channel, published
from service.rooms.room import Room
from service.store import FAILURES, PREFIX, Store, for_ever
from service.wire.protocol import (
    SessionNotice,
    SourceDelta,
    SourceFinal,
    TranslationDelta,
    TranslationFinal,
)

logger = logging.getLogger("service.rooms")

BEAT_S: Final = 3.0  # between a replica's signs of life
SILENT_BEATS: Final = 3  # without one, before a replica counts as gone
DEAF_S: Final = 10.0  # without our own signs of life, before the connection counts as dead
BATCH: Final = 256  # changes written at one time
DRAW_EVERY: Final = 512  # changes between pictures
MAX_SENT: Final = 2000  # changes kept in case Redis loses them
MANY_WAITING: Final = 1000  # from here on, deltas of finished segments are not kept
SETTLE_S: Final = 3.0  # to wait for a change to happen
TOLERATED_S: Final = 0.5  # that Redis may be lost before readers are told
UNUSED_S: Final = 30.0  # that an unused copy is kept here
LOST_EVENTS: Final = 1000  # numbers to skip if Redis lost its memory
# AttributeError: from redis-py, if one task writes to a connection while another reopens it.
LINE_FAILURES: Final = (*FAILURES, AttributeError)
SCRYPT: Final = {"n": 2**12, "r": 8, "p": 1}  # 4 MiB and some 10 ms, once per replica and phrase

_ROOM_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _Copy:
    """This replica's copy of a room.

    Attributes:
        at: number of the newest change that happened here.
        seen: newest count of each replica among those.
        waiting: changes of this replica to be written. flight: perhaps written already. sent: that
            were written.
        count: of this replica's newest change.
        drawn: event of the room that the newest picture known of was taken at.
    """

    def __init__(self, opened_s: float, opened_ms: int, host: str) -> None:
        self.room: Room  # set at once by who makes it
        self.life = ""
        self.opened_ms = opened_ms
        self.opened_s = opened_s
        self.host = host
        self.at = 0
        self.seen: dict[str, int] = {}
        self.waiting: deque[tuple[int, Change]] = deque()
        self.flight: list[tuple[int, bytes]] = []
        self.sent: deque[tuple[int, bytes]] = deque(maxlen=MAX_SENT)
        self.count = 0
        self.drawn = 0
        self.used_s = 0.0
        self.lock = asyncio.Lock()  # held while it is being read or restored
        self.is_behind = False
        self.guesses = new_guesses()
        self.known_phrases: set[bytes] = set()
        self.settling: list[tuple[int, asyncio.Future[None]]] = []


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
        self._copies: dict[str, _Copy] = {}
        self._loading: dict[str, asyncio.Task[_Copy | None]] = {}
        self._salt = secrets.token_bytes(16)
        self._born = b""  # identifies the memory of Redis
        self._silent: dict[str, int] = {}  # beats without a sign of life, by replica
        self._has_changes = asyncio.Event()
        self._is_found = asyncio.Event()
        self._is_stopping = False
        self._pubsub: PubSub | None = None
        self._reading: asyncio.Task[None] | None = None  # of what is published
        self._confirmed: dict[str, asyncio.Future[None]] = {}  # by channel
        self._heard_s = 0.0
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
        room.set_guard(await _guard(pass_phrase))
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
        if await self._fits(copy, pass_phrase):
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
        room.set_guard(await _guard(pass_phrase))

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
        if copy is None or copy.room is not room:
            return False
        if copy.seen.get(self._store.replica, 0) >= copy.count:
            return True
        future = asyncio.get_running_loop().create_future()
        copy.settling.append((copy.count, future))
        try:
            async with asyncio.timeout(SETTLE_S):
                await future
        except TimeoutError:
            return False
        return True

    def wake_all(self) -> None:
        """Wake all readers: the service is shutting down."""
        for copy in self._copies.values():
            copy.room.wake_all()

    # ---- starting and stopping ----

    async def start(self) -> None:
        """Listen, write and give signs of life from now on."""
        for act in (self._listen, self._write, self._beat):
            self._spawn(for_ever(act))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
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
            await self._store.ask(lambda client: client.delete(_replica_key(self._store.replica)))

    async def end_tasks(self) -> None:
        """Stop everything running here, without telling the other replicas."""
        left = set(self._tasks)
        while left:  # once more: a call to Redis may finish although its task was cancelled
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=0.1)

    # ---- copies ----

    async def _copy(self, room_id: str) -> _Copy:
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

    async def _load(self, room_id: str) -> _Copy | None:
        """Make a copy of a room; None where there is none.

        Raises:
            StoreLost: Redis is lost.
        """
        if await self._log.read(room_id) is None:
            return None
        await self._subscribe(room_id)  # first, so that everything from here on is heard
        copy = _Copy(0.0, 0, "")
        # Changes heard in the meantime are read a second time.
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

    def _take_found(self, copy: _Copy, found: Found) -> None:
        picture = found.picture
        if picture is not None:
            is_other_life = copy.life not in ("", picture.life)
            copy.life, copy.at, copy.drawn = picture.life, picture.at, picture.room["number"]
            copy.opened_ms, copy.host, copy.seen = picture.opened_ms, picture.host, picture.seen
            copy.opened_s = self._clock() - (time.time() - copy.opened_ms / 1e3)
            copy.room.opened_s = copy.opened_s
            copy.room.load(picture.room, picture.segments.items())
            copy.count = max(copy.count, copy.seen.get(self._store.replica, 0))
            if is_other_life:
                self._send_again(copy)
        for entry in found.entries:
            self._take(copy, entry)

    def _send_again(self, copy: _Copy) -> None:
        """Write again what Redis has lost of this replica's changes."""
        seen = copy.seen.get(self._store.replica, 0)
        again = {count: data for count, data in (*copy.sent, *copy.flight) if count > seen}
        copy.flight, copy.sent = sorted(again.items()), deque(maxlen=MAX_SENT)
        for change in copy.room.return_here():
            self._submit(copy, change)
        self._has_changes.set()

    def _take(self, copy: _Copy, entry: Entry) -> None:
        """Apply the change whose turn it is."""
        if entry.number <= copy.at:
            return
        if entry.number > copy.at + 1:
            copy.is_behind = True
            return
        copy.at, copy.seen[entry.origin] = entry.number, entry.count
        change = decode(entry.data)
        copy.room.apply(change)
        if isinstance(change, Gone) and change.origin == self._store.replica:
            if not self._is_stopping:  # wrongly taken for gone while Redis was out of reach
                for each in copy.room.return_here():
                    self._submit(copy, each)
        if copy.settling and entry.origin == self._store.replica:
            for count, future in copy.settling:
                if count <= entry.count and not future.done():
                    future.set_result(None)
            copy.settling = [each for each in copy.settling if not each[1].done()]
        if entry.number % DRAW_EVERY == 0 and entry.origin == self._store.replica:
            self._spawn(self._draw(copy))

    async def _catch(self, copy: _Copy) -> None:
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

    async def _is_forgotten(self, copy: _Copy) -> bool:
        """Whether a room has expired, as opposed to Redis having lost its memory."""
        return self._born == await self._read_born() and not copy.room.is_used

    async def _restore(self, copy: _Copy) -> None:
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

    async def _draw(self, copy: _Copy) -> None:
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

    def _submit(self, copy: _Copy, change: Change) -> None:
        copy.count += 1
        copy.used_s = self._clock()
        if isinstance(change, Reads):  # only the newest counts
            copy.waiting = deque(each for each in copy.waiting if not isinstance(each[1], Reads))
        elif len(copy.waiting) > MANY_WAITING and _ends(change):
            copy.waiting = deque(each for each in copy.waiting if not _is_over(each[1], change))
        copy.waiting.append((copy.count, change))
        self._has_changes.set()

    async def _write(self) -> None:
        while True:
            await self._has_changes.wait()
            await self._is_found.wait()
            self._has_changes.clear()
            batches = [copy for copy in self._copies.values() if copy.waiting or copy.flight]
            for copy in batches:
                while copy.waiting and len(copy.flight) < BATCH:
                    count, change = copy.waiting.popleft()
                    copy.flight.append((count, encode(change)))
            try:
                flights = [(copy, list(copy.flight)) for copy in batches]
                written = await self._log.append(
                    [(copy.room.id, copy.life, flight) for copy, flight in flights]
                )
            except StoreLost:
                self._lose()
                self._has_changes.set()
                continue
            for (copy, flight), is_written in zip(flights, written, strict=True):
                if not is_written:  # Redis has lost the room, or another replica restored it
                    await self._try_to_catch(copy)
                    self._has_changes.set()
                elif copy.flight[: len(flight)] == flight:
                    copy.sent.extend(flight)
                    del copy.flight[: len(flight)]
                if copy.waiting or copy.flight:
                    self._has_changes.set()

    async def _try_to_catch(self, copy: _Copy) -> None:
        try:
            await self._catch(copy)
        except StoreLost:
            self._lose()

    # ---- what is heard ----

    async def _listen(self) -> None:
        delay_s = 0.05
        while True:
            try:
                async with self._store.client.pubsub() as pubsub:
                    await pubsub.subscribe(_replica_key(self._store.replica))
                    self._pubsub = pubsub
                    reading, finding = self._spawn(self._hear(pubsub)), self._spawn(self._find())
                    self._reading = reading
                    try:
                        await asyncio.wait([reading, finding], return_when=asyncio.FIRST_COMPLETED)
                        if finding.done():
                            finding.result()
                            delay_s = 0.05
                        await asyncio.wait([reading])
                        if not reading.cancelled():
                            reading.result()
                    finally:
                        self._pubsub = self._reading = None
                        for task in (reading, finding):
                            task.cancel()
                        await asyncio.gather(reading, finding, return_exceptions=True)
            except (StoreLost, *LINE_FAILURES) as exc:
                self._store.note(exc)
                self._lose()
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, 1.0)

    async def _hear(self, pubsub: PubSub) -> None:
        self._heard_s = self._clock()
        while True:
            message = await pubsub.get_message(timeout=self._beat_s)
            if message is None:
                if self._clock() - self._heard_s > DEAF_S:
                    raise TimeoutError
                continue
            self._heard_s = self._clock()
            name = message["channel"].decode()
            if message["type"] == "subscribe":
                waiting = self._confirmed.pop(name, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)
            elif message["type"] == "message":
                copy = self._copies.get(name.rpartition(":")[2])
                if copy is not None and name == channel(copy.room.id):
                    self._hear_change(copy, published(message["data"]))

    def _hear_change(self, copy: _Copy, entry: Entry) -> None:
        if copy.lock.locked():
            copy.is_behind = True
            return
        self._take(copy, entry)
        if copy.is_behind:
            self._spawn(self._try_to_catch(copy))

    async def _find(self) -> None:
        """Redis is back: listen to all rooms again, and catch up with them."""
        for room_id in list(self._copies):
            await self._subscribe(room_id)
        await self._give_sign()
        self._born = self._born or await self._read_born()
        for copy in list(self._copies.values()):
            await self._catch(copy)
        self._born = await self._read_born()
        self.is_lost = False
        self._is_found.set()
        if self._told_trouble is not None:
            self._told_trouble.cancel()
            self._told_trouble = None
        if self._has_told:
            self._has_told = False
            notice = SessionNotice("room_back", "all of the room is together again")
            for copy in list(self._copies.values()):
                copy.room.set_trouble(notice, is_over=True)

    def _lose(self) -> None:
        """Redis is lost: retry until it is back, and tell readers."""
        if not self.is_lost:
            self.is_lost = True
            self._is_found.clear()
            self._silent.clear()
            loop = asyncio.get_running_loop()
            self._told_trouble = loop.call_later(TOLERATED_S, self._tell_trouble)
        # Not by closing the connection: its reader may be reopening it, and would then raise
        # unexpected errors.
        if self._reading is not None:
            self._reading.cancel()

    def _tell_trouble(self) -> None:
        self._told_trouble = None
        self._has_told = True
        notice = SessionNotice(
            "room_cut_off", "the room is cut off; what is said is kept and comes later"
        )
        for copy in list(self._copies.values()):
            copy.room.set_trouble(notice, is_over=False)

    async def _subscribe(self, room_id: str) -> None:
        name = channel(room_id)
        pubsub = self._pubsub
        if pubsub is None:
            raise StoreLost("nobody listens")
        future = self._confirmed.get(name)
        if future is None or future.done():
            future = self._confirmed[name] = asyncio.get_running_loop().create_future()
        try:
            await pubsub.subscribe(name)
            async with asyncio.timeout(SETTLE_S):
                await asyncio.shield(future)
        except LINE_FAILURES as exc:
            raise StoreLost(type(exc).__name__) from exc

    # ---- signs of life ----

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._beat_s)
            if self.is_lost:
                continue
            try:
                await self._give_sign()
                await self._look_after_rooms()
                await self._look_after_others()
                self._born = await self._read_born()
            except StoreLost:
                self._lose()

    async def _give_sign(self) -> None:
        """Give a sign of life, to ourselves as well, to know that we still hear."""
        key, life_ms = _replica_key(self._store.replica), int(SILENT_BEATS * self._beat_s * 1e3)

        async def act(client: Any) -> None:
            async with client.pipeline(transaction=False) as pipe:
                pipe.set(key, 1, px=life_ms)
                pipe.publish(key, b"")
                await pipe.execute()

        await self._store.ask(act)

    async def _look_after_rooms(self) -> None:
        """Keep used rooms alive, drop copies that nobody here uses, and find those that lag."""
        now_s = self._clock()
        for room_id, copy in list(self._copies.items()):
            is_unsent = copy.waiting or copy.flight or copy.lock.locked()
            if not (copy.room.is_kept or is_unsent) and now_s - copy.used_s > UNUSED_S:
                del self._copies[room_id]
                if self._pubsub is not None:
                    with contextlib.suppress(*LINE_FAILURES):
                        await self._pubsub.unsubscribe(channel(room_id))
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
        names = sorted(others - {self._store.replica})
        if not names:
            self._silent.clear()
            return
        alive = await self._store.ask(
            lambda client: client.mget([_replica_key(name) for name in names])
        )
        silent = [name for name, sign in zip(names, alive, strict=True) if sign is None]
        self._silent = {name: self._silent.get(name, 0) + 1 for name in silent}
        for name, beats in self._silent.items():
            if beats > 1:  # not at once: Redis may have lost its memory a moment ago
                for copy in copies:
                    if name in copy.room.origins:
                        self._submit(copy, Gone(name))

    async def _read_born(self) -> bytes:
        """Return what identifies the memory of Redis; it changes when that is lost."""
        key = f"{PREFIX}born"

        async def act(client: Any) -> bytes:
            await client.set(key, secrets.token_hex(8), nx=True)
            return await client.get(key)

        return await self._store.ask(act)

    # ---- pass phrases ----

    async def _fits(self, copy: _Copy, pass_phrase: str | None) -> bool:
        guard = copy.room.guard
        if not pass_phrase or len(pass_phrase) > 1000 or guard is None:
            return guard is None
        # Known by a digest that is worth nothing elsewhere: readers who come back cost nothing.
        known = hashlib.sha256(self._salt + guard.encode() + pass_phrase.encode()).digest()
        if known in copy.known_phrases:
            return True
        salt, _, wanted = guard.partition("$")
        given = await asyncio.to_thread(_scrypt, pass_phrase, salt)
        if not hmac.compare_digest(given, wanted):
            return False
        copy.known_phrases = {known}
        return True

    def _spawn(self, act: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _guard(pass_phrase: str | None) -> str | None:
    """Return a salted, slow hash: whoever reads Redis must still try phrases one by one."""
    if not pass_phrase:
        return None
    salt = secrets.token_hex(16)
    return f"{salt}${await asyncio.to_thread(_scrypt, pass_phrase, salt)}"


def _scrypt(pass_phrase: str, salt: str) -> str:
    return hashlib.scrypt(pass_phrase.encode(), salt=bytes.fromhex(salt), dklen=32, **SCRYPT).hex()


def _digest(token: str) -> str:
    # 256 random bits: a slow hash would add nothing.
    return hashlib.sha256(token.encode()).hexdigest()


def _replica_key(replica: str) -> str:
    return f"{PREFIX}replica:{replica}"


def _unreachable() -> RestError:
    return RestError(503, "rooms cannot be reached now; try again", 1)


def _ends(change: Change) -> bool:
    return isinstance(change, Spoke) and isinstance(change.event, TranslationFinal | SourceFinal)


def _is_over(change: Change, ending: Change) -> bool:
    """Whether a delta tells nothing that a final does not tell as well."""
    if not isinstance(change, Spoke) or not isinstance(ending, Spoke):
        return False
    event, final = change.event, ending.event
    if change.session_id != ending.session_id or event.segment_id != final.segment_id:
        return False
    if isinstance(final, TranslationFinal):
        return isinstance(event, TranslationDelta) and event.target == final.target
    return isinstance(event, SourceDelta)
