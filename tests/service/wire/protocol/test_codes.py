"""Every close code that the protocol names is one that a client meets."""

import contextlib
import signal

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from service.captions.session import Session
from service.load.limits import Limits
from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import eventually
from tests.service.fakes import FakeEngine

OWN_SIDE = {1005, 1006}  # what a client's own side says where no code came


async def closed_with(service: Service, *frames: str | bytes, query: str = "") -> int:
    """Send frames; return the code that the server closes with."""
    async with session(service.ws + query) as client:
        for frame in frames:
            await client.socket.send(frame, text=True)
        return await code_of(client)


async def code_of(client: Client) -> int:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client.socket.recv()
    assert client.socket.close_code is not None
    return client.socket.close_code


async def broken_frame(run: Run) -> int:
    async with session(run().ws) as client:
        client.socket.transport.write(b"\xff\x00")
        return await code_of(client)


async def bug(run: Run, monkeypatch: pytest.MonkeyPatch) -> int:
    service = run()

    def receive(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Session, "receive", receive)
    return await closed_with(service, '{"type": "ping"}')


async def leaving(service: Service) -> int:
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceUpdate(1, "we go home", segment_id="a"))
        # Else the drain may find nothing that is open, and be done in time.
        await eventually(lambda: bool(service.engine.requests))
        service.server.handle_exit(signal.SIGTERM, None)
        return await code_of(client)


async def full(run: Run) -> int:
    service = run(max_sessions=1)
    async with session(service.ws) as first:
        await first.receive()
        return await closed_with(service)


async def other_subprotocol(run: Run) -> int:
    async with session(run().ws, subprotocols=[Subprotocol("other")]) as client:
        return await code_of(client)


async def no_room(service: Service) -> int:
    where = service.ws.removesuffix("stream")
    async with session(f"{where}rooms/nowhere/listen?target=de") as client:
        return await code_of(client)


async def superseded(run: Run) -> int:
    service = run()
    async with session(service.ws) as first:
        created = await first.receive()
        assert isinstance(created, p.SessionCreated)
        info = created.session
        assert info.resume_token is not None
        async with session(service.ws) as second:
            await second.send(p.SessionResume(info.id, info.resume_token, 1, info.epoch))
            return await code_of(first)


async def test_every_close_code_is_met(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    met = {
        1000: await closed_with(run(), '{"type": "session.close"}'),
        1001: await leaving(run()),
        1002: await broken_frame(run),
        1007: await closed_with(run(), b"\xff"),
        1009: await closed_with(run(limits=Limits(frame_bytes=100)), "x" * 200),
        1012: await leaving(run(FakeEngine(delay_s=30), drain_s=0.1)),  # the finals take too long
        1013: await full(run),
        4400: await other_subprotocol(run),
        4401: await closed_with(run(api_keys=("a-key-of-more-than-16",)), query="?token=x"),
        4404: await no_room(run()),
        4408: await closed_with(run(limits=Limits(idle_s=0.1))),
        4409: await superseded(run),
        1011: await bug(run, monkeypatch),
    }
    assert met == {code: code for code in met}
    assert met.keys() | OWN_SIDE == p.CLOSE_CODES.keys()
