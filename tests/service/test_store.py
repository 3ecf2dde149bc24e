"""The Redis that replicas share: what fails is told, without its address."""

import asyncio
import logging
import time
from contextlib import nullcontext

import pytest
from redis.asyncio import Redis

from service import store as store_module
from service.errors import StoreLost
from service.store import Store, for_ever, patience
from tests.service.redis_server import RedisServer


async def test_what_is_kept_is_there_and_a_loss_is_told_once(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(own_redis.url)
    await store.ask(lambda client: client.set("a", 1))
    assert await store.ask(lambda client: client.get("a")) == b"1"
    own_redis.stop()
    with caplog.at_level(logging.INFO, "service.store"):
        for _ in range(3):
            with pytest.raises(StoreLost):
                await store.ask(lambda client: client.get("a"))
        own_redis.start()
        assert await store.ask(lambda client: client.get("a")) is None
    assert caplog.messages == ["Redis is lost", "Redis is back"]
    await store.close()


async def test_the_address_and_its_password_are_never_logged(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path_factory.mktemp("redis"), password="a-right-one")
    server.start()
    wrong = server.url.replace("a-right-one", "a-wrong-one")
    with caplog.at_level(logging.DEBUG):
        for url, problem in ((wrong, "AuthenticationError"), (server.url, None)):
            store = Store(url)
            with pytest.raises(StoreLost, match=problem) if problem else nullcontext():
                await store.ask(lambda client: client.ping())
            await store.close()
        server.stop()
        store = Store(server.url)
        with pytest.raises(StoreLost):
            await store.ask(lambda client: client.ping())
        await store.close()
    said = caplog.text + str([record.__dict__ for record in caplog.records])
    for secret in ("a-right-one", "a-wrong-one", str(server.port)):
        assert secret not in said


async def test_what_uvloop_says_of_a_closed_line_is_a_loss() -> None:
    """It has an error of its own for that; Ray's replicas run on it."""
    store = Store("redis://127.0.0.1:1/0")

    async def act(client: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    with pytest.raises(StoreLost, match="RuntimeError"):
        await store.ask(act)
    await store.close()


async def test_time_in_which_this_process_stood_still_is_not_waited_for_redis(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it goes on, the answer has been there for long, and the time is over as well."""
    monkeypatch.setattr(store_module, "PATIENCE_S", 0.1)
    store = Store(redis.url)
    await store.ask(lambda client: client.ping())  # connects

    async def act(client: Redis) -> bool:
        asyncio.get_running_loop().call_soon(time.sleep, 0.5)
        return await client.ping()

    assert await store.ask(act)
    await store.close()


async def test_patience_ends_where_nobody_stands_still_and_what_failed_is_told_as_it_is() -> None:
    with pytest.raises(TimeoutError):
        async with patience(0.01):
            await asyncio.Event().wait()
    with pytest.raises(KeyError):
        async with patience(10.0):
            raise KeyError
    async with patience(0.01):
        pass
    await asyncio.sleep(0.05)  # nothing is left that could end what comes later


async def test_what_must_not_end_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_module, "RESTART_S", 0.0)
    begun, is_up = 0, asyncio.Event()

    async def listen() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise KeyError
        if begun == 3:  # the second time it just ended
            is_up.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(for_ever(listen))
    async with asyncio.timeout(10):
        await is_up.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(record.getMessage(), record.data) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("started again", {"what": "listen"})
    ]
