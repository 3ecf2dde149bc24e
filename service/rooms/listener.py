"""Listens to channels of Redis on one connection, and opens that again whenever it breaks.

Knows channels and their bytes; does not know what is published there.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from redis.asyncio.client import PubSub

from service.errors import StoreLost
from service.store import FAILURES, PATIENCE_S, Store, patience

# AttributeError: from redis-py, if one task writes to a connection while another reopens it.
LINE_FAILURES: Final = (*FAILURES, AttributeError)
DEAF_S: Final = 10.0  # without anything heard, our own signs of life included, before it is dead
CONFIRM_S: Final = 3.0  # for Redis to say that it was subscribed to a channel


class Listener:
    """Listens to what is published.

    Args:
        store: the Redis.
        own: a channel that is always listened to, and on which something is published regularly.
        wait_s: to wait for a message at one time.
        clock: seconds, monotonic.
        on_message: called with the name of a channel, and what was published there.
        on_open: awaited when a connection is open; may raise StoreLost.
        on_lost: called when it has broken.
    """

    def __init__(
        self,
        store: Store,
        own: str,
        wait_s: float,
        clock: Callable[[], float],
        on_message: Callable[[str, bytes], None],
        on_open: Callable[[], Coroutine[Any, Any, None]],
        on_lost: Callable[[], None],
    ) -> None:
        self._store = store
        self._own = own
        self._wait_s = wait_s
        self._clock = clock
        self._on_message = on_message
        self._on_open = on_open
        self._on_lost = on_lost
        self._pubsub: PubSub | None = None
        self._reading: asyncio.Task[None] | None = None
        self._confirmed: dict[str, asyncio.Future[None]] = {}  # by channel

    async def listen(self) -> None:
        """Listen, until cancelled."""
        delay_s = 0.05
        while True:
            try:
                async with self._store.client.pubsub() as pubsub:
                    async with patience(PATIENCE_S):
                        await pubsub.subscribe(self._own)
                    self._pubsub = pubsub
                    reading = asyncio.create_task(self._read(pubsub))
                    opening = asyncio.create_task(self._on_open())
                    self._reading = reading
                    try:
                        await asyncio.wait([reading, opening], return_when=asyncio.FIRST_COMPLETED)
                        if opening.done():
                            opening.result()
                            delay_s = 0.05
                        await asyncio.wait([reading])
                        if not reading.cancelled():
                            reading.result()
                    finally:
                        self._pubsub = self._reading = None
                        for task in (reading, opening):
                            task.cancel()
                        await asyncio.gather(reading, opening, return_exceptions=True)
            except (StoreLost, *LINE_FAILURES) as exc:
                self._store.note(exc)
                self._on_lost()
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, 1.0)

    def reopen(self) -> None:
        """Give this connection up, and open another."""
        # Not by closing it: its reader may be reopening it, and would then raise unexpected errors.
        if self._reading is not None:
            self._reading.cancel()

    async def subscribe(self, *names: str) -> None:
        """Listen to channels; on return, everything published from now on is heard.

        Raises:
            StoreLost: there is no connection, or nothing was confirmed.
        """
        pubsub = self._pubsub
        if pubsub is None:
            raise StoreLost("nobody listens")
        futures = []
        for name in names:
            future = self._confirmed.get(name)
            if future is None or future.done():
                future = self._confirmed[name] = asyncio.get_running_loop().create_future()
            futures.append(future)
        try:
            await pubsub.subscribe(*names)
            async with patience(CONFIRM_S):
                await asyncio.gather(*map(asyncio.shield, futures))
        except LINE_FAILURES as exc:
            raise StoreLost(type(exc).__name__) from exc

    async def unsubscribe(self, name: str) -> None:
        """Stop listening to a channel; where there is no connection, there is nothing to stop."""
        if self._pubsub is not None:
            with contextlib.suppress(*LINE_FAILURES):
                await self._pubsub.unsubscribe(name)

    async def _read(self, pubsub: PubSub) -> None:
        heard_s = self._clock()
        while True:
            message = await pubsub.get_message(timeout=self._wait_s)
            if message is None:
                if self._clock() - heard_s > DEAF_S:
                    raise TimeoutError
                continue
            heard_s = self._clock()
            name = message["channel"].decode()
            if message["type"] == "subscribe":
                waiting = self._confirmed.pop(name, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)
            elif message["type"] == "message":
                self._on_message(name, message["data"])
