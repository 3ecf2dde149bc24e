"""Copies of rooms, followed over a real Redis: made once, kept up, written back, and dropped."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from service.rooms.changes import Gone
from service.rooms.following import UNUSED_S, Following
from service.rooms.log import Picture, RoomLog
from service.rooms.room import Room
from service.rooms.signs import Signs
from service.store import Store
from tests.service.redis_server import RedisServer

BEAT_S = 0.1


class Replica:
    """What follows rooms, its listener running and everything else driven by hand."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)
        self.log = RoomLog(self.store, 100.0)
        self.lost = 0
        self.late_s = 0.0  # that the clock is ahead
        self.tasks: set[asyncio.Task[Any]] = set()
        self.following = Following(
            self.store,
            self.log,
            Signs(self.store, BEAT_S),
            BEAT_S,
            lambda: time.monotonic() + self.late_s,
            spawn=self.spawn,
            on_open=self.find,
            on_lost=self.lose,
            on_lack=lambda room, target: None,
        )
        self.is_found = asyncio.Event()

    def spawn(self, act: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(act)
        self.tasks.add(task)
        return task

    async def find(self) -> None:
        await self.following.find()
        self.is_found.set()

    def lose(self) -> None:
        self.lost += 1

    async def room(self, room_id: str) -> Room:
        copy = await self.following.copy(room_id)
        assert copy is not None
        return copy.room


@asynccontextmanager
async def replicas(redis: RedisServer) -> AsyncIterator[tuple[str, Replica, Replica]]:
    """Yield a new room's id, and two replicas that follow nothing yet."""
    pair = Replica(redis.url), Replica(redis.url)
    room_id = secrets.token_hex(8)
    head, _ = Room(room_id, "Talk", 0.0).dump()
    now_ms = int(time.time() * 1e3)
    try:
        for each in pair:
            each.spawn(each.following.listener.listen())
            await each.is_found.wait()
        picture = Picture("one", 0, now_ms, "digest", head, {})
        assert await pair[0].log.create(room_id, picture, 10**6, now_ms)
        yield room_id, *pair
    finally:
        for each in pair:
            for task in each.tasks:
                task.cancel()
            await asyncio.gather(*each.tasks, return_exceptions=True)
            await each.store.close()


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_room_is_read_once_and_what_happens_in_it_is_heard(redis: RedisServer) -> None:
    async with replicas(redis) as (room_id, one, two):
        here, again = await asyncio.gather(one.room(room_id), one.room(room_id))
        assert here is again
        there = await two.room(room_id)
        here.rename("Another")
        assert here.name == "Talk"  # until its turn has come
        assert one.following.has_changes.is_set()
        await one.following.write()
        await eventually(lambda: here.name == there.name == "Another")
        assert not one.following.has_changes.is_set()
        assert await one.following.copy("nowhere") is None
        assert await one.following.copy("no name of a room/") is None
        assert (len(one.following), len(two.following)) == (1, 1)


async def test_what_was_missed_is_read_at_the_next_sign_of_life(redis: RedisServer) -> None:
    async with replicas(redis) as (room_id, one, two):
        here, there = await one.room(room_id), await two.room(room_id)
        copy = two.following.get(room_id)
        assert copy is not None
        async with copy.lock:  # as while it is read: what is heard now is not taken
            here.rename("Another")
            await one.following.write()
            await eventually(lambda: here.name == "Another")
            assert there.name == "Talk"
        await two.following.look_after()
        assert there.name == "Another"


async def test_a_room_that_redis_has_lost_is_written_back(own_redis: RedisServer) -> None:
    async with replicas(own_redis) as (room_id, one, two):
        here = await one.room(room_id)
        here.rename("Another")
        await one.following.write()
        await eventually(lambda: here.name == "Another")
        number = here.newest
        await one.store.ask(lambda client: client.flushdb())
        assert await two.following.copy(room_id) is None
        await one.following.find()
        there = await two.room(room_id)
        assert there.name == "Another"
        assert there.newest > number  # others may have been told of events that are lost


async def test_a_copy_that_nobody_uses_is_dropped(redis: RedisServer) -> None:
    async with replicas(redis) as (room_id, one, _):
        await one.room(room_id)
        await one.following.look_after()
        assert len(one.following) == 1
        one.late_s = UNUSED_S + 1
        await one.following.look_after()
        assert len(one.following) == 0


async def test_who_leaves_says_so_and_who_is_taken_for_gone_says_that_it_is_here(
    redis: RedisServer,
) -> None:
    async with replicas(redis) as (room_id, one, two):
        here, there = await one.room(room_id), await two.room(room_id)

        class Speaker:
            def set_audience(self, targets: frozenset[str]) -> None: ...

            def tell(self, event: Any) -> None: ...

        here.join("x", Speaker())
        await one.following.write()
        await eventually(lambda: one.store.replica in there.origins)
        copy = two.following.get(room_id)
        assert copy is not None
        copy.put(Gone(one.store.replica))
        await two.following.write()
        await eventually(lambda: there.info().speakers == 0)
        await eventually(one.following.has_changes.is_set)
        await one.following.write()
        await eventually(lambda: there.info().speakers == 1)
        one.following.leave()
        await one.following.write()
        await eventually(lambda: there.info().speakers == here.info().speakers == 0)
        assert not one.following.has_changes.is_set()
