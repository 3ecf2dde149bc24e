"""Sessions that outlive their replica: what each needs to continue, kept in Redis.

Before a client sees a frame, that frame and the session's state are written in one step. So what
the client saw is always known, and another replica continues from there: with the same numbers,
each final once, from the text and the ids that were committed. A session belongs to one replica at
a time; each takeover increments its generation, and replicas with an older one can no longer write.

If Redis is lost, sessions continue here, and are written as a whole once it is back. Knows parts
and frames; does not know what they say.

Keys of a session, which live for `KEPT_S` after the last sign of its replica: `session:ID` (a hash:
whose it is, and its parts), `session:ID:frames` and `session:ID:finals` (lists, the newest).
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import orjson
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from service.doors.sharing import Found, News, Outcome, Share
from service.errors import StoreLost
from service.store import Store, for_ever, patience

logger = logging.getLogger("service.doors.shared_sessions")

_T = TypeVar("_T")

BEAT_S: Final = 5.0  # between a session's signs of life
RETRY_S: Final = 0.3  # between attempts to reach a lost Redis
KEPT_S: Final = 90.0  # that a session is kept without one; longer than its client is waited for
SAVE_S: Final = 2.0  # that a frame waits for a hanging Redis, once
CLAIM_S: Final = 4.0  # that a returning client waits for a lost Redis; less than it waits for us
MAX_BYTES: Final = 4 * 1024 * 1024  # in a session's parts; a larger one is not shared
MAX_LOG_BYTES: Final = 512 * 1024  # in its frames, and as many in its finals
PAUSE_S: Final = 5.0  # before a failed save is retried

# -1: another replica has it. -2: Redis lacks it, and all of it has to be written.
_SAVE: Final = """
local found = redis.call('HMGET', KEYS[1], 'generation', 'is_over', 'count')
local generation, count = tonumber(found[1] or 0), tonumber(found[3] or 0)
local own = tonumber(ARGV[1])
if generation > own or (found[2] and generation == own) then return -1 end
if ARGV[3] == '1' then
  if generation == own and count > tonumber(ARGV[2]) then return 1 end
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
elseif generation ~= own or count + 1 ~= tonumber(ARGV[2]) then return -2 end
local i = 8
for list = 2, 3 do
  local size = tonumber(ARGV[2 * list])
  for _ = 1, size do
    redis.call('RPUSH', KEYS[list], ARGV[i])
    i = i + 1
  end
  if size > 0 then redis.call('LTRIM', KEYS[list], -tonumber(ARGV[2 * list + 1]), -1) end
end
local size = tonumber(ARGV[i])
for _ = 1, size do
  redis.call('HSET', KEYS[1], ARGV[i + 1], ARGV[i + 2])
  i = i + 2
end
for j = i + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[j]) end
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'count', ARGV[2])
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, KEPT) end
return 1
"""
# Whoever takes it over counts its own writes from 0. A claim whose answer was late is sent again
# with its number: run a second time, it changes nothing. -1: another replica has it, and saved less
# than its client saw.
_CLAIM: Final = """
local found = redis.call('HMGET', KEYS[1], 'generation', 'owner', 'seq', 'claim')
if not found[3] or redis.call('HGET', KEYS[1], 'digest') ~= ARGV[1]
  or redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return {} end
if found[2] == ARGV[3] and found[1] == ARGV[4] then return {tonumber(found[1])} end
if tonumber(ARGV[5]) > tonumber(found[3]) then return {-1} end
local generation = tonumber(found[1])
if found[4] ~= ARGV[6] then
  generation = redis.call('HINCRBY', KEYS[1], 'generation', 1)
  redis.call('HSET', KEYS[1], 'owner', ARGV[3], 'count', 0, 'claim', ARGV[6])
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, KEPT) end
return {generation, redis.call('HGETALL', KEYS[1]), redis.call('LRANGE', KEYS[2], 0, -1),
  redis.call('LRANGE', KEYS[3], 0, -1)}
