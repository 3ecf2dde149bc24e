"""The log of a room: numbers without a gap, each change once, one life after another."""

import asyncio

import pytest

from service.rooms.log import KEEP, Picture, RoomLog
from service.store import Store
from tests.service.redis_server import RedisServer

NOW_MS = 10**12


def a_picture(life: str = "one", at: int = 0, number: int = 0) -> Picture:
    head = {"number": number, "oldest": 1, "name": "Talk"}
    return Picture(life, at, NOW_MS, f"digest-{life}", head, {})


def texts(entries: object) -> list[tuple[int, str, int, bytes]]:
    assert isinstance(entries, list)
    return [(each.number, each.origin, each.count, each.data) for each in entries]


async def test_a_change_has_a_number_and_is_there_once_however_often_it_is_sent(
    redis: RedisServer,
) -> None:
    here, there = Store(redis.url), Store(redis.url)
    one, two = RoomLog(here, 100.0), RoomLog(there, 100.0)
    assert await one.create("log-once", a_picture(), 10**6, NOW_MS)
    assert await one.append([("log-once", "one", [(1, b"a"), (2, b"b")])]) == [True]
    assert await two.append([("log-once", "one", [(1, b"x y")])]) == [True]
    assert await one.append([("log-once", "one", [(1, b"a"), (2, b"b"), (3, b"c")])]) == [True]
    found = await two.read("log-once", "one", 0)
    assert found is not None
    assert found.picture is None
    assert texts(found.entries) == [
        (1, here.replica, 1, b"a"),
        (2, here.replica, 2, b"b"),
        (3, there.replica, 1, b"x y"),
        (4, here.replica, 3, b"c"),
    ]
    later = await two.read("log-once", "one", 3)
    assert later is not None
    assert texts(later.entries) == [(4, here.replica, 3, b"c")]
    whole = await two.read("log-once")
    assert whole is not None
    assert whole.picture is not None
    assert whole.picture.seen == {here.replica: 3, there.replica: 1}
    await asyncio.gather(here.close(), there.close())


async def test_who_knows_another_life_of_a_room_writes_nothing(redis: RedisServer) -> None:
    store = Store(redis.url)
    log = RoomLog(store, 100.0)
    assert await log.append([("log-life", "one", [(1, b"a")])]) == [False]
    assert await log.create("log-life", a_picture("one"), 10**6, NOW_MS)
    assert not await log.restore("log-life", a_picture("two", at=7), NOW_MS)  # it is there
    await store.client.delete(*await store.client.keys("tokenspeed:room:log-life:*"))
    assert await log.read("log-life", "one", 0) is None
    assert await log.restore("log-life", a_picture("two", at=7), NOW_MS)
    assert not await log.restore("log-life", a_picture("three", at=9), NOW_MS)
    assert await log.append([("log-life", "one", [(1, b"a")])]) == [False]
    assert await log.append([("log-life", "two", [(1, b"a")])]) == [True]
    found = await log.read("log-life", "two", 7)
    assert found is not None
    assert texts(found.entries) == [(8, store.replica, 1, b"a")]
    assert await log.hosted_by("digest-two") == "log-life"
    assert await log.hosted_by("digest-four") is None
    await store.close()


async def test_a_newer_picture_lets_old_changes_go(redis: RedisServer) -> None:
    store = Store(redis.url)
    log = RoomLog(store, 100.0)
    assert await log.create("log-trim", a_picture(), 10**6, NOW_MS)
    num_changes = 3 * KEEP
    changes = [(count, b"%d" % count) for count in range(1, num_changes + 1)]
    assert await log.append([("log-trim", "one", changes)]) == [True]
    assert await log.draw("log-trim", a_picture(at=num_changes, number=5), 3) == 0  # lacks 1 to 3
    assert await log.draw("log-trim", a_picture(at=num_changes, number=5), 0) is None
    assert await log.draw("log-trim", a_picture(at=2, number=1), 0) is None  # an older one: no
    assert await store.client.xlen("tokenspeed:room:log-trim:log") == KEEP
    near = await log.read("log-trim", "one", num_changes - 2)
    assert near is not None
    assert [each.number for each in near.entries] == [num_changes - 1, num_changes]
    far = await log.read("log-trim", "one", 1)  # those are gone: the picture instead
    assert far is not None
    assert far.picture is not None
    assert (far.picture.at, far.entries) == (num_changes, [])
    await store.close()


async def test_rooms_are_counted_and_forgotten_when_their_time_is_over(
    own_redis: RedisServer,
) -> None:
    store = Store(own_redis.url)
    log = RoomLog(store, 100.0)
    assert [await log.create(f"r{i}", a_picture(f"l{i}"), 2, NOW_MS) for i in range(3)] == [
        True,
        True,
        False,
    ]
    assert await log.count(NOW_MS) == 2
    assert await log.look([("r0", "digest-l0"), ("r1", ""), ("r9", "")], NOW_MS + 60_000) == [
        ("l0", 0),
        ("l1", 0),
        ("", 0),
    ]
    # A hundred seconds after it was opened, the room that nobody used makes place for another.
    assert await log.count(NOW_MS + 110_000) == 1
    assert await log.create("r4", a_picture("l4"), 2, NOW_MS + 110_000)
    await log.append([("r0", "l0", [(1, b"a")])])
    lasting = [key for key in await store.client.keys() if await store.client.ttl(key) < 0]
    assert lasting == [b"tokenspeed:rooms"]
    await store.close()


@pytest.mark.parametrize("num_guesses", [1, 3])
async def test_wrong_guesses_are_counted_for_all_replicas(
    redis: RedisServer, num_guesses: int
) -> None:
    here, there = Store(redis.url), Store(redis.url)
    room_id = f"log-guess-{num_guesses}"
    counts = [
        await RoomLog(here, 1.0).guessed(room_id, "10.0.0.1", 60.0) for _ in range(num_guesses)
    ]
    assert counts == list(range(1, num_guesses + 1))
    log = RoomLog(there, 1.0)
    assert await log.num_guesses(room_id, "10.0.0.1") == (num_guesses, num_guesses)
    assert await log.num_guesses(room_id, "10.0.0.2") == (0, num_guesses)
    assert await log.num_guesses("log-guess-other", "10.0.0.1") == (0, 0)
    await asyncio.gather(here.close(), there.close())
