"""What happens to rooms, as replicas share it: a stream of changes per room, in Redis.

A room is its newest picture and the changes after it. Each change has a number without a gap and
is published as well, so that whoever listens hears of it at once, and knows what it missed. A
change is known by its replica and that one's own count, and happens once however often it is sent.

Keys of a room, all of which live for as long as somebody uses it: `head` (a hash: the room as of
the change `picture_at`, the newest change, and the newest count of each replica), `segments` (a
hash: of the same picture, by number), `log` (the stream). Beside them, `host:DIGEST` names the room
that a token is for, and `rooms` holds all of them with the time at which each is forgotten.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from redis.asyncio import Redis

from service.store import PREFIX, Store

KEEP: Final = 1024  # changes older than the picture to keep, for replicas that lag
SEEN: Final = b"seen:"  # fields of the head: the newest count of each replica

_CREATE: Final = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[1] + ARGV[3], ARGV[4])
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[3])
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return 1
"""
_RESTORE: Final = """
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
redis.call('ZADD', KEYS[1], ARGV[1] + ARGV[2], ARGV[3])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
local i = 5
for _ = 1, tonumber(ARGV[4]) do
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
  i = i + 2
end
redis.call('DEL', KEYS[4], KEYS[5])
while i < #ARGV do
  redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
  i = i + 2
end
redis.call('PEXPIRE', KEYS[3], ARGV[2])
redis.call('PEXPIRE', KEYS[4], ARGV[2])
return 1
"""
_APPEND: Final = """
if redis.call('HGET', KEYS[1], 'life') ~= ARGV[1] then return -1 end
local field = 'seen:' .. ARGV[2]
local seen = tonumber(redis.call('HGET', KEYS[1], field) or '0')
local last = tonumber(redis.call('HGET', KEYS[1], 'last'))
for i = 5, #ARGV, 2 do
  local count = tonumber(ARGV[i])
  if count > seen then
    seen, last = count, last + 1
    redis.call('XADD', KEYS[2], string.format('%.0f-0', last),
      'o', ARGV[2], 'c', ARGV[i], 'd', ARGV[i + 1])
    redis.call('PUBLISH', ARGV[4],
      string.format('%.0f', last) .. ' ' .. ARGV[2] .. ' ' .. ARGV[i] .. ' ' .. ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[1], 'last', string.format('%.0f', last), field, string.format('%.0f', seen))
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
return last
"""
_READ: Final = """
local life = redis.call('HGET', KEYS[1], 'life')
if not life then return {} end
local last, after = tonumber(redis.call('HGET', KEYS[1], 'last')), tonumber(ARGV[2])
if life == ARGV[1] and after <= last then
  local found = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', after + 1), '+')
  if #found == last - after then return {life, found} end
end
local at = tonumber(redis.call('HGET', KEYS[1], 'picture_at'))
return {
  life, redis.call('XRANGE', KEYS[2], string.format('%.0f-0', at + 1), '+'),
  redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[3])
}
"""
_PICTURE: Final = """
if redis.call('HGET', KEYS[1], 'life') ~= ARGV[1] then return -1 end
if tonumber(redis.call('HGET', KEYS[1], 'picture_at')) >= tonumber(ARGV[2]) then return -1 end
local before = tonumber(redis.call('HGET', KEYS[1], 'picture_number'))
if before < tonumber(ARGV[3]) then return before end
redis.call('HSET', KEYS[1], 'picture_at', ARGV[2], 'picture_number', ARGV[4], 'room', ARGV[5])
for i = 8, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
local old = tonumber(ARGV[6]) - 1
while redis.call('HDEL', KEYS[3], string.format('%.0f', old)) == 1 do old = old - 1 end
redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', math.max(ARGV[2] + 1 - ARGV[7], 0)))
return -1
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A change as written: its number, which replica's it is, and that replica's count."""

    number: int
    origin: str
    count: int
    data: bytes