"""
_KEEP: Final = """
local generation = tonumber(redis.call('HGET', KEYS[1], 'generation') or 0)
if generation > tonumber(ARGV[1]) then return -1 end
if generation < tonumber(ARGV[1]) then return -2 end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, KEPT) end
return 1
"""
# Its count stays for a while, for an earlier replica that comes back late.
_END: Final = """
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return -1 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'is_over', 1)
redis.call('PEXPIRE', KEYS[1], KEPT)
return 1
"""

_OUTCOMES: Final[dict[Any, Outcome]] = {1: "saved", -1: "superseded", -2: "missing"}


@dataclass(slots=True)
class _Waiting:
    share: Share
    args: list[Any]
    outcome: asyncio.Future[Outcome]


class SharedSessions:
    """Saves the sessions of this replica, and takes over those of others.

    Args:
        store: the Redis.
        beat_s: between signs of life.

    Attributes:
        is_lost: whether Redis cannot be reached.
    """

    def __init__(self, store: Store, beat_s: float = BEAT_S) -> None:
        self.is_lost = False
        self._lost_s = 0.0  # when it was
        self._is_stopping = False
        self._store = store
        self._beat_s = beat_s
        self._shares: set[Share] = set()
        self._waiting: list[_Waiting] = []
        self._has_work = asyncio.Event()
        self._is_missed = asyncio.Event()  # Redis was lost
        self._is_found = asyncio.Event()  # it is there
        self._is_found.set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._shares)

    # ---- beginning and end ----

    async def start(self) -> None:
        """Write, and give signs of life, from now on."""
        for act in (self._write, self._beat):
            self._spawn(for_ever(act))

    async def stop(self) -> None:
        """Stop, after finishing what is under way."""
        self._is_stopping = True
        ending = {task for task in self._tasks if task.get_name() == "end"}
        if ending:
            await asyncio.wait(ending, timeout=SAVE_S)
        left = set(self._tasks)
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=0.1)

    def share(self, share: Share) -> Share:
        """Keep a session of this replica alive from now on."""
        self._shares.add(share)
        return share

    def end(self, share: Share, *, is_over: bool = True) -> None:
        """A session is over, or left to another replica."""
        self._shares.discard(share)
        if is_over and share.is_known and not share.is_superseded and not self.is_lost:
            self._spawn(self._end(share), "end")

    # ---- writing ----

    def takes(self, share: Share) -> bool:
        """Whether saving a session now is useful; if not, all of it has to be saved later."""
        now_s = asyncio.get_running_loop().time()
        if self.is_lost or self._is_stopping or share.is_superseded or now_s < share.paused_until_s:
            share.needs_whole = True
            return False
        return True

    async def save(self, share: Share, news: News) -> Outcome:
        """Write what is new of a session, together with what is new of others.

        Returns:
            How it went. "lost": Redis is, or nobody knows whether it was written. "missing": Redis
            does not have what this follows.
        """
        share.count += 1
        args = self._args(share, news)
        if sum(share.sizes.values()) > MAX_BYTES:
            logger.warning("session too large", extra={"data": {"session": share.session_id}})
            share.paused_until_s = asyncio.get_running_loop().time() + PAUSE_S
            if share.is_known:
                self._spawn(self._forget(share))
            return "lost"
        share.is_known = True
        waiting = _Waiting(share, args, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._has_work.set()
        try:
            async with patience(SAVE_S):
                outcome = await waiting.outcome
        except TimeoutError:
            self._lose()
            return "lost"
        if outcome == "superseded":
            self._supersede(share)
        return outcome

    def _args(self, share: Share, news: News) -> list[Any]:
        parts: dict[str, Any] = {
            name: None if part is None else orjson.dumps(part) for name, part in news.parts.items()
        }
        if news.is_whole:
            share.sizes.clear()
            for log in share.logs:
                log.clear()
            parts |= {
                "digest": share.digest,
                "epoch": share.epoch,
                "owner": self._store.replica,
            }
        parts["seq"] = news.seq
        changed = {name: part for name, part in parts.items() if part is not None}
        gone = [name for name, part in parts.items() if part is None]
        for name in gone:
            share.sizes.pop(name, None)
        share.sizes |= {name: len(p) for name, p in changed.items() if isinstance(p, bytes)}
        added = (news.frames, news.finals)
        bounds: list[int] = []
        for log, frames in zip(share.logs, added, strict=True):
            log.extend(len(frame.encode()) for frame in frames)
            bounds += [len(frames), _num_kept(log)]
        pairs = [value for pair in changed.items() for value in pair]
        return [
            share.generation, share.count, int(news.is_whole), bounds[0], bounds[1], bounds[2],
            bounds[3], *news.frames, *news.finals, len(changed), *pairs, *gone,
        ]  # fmt: skip

    async def _write(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            waiting, self._waiting = self._waiting, []
            found: list[Any] = [None] * len(waiting)
            try:
                found = await self._run((each.share, _SAVE, each.args) for each in waiting)
            finally:  # even if this task ends
                for each, reply in zip(waiting, found, strict=True):
                    if not each.outcome.done():  # otherwise nobody is waiting any more
                        each.outcome.set_result(_OUTCOMES.get(reply, "lost"))

    async def _run(self, scripts: Iterable[tuple[Share, str, list[Any]]]) -> list[Any]:
        """Run a script for each session, in one round trip; None where it was not run."""
        wanted = list(scripts)

        async def act(client: Redis) -> list[Any]:
            async with client.pipeline(transaction=False) as pipe:
                for share, script, args in wanted:
                    _eval(pipe, script, share.session_id, args)
                return await pipe.execute(raise_on_error=False)

        try:
            found = await self._store.ask(act)
        except StoreLost:
            self._lose()
            return [None] * len(wanted)
        for (share, _, _), problem in zip(wanted, found, strict=True):
            if isinstance(problem, Exception):  # of this session only, as when memory is full
                share.paused_until_s = asyncio.get_running_loop().time() + PAUSE_S
                data = {"session": share.session_id, "problem": str(problem)[:200]}
                logger.error("session not written", extra={"data": data})
        return [None if isinstance(each, Exception) else each for each in found]

    async def _end(self, share: Share) -> None:
        await self._run([(share, _END, [share.generation])])

    async def _forget(self, share: Share) -> None:
        """Let nobody resume from the stored state of a session that is no longer saved."""

        async def act(client: Redis) -> int:
            return await client.hdel(_keys(share.session_id)[0], "seq")

        try:
            await self._store.ask(act)
        except StoreLost:
            self._lose()

    # ---- taking over ----

    async def claim(
        self, session_id: str, digest: str, epoch: str, last_seq: int, own: Share | None
    ) -> Found | Literal["ours"] | None:
        """Take over a session whose client has connected here.

        Args:
            last_seq: the newest event that the client has.
            own: the session as it is here.
        Returns:
            "ours" where this replica has it already; None where there is no such session, or it
            does not know all that its client saw.
        Raises:
            StoreLost: Redis is lost, and not back soon; the client then starts a new session.
        """
        generation = 0 if own is None else own.generation
        number = secrets.randbits(53)
        args = [digest, epoch, self._store.replica, generation, last_seq, number]

        async def act(client: Redis) -> list[Any]:
            async with client.pipeline(transaction=False) as pipe:
                _eval(pipe, _CLAIM, session_id, args)
                return (await pipe.execute())[0]

        reply = await self._insist(act)
        if not reply:
            return None
        if reply == [generation]:
            return "ours"
        if own is not None:
            self._supersede(own)
        if len(reply) == 1:
            return None
        flat = reply[1]
        fields = dict(zip(map(bytes.decode, flat[::2]), flat[1::2], strict=True))
        parts = {
            name: orjson.loads(value) for name, value in fields.items() if name not in _OF_A_SHARE
        }
        frames, finals = ([frame.decode() for frame in each] for each in reply[2:])
        seq = int(fields["seq"])
        return Found(session_id, digest, epoch, reply[0], parts, seq, frames, finals)

    async def _insist(self, act: Callable[[Redis], Awaitable[_T]]) -> _T:
        """Ask Redis, waiting for it if it is lost only for a moment.

        Raises:
            StoreLost: it was not there for too long.
        """
        lost_for_s = asyncio.get_running_loop().time() - self._lost_s if self.is_lost else 0.0
        try:
            async with patience(max(CLAIM_S - lost_for_s, 0.0)):
                while True:
                    await self._is_found.wait()
                    try:
                        return await self._store.ask(act)
                    except StoreLost:
                        self._lose()
        except TimeoutError:
            raise StoreLost("it does not come back") from None

    def _supersede(self, share: Share) -> None:
        if not share.is_superseded:
            share.is_superseded = True
            logger.info("session superseded", extra={"data": {"session": share.session_id}})
            share.on_superseded()

    # ---- signs of life ----

    async def _beat(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RETRY_S if self.is_lost else self._beat_s):
                    await self._is_missed.wait()
                self._is_missed.clear()
            except TimeoutError:
                pass
            if self.is_lost:
                await self._find()
                continue
            shares = [share for share in self._shares if share.is_known]
            found = await self._run((share, _KEEP, [share.generation]) for share in shares)
            for share, state in zip(shares, found, strict=True):
                if state == -1:
                    self._supersede(share)
                elif state == -2:  # Redis has lost its memory, or has it from an older copy
                    share.needs_whole = True
                    share.on_back()

    async def _find(self) -> None:
        async def act(client: Redis) -> Any:
            return await client.ping()

        try:
            async with patience(SAVE_S):
                await self._store.ask(act)
        except (StoreLost, TimeoutError):
            return
        self.is_lost = False
        self._is_found.set()
        logger.info("sessions are shared again")
        for share in list(self._shares):
            share.needs_whole = True
            share.on_back()

    def _lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._lost_s = asyncio.get_running_loop().time()
            self._is_found.clear()
            logger.error("sessions are not shared: Redis is lost")
            self._is_missed.set()
        for each in self._waiting:
            if not each.outcome.done():
                each.outcome.set_result("lost")
        self._waiting.clear()

    def _spawn(self, act: Coroutine[Any, Any, Any], name: str | None = None) -> None:
        task = asyncio.create_task(act, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_OF_A_SHARE: Final = frozenset({"generation", "count", "digest", "epoch", "owner", "seq", "claim"})


def _keys(session_id: str) -> list[str]:
    return [Store.key("session", session_id, *name) for name in ((), ("frames",), ("finals",))]


def _eval(pipe: Pipeline, script: str, session_id: str, args: list[Any]) -> None:
    # With its text: Redis knows it by that, and a restart costs no second round trip.
    text = script.replace("KEPT", str(int(KEPT_S * 1e3)))
    pipe.eval(text, 3, *_keys(session_id), *args)


def _num_kept(sizes: deque[int]) -> int:
    """Return how many of the newest frames are kept."""
    left = MAX_LOG_BYTES
    for count, size in enumerate(reversed(sizes)):
        left -= size
        if left < 0:
            return max(count, 1)
    return max(len(sizes), 1)
