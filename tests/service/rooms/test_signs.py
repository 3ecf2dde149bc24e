"""Signs of life over a real Redis: who is gone, and whose memory it is."""

from service.rooms.signs import Signs
from service.store import Store
from tests.service.redis_server import RedisServer


async def test_only_who_is_silent_twice_in_a_row_is_gone(redis: RedisServer) -> None:
    here, there = Store(redis.url), Store(redis.url)
    signs, others = Signs(here, 60.0), Signs(there, 60.0)
    names = {there.replica}
    assert await signs.gone(names) == []
    await others.give()
    assert await signs.gone(names) == []
    await others.take_back()
    assert await signs.gone(names) == []
    assert await signs.gone(names) == [there.replica]
    signs.start_over()
    assert await signs.gone(names) == []
    assert await signs.gone([]) == []
    assert await signs.gone(names) == []  # nobody was silent when nobody was asked for
    for store in (here, there):
        await store.close()


async def test_the_memory_is_the_same_for_all_until_it_is_lost(own_redis: RedisServer) -> None:
    memories = []
    for _ in range(2):
        here, there = Store(own_redis.url), Store(own_redis.url)
        memories.append(await Signs(here, 60.0).memory())
        assert await Signs(there, 60.0).memory() == memories[-1]
        for store in (here, there):
            await store.close()
        own_redis.stop()
        own_redis.start()
    assert memories[0] != memories[1]
