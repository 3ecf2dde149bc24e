"""A copy of a room: what is made here is written once, happens once, and is not lost with Redis."""

import asyncio
from collections.abc import Sequence

from service.rooms import changes as c
from service.rooms.copies import BATCH, MANY_WAITING, Copy
from service.rooms.log import Entry, Picture
from service.rooms.room import Room
from service.wire import protocol as p


def a_copy(replica: str = "here") -> Copy:
    copy = Copy(replica)
    copy.room = Room("r", "", 0.0, origin=replica, submit=copy.put)
    return copy


def renamed(*names: str) -> list[c.Change]:
    return [c.Renamed(name) for name in names]


def in_flight(copy: Copy) -> list[c.Change]:
    return [c.decode(data) for _, data in copy.take_flight()]


def come_back(copy: Copy, flight: Sequence[tuple[int, bytes]], origin: str = "here") -> None:
    """What was written comes back from the log."""
    for count, data in flight:
        copy.apply(Entry(copy.at + 1, origin, count, data))


def a_picture(copy: Copy, life: str, at: int, seen: dict[str, int]) -> Picture:
    head, segments = copy.room.dump()
    return Picture(life, at, 5, "digest", head, segments, seen)


def test_changes_are_in_flight_until_they_are_written() -> None:
    copy = a_copy()
    for name in range(BATCH + 1):
        copy.put(c.Renamed(str(name)))
    flight = copy.take_flight()
    assert [count for count, _ in flight] == list(range(1, BATCH + 1))
    assert copy.take_flight() == flight  # as long as nobody knows
    copy.note_written(flight)
    assert in_flight(copy) == renamed(str(BATCH))
    assert copy.has_unwritten
    copy.note_written(copy.take_flight())
    assert not copy.has_unwritten


def test_of_readers_only_the_newest_count_is_written() -> None:
    copy = a_copy()
    for count in range(3):
        copy.put(c.Reads("here", {"de": count}))
    copy.put(c.Renamed("x"))
    assert in_flight(copy) == [c.Reads("here", {"de": 2}), c.Renamed("x")]


def test_where_much_waits_a_final_takes_the_place_of_its_deltas() -> None:
    copy = a_copy()

    def spoke(event: c.SpeakerEvent) -> c.Spoke:
        return c.Spoke("x", "here", "x", event, 0.0)

    stats = p.FinalStats(0, 0, 0.0, 0.0)
    other = spoke(p.TranslationDelta("b", "de", 1, "w", ""))
    copy.put(other)
    for _ in range(MANY_WAITING):
        copy.put(spoke(p.TranslationDelta("a", "de", 1, "w", "")))
    source = spoke(p.SourceDelta("a", "text", ""))
    copy.put(source)
    final = spoke(p.TranslationFinal("a", "de", "www", "text", stats))
    copy.put(final)
    assert in_flight(copy) == [other, source, final]


def test_a_change_happens_once_and_in_its_turn() -> None:
    copy = a_copy()
    first, second = (c.encode(change) for change in renamed("one", "two"))
    assert copy.apply(Entry(2, "there", 2, second)) is None
    assert copy.is_behind
    copy.is_behind = False
    assert copy.apply(Entry(1, "there", 1, first)) == c.Renamed("one")
    assert copy.apply(Entry(1, "there", 1, first)) is None
    assert not copy.is_behind
    assert (copy.room.name, copy.at, copy.seen) == ("one", 1, {"there": 1})


async def test_who_waits_is_told_when_the_own_changes_have_happened() -> None:
    copy = a_copy()
    assert await copy.settled()
    copy.put(c.Renamed("one"))
    first = asyncio.create_task(copy.settled())
    await asyncio.sleep(0)
    flight = copy.take_flight()
    copy.put(c.Renamed("two"))
    second = asyncio.create_task(copy.settled())
    await asyncio.sleep(0)
    come_back(copy, [(1, c.encode(c.Renamed("elsewhere")))], "there")
    come_back(copy, flight)
    assert await first
    assert not second.done()
    come_back(copy, copy.take_flight()[1:])
    assert await second


def test_what_redis_lost_of_the_own_changes_is_written_again() -> None:
    copy = a_copy()
    before = a_picture(copy, "one", 0, {})
    copy.load(before, 0.0)
    for change in renamed("one", "two", "three"):
        copy.put(change)
    flight = copy.take_flight()
    copy.note_written(flight[:2])
    come_back(copy, flight[:2])
    copy.load(a_picture(a_copy(), "other", 1000, {"here": 1}), 0.0)
    again = copy.take_flight()
    assert [count for count, _ in again] == [2, 3, 4]
    assert [c.decode(data) for _, data in again] == [*renamed("two", "three"), c.Reads("here", {})]
    come_back(copy, again)
    assert (copy.room.name, copy.at) == ("three", 1003)


def test_a_newer_picture_of_the_same_life_loses_nothing_that_waits() -> None:
    copy = a_copy()
    copy.load(a_picture(copy, "one", 0, {}), 0.0)
    copy.put(c.Renamed("new"))
    copy.load(a_picture(a_copy(), "one", 7, {"there": 7}), 3.0)
    assert in_flight(copy) == renamed("new")
    assert (copy.at, copy.host, copy.opened_ms, copy.room.opened_s) == (7, "digest", 5, 3.0)
