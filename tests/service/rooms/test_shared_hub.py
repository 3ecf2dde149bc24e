"""Rooms that replicas share, over a real Redis: as if there were one replica, whatever is lost."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio.client import PubSub

from service import store
from service.errors import RestError
from service.rooms.changes import SpeakerEvent
from service.rooms.hub import GUESSES, Hub
from service.rooms.log import RoomLog
from service.rooms.readers import Reader
from service.rooms.room import Room
from service.rooms.shared_hub import SharedHub
from service.store import Store
from service.wire import protocol as p
from tests.service.redis_server import RedisServer
from tokenspeed.text.steps import at_once

STATS = p.FinalStats(0, 0, 0.0, 0.0)
BEAT_S = 0.1


class Speaker:
    def __init__(self) -> None:
        self.audience: frozenset[str] = frozenset()
        self.told: list[p.ServerEvent] = []

    def set_audience(self, targets: frozenset[str]) -> None:
        self.audience = targets

    def tell(self, event: p.ServerEvent) -> None:
        self.told.append(event)


class Replica:
    """A hub, its room, and who is there."""

    def __init__(self, url: str, idle_s: float = 100.0, max_rooms: int = 1000) -> None:
        self.store = Store(url)
        self.hub = SharedHub(self.store, max_rooms, idle_s, time.monotonic, BEAT_S)

    async def kill(self) -> None:
        """End without a word."""
        await self.hub.end_tasks()
        await self.store.close()

    async def stop(self) -> None:
        await self.hub.stop()
        await self.store.close()


@asynccontextmanager
async def replicas(url: str, count: int = 2, **settings: Any) -> AsyncIterator[list[Replica]]:
    found = [Replica(url, **settings) for _ in range(count)]
    for each in found:
        await each.hub.start()
    try:
        yield found
    finally:
        for each in found:
            await each.stop()


async def eventually(check: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def together(*rooms: Room) -> None:
    """Wait until all copies are the same."""
    await eventually(lambda: all(each.dump() == rooms[0].dump() for each in rooms))


def reader(target: str = "de", **wanted: Any) -> Reader:
    given: dict[str, Any] = {"form": "captions", "has_source": False, "wake": lambda: None}
    given |= wanted
    return Reader(target, **given)


def told(room: Room, reader: Reader) -> list[p.ServerEvent]:
    return [p.parse_server(frame) for _, frame in room.take(reader)]


def finals(room: Room, target: str = "de") -> list[str]:
    return [
        said.channels[target].text
        for said in room.segments.values()
        if target in said.channels and said.channels[target].is_final
    ]


# ---- the model: one process ----

WORDS = st.text("ab ", max_size=4)
WHO = st.integers(0, 1)
OPERATIONS = st.one_of(
    st.tuples(st.just("join"), WHO),
    st.tuples(st.just("leave"), WHO),
    st.tuples(st.just("read"), WHO, st.sampled_from(("de", "fr", "source")), st.booleans()),
    st.tuples(st.just("unread"), WHO),
    st.tuples(st.just("delta"), WHO, st.sampled_from("xyz"), WORDS),
    st.tuples(st.just("final"), WHO, st.sampled_from("xyz"), WORDS),
    st.tuples(st.just("says"), WHO, st.sampled_from("xyz"), WORDS),
    st.tuples(st.just("ends"), WHO, st.sampled_from("xyz"), WORDS),
    st.tuples(st.just("retract"), WHO, st.sampled_from("xyz")),
    st.tuples(st.just("rename"), WHO, WORDS),
    st.tuples(st.just("translated"), WHO, st.integers(1, 3), WORDS),
    st.tuples(st.just("look"), WHO),
    st.tuples(st.just("close"), WHO),
)


class Side:
    """Rooms of both replicas, or one room twice, and the same people in them."""

    def __init__(self, rooms: list[Room], settle: Callable[[], Awaitable[None]]) -> None:
        self.rooms = rooms
        self.settle = settle
        self.speakers = [Speaker(), Speaker()]
        self.readers: list[list[Reader]] = [[], []]
        self.seen: list[Any] = []

    async def do(self, name: str, who: int, *args: Any) -> None:
        room = self.rooms[who]
        events: dict[str, Callable[..., SpeakerEvent]] = {
            "says": lambda segment, text: p.SourceDelta(segment, text, "", language="en"),
            "ends": lambda segment, text: p.SourceFinal(segment, text, language="en"),
            "delta": lambda segment, text: p.TranslationDelta(segment, "de", 1, text, "?"),
            "final": lambda segment, text: p.TranslationFinal(segment, "de", text, "", STATS),
            "retract": lambda segment: p.TranslationRetracted(segment, "de"),
        }
        if name in events:
            room.speak(str(who), events[name](*args), room.opened_s + 1)
        elif name == "join" and not room.is_closed:
            room.join(str(who), self.speakers[who])
        elif name == "leave":
            room.leave(str(who), self.speakers[who])
        elif name == "read":
            found = reader(args[0], has_source=args[1])
            room.read(found)
            self.readers[who].append(found)
        elif name == "unread" and self.readers[who]:
            room.unread(self.readers[who].pop())
        elif name == "rename":
            room.rename(*args)
        elif name == "translated":
            room.translated(args[0], "fr", args[1])
        elif name == "close":
            room.close()
        await self.settle()
        if name == "look":
            self.look(who)

    def look(self, who: int) -> None:
        for each in self.readers[who]:
            frames = self.rooms[who].take(each)
            self.seen += [(number, without_times(frame)) for number, frame in frames]

    def state(self) -> Any:
        room = self.rooms[0]
        lacking = [[said.number for said in at_once(room.untranslated(t))] for t in ("de", "fr")]
        audiences = [speaker.audience for speaker in self.speakers]
        return self.seen, room.readers_by_target, room.info().speakers, lacking, audiences


def without_times(frame: str) -> str:
    return re.sub(r'"(t_ms|start_ms|end_ms|id)":("[^"]*"|[\d.]+)', "", frame)


@given(st.lists(OPERATIONS, max_size=25))
@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_two_replicas_tell_what_one_process_tells(
    redis: RedisServer, operations: list[tuple[Any, ...]]
) -> None:
    async def play() -> None:
        async with replicas(redis.url) as (one, two):
            room, _ = await one.hub.create("Talk", None, time.monotonic())
            copy = await two.hub.room(room.id)

            async def settle() -> None:
                await one.hub.settled(room)
                await two.hub.settled(copy)
                await together(room, copy)

            async def at_once() -> None:
                pass

            alone, _ = await Hub(9, 100.0).create("Talk", None, 0.0)
            shared, model = Side([room, copy], settle), Side([alone, alone], at_once)
            for name, who, *args in operations:
                await shared.do(name, who, *args)
                await model.do(name, who, *args)
            for who in (0, 1):
                shared.look(who)
                model.look(who)
            assert shared.state() == model.state()

    asyncio.run(play())


# ---- one at a time ----


async def test_tokens_names_and_phrases_hold_on_every_replica(redis: RedisServer) -> None:
    async with replicas(redis.url) as (one, two):
        room, token = await one.hub.create("Talk", "open sesame", 0.0)
        assert await two.hub.hosted_by(token) == room.id
        assert await two.hub.hosted_by(token + "x") is None
        copy = await two.hub.enter(room.id, "open sesame", 0.0)
        assert copy.name == "Talk"
        two.hub.rename(copy, "Show")
        await two.hub.set_pass_phrase(copy, None)
        assert await two.hub.settled(copy)
        await together(room, copy)
        assert (await one.hub.enter(room.id, None, 0.0)).name == "Show"
        two.hub.rename(copy, "Over")
        copy.close()
        assert await two.hub.settled(copy)
        await together(room, copy)
        assert room.is_closed
        for name in ("nowhere", "a b", "x" * 100, "*"):
            with pytest.raises(RestError) as problem:
                await two.hub.room(name)
            assert problem.value.status == 404


async def test_nobody_enters_a_room_that_is_still_being_read(redis: RedisServer) -> None:
    async with replicas(redis.url) as (one, two):
        for _ in range(10):
            room, _ = await one.hub.create("Talk", "open sesame", 0.0)

            async def knock(delay_s: float, room_id: str = room.id) -> str:
                await asyncio.sleep(delay_s)
                with pytest.raises(RestError) as caught:
                    await two.hub.enter(room_id, None, 0.0)
                return str(caught.value)

            assert len(set(await asyncio.gather(*(knock(0.0002 * i) for i in range(60))))) == 1


async def test_nothing_in_redis_lets_anybody_in(redis: RedisServer) -> None:
    async with replicas(redis.url, 1) as (one,):
        room, token = await one.hub.create("Talk", "open sesame", 0.0)
        kept = b""
        client = one.store.client
        for key in await client.keys():
            kind = await client.type(key)
            assert isinstance(key, bytes)
            kept += key + b" "
            if kind == b"string":
                value = await client.get(key)
                assert isinstance(value, bytes)
                kept += value
            elif kind == b"hash":
                kept += str(await client.hgetall(key)).encode()
        assert room.id.encode() in kept
        assert token.encode() not in kept
        assert b"sesame" not in kept


async def test_a_phrase_cannot_be_tried_for_ever_on_any_replica(redis: RedisServer) -> None:
    async with replicas(redis.url) as (one, two):
        room, _ = await one.hub.create("", "open sesame", 0.0)
        for i in range(GUESSES):
            with pytest.raises(RestError) as problem:
                await (one, two)[i % 2].hub.enter(room.id, f"guess {i}", 100.0, "10.0.0.1")
            assert problem.value.status == 403
        for each in (one, two):
            with pytest.raises(RestError) as problem:
                await each.hub.enter(room.id, "open sesame", 100.0, "10.0.0.1")
            assert problem.value.status == 429
            assert (await each.hub.enter(room.id, "open sesame", 100.0, "10.0.0.2")).id == room.id


async def test_phrases_that_are_tried_together_are_counted_one_by_one(redis: RedisServer) -> None:
    async with replicas(redis.url) as (one, _):
        room, _ = await one.hub.create("", "open sesame", 0.0)
        tried = (one.hub.enter(room.id, f"guess {i}", 100.0) for i in range(2 * GUESSES))
        found = await asyncio.gather(*tried, return_exceptions=True)
        codes = Counter(each.status for each in found if isinstance(each, RestError))
        assert codes == {403: GUESSES, 429: GUESSES}


async def test_places_are_counted_for_all_and_rooms_are_forgotten(own_redis: RedisServer) -> None:
    async with replicas(own_redis.url, max_rooms=2, idle_s=0.5) as (one, two):
        used, token = await one.hub.create("", None, 0.0)
        left, other_token = await two.hub.create("", None, 0.0)
        with pytest.raises(RestError) as problem:
            await two.hub.create("", None, 0.0)
        assert problem.value.status == 429
        used.read(reader())
        await asyncio.sleep(1.2)
        assert await two.hub.hosted_by(token) == used.id
        await eventually(lambda: two.hub._following.get(left.id) is None)
        assert await one.hub.hosted_by(other_token) is None
        for each in (one, two):
            with pytest.raises(RestError) as problem:
                await each.hub.room(left.id)
            assert problem.value.status == 404
        await two.hub.create("", None, 0.0)  # takes its place
        keys = await one.store.client.keys()
        lives = [await one.store.client.pttl(key) for key in keys if b":room:" in key]
        assert len(lives) > 1
        assert min(lives) > 0


async def test_the_log_is_short_and_who_comes_late_gets_all(redis: RedisServer) -> None:
    async with replicas(redis.url) as (one, two):
        room, _ = await one.hub.create("", None, 0.0)
        early = await two.hub.room(room.id)
        room.join("x", Speaker())
        for i in range(900):
            room.speak("x", p.SourceFinal(f"{i}", f"said {i}", language="en"), room.opened_s)
            room.speak("x", p.TranslationFinal(f"{i}", "de", f"DE {i}", "", STATS), room.opened_s)
            room.speak("x", p.SourceDelta("open", f"now {i}", ""), room.opened_s)
            if i % 100 == 0:
                assert await one.hub.settled(room)
        assert await one.hub.settled(room)
        assert finals(room) == [f"DE {i}" for i in range(900)]
        await together(room, early)
        kept = await one.store.client.xlen(f"tokenspeed:room:{room.id}:log")
        assert kept < 2000
        async with replicas(redis.url, 1) as (three,):
            late = await three.hub.room(room.id)
            await together(room, late)
            found = reader("de", last_seq=5)
            late.read(found)
            (state,) = told(late, found)
            assert isinstance(state, p.RoomState)
            assert len(state.segments) >= 898


async def test_what_a_lost_replica_was_doing_is_over_and_its_sessions_may_go_on(
    redis: RedisServer,
) -> None:
    async with replicas(redis.url) as (one, two):
        lost = Replica(redis.url)
        await lost.hub.start()
        room, _ = await lost.hub.create("", None, 0.0)
        copy = await one.hub.room(room.id)
        lacked: list[str] = []
        one.hub.on_lack = lambda room, target: lacked.append(target)
        here = reader("fr")
        copy.read(here)
        room.read(reader("de"))
        room.join("x", Speaker())
        await lost.hub.settled(room)
        room.speak("x", p.SourceFinal("a", "hello", language="en"), room.opened_s)
        room.claim("fr")
        assert await lost.hub.settled(room)
        await together(room, copy)
        assert copy.audience == {"de", "fr"}
        assert copy.info().speakers == 1
        await lost.kill()
        await eventually(lambda: copy.audience == {"fr"} and copy.info().speakers == 0)
        assert [said.number for said in at_once(copy.untranslated("fr"))] == [1]
        assert lacked
        copy.claim("fr")
        await one.hub.settled(copy)
        assert copy.is_claimed_here("fr")
        # The session goes on elsewhere, with the segments that it had.
        third = await two.hub.room(room.id)
        third.join("x", Speaker())
        third.speak("x", p.TranslationFinal("a", "fr", "salut", "hello", STATS), third.opened_s)
        await eventually(lambda: finals(copy, "fr") == ["salut"])
        assert len(copy.segments) == 1


async def test_a_session_that_moved_is_heard_from_where_it_is(redis: RedisServer) -> None:
    async with replicas(redis.url) as (one, two):
        room, _ = await one.hub.create("", None, 0.0)
        copy = await two.hub.room(room.id)
        before = Speaker()
        room.join("x", before)
        await one.hub.settled(room)
        copy.join("x", Speaker())
        await two.hub.settled(copy)
        room.speak("x", p.SourceFinal("a", "from before"), room.opened_s)
        copy.speak("x", p.SourceFinal("b", "from now"), copy.opened_s)
        room.leave("x", before)  # is not the one that speaks
        await one.hub.settled(room)
        await two.hub.settled(copy)
        await together(room, copy)
        assert [said.source.text for said in copy.segments.values()] == ["from now"]
        assert copy.info().speakers == 1


async def test_a_replica_that_takes_redis_for_lost_over_and_over_hears_again(
    redis: RedisServer,
) -> None:
    """As where its event loop stands still now and then: each time it opens its line anew."""
    async with replicas(redis.url) as (one, two):
        room, _ = await one.hub.create("", None, 0.0)
        copy = await two.hub.room(room.id)
        room.join("x", Speaker())
        for number in range(150):
            two.hub._lose()
            await asyncio.sleep(number % 16 * 5e-4)  # at each place in what it does
        await eventually(lambda: not two.hub.is_lost)
        room.speak("x", p.SourceFinal("a", "hello"), room.opened_s)
        await together(room, copy)
        other, _ = await one.hub.create("", None, 0.0)
        await two.hub.room(other.id)  # can be found, too


async def test_what_nobody_thought_of_makes_no_replica_deaf(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "RESTART_S", 0.01)
    left = ["reads", "writes", "beats"]
    hear, append, look = PubSub.get_message, RoomLog.append, RoomLog.look

    def failing(name: str, act: Any) -> Any:
        async def fail_once(*given: Any, **named: Any) -> Any:
            if name in left:
                left.remove(name)
                raise KeyError(name)
            return await act(*given, **named)

        return fail_once

    async with replicas(redis.url) as (one, two):
        room, _ = await one.hub.create("", None, 0.0)
        copy = await two.hub.room(room.id)
        with monkeypatch.context() as patch:
            patch.setattr(PubSub, "get_message", failing("reads", hear))
            patch.setattr(RoomLog, "append", failing("writes", append))
            patch.setattr(RoomLog, "look", failing("beats", look))
            room.join("x", Speaker())
            await eventually(lambda: not left)
        room.speak("x", p.SourceFinal("a", "hello"), room.opened_s)
        await together(room, copy)
        assert {record.getMessage() for record in caplog.records} >= {"started again"}


async def test_redis_is_lost_with_all_that_it_had_and_comes_back(own_redis: RedisServer) -> None:
    async with replicas(own_redis.url) as (one, two):
        room, token = await one.hub.create("Talk", "open sesame", 0.0)
        copy = await two.hub.room(room.id)
        speakers = Speaker(), Speaker()
        room.join("x", speakers[0])
        copy.join("y", speakers[1])
        near, far = reader("de"), reader("de")
        room.read(near)
        copy.read(far)
        for each, hub, name in ((room, one.hub, "x"), (copy, two.hub, "y")):
            each.speak(name, p.SourceFinal(f"{name}1", "one"), each.opened_s)
            each.speak(name, p.TranslationFinal(f"{name}1", "de", f"{name}1", "", STATS), 0.0)
            await hub.settled(each)
        await together(room, copy)
        seen = [event.seq for event in told(room, near)]
        told(copy, far)
        own_redis.stop()
        for i in range(2, 30):
            for each, name in ((room, "x"), (copy, "y")):
                segment = f"{name}{i}"
                each.speak(name, p.SourceDelta(segment, "o", "ne"), 0.0)
                each.speak(name, p.SourceFinal(segment, "one"), 0.0)
                each.speak(name, p.TranslationFinal(segment, "de", segment, "", STATS), 0.0)
        assert not await one.hub.settled(room)
        for waiting, found in ((near, room), (far, copy)):
            await eventually(lambda waiting=waiting: bool(waiting.notices))  # type: ignore[misc]
            (notice,) = told(found, waiting)
            assert isinstance(notice, p.SessionNotice)
            assert notice.code == "room_cut_off"
        late = reader("de")
        room.read(late)
        assert [event.type for event in told(room, late)] == ["room.state", "session.notice"]
        with pytest.raises(RestError) as problem:
            await one.hub.create("", None, 0.0)
        assert problem.value.status == 503
        with pytest.raises(RestError) as problem:
            await one.hub.room("elsewhere")
        assert problem.value.status == 503
        assert await one.hub.room(room.id) is room
        assert await one.hub.enter(room.id, "open sesame", 0.0) is room
        own_redis.start()
        assert await one.hub.settled(room)
        assert await two.hub.settled(copy)
        await together(room, copy)
        said = [f"{name}{i}" for name in "xy" for i in range(1, 30)]
        assert sorted(finals(room)) == sorted(said)
        await eventually(lambda: len(near.notices) == len(far.notices) == 1)
        for found, waiting in ((room, near), (copy, far)):
            events = told(found, waiting)
            assert [event.code for event in events if isinstance(event, p.SessionNotice)] == [
                "room_back"
            ]
            assert all(event.seq > seen[-1] for event in events)
            shown: set[str] = set()
            for event in events:
                if isinstance(event, p.RoomState):
                    shown |= {segment.text for segment in event.segments}
                elif isinstance(event, p.TranslationFinal):
                    shown.add(event.text)
            assert shown >= set(said)
        codes = [[e.code for e in s.told if isinstance(e, p.SessionNotice)] for s in speakers]
        assert codes == [["room_cut_off", "room_back"]] * 2
        assert room.info().speakers == 2
        assert room.readers_by_target == {"de": 3}
        async with replicas(own_redis.url, 1) as (three,):
            assert await three.hub.hosted_by(token) == room.id
            await together(room, await three.hub.enter(room.id, "open sesame", 0.0))


async def test_redis_forgets_everything_and_nobody_notices(own_redis: RedisServer) -> None:
    async with replicas(own_redis.url) as (one, two):
        room, _ = await one.hub.create("Talk", None, 0.0)
        copy = await two.hub.room(room.id)
        copy.join("x", Speaker())
        room.read(reader("de"))
        await two.hub.settled(copy)
        for i in range(20):
            copy.speak("x", p.SourceFinal(str(i), "one"), 0.0)
            copy.speak("x", p.TranslationFinal(str(i), "de", str(i), "", STATS), 0.0)
            if i % 5 == 2:
                await one.store.client.flushall()
            await asyncio.sleep(0.01)
        assert await two.hub.settled(copy)
        await together(room, copy)
        assert finals(room) == [str(i) for i in range(20)]
