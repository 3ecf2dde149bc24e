"""Sessions over real sockets: a clean run, a server that dies, a network that fails."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tokenspeed_client
from service.load.limits import Limits
from tests.clients.faults import FAULTS, Faults, Restarted
from tests.clients.network import Network
from tests.clients.relay import Broken, Relay
from tests.service.conftest import Run, Service, running
from tests.service.fakes import FakeEngine
from tests.service.redis_server import RedisServer
from tokenspeed_client import (
    ConnectionChanged,
    NotConnected,
    Refused,
    Session,
    connect,
    listen,
    open_room,
)
from tokenspeed_client.addresses import stream_url
from tokenspeed_client.dialogue import SessionEvent
from tokenspeed_client.events import (
    RETRYABLE_CODES,
    SessionCreated,
    SessionResumed,
    TranslationDelta,
    TranslationFinal,
)
from tokenspeed_client.reading import Reader
from tokenspeed_client.sockets import close_line, open_line
from tokenspeed_client.wire import serialise

KEY = "a-key-of-somebody"


async def finals(session: Session, count: int) -> list[tuple[str, str]]:
    """Return segment and text of that many finals, and end the session."""
    found = []
    async for event in session:
        if isinstance(event, TranslationFinal):
            found.append((event.segment_id, event.text))
            if len(found) == count:
                await session.close()
    return found


async def test_what_is_said_is_translated(service: Service) -> None:
    async with connect(service.http, source="en", targets=["de"]) as session:
        await session.update("Good morn")
        assert await session.commit("Good morning.") == "1"
        await session.append("How ")
        await session.append("are you?")
        await session.commit()
        await session.update("that was nothing")
        await session.cancel()
        await session.update("And this", stable="is the end. ", segment_id="mine")
        await session.flush()
        assert await finals(session, 3) == [
            ("1", "GOOD MORNING."),
            ("2", "HOW ARE YOU?"),
            ("mine", "IS THE END. AND THIS"),
        ]
        assert session.state == "closed"


async def test_leaving_the_block_waits_for_the_finals() -> None:
    with running(FakeEngine(delay_s=0.2)) as service:
        session = connect(service.http, source="en", targets=["de"])
        async with session:
            await session.commit("The end.")
        texts = [e.text async for e in session if isinstance(e, TranslationFinal)]
        assert texts == ["THE END."]


async def test_settings_change_while_it_runs(service: Service) -> None:
    async with connect(service.ws, source="en", targets=["de"]) as session:
        await session.configure(targets=["fr", "es"], mode="append_only")
        await session.commit("Yes.")
        found = set()
        async for event in session:
            if isinstance(event, TranslationFinal):
                found.add(event.target)
                if len(found) == 2:
                    await session.close()
        assert found == {"fr", "es"}
        assert session.settings.mode == "append_only"


async def test_nothing_known_cannot_be_committed(service: Service) -> None:
    async with connect(service.http, source="en", targets=["de"]) as session:
        with pytest.raises(ValueError, match="segment '1' has no text to commit"):
            await session.commit()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a.example", "http://"])
def test_an_address_of_no_service_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected http"):
        connect(url)


# ---- who is not let in ----


async def test_a_wrong_key_is_refused_at_once(run: Run) -> None:
    service = run(api_keys=(KEY,))
    with pytest.raises(Refused) as caught:
        async with connect(service.http, source="en", targets=["de"], token="no"):
            pass
    assert caught.value.code == 4401


async def test_a_token_that_has_expired_is_refused_and_a_fresh_one_taken(run: Run) -> None:
    service = run(api_keys=(KEY,))
    auth, now_s = service.state.auth, service.state.now_s()
    old = [(await auth.issue(f"s{i}", now_s - 1e6))[0] for i in range(2)]
    with pytest.raises(Refused, match="unauthorized"):
        async with connect(service.http, source="en", targets=["de"], token=old[0]):
            pass
    given = [old[1], (await auth.issue("s3", now_s))[0]]

    async def token() -> str:
        return given.pop(0)

    async with connect(service.http, source="en", targets=["de"], token=token) as session:
        await session.commit("Yes.")
        assert await finals(session, 1) == [("1", "YES.")]
    assert given == []


async def test_a_line_that_is_lost_needs_no_token_again(run: Run) -> None:
    service = run(api_keys=(KEY,))
    token = (await service.state.auth.issue("s1", service.state.now_s()))[0]
    async with Network(service.port).running() as network:
        async with connect(network.http, source="en", targets=["de"], token=token) as session:
            await session.commit("Yes.")
            network.cut()
            await session.commit("No.")
            assert await finals(session, 2) == [("1", "YES."), ("2", "NO.")]


async def test_whoever_comes_to_a_full_server_waits_for_a_place(run: Run) -> None:
    service = run(max_sessions=1)
    first = connect(service.http, source="en", targets=["de"])
    await first.__aenter__()
    with pytest.raises(NotConnected, match="no session within 0.3 s: all sessions are taken"):
        async with connect(service.http, source="en", targets=["de"], connect_timeout_s=0.3):
            pass
    entering = asyncio.create_task(connect(service.http, source="en", targets=["de"]).__aenter__())
    await asyncio.sleep(0.2)
    await first.close()
    second = await entering
    await second.commit("Yes.")
    assert await finals(second, 1) == [("1", "YES.")]


async def test_nobody_there_is_told_in_time() -> None:
    async with Network(1).running() as network:
        with pytest.raises(NotConnected) as caught:
            async with connect(network.http, source="en", targets=["de"], connect_timeout_s=0.3):
                pass
    assert caught.value.reason


async def test_a_token_that_cannot_be_had_is_tried_again(service: Service) -> None:
    tries = []

    async def token() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("the token server is away")
        return "any"

    async with connect(service.http, source="en", targets=["de"], token=token) as session:
        await session.commit("Yes.")
        assert await finals(session, 1) == [("1", "YES.")]


async def test_a_session_that_goes_on_elsewhere_ends_here(service: Service) -> None:
    async with connect(service.http, source="en", targets=["de"]) as session:
        resume = session._dialogue._resume
        assert resume is not None
        other = await open_line(stream_url(service.http), {}, 5, {})
        await other.send(serialise(resume))
        with pytest.raises(Refused, match="superseded"):
            await finals(session, 1)
        await close_line(other)


async def test_a_server_that_goes_silent_is_given_up(service: Service) -> None:
    async with Network(service.port).running() as network:
        async with connect(
            network.http, source="en", targets=["de"], ping_interval_s=0.15, answer_timeout_s=0.4
        ) as session:
            network.is_deaf = True
            await session.commit("Yes.")
            states = []
            answers = []
            async for event in session:
                if isinstance(event, ConnectionChanged):
                    states.append((event.state, event.reason))
                    network.is_deaf = len(states) < 4  # nor does it answer the first new line
                if isinstance(event, SessionCreated | SessionResumed):
                    answers.append(event)
                if isinstance(event, TranslationFinal):
                    break
            assert ("waiting", "the server has gone silent") in states
            # The server only lost its voice: that the client gave up does not end the session.
            assert [type(answer) for answer in answers] == [SessionCreated, SessionResumed]


async def test_an_idle_session_is_woken_by_text(run: Run) -> None:
    service = run(limits=Limits(idle_s=0.3))
    async with connect(service.http, source="en", targets=["de"], ping_interval_s=60) as session:
        async for event in session:
            if isinstance(event, ConnectionChanged) and event.state == "idle":
                break
        await session.commit("Yes.")
        assert await finals(session, 1) == [("1", "YES.")]


async def test_closing_without_a_line_ends_at_once(service: Service) -> None:
    async with Network(service.port).running() as network:
        async with connect(network.http, source="en", targets=["de"]) as session:
            network.is_down = True
            network.cut()
            async for event in session:
                if isinstance(event, ConnectionChanged) and event.state == "waiting":
                    break
            await session.close()
        assert session.state == "closed"


async def test_what_was_committed_without_a_line_is_waited_for_when_closing(
    service: Service,
) -> None:
    async with Network(service.port).running() as network:
        async with connect(network.http, source="en", targets=["de"]) as session:
            network.is_down = True
            network.cut()
            await session.commit("Yes.")
            asyncio.get_running_loop().call_later(0.2, setattr, network, "is_down", False)
            await session.close()
        texts = [e.text async for e in session if isinstance(e, TranslationFinal)]
        assert texts == ["YES."]


async def test_an_error_of_the_body_is_not_waited_for(service: Service) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect(service.http, source="en", targets=["de"]) as session:
            raise ZeroDivisionError
    assert session.state != "waiting"


# ---- a server that dies, a network that fails ----


async def speak(session: Session, sentences: list[str], between: "Faults") -> None:
    """Say sentences word by word, with what goes wrong between the words, and close."""
    for sentence in sentences:
        words = sentence.split()
        for end in range(1, len(words)):
            await session.update(" ".join(words[:end]))
            await between.next()
        await session.commit(sentence)
    await session.close(30)


async def said_and_heard(sentences: list[str], schedule: list[str]) -> list[tuple[str, str]]:
    """Return the finals of two languages, in the order in which they came."""
    server = Restarted()
    try:
        async with Network(server.service.port).running() as network:
            faults = Faults(network, server, schedule)
            async with connect(
                network.http, source="en", targets=["de", "fr"], min_update_interval_s=0.002
            ) as session:
                speaking = asyncio.create_task(speak(session, sentences, faults))
                heard = [
                    (event.target, event.text)
                    async for event in session
                    if isinstance(event, TranslationFinal)
                ]
                await speaking
    finally:
        await asyncio.to_thread(server.stack.close)
    return heard


SENTENCES = [f"this is sentence number {number} of all" for number in ("one", "two", "three")]


async def test_a_server_killed_in_mid_sentence_loses_nothing_and_says_nothing_twice() -> None:
    heard = await said_and_heard(SENTENCES, ["", "", "restart", "", "", "", "cut", "", "restart"])
    for target in ("de", "fr"):
        assert [text for t, text in heard if t == target] == [s.upper() for s in SENTENCES]


async def test_replicas_that_die_in_mid_sentence_leave_the_session_to_the_next(
    redis: RedisServer,
) -> None:
    server = Restarted(redis.url)
    events: list[SessionEvent] = []

    async def listen(session: Session) -> None:
        async for event in session:
            events.append(event)

    async def heard(is_so: Callable[[], bool]) -> None:
        while not is_so():  # noqa: ASYNC110 - many things are waited for
            await asyncio.sleep(0.01)

    def is_begun(number: int) -> bool:
        name = str(number)
        return any(isinstance(e, TranslationDelta) and e.segment_id == name for e in events)

    def num_resumed() -> int:
        return sum(isinstance(event, SessionResumed) for event in events)

    def is_resumed(before: int) -> bool:
        return num_resumed() > before

    try:
        async with asyncio.timeout(60), Network(server.service.port).running() as network:
            async with connect(
                network.http, source="en", targets=["de", "fr"], min_update_interval_s=0.002
            ) as session:
                listening = asyncio.create_task(listen(session))
                for number, sentence in enumerate(SENTENCES[:2], start=1):
                    for end in range(1, 5):
                        await session.update(" ".join(sentence.split()[:end]))
                    await heard(partial(is_begun, number))
                    before = num_resumed()
                    await Faults(network, server, ["restart"]).next()
                    await session.update(" ".join(sentence.split()[:5]))
                    await heard(partial(is_resumed, before))
                    await session.commit(sentence)
                await session.close(30)
                await listening
    finally:
        await asyncio.to_thread(server.stack.close)
    finals = [event for event in events if isinstance(event, TranslationFinal)]
    for target in ("de", "fr"):
        assert [f.text for f in finals if f.target == target] == [s.upper() for s in SENTENCES[:2]]
    assert len([event for event in events if isinstance(event, SessionCreated)]) == 1
    assert all(event.recovered for event in events if isinstance(event, SessionResumed))


async def come(events: list[SessionEvent], kind: type[SessionEvent], count: int) -> None:
    while sum(isinstance(event, kind) for event in events) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_late", [True, False])
@pytest.mark.parametrize("code", sorted(RETRYABLE_CODES))
async def test_an_attempt_without_an_answer_ends_no_session_whatever_closed_it_and_when_it_arrives(
    run: Run, redis: RedisServer, code: int, is_late: bool
) -> None:
    one, two = (run(redis_url=redis.url) for _ in range(2))
    events: list[SessionEvent] = []

    async def listen(session: Session) -> None:
        async for event in session:
            events.append(event)

    async with asyncio.timeout(60), Relay(one.ws).running() as relay:
        async with connect(
            relay.http, source="en", targets=["de"], min_update_interval_s=0.002
        ) as session:
            listening = asyncio.create_task(listen(session))
            await session.update("we go")
            await come(events, TranslationDelta, 1)
            relay.broken.append(Broken(two.ws, code, is_late))
            relay.cut()
            await come(events, SessionResumed, 1)
            await relay.deliver()
            await session.update("we go home")
            await come(events, SessionResumed, 1 + is_late)
            await session.commit("we go home and rest")
            await session.close(30)
            await listening
    finals = [event.text for event in events if isinstance(event, TranslationFinal)]
    assert finals == ["WE GO HOME AND REST"]
    changes = [event for event in events if isinstance(event, ConnectionChanged)]
    ends = [change.code for change in changes if change.state == "waiting"]
    # A machine that stands still may cut the line once more.
    assert ends[: 2 + is_late] == [1006, code, 4409][: 2 + is_late]
    assert len([event for event in events if isinstance(event, SessionCreated)]) == 1
    assert all(event.recovered for event in events if isinstance(event, SessionResumed))


async def test_a_room_gets_what_was_said_on_a_replica_that_is_lost_after_its_redis(
    run: Run, redis: RedisServer
) -> None:
    """The speaker has the finals; Redis and the other replica have not heard of them."""
    two = run(redis_url=redis.url)
    room = await open_room(two.http)
    events: list[SessionEvent] = []
    read: list[str] = []

    async def hear(session: Session) -> None:
        async for event in session:
            events.append(event)

    async def read_along(reader: Reader) -> None:
        async for event in reader:
            if isinstance(event, TranslationFinal):
                read.append(event.text)

    async with (
        asyncio.timeout(60),
        Network(redis.port).running() as to_redis,
        Network().running() as network,
    ):
        stack = ExitStack()
        url = redis.url.replace(str(redis.port), str(to_redis.port))
        one = stack.enter_context(running(FakeEngine(), redis_url=url))
        network.server_port = one.port
        async with listen(f"{two.http}/r/{room.id}", "de") as reader:
            reading = asyncio.create_task(read_along(reader))
            async with connect(
                network.http,
                source="en",
                targets=["de"],
                room=room.id,
                host_token=room.host_token,
            ) as session:
                hearing = asyncio.create_task(hear(session))
                await session.commit("one")
                await come(events, TranslationFinal, 1)
                while read != ["ONE"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                to_redis.is_down = True
                to_redis.cut()
                await session.commit("two")
                await come(events, TranslationFinal, 2)
                network.server_port = two.port
                network.cut()
                await come(events, SessionCreated, 2)
                await session.commit("three")
                await come(events, TranslationFinal, 3)
                while len(read) < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await session.close()
                await hearing
        await reading
        to_redis.is_down = False
        await asyncio.to_thread(stack.close)
    assert read == ["ONE", "TWO", "THREE"]
    assert [e.text for e in events if isinstance(e, TranslationFinal)] == read


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FAULTS, min_size=4, max_size=18))
def test_whatever_fails_and_whenever_all_is_heard_once_and_in_order(schedule: list[str]) -> None:
    heard = asyncio.run(said_and_heard(SENTENCES, schedule))
    for target in ("de", "fr"):
        assert [text for t, text in heard if t == target] == [s.upper() for s in SENTENCES]


def test_it_needs_websockets_and_orjson_alone() -> None:
    script = f"""
import sys
sys.path.insert(0, {str(list(tokenspeed_client.__path__)[0].rpartition("/")[0])!r})
before = set(sys.modules)
import tokenspeed_client, tokenspeed_client.sync
import tokenspeed_client.captions, tokenspeed_client.audience
names = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(names - sys.stdlib_module_names))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["orjson", "tokenspeed_client", "websockets"]
