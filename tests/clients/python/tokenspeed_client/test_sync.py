"""The same without asyncio."""

import asyncio
import threading

import pytest

from tests.clients.faults import Faults, Restarted
from tests.clients.network import Network
from tests.service.conftest import Service
from tokenspeed_client import NotConnected, sync
from tokenspeed_client.audience import NOBODY, apply_room_event
from tokenspeed_client.events import TranslationFinal


def test_what_is_said_is_translated(service: Service) -> None:
    with sync.connect(service.http, source="en", targets=["de"]) as session:
        session.update("Good morn")
        session.commit("Good morning.")
        session.append("How are you?")
        session.flush()
        session.update("nothing")
        session.cancel()
        texts = []
        for event in session:
            if isinstance(event, TranslationFinal):
                texts.append(event.text)
                if len(texts) == 2:
                    session.configure(targets=["fr"])
                    session.close()
        assert texts == ["GOOD MORNING.", "HOW ARE YOU?"]
        assert session.state == "closed"
        assert session.settings.targets == ("fr",)


def test_speaking_and_reading_may_be_two_threads(service: Service) -> None:
    with sync.connect(service.http, source="en", targets=["de"]) as session:

        def speak() -> None:
            for number in range(5):
                session.commit(f"Number {number}.")
            session.close()

        speaking = threading.Thread(target=speak)
        speaking.start()
        texts = [event.text for event in session if isinstance(event, TranslationFinal)]
        speaking.join()
    assert texts == [f"NUMBER {number}." for number in range(5)]


@pytest.mark.parametrize("fault", ["restart", "cut", "deaf", "slow"])
async def test_nothing_is_lost_or_there_twice_whatever_happens_in_mid_sentence(fault: str) -> None:
    server, loop = Restarted(), asyncio.get_running_loop()
    try:
        async with Network(server.service.port).running() as network:
            faults = Faults(network, server, [fault])

            def speak() -> list[str]:
                with sync.connect(network.http, source="en", targets=["de"]) as session:
                    session.update("good")
                    asyncio.run_coroutine_threadsafe(faults.next(), loop).result(60)
                    session.update("good morning")
                    session.commit("good morning everybody")
                    session.commit("welcome")
                    session.close(30)
                    return [event.text for event in session if isinstance(event, TranslationFinal)]

            assert await asyncio.to_thread(speak) == ["GOOD MORNING EVERYBODY", "WELCOME"]
    finally:
        await asyncio.to_thread(server.stack.close)


def test_a_room_is_read(service: Service) -> None:
    room, token = asyncio.run(service.state.rooms.create("", None, service.state.now_s()))
    with (
        sync.connect(service.http, source="en", room=room.id, host_token=token) as session,
        sync.listen(f"{service.http}/r/{room.id}", "de") as reader,
    ):
        session.commit("Yes.")
        state = NOBODY
        for event in reader:
            state = apply_room_event(state, event)
            if [s.text for s in state.segments if s.is_final] == ["YES."]:
                reader.close()
    assert state.room is not None


def test_nobody_there_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with (
        pytest.raises(NotConnected),
        sync.connect("http://127.0.0.1:1", targets=["de"], connect_timeout_s=0.1),
    ):
        pass
    assert threading.active_count() == before
