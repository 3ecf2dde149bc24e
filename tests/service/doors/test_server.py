"""The way down: a drain at a signal, and the end where the engine is lost."""

import signal

import httpx

from service.wire import protocol as p
from tests.service.asyncapi import check_frame
from tests.service.client import session
from tests.service.conftest import Run
from tests.service.doors.test_app import close_code, eventually, texts
from tests.service.fakes import FakeEngine


async def test_a_drain_finishes_segments_and_takes_nobody_new(run: Run) -> None:
    service = run(FakeEngine(delay_s=0.5))
    async with (
        session(service.ws) as client,
        httpx.AsyncClient(base_url=service.http, trust_env=False) as http,
    ):
        await client.start("de")
        await client.send(p.SourceUpdate(1, "we go home", segment_id="a"))
        await eventually(lambda: bool(service.engine.running))
        service.server.handle_exit(signal.SIGTERM, None)
        await client.until(p.SessionGoingAway)
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/livez")).status_code == 200
        async with session(service.ws) as late:
            assert check_frame(await late.socket.recv())["error"]["code"] == "overloaded"
            assert await close_code(late) == 1013
        assert await close_code(client) == 1001
    _, (final,) = texts(client, "de")
    assert final.text == "WE GO HOME"
    assert client.received[-1].type == "session.closed"


async def test_a_lost_engine_is_told_and_ends_the_server(run: Run) -> None:
    service = run(FakeEngine(delay_s=60.0))
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceCommit("a", text="we go home"))
        await eventually(lambda: bool(service.engine.running))
        service.engine.is_alive = False
        (error,) = await client.until(p.Error)
        assert isinstance(error, p.Error)
        assert (error.error.code, error.error.message) == ("internal", "the engine has stopped")
        assert await close_code(client) == 1011
    await eventually(lambda: service.server.should_exit)
    assert service.server.is_engine_lost
