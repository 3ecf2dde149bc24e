"""Listening to a real Redis: what is published is heard, and a loss is told and mended."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.errors import StoreLost
from service.rooms.listener import Listener
from service.store import Store
from tests.service.redis_server import RedisServer


class Heard:
    """A listener and what it reported."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.opened: asyncio.Queue[None] = asyncio.Queue()
        self.lost: asyncio.Queue[None] = asyncio.Queue()
        self.listener = Listener(
            self.store,
            f"own:{self.store.replica}",
            0.1,
            time.monotonic,
            on_message=lambda name, data: self.messages.put_nowait((name, data)),
            on_open=self._open,
            on_lost=lambda: self.lost.put_nowait(None),
        )

    async def _open(self) -> None:
        self.opened.put_nowait(None)

    async def publish(self, name: str, data: bytes) -> int:
        return await self.store.ask(lambda client: client.publish(name, data))


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Heard]:
    heard = Heard(url)
    task = asyncio.create_task(heard.listener.listen())
    try:
        async with asyncio.timeout(60):
            await heard.opened.get()
            yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await heard.store.close()


async def test_what_is_published_on_a_subscribed_channel_is_heard(redis: RedisServer) -> None:
    async with listening(redis.url) as heard:
        name = f"room:{heard.store.replica}"
        assert await heard.publish(name, b"too early") == 0
        await heard.listener.subscribe(name)
        assert await heard.publish(name, b"hello") == 1
        assert await heard.messages.get() == (name, b"hello")
        await heard.listener.unsubscribe(name)
        while await heard.publish(name, b"too late"):  # until Redis has read it
            pass
        own = f"own:{heard.store.replica}"
        await heard.publish(own, b"a sign")
        while (message := await heard.messages.get())[0] == name:
            pass
        assert message == (own, b"a sign")


async def test_a_lost_connection_is_told_and_opened_again(own_redis: RedisServer) -> None:
    async with listening(own_redis.url) as heard:
        own_redis.stop()
        await heard.lost.get()
        with pytest.raises(StoreLost):
            await heard.listener.subscribe("room")
        await heard.listener.unsubscribe("room")  # there is nothing to stop
        own_redis.start()
        await heard.opened.get()
        await heard.listener.subscribe("room")
        await heard.publish("room", b"again")
        assert await heard.messages.get() == ("room", b"again")


async def test_a_connection_that_is_given_up_is_opened_again(redis: RedisServer) -> None:
    async with listening(redis.url) as heard:
        heard.listener.reopen()
        await heard.opened.get()
        assert heard.lost.empty()
