"""Readers of a room over real sockets."""

import asyncio
from collections.abc import Callable

import pytest

from tests.clients.faults import Faults, Restarted
from tests.clients.network import Network
from tests.service.conftest import Run, Service
from tests.service.redis_server import RedisServer
from tokenspeed_client import (
    ConnectionChanged,
    NotConnected,
    Reader,
    Refused,
    Room,
    Session,
    connect,
    listen,
    open_room,
)
from tokenspeed_client.audience import NOBODY, Audience, apply_room_event
from tokenspeed_client.events import TranslationDelta


def speaker(service: Service, room: Room) -> Session:
    return connect(service.http, source="en", room=room.id, host_token=room.host_token)


async def read_until(reader: Reader, is_enough: Callable[[Audience], bool]) -> Audience:
    """Return what a reader knows once it is enough."""
    state = NOBODY
    async for event in reader:
        state = apply_room_event(state, event)
        if is_enough(state):
            return state
    raise AssertionError("the room was closed before")


def has_finals(*texts: str) -> Callable[[Audience], bool]:
    return lambda state: [s.text for s in state.segments if s.is_final] == list(texts)


async def test_what_is_said_is_read(service: Service) -> None:
    room = await open_room(service.http, "Talk")
    async with (
        speaker(service, room) as session,
        listen(room.view_url, "de", has_source=True) as reader,
    ):
        await session.update("Good morn", speaker="Ann")
        await session.commit("Good morning.")
        state = await read_until(reader, has_finals("GOOD MORNING."))
        assert state.segments[0].speaker == "Ann"
        assert state.segments[0].source == "Good morning."
        assert state.room is not None
        assert state.room.name == "Talk"


async def test_append_only_readers_see_nothing_that_may_change(service: Service) -> None:
    room = await open_room(service.http)
    async with (
        speaker(service, room) as session,
        listen(room.view_url, "de", mode="append_only") as reader,
    ):
        await session.update("Good morn")
        await session.commit("Good morning.")
        state = NOBODY
        async for event in reader:
            assert not isinstance(event, TranslationDelta) or event.unstable == ""
            state = apply_room_event(state, event)
            if has_finals("GOOD MORNING.")(state):
                break


async def test_a_reader_whose_line_breaks_misses_nothing(service: Service) -> None:
    room = await open_room(service.http)
    async with Network(service.port).running() as network:
        async with (
            speaker(service, room) as session,
            listen(f"{network.http}/r/{room.id}", "de", ping_interval_s=0.3) as reader,
        ):
            reading = asyncio.create_task(read_until(reader, has_finals("ONE.", "TWO.", "THREE.")))
            await session.commit("One.")
            network.cut()
            await session.commit("Two.")
            await asyncio.sleep(0.1)
            network.is_deaf = True  # nobody closes this one: its silence is noticed
            await session.commit("Three.")
            await asyncio.sleep(0.9)
            network.is_deaf = False
            await reading


async def test_a_server_killed_in_mid_sentence_costs_a_reader_nothing(redis: RedisServer) -> None:
    server = Restarted(redis.url)
    sentences = [f"this is sentence {number}" for number in ("one", "two", "three")]
    try:
        async with asyncio.timeout(60), Network(server.service.port).running() as network:
            faults = Faults(network, server, ["slow", "restart", "", "fast", "", "restart", "cut"])
            room = await open_room(network.http)
            async with (
                connect(
                    network.http, source="en", room=room.id, host_token=room.host_token
                ) as session,
                listen(f"{network.http}/r/{room.id}", "de") as reader,
            ):
                wanted = has_finals(*(sentence.upper() for sentence in sentences))
                reading = asyncio.create_task(read_until(reader, wanted))
                for sentence in sentences:
                    words = sentence.split()
                    for end in range(1, len(words)):
                        await session.update(" ".join(words[:end]))
                        await faults.next()
                    await session.commit(sentence)
                await reading
            assert faults.schedule == []
    finally:
        await asyncio.to_thread(server.stack.close)


async def test_a_closed_room_ends_the_reading(service: Service) -> None:
    room = await open_room(service.http)
    async with listen(room.view_url, "de") as reader:
        (await service.state.rooms.room(room.id)).close()
        states = [e.state async for e in reader if isinstance(e, ConnectionChanged)]
        assert states == ["connecting", "open", "closed"]


async def test_who_may_not_read_is_told(service: Service) -> None:
    room = await open_room(service.http, pass_phrase="sesame")
    for url, phrase, code in (
        (room.view_url, None, 4401),
        (room.view_url, "simsalabim", 4401),
        (f"{service.http}/r/nowhere", None, 4404),
    ):
        with pytest.raises(Refused) as caught:
            async with listen(url, "de", pass_phrase=phrase):
                pass
        assert caught.value.code == code
    with pytest.raises(Refused):
        async with listen(room.view_url, "xx", pass_phrase="sesame"):
            pass
    async with listen(room.view_url, "de", pass_phrase="sesame"):
        pass


async def test_a_full_room_is_waited_for_in_vain(run: Run) -> None:
    service = run(max_readers=1)
    room = await open_room(service.http)
    async with listen(room.view_url, "de"):
        with pytest.raises(NotConnected, match="all places are taken"):
            async with listen(room.view_url, "de", connect_timeout_s=0.3):
                pass
