"""A Redis that a measurement may kill."""

import shutil

import pytest

from service.bench.load import own_redis
from service.bench.load.own_redis import OwnRedis
from service.bench.served import ServerFailed
from service.errors import StoreLost
from service.store import Store


async def test_it_is_lost_and_comes_back_empty() -> None:
    async with OwnRedis() as redis:
        store = Store(redis.url)
        await store.ask(lambda client: client.set("a", 1))
        await redis.kill()
        await redis.kill()  # it is gone already
        with pytest.raises(StoreLost):
            await store.ask(lambda client: client.get("a"))
        await redis.start()
        assert await store.ask(lambda client: client.get("a")) is None
    with pytest.raises(StoreLost):
        await store.ask(lambda client: client.get("a"))
    await store.close()


async def test_what_keeps_it_from_starting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    true = shutil.which("true")
    with monkeypatch.context() as patch:
        patch.setattr(own_redis, "PROGRAMS", ("no-such-program",))
        with pytest.raises(ServerFailed, match="no-such-program is installed"):
            OwnRedis()
    monkeypatch.setattr(own_redis, "PROGRAMS", (true,))
    with pytest.raises(ServerFailed, match="ended with 0"):
        await OwnRedis().start()
