"""Real sockets: a session from end to end, and everything that goes wrong on the way."""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Callable

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from service.load.limits import Limits
from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.conftest import Run, Service
from tests.service.fakes import FakeEngine


def texts(client: Client, target: str) -> tuple[str, list[p.TranslationFinal]]:
    """What was appended for a target, and its finals."""
    deltas = [e for e in client.received if isinstance(e, p.TranslationDelta)]
    appended = "".join(e.append for e in deltas if e.target == target)
    finals = [e for e in client.received if isinstance(e, p.TranslationFinal)]
    return appended, [e for e in finals if e.target == target]


async def close_code(client: Client) -> int:
    """Read to the end; return the server's close code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client.receive()
    code = client.socket.close_code
    assert code is not None
    return code


async def eventually(condition: Callable[[], bool], within_s: float = 20) -> None:
    """Wait for something that the server does in its own time."""
    for _ in range(round(within_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


async def test_a_session_with_two_targets(service: Service) -> None:
    words = "we go home now and then we rest".split()
    async with session(service.ws) as client:
        assert client.socket.subprotocol == p.SUBPROTOCOL
        created = await client.receive()
        assert isinstance(created, p.SessionCreated)
        assert [info.code for info in created.session.languages] == ["de", "en", "es", "fr"]
        await client.start("de", "fr", timing=True)
        for rev in range(1, len(words)):
            text = " ".join(words[: rev + 1])
            await client.send(p.SourceUpdate(rev, text, segment_id="a"))
            await client.until(p.TranslationDelta, count=2)
        await client.send(p.SourceCommit("a", text="We go home now and then we rest."))
        await client.until(p.TranslationFinal, count=2)
        await client.send(p.SessionClose())
        assert await close_code(client) == 1000
    for target in ("de", "fr"):
        appended, (final,) = texts(client, target)
        assert appended.startswith("WE GO HOME")
        assert final.text.startswith(appended)
    deltas = [e for e in client.received if isinstance(e, p.TranslationDelta) and e.timing]
    assert all(e.timing and e.timing.total_ms >= 0 for e in deltas)
    closed = client.received[-1]
    assert isinstance(closed, p.SessionClosed)
    assert closed.usage.source_chars == len("We go home now and then we rest.")


async def test_a_long_glossary_counts_from_the_next_message_on(service: Service) -> None:
    # It is compiled in a thread; what comes after it waits.
    entries = tuple(p.GlossaryEntry(f"cable {i}", f"KABEL X{i}") for i in range(400))
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SessionUpdate(p.SessionParams(glossary=entries)))
        await client.send(p.SourceCommit("a", text="a cable 7 and"))
        (final,) = await client.until(p.TranslationFinal)
        assert isinstance(final, p.TranslationFinal)
        assert final.stats.terms == 1


async def test_a_glossary_over_the_socket(service: Service) -> None:
    async with session(service.ws) as client:
        entry = p.GlossaryEntry("good morning", "moin")
        await client.start("de", glossary=(entry,), do_not_translate=("Quiddly",))
        (event,) = await client.until(p.SessionUpdated)
        assert isinstance(event, p.SessionUpdated)
        assert event.session.glossary == (entry,)
        assert event.session.do_not_translate == ("Quiddly",)
        await client.send(p.SourceCommit("a", text="Good morning from Quiddly"))
        (final,) = await client.until(p.TranslationFinal)
        assert isinstance(final, p.TranslationFinal)
        # This engine shouts even the names that stand in: both terms are lost, and counted.
        assert (final.stats.terms, final.stats.violations) == (2, 2)
        bad = p.SessionParams(glossary=(p.GlossaryEntry("", "x"),))
        await client.send(p.SessionUpdate(bad))
        (error,) = await client.until(p.Error)
        assert isinstance(error, p.Error)
        assert error.error.code == "glossary_invalid"
        assert error.error.param == "session.glossary[0].source"


async def test_append_and_ping_and_flush(service: Service) -> None:
    async with session(service.ws) as client:
        await client.start("de", mode="append_only")
        for word in "we go home now and we rest ".split(" "):
            await client.send(p.SourceAppend(word + " "))
        await client.send(p.Ping("7"))
        (pong,) = await client.until(p.Pong)
        assert isinstance(pong, p.Pong)
        assert pong.id == "7"
        await client.send(p.SourceFlush())
        await client.until(p.TranslationFinal)
        unstable = {e.unstable for e in client.received if isinstance(e, p.TranslationDelta)}
        assert unstable <= {""}
        _, (final,) = texts(client, "de")
        assert final.segment_id == "auto-1"


async def test_two_sessions_do_not_hear_each_other(service: Service) -> None:
    async with session(service.ws) as one, session(service.ws) as two:
        await one.start("de")
        await two.start("fr")
        await one.send(p.SourceCommit("x", text="good morning"))
        await two.send(p.SourceCommit("x", text="good night"))
        (first,), (second,) = (
            await one.until(p.TranslationFinal),
            await two.until(p.TranslationFinal),
        )
        assert isinstance(first, p.TranslationFinal)
        assert isinstance(second, p.TranslationFinal)
        assert (first.text, first.target) == ("GOOD MORNING", "de")
        assert (second.text, second.target) == ("GOOD NIGHT", "fr")


async def test_a_cancelled_segment_is_retracted(run: Run) -> None:
    service = run(FakeEngine(delay_s=0.2))
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceUpdate(1, "we go home", segment_id="a"))
        await client.send(p.SourceCancel("a"))
        (event,) = await client.until(p.TranslationRetracted)
        assert isinstance(event, p.TranslationRetracted)
        assert event.segment_id == "a"
        assert service.engine.running == {}


async def test_bad_frames_are_told_and_the_session_goes_on(service: Service) -> None:
    async with session(service.ws) as client:
        for frame in ("{", "[]", '{"type":"what"}', '{"type":"source.update"}', b"\xff\x00"):
            await client.socket.send(frame)
            (event,) = await client.until(p.Error)
            assert isinstance(event, p.Error)
            assert event.error.code == "invalid_event"
        await client.send(p.SessionUpdate(p.SessionParams(targets=(p.TargetParams("tlh"),))))
        (event,) = await client.until(p.Error)
        assert isinstance(event, p.Error)
        assert event.error.code == "unsupported_language"
        await client.start("de")
        await client.send(p.SourceCommit("a", text="still here"))
        (final,) = await client.until(p.TranslationFinal)
        assert isinstance(final, p.TranslationFinal)
        assert final.text == "STILL HERE"


async def test_a_frame_that_is_too_big_closes_with_1009(service: Service) -> None:
    async with session(service.ws) as client:
        await client.socket.send('{"type":"source.append","text":"%s"}' % ("x" * 70_000))
        assert await close_code(client) == 1009


async def test_a_flood_waits_and_nothing_of_it_is_lost(run: Run) -> None:
    service = run(limits=Limits(work_share=0.01))
    async with session(service.ws) as client:
        for n in range(80):
            await client.send(p.Ping(str(n)))
        pongs = await client.until(p.Pong, count=80)
    assert [pong.id for pong in pongs if isinstance(pong, p.Pong)] == [str(n) for n in range(80)]


async def test_who_commits_too_much_is_told_and_waits_and_loses_nothing(run: Run) -> None:
    service = run(FakeEngine(delay_s=0.01), limits=Limits(pending_chars=200))
    async with session(service.ws) as client:
        await client.start("de")
        for n in range(100):
            await client.send(p.SourceCommit(f"s{n}", text="we go home"))
        await client.until(p.TranslationFinal, count=100)
        notices = [e for e in client.received if isinstance(e, p.SessionNotice)]
        assert {notice.code for notice in notices} == {"backlog"}
        _, finals = texts(client, "de")
        assert [final.segment_id for final in finals] == [f"s{n}" for n in range(100)]


async def test_an_idle_client_is_closed(run: Run) -> None:
    service = run(limits=Limits(idle_s=0.2))
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceUpdate(1, "we go home"))
        assert await close_code(client) == 4408
        _, (final,) = texts(client, "de")
        assert final.text == "WE GO HOME"


async def test_a_cut_line_frees_the_engine(run: Run) -> None:
    service = run(FakeEngine(delay_s=30))
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceUpdate(1, "we go home"))
        await eventually(lambda: bool(service.engine.running))
        raw: socket.socket = client.socket.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.transport.abort()
        await eventually(lambda: not service.engine.running and not service.state.connections)


async def test_a_slow_reader_delays_nobody_and_is_closed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.doors.connection.GRACE_S", 0.3)
    service = run(limits=Limits(queue_bytes=20_000, work_share=1.0))
    async with session(service.ws, max_queue=1) as slow, session(service.ws) as other:
        await slow.start("de", "fr", "es")
        slow.socket.transport.pause_reading()
        frame = p.serialise(p.Ping("x" * 128))
        with contextlib.suppress(ConnectionClosed):
            while True:  # until the kernel's buffers are full, and the server's queue
                await slow.socket.send(frame)
        await other.start("de")
        await other.send(p.SourceCommit("a", text="hello"))
        await other.until(p.TranslationFinal)
        await eventually(lambda: len(service.state.connections) == 1)
        assert b"tokenspeed_slow_consumers_total 1.0" in service.state.metrics.render()


async def test_an_engine_that_fails_is_told(run: Run) -> None:
    service = run(FakeEngine(is_broken=True))
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceCommit("a", text="hello"))
        error, final = await client.until(p.Error, p.TranslationFinal, count=2)
        assert isinstance(error, p.Error)
        assert isinstance(final, p.TranslationFinal)
        assert (error.error.code, error.error.retryable, final.text) == ("internal", True, "")


async def test_operations_and_page(service: Service) -> None:
    async with session(service.ws) as client:  # metrics have a label once it was used
        await client.start("de")
        await client.send(p.SourceCommit("a", text="we go home"))
        await client.until(p.TranslationFinal)
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for path in ("/livez", "/readyz", "/startupz", "/health"):
            assert (await http.get(path)).json() == {"status": "ok"}
        metrics = (await http.get("/metrics")).text
        assert 'tokenspeed_update_seconds_bucket{kind="final",le="0.2",source="en"' in metrics
        assert "tokenspeed_engine_steps_total" in metrics
        assert "tokenspeed_engine_weight_bytes_read_total" in metrics
        assert "tokenspeed_engine_bandwidth_share" in metrics
        assert "\nasyncapi: 3.0.0\n" in (await http.get("/asyncapi.yaml")).text
        page = await http.get("/")
        assert page.status_code == 200
        assert "text/html" in page.headers["content-type"]
        assert (await http.get("/src/client.js")).status_code == 200
        for path in ("/package.json", "/tools/x.js", "/../pyproject.toml", "/node_modules/a.js"):
            assert (await http.get(path)).status_code == 404


async def test_close_codes_that_clients_invent_are_not_counted_one_by_one(run: Run) -> None:
    service = run()
    for code in (1000, 3000, 4400, 4567, 4999):
        async with session(service.ws) as client:
            await client.receive()
            await client.socket.close(code)
    await eventually(lambda: not service.state.connections)
    text = service.state.metrics.render().decode()
    assert set(re.findall(r'sessions_closed_total\{code="(\w+)"\}', text)) == {
        "1000",
        "4400",
        "other",
    }
