"""The Redis that replicas share, if there is one: its failures, each reported once.

Knows connections and their loss; does not know what is kept there. Its address, which may hold a
password, is never logged.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service.errors import StoreLost

logger = logging.getLogger("service.store")

_T = TypeVar("_T")

PREFIX: Final = "tokenspeed:"
PATIENCE_S: Final = 2.0  # for a connection or an answer
PARTS: Final = 20  # that a wait for Redis is counted in
HANGING_S: Final = 20.0  # for the same, by the clock, however starved this process is
RESTART_S: Final = 0.5  # before a task that must not end is restarted
MAX_LINES: Final = 16  # connections to Redis at one time, besides the listening one
# RuntimeError: from uvloop, on which Ray's replicas run, if a connection was closed meanwhile.
FAILURES: Final = (RedisError, OSError, TimeoutError, RuntimeError)


async def for_ever(act: Callable[[], Awaitable[None]]) -> None:
    """Run what must never end; if it does, for whatever reason, log that and restart it.

    Otherwise a replica could stop listening, and carry on as if nothing was said elsewhere.
    """
    while True:
        try:
            await act()
        except Exception:  # a bug, ours or a library's
            logger.exception("started again", extra={"data": {"what": act.__name__}})
        await asyncio.sleep(RESTART_S)


@contextlib.asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Wait for Redis no longer than this, not counting time in which this process stood still.

    A process that gets too little of a busy machine finds that its time is over when it next runs,
    although the answer has long been there. It would take Redis for lost, and go on without having
    saved what its clients see.

    Raises:
        TimeoutError: there was no answer in time.
    """
    loop = asyncio.get_running_loop()
    left, timer = PARTS, loop.call_later(seconds / PARTS, lambda: count())

    def count() -> None:
        nonlocal left, timer
        left -= 1
        if left:
            timer = loop.call_later(seconds / PARTS, count)
        else:
            limit.reschedule(loop.time())

    try:
        async with asyncio.timeout(None) as limit:
            yield
    finally:
        timer.cancel()


class Store:
    """What replicas share.

    Args:
        url: `redis://` or `rediss://` with host, port, database and password.

    Attributes:
        replica: names this process among all that use the same Redis.
        client: for those who listen or need a pipeline.
    """

    def __init__(self, url: str) -> None:
        self.replica = secrets.token_hex(8)
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_LINES,
            timeout=HANGING_S,
            socket_timeout=HANGING_S,
            socket_connect_timeout=HANGING_S,
            retry=Retry(NoBackoff(), 0),
        )
        self.client: Redis = Redis(connection_pool=pool)
        self._is_told = False  # whether its loss has been logged

    async def ask(self, act: Callable[[Redis], Awaitable[_T]]) -> _T:
        """Run an operation on Redis.

        Raises:
            StoreLost: it could not be done, or nobody knows whether it was.
        """
        try:
            async with patience(2 * PATIENCE_S):
                found = await act(self.client)
        except FAILURES as exc:
            self.note(exc)
            raise StoreLost(type(exc).__name__) from exc
        self.note(None)
        return found

    def note(self, problem: Exception | None) -> None:
        """Log that Redis is lost, or back."""
        if problem is not None and not self._is_told:
            logger.error("Redis is lost", extra={"data": {"problem": type(problem).__name__}})
        elif problem is None and self._is_told:
            logger.info("Redis is back")
        self._is_told = problem is not None

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()
        await self.client.connection_pool.aclose()

    @staticmethod
    def key(*names: str) -> str:
        """Return the Redis key of something stored there."""
        return PREFIX + ":".join(names)

    def script(self, text: str) -> Any:
        """Return a script that runs as one step: called with `keys`, `args` and `client`."""
        return self.client.register_script(text)