@dataclass(slots=True)
class Picture:
    """A room as of one of its changes.

    Attributes:
        life: another one where Redis has lost the room and a replica brought it back.
        at: number of the change.
        opened_ms: on the clock on the wall.
        host: digest of the host's token.
        room, segments: as `Room.dump` gives them.
        seen: the newest count of each replica.
    """

    life: str
    at: int
    opened_ms: int
    host: str
    room: dict[str, Any]
    segments: dict[int, dict[str, Any]]
    seen: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """What is stored of a room: changes, after a picture if some of those wanted are gone."""

    life: str
    entries: list[Entry]
    picture: Picture | None


class RoomLog:
    """Writes and reads the changes of rooms.

    Args:
        store: the Redis.
        idle_s: a room that nobody used for so long is forgotten.
    """

    def __init__(self, store: Store, idle_s: float) -> None:
        self._store = store
        self._idle_ms = int(idle_s * 1e3)
        self._create, self._restore = store.script(_CREATE), store.script(_RESTORE)
        self._append, self._read = store.script(_APPEND), store.script(_READ)
        self._picture = store.script(_PICTURE)

    async def create(self, room_id: str, picture: Picture, max_rooms: int, now_ms: int) -> bool:
        """Create a room; return False if there are too many."""
        keys = [_ROOMS, _host_key(picture.host), _head_key(room_id)]
        args = [now_ms, max_rooms, self._idle_ms, room_id, *_head(picture)]
        return bool(await self._store.ask(lambda _: self._create(keys, args)))

    async def restore(self, room_id: str, picture: Picture, now_ms: int) -> bool:
        """Restore a room that Redis has lost; return False if another replica already did."""
        keys = [_ROOMS, _host_key(picture.host), *_keys(room_id)]
        keys[3], keys[4] = keys[4], keys[3]
        head = _head(picture)
        args = [now_ms, self._idle_ms, room_id, len(head) // 2, *head]
        args += _segments(picture.segments)
        return bool(await self._store.ask(lambda _: self._restore(keys, args)))

    async def append(
        self, batches: Sequence[tuple[str, str, Sequence[tuple[int, bytes]]]]
    ) -> list[bool]:
        """Write changes of several rooms.

        Args:
            batches: a room, the life that is known of it, and changes, each with its own count.
        Returns:
            For each room whether it is there and has that life.
        """

        async def act(client: Redis) -> list[bool]:
            async with client.pipeline(transaction=False) as pipe:
                for room_id, life, changes in batches:
                    args: list[Any] = [life, self._store.replica, self._idle_ms, channel(room_id)]
                    args += [part for change in changes for part in change]
                    await self._append(_keys(room_id), args, client=pipe)
                return [last != -1 for last in await pipe.execute()]

        return await self._store.ask(act)

    async def read(self, room_id: str, life: str = "", after: int = 0) -> Found | None:
        """Return the changes after a number, or a whole picture; None if there is no such room."""
        found = await self._store.ask(lambda _: self._read(_keys(room_id), [life, after]))
        if not found:
            return None
        entries = [_entry(number, fields) for number, fields in found[1]]
        if len(found) < 3:
            return Found(found[0].decode(), entries, None)
        head, segments = _pairs(found[2]), _pairs(found[3])
        picture = Picture(
            found[0].decode(),
            int(head[b"picture_at"]),
            int(head[b"opened_ms"]),
            head[b"host"].decode(),
            orjson.loads(head[b"room"]),
            {int(number): orjson.loads(data) for number, data in segments.items()},
            {
                name.removeprefix(SEEN).decode(): int(count)
                for name, count in head.items()
                if name.startswith(SEEN)
            },
        )
        return Found(picture.life, entries, picture)

    async def draw(self, room_id: str, picture: Picture, since: int) -> int | None:
        """Store a newer picture, and drop changes long before it.

        Args:
            since: event of the room; the picture has the segments that changed after it.
        Returns:
            None if it was stored or is not needed; otherwise the `since` that it must have.
        """
        args: list[Any] = [
            picture.life, picture.at, since, picture.room["number"], orjson.dumps(picture.room),
            picture.room["oldest"], KEEP, *_segments(picture.segments),
        ]  # fmt: skip
        before = await self._store.ask(lambda _: self._picture(_keys(room_id), args))
        return None if before == -1 else before

    async def hosted_by(self, digest: str) -> str | None:
        """Return the room whose host holds this token."""
        found = await self._store.ask(lambda client: client.get(_host_key(digest)))
        return found.decode() if isinstance(found, bytes) else found

    async def look(self, rooms: Iterable[tuple[str, str]], now_ms: int) -> list[tuple[str, int]]:
        """Keep rooms alive; return the life and the newest change of each.

        Args:
            rooms: a name, and the digest of its host's token where the room is used.
        """
        wanted = list(rooms)

        async def act(client: Redis) -> list[tuple[str, int]]:
            async with client.pipeline(transaction=False) as pipe:
                for room_id, host in wanted:
                    pipe.hmget(_head_key(room_id), "life", "last")
                    if host:
                        for key in (*_keys(room_id), _host_key(host)):
                            pipe.pexpire(key, self._idle_ms)
                        pipe.zadd(_ROOMS, {room_id: now_ms + self._idle_ms})
                replies = await pipe.execute()
            found = [reply for reply in replies if isinstance(reply, list)]
            return [((life or b"").decode(), int(last or 0)) for life, last in found]

        return await self._store.ask(act)

    async def guessed(self, room_id: str, address: str, period_s: float) -> int:
        """Count a wrong pass phrase; return an address's recent number, on all replicas."""

        async def act(client: Redis) -> int:
            async with client.pipeline() as pipe:
                for key in _guesses_keys(room_id, address):
                    pipe.incr(key)
                    pipe.expire(key, int(period_s), nx=True)
                return (await pipe.execute())[0]

        return await self._store.ask(act)

    async def num_guesses(self, room_id: str, address: str) -> tuple[int, int]:
        """Return the recent numbers of wrong pass phrases: of an address, of all."""
        keys = _guesses_keys(room_id, address)
        own, all_ = await self._store.ask(lambda client: client.mget(keys))
        return int(own or 0), int(all_ or 0)

    async def count(self, now_ms: int) -> int:
        """Return the number of rooms."""
        return await self._store.ask(lambda client: client.zcount(_ROOMS, now_ms, "+inf"))


def channel(room_id: str) -> str:
    """Return the channel on which a room's changes are published."""
    return f"{PREFIX}room:{room_id}"


def published(data: bytes) -> Entry:
    """Parse a published change."""
    number, origin, count, change = data.split(b" ", 3)
    return Entry(int(number), origin.decode(), int(count), change)


_ROOMS: Final = f"{PREFIX}rooms"


def _head_key(room_id: str) -> str:
    return f"{PREFIX}room:{room_id}:head"


def _keys(room_id: str) -> list[str]:
    return [f"{PREFIX}room:{room_id}:{name}" for name in ("head", "log", "segments")]


def _host_key(digest: str) -> str:
    return f"{PREFIX}host:{digest}"


def _guesses_keys(room_id: str, address: str) -> list[str]:
    """The keys of the counters of wrong pass phrases: of an address, and of all."""
    own = hashlib.sha256(address.encode()).hexdigest()[:32]
    return [f"{PREFIX}room:{room_id}:guesses:{own}", f"{PREFIX}room:{room_id}:guesses"]


def _head(picture: Picture) -> list[Any]:
    fields = {
        "life": picture.life,
        "opened_ms": picture.opened_ms,
        "host": picture.host,
        "last": picture.at,
        "picture_at": picture.at,
        "picture_number": picture.room["number"],
        "room": orjson.dumps(picture.room),
        **{SEEN.decode() + origin: count for origin, count in picture.seen.items()},
    }
    return [part for each in fields.items() for part in each]


def _segments(segments: dict[int, dict[str, Any]]) -> list[Any]:
    return [part for number, each in segments.items() for part in (number, orjson.dumps(each))]


def _entry(number: bytes, fields: list[bytes]) -> Entry:
    found = _pairs(fields)
    return Entry(
        int(number.partition(b"-")[0]), found[b"o"].decode(), int(found[b"c"]), found[b"d"]
    )


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
