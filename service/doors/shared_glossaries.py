"""Stored glossaries that replicas share: uploaded to one, usable by id at every other.

The same limits as in one process, counted over all replicas that use the same Redis. Knows Redis; a
client is stored there only as a digest.

Keys, which live for as long as glossaries in one process: `glossary:ID` (a hash: its owner and its
contents), `glossaries:of:CLIENT` (a client's ids, in order), `glossaries` (all, with the time at
which each expires) and `glossaries:entries` (how many entries they have together).
"""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import asdict, replace
from typing import Any, Final

import orjson

from service.captions.glossaries import (
    KEPT_S,
    MAX_ENTRIES_IN_ALL,
    MAX_OF_CLIENT,
    StoredGlossary,
)
from service.errors import RestError, StoreLost
from service.store import PREFIX, Store
from tokenspeed.text.glossary import Term

MAX_READ: Final = 64  # parsed glossaries to keep

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# A member of `glossaries` is its number of entries and its id.
_ADD: Final = """
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1])) do
  redis.call('ZREM', KEYS[2], member)
  redis.call('DECRBY', KEYS[3], string.match(member, '^%d+'))
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  if redis.call('EXISTS', ARGV[9] .. id) == 0 then redis.call('ZREM', KEYS[4], id) end
end
local entries = tonumber(redis.call('GET', KEYS[3]) or '0') + tonumber(ARGV[4])
if entries > tonumber(ARGV[8]) or redis.call('ZCARD', KEYS[4]) >= tonumber(ARGV[7]) then
  return 0
end
local member = ARGV[4] .. ' ' .. ARGV[3]
redis.call('HSET', KEYS[1], 'client', ARGV[5], 'data', ARGV[6], 'member', member)
redis.call('ZADD', KEYS[2], ARGV[1] + ARGV[2], member)
redis.call('SET', KEYS[3], string.format('%.0f', entries))
local newest = redis.call('ZRANGE', KEYS[4], -1, -1, 'WITHSCORES')
redis.call('ZADD', KEYS[4], (newest[2] or 0) + 1, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[4], ARGV[2])
return 1
"""
_FIND: Final = """
local found = redis.call('HMGET', KEYS[1], 'client', 'data', 'member')
if not found[1] then return {} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', ARGV[3] .. found[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[1] + ARGV[2], found[3])
return {found[1], found[2]}
"""
_REMOVE: Final = """
local found = redis.call('HMGET', KEYS[1], 'client', 'member')
if found[1] ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('ZREM', KEYS[2], found[2]) == 1 then
  redis.call('DECRBY', KEYS[3], string.match(found[2], '^%d+'))
end
redis.call('ZREM', KEYS[4], ARGV[2])
return 1
"""


class SharedGlossaries:
    """Glossaries by their ids, in Redis.

    Its coroutines raise RestError (503) if Redis is lost.

    Args:
        store: the Redis.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._add, self._find = store.script(_ADD), store.script(_FIND)
        self._remove = store.script(_REMOVE)
        self._read: OrderedDict[str, tuple[list[bytes], StoredGlossary]] = OrderedDict()

    async def add(self, glossary: StoredGlossary, now_s: float) -> StoredGlossary | None:
        """Store a new glossary; return it, None if the store or the client's share is full."""
        key, owner, terms = glossary.id, owner_of(glossary.client), glossary.terms
        said = {
            field: getattr(glossary, field) for field in ("name", "source", "target", "created")
        }
        data = orjson.dumps(said | {"terms": [asdict(term) for term in terms]})
        keys = [_key(key), _ALL, _ENTRIES, _OF + owner]
        args = [
            _now_ms(), _KEPT_MS, key, len(terms), owner, data, MAX_OF_CLIENT, MAX_ENTRIES_IN_ALL,
            _key(""),
        ]  # fmt: skip
        return replace(glossary, client=owner) if await self._ask(self._add, keys, args) else None

    async def find(self, key: str, now_s: float) -> StoredGlossary | None:
        """Return a glossary by its id, and keep it for another day."""
        if not _ID.fullmatch(key):
            return None
        args = [_now_ms(), _KEPT_MS, _OF]
        found: list[bytes] = await self._ask(self._find, [_key(key), _ALL], args)
        if not found:
            self._read.pop(key, None)
            return None
        read, glossary = self._read.get(key, (None, None))
        if glossary is None or read != found:
            glossary = _glossary(key, found[0].decode(), found[1])
        self._read[key] = (found, glossary)
        self._read.move_to_end(key)
        if len(self._read) > MAX_READ:
            self._read.popitem(last=False)
        return glossary

    def recent(self, key: str, now_s: float) -> StoredGlossary | None:
        """Return a glossary that `find` has just found."""
        found = self._read.get(key)
        return None if found is None else found[1]

    async def of(self, client: Hashable, now_s: float) -> list[StoredGlossary]:
        """Return the glossaries of a client, oldest first."""
        owner = owner_of(client)

        async def act(redis: Any) -> list[tuple[str, bytes]]:
            ids = [each.decode() for each in await redis.zrange(_OF + owner, 0, -1)]
            async with redis.pipeline(transaction=False) as pipe:
                for each in ids:
                    pipe.hget(_key(each), "data")
                found = await pipe.execute()
            return [(key, data) for key, data in zip(ids, found, strict=True) if data is not None]

        try:
            kept = await self._store.ask(act)
        except StoreLost as exc:
            raise _unreachable() from exc
        return [_glossary(key, owner, data) for key, data in kept]

    async def remove(self, key: str, client: Hashable) -> bool:
        """Delete a client's glossary; return whether there was one."""
        if not _ID.fullmatch(key):
            return False
        owner = owner_of(client)
        self._read.pop(key, None)
        keys = [_key(key), _ALL, _ENTRIES, _OF + owner]
        return bool(await self._ask(self._remove, keys, [owner, key]))

    def is_of(self, glossary: StoredGlossary, client: Hashable) -> bool:
        """Whether a glossary is a client's own."""
        return glossary.client == owner_of(client)

    async def _ask(self, script: Any, keys: list[str], args: list[Any]) -> Any:
        try:
            return await self._store.ask(lambda _: script(keys, args))
        except StoreLost as exc:
            raise _unreachable() from exc


_ALL: Final = f"{PREFIX}glossaries"
_ENTRIES: Final = f"{PREFIX}glossaries:entries"
_OF: Final = f"{PREFIX}glossaries:of:"
_KEPT_MS: Final = int(KEPT_S * 1e3)


def owner_of(client: Hashable) -> str:
    """Return a client's digest: neither its key nor its address is stored."""
    return hashlib.sha256(str(client).encode()).hexdigest()


def _key(glossary_id: str) -> str:
    return f"{PREFIX}glossary:{glossary_id}"


def _now_ms() -> int:
    return int(time.time() * 1e3)  # on a clock that replicas have in common


def _glossary(key: str, owner: str, data: bytes) -> StoredGlossary:
    said = orjson.loads(data)
    terms = tuple(Term(**term) for term in said.pop("terms"))
    return StoredGlossary(key, owner, terms=terms, **said)


def _unreachable() -> RestError:
    return RestError(503, "glossaries cannot be reached now; try again", 1)
