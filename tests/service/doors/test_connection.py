"""One connection: what it counts and logs at its end, and that its fault is its own."""

import gc
import logging
import weakref
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed

from service.doors.connection import Connection
from service.doors.socket import Disconnected
from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.conftest import Run
from tests.service.doors.test_app import close_code, eventually
from tests.service.fakes import FakeEngine, FakeGeneration
from tokenspeed.engine.core import Deliver
from tokenspeed.engine.request import Request

SECRET = "nobody logs this sentence"


class Buggy(FakeEngine):
    """Has a bug that one text meets."""

    def submit(self, request: Request, deliver: Deliver) -> FakeGeneration:
        if "Z" in "".join(chr(token) for token in request.prompt if token < 0x110000):
            raise ZeroDivisionError
        return super().submit(request, deliver)


@pytest.fixture(name="uncollected")
def _uncollected() -> Iterator[None]:
    """No cycle is collected: a thousand sessions that were cycles held everybody up for 0.3 s."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def translated(client: Client, text: str) -> str:
    await client.send(p.SourceCommit(text=text))
    (final,) = await client.until(p.TranslationFinal)
    assert isinstance(final, p.TranslationFinal)
    return final.text


async def test_a_bug_of_ours_ends_the_session_that_met_it_and_no_other(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    service = run(Buggy())
    async with session(service.ws) as first, session(service.ws) as other:
        for client in (first, other):
            await client.start("de")
            assert await translated(client, "hello") == "HELLO"
        await first.send(p.SourceCommit(text="Zebra"))
        assert await close_code(first) == p.CLOSE_INTERNAL
        assert await translated(other, "hello again") == "HELLO AGAIN"
    (told,) = [record for record in caplog.records if record.message == "session failed"]
    assert told.exc_info is not None
    assert "Zebra" not in caplog.text


async def test_an_end_is_logged_once_with_its_code_and_without_a_word(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "service.session")
    service = run()
    async with session(service.ws) as client:
        created = await client.receive()
        assert isinstance(created, p.SessionCreated)
        await client.start("de")
        await translated(client, SECRET)
        await client.send(p.SessionClose())
        assert await close_code(client) == 1000
    await eventually(lambda: "connection ended" in caplog.messages)
    (ended,) = [record.data for record in caplog.records if record.message == "connection ended"]  # type: ignore[attr-defined]
    assert (ended["session"], ended["code"]) == (created.session.id, 1000)
    assert ended["seconds"] >= 0
    (done,) = [record.data for record in caplog.records if record.message == "segment done"]  # type: ignore[attr-defined]
    assert (done["target"], done["erased"]) == ("de", 0)
    assert SECRET.casefold() not in str([vars(record) for record in caplog.records]).casefold()


async def test_what_a_session_left_out_is_counted_when_it_is_over(run: Run) -> None:
    service = run()
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceUpdate(5, "we go home", segment_id="a"))
        await client.send(p.SourceUpdate(4, "we go", segment_id="a"))
        await client.send(p.SourceCommit("a"))
        await client.until(p.TranslationFinal)
        assert b"\ntokenspeed_stale_revisions_total 0.0" in service.state.metrics.render()
        await client.send(p.SessionClose())
        assert await close_code(client) == 1000
    await eventually(
        lambda: b"\ntokenspeed_stale_revisions_total 1.0" in service.state.metrics.render()
    )
    assert b'tokenspeed_sessions_closed_total{code="1000"} 1.0' in service.state.metrics.render()


async def test_nothing_is_taken_of_a_connection_that_was_given_up(run: Run) -> None:
    service = run(FakeEngine(delay_s=30))
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceUpdate(1, "we go home"))
        await eventually(lambda: bool(service.engine.running))
        (connection,) = service.state.connections
        assert isinstance(connection, Connection)
        assert connection.worth > 0
        loop = next(iter(service.engine.running.values()))._loop
        loop.call_soon_threadsafe(connection.give_up, "the engine was closed")
        with pytest.raises(ConnectionClosed) as caught:
            await client.until(p.TranslationFinal)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == p.CLOSE_INTERNAL
        errors = [event.error for event in client.received if isinstance(event, p.Error)]
        assert [(error.code, error.message) for error in errors] == [
            ("internal", "the engine was closed")
        ]
    await eventually(lambda: not service.engine.running)


@pytest.mark.usefixtures("uncollected")
async def test_all_of_a_session_goes_when_it_is_over(run: Run) -> None:
    service = run()
    async with session(service.ws) as client:
        await client.start("de")
        await translated(client, "hello")
        (connection,) = service.state.connections
        assert isinstance(connection, Connection)
        parts = connection, connection._session, connection._driver, connection._socket
        left = [weakref.ref(part) for part in parts]
        del connection, parts
        await client.send(p.SessionClose())
        assert await close_code(client) == 1000
    await eventually(lambda: not any(part() for part in left))


@pytest.mark.usefixtures("uncollected")
async def test_nothing_of_a_lost_line_stays_but_its_session(run: Run) -> None:
    service = run()
    async with session(service.ws) as client:
        await client.start("de")
        client.socket.transport.abort()
        await eventually(lambda: not service.state.connections)
    await eventually(lambda: len(service.state.sessions) == 1)
    await eventually(lambda: not [o for o in gc.get_objects() if type(o) is Disconnected])
