"""The package in Node.js against a real server: a clean run, and all that goes wrong."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clients.faults import FAULTS, Faults, Restarted
from tests.clients.javascript.conftest import Package
from tests.clients.javascript.program import Program, speaking
from tests.clients.network import Network
from tests.clients.relay import Broken, Relay
from tests.service.conftest import Run, Service
from tests.service.redis_server import RedisServer
from tokenspeed_client.events import RETRYABLE_CODES

KEY = "a-key-of-somebody"
SENTENCES = [f"this is sentence number {number} of all" for number in ("one", "two", "three")]


async def say(program: Program, sentences: list[str], faults: Faults | None = None) -> None:
    """Say sentences word by word, with what goes wrong between the words."""
    for number, sentence in enumerate(sentences):
        words = sentence.split()
        for end in range(1, len(words)):
            text = " ".join(words[:end])
            program.do("update", {"segmentId": f"s{number}", "stable": text})
            if faults is not None:
                await asyncio.sleep(0.005)
                await faults.next()
        program.do("commit", {"segmentId": f"s{number}", "text": sentence})


@pytest.mark.parametrize("more", [(), ("ws",)])
async def test_what_is_said_is_translated(
    package: Package, service: Service, more: tuple[str, ...]
) -> None:
    """Also where there is no WebSocket, as in Node.js 20."""
    async with speaking(package, *more, url=service.http, source="en", targets=["de"]) as program:
        await say(program, SENTENCES)
        finals = await program.until("translation.final", len(SENTENCES))
        program.do("close")
        assert [final["text"] for final in finals] == [each.upper() for each in SENTENCES]


async def test_a_token_that_has_expired_ends_it_and_a_fresh_one_does_not(
    package: Package, run: Run
) -> None:
    service = run(api_keys=(KEY,))
    auth, now_s = service.state.auth, service.state.now_s()
    old = [(await auth.issue(f"s{i}", now_s - 1e6))[0] for i in range(2)]
    fresh = (await auth.issue("s3", now_s))[0]
    wanted: dict[str, Any] = {"url": service.http, "source": "en", "targets": ["de"]}
    async with speaking(package, **wanted, token=old[0]) as program:
        events = [event async for event in program.events()]
        assert (events[-1]["state"], events[-1]["code"]) == ("closed", 4401)
    async with speaking(package, **wanted, tokens=[old[1], fresh]) as program:
        await say(program, SENTENCES[:1])
        (final,) = await program.until("translation.final")
        program.do("close")
        assert final["text"] == SENTENCES[0].upper()


async def test_whoever_comes_to_a_full_server_waits_for_a_place(package: Package, run: Run) -> None:
    service = run(max_sessions=1)
    wanted: dict[str, Any] = {"url": service.http, "source": "en", "targets": ["de"]}
    async with speaking(package, **wanted) as first:
        await first.until("session.updated")
        async with speaking(package, **wanted) as second:
            await say(second, SENTENCES[:1])
            (error,) = await second.until("error")
            assert error["error"]["code"] == "too_many_sessions"
            first.do("close")
            (final,) = await second.until("translation.final")
            second.do("close")
            assert final["text"] == SENTENCES[0].upper()


async def said_and_heard(package: Package, schedule: list[str]) -> list[tuple[str, str]]:
    """Return the finals of two languages, in the order in which they came."""
    server = Restarted()
    try:
        async with Network(server.service.port).running() as network:
            faults = Faults(network, server, schedule)
            options = {"targets": ["de", "fr"], "minUpdateIntervalMs": 2}
            async with speaking(package, url=network.http, source="en", **options) as program:
                saying = asyncio.create_task(say(program, SENTENCES, faults))
                finals = await program.until("translation.final", 2 * len(SENTENCES))
                await saying
                program.do("close")
                finals += await program.until("translation.final")
    finally:
        await asyncio.to_thread(server.stack.close)
    return [(final["target"], final["text"]) for final in finals]


async def test_a_server_killed_in_mid_sentence_loses_nothing_and_says_nothing_twice(
    package: Package,
) -> None:
    schedule = ["", "", "restart", "", "", "", "cut", "", "restart"]
    heard = await said_and_heard(package, schedule)
    for target in ("de", "fr"):
        assert [text for t, text in heard if t == target] == [s.upper() for s in SENTENCES]


async def test_replicas_that_die_in_mid_sentence_leave_the_session_to_the_next(
    package: Package, redis: RedisServer
) -> None:
    server = Restarted(redis.url)
    events: list[dict[str, Any]] = []

    async def heard(program: Program, kind: str, count: int = 1) -> None:
        async for event in program.events():
            events.append(event)
            count -= event["type"] == kind
            if not count:
                break

    try:
        async with asyncio.timeout(60), Network(server.service.port).running() as network:
            options = {"targets": ["de"], "minUpdateIntervalMs": 2}
            async with speaking(package, url=network.http, source="en", **options) as program:
                for number, sentence in enumerate(SENTENCES):
                    text = " ".join(sentence.split()[:4])
                    program.do("update", {"segmentId": f"s{number}", "stable": text})
                    await heard(program, "translation.delta")
                    await Faults(network, server, ["restart"]).next()
                    await heard(program, "session.resumed")
                    program.do("commit", {"segmentId": f"s{number}", "text": sentence})
                    await heard(program, "translation.final")
                program.do("close")
                await heard(program, "nothing")
    finally:
        await asyncio.to_thread(server.stack.close)
    finals = [event["text"] for event in events if event["type"] == "translation.final"]
    assert finals == [each.upper() for each in SENTENCES]
    assert [event["type"] for event in events].count("session.created") == 1
    assert all(event["recovered"] for event in events if event["type"] == "session.resumed")


@pytest.mark.parametrize("is_late", [True, False])
@pytest.mark.parametrize("code", sorted(RETRYABLE_CODES))
async def test_an_attempt_without_an_answer_ends_no_session_whatever_closed_it_and_when_it_arrives(
    package: Package, run: Run, redis: RedisServer, code: int, is_late: bool
) -> None:
    one, two = (run(redis_url=redis.url) for _ in range(2))
    events: list[dict[str, Any]] = []

    async with asyncio.timeout(60), Relay(one.ws).running() as relay:
        options = {"targets": ["de"], "minUpdateIntervalMs": 2}
        async with speaking(package, url=relay.http, source="en", **options) as program:

            async def come(kind: str) -> None:
                async for event in program.events():
                    events.append(event)
                    if event["type"] == kind:
                        break

            program.do("update", {"segmentId": "a", "stable": "we go"})
            await come("translation.delta")
            relay.broken.append(Broken(two.ws, code, is_late))
            relay.cut()
            await come("session.resumed")
            await relay.deliver()
            program.do("update", {"segmentId": "a", "stable": "we go home"})
            if is_late:
                await come("session.resumed")
            program.do("commit", {"segmentId": "a", "text": "we go home and rest"})
            await come("translation.final")
            program.do("close")
            await come("nothing")
    told = [event["text"] for event in events if event["type"] == "translation.final"]
    assert told == ["WE GO HOME AND REST"]
    ends = [event["code"] for event in events if event.get("state") == "waiting"]
    # A machine that stands still may cut the line once more.
    assert ends[: 2 + is_late] == [1006, code, 4409][: 2 + is_late]
    assert [event["type"] for event in events].count("session.created") == 1
    assert all(event["recovered"] for event in events if event["type"] == "session.resumed")


async def test_a_server_that_goes_silent_is_given_up_and_found_again_as_it_was(
    package: Package, run: Run
) -> None:
    service = run()
    async with asyncio.timeout(60), Network(service.port).running() as network:
        options = {"targets": ["de"], "pingIntervalMs": 150}
        async with speaking(package, url=network.http, source="en", **options) as program:
            await program.until("session.updated")
            network.is_deaf = True
            program.do("commit", {"segmentId": "a", "text": "Yes."})
            async for event in program.events():
                if event.get("state") == "waiting":
                    break
            network.is_deaf = False
            (resumed,) = await program.until("session.resumed")
            (final,) = await program.until("translation.final")
            program.do("close")
            assert "silent" in event["reason"]
            assert resumed["recovered"]
            assert final["text"] == "YES."


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(schedule=st.lists(FAULTS, min_size=4, max_size=18))
def test_whatever_fails_and_whenever_all_is_heard_once_and_in_order(
    package: Package, schedule: list[str]
) -> None:
    heard = asyncio.run(said_and_heard(package, schedule))
    for target in ("de", "fr"):
        assert [text for t, text in heard if t == target] == [s.upper() for s in SENTENCES]
