"""Frames off a real socket: in order, with a price, and none further than somebody listens."""

import asyncio
import struct
from typing import Any

import pytest

from service.doors.frames import SLICE_BYTES, PricedFrames
from service.doors.intake import Intake
from service.doors.turns import Round
from service.load.limits import Limits
from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.conftest import Run

CLOSE = struct.pack("!BB4sH", 0x88, 0x80 | 2, b"\0\0\0\0", 1000)
PING = struct.pack("!BB4s", 0x89, 0x80, b"\0\0\0\0")


def frame(text: str) -> bytes:
    """Mask a short text with zeros, which leave it as it is."""
    data = text.encode()
    return struct.pack("!BB4s", 0x81, 0x80 | len(data), b"\0\0\0\0") + data


async def pongs(client: Client, count: int) -> list[str | None]:
    events = await client.until(p.Pong, count=count)
    return [event.id for event in events if isinstance(event, p.Pong)]


async def test_thousands_of_frames_of_one_read_all_come_in_order(run: Run) -> None:
    async with session(run(limits=Limits(work_share=1.0)).ws) as client:
        frames = [frame(f'{{"type":"ping","id":"{n}"}}') + 20 * PING for n in range(300)]
        client.socket.transport.write(b"".join(frames))
        assert await pongs(client, 300) == [str(n) for n in range(300)]


async def test_frames_are_looked_at_a_slice_at_a_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    base: Any = PricedFrames.__mro__[1]
    plain = base.data_received

    def data_received(protocol: PricedFrames, data: bytes) -> None:
        sizes.append(len(data))
        plain(protocol, data)

    monkeypatch.setattr(base, "data_received", data_received)
    async with session(run().ws) as client:
        client.socket.transport.write(10_000 * PING + frame('{"type":"ping","id":"after"}'))
        assert await pongs(client, 1) == ["after"]
    assert max(sizes) <= SLICE_BYTES
    assert sum(sizes) >= 60_000


async def test_who_is_not_listened_to_cannot_be_late_with_a_pong(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = asyncio.Event()
    loop = asyncio.get_running_loop()
    timeout = PricedFrames.keepalive_timeout

    def keepalive_timeout(protocol: PricedFrames) -> None:
        timeout(protocol)
        loop.call_soon_threadsafe(checked.set)

    monkeypatch.setattr(PricedFrames, "keepalive_timeout", keepalive_timeout)
    monkeypatch.setattr("service.doors.server.PING_S", 0.05)
    service = run(limits=Limits(work_share=0.005))  # each ping costs it a while
    async with session(service.ws) as client:
        client.socket.transport.write(b"".join(frame('{"type":"ping"}') for _ in range(40)))
        await checked.wait()
        await pongs(client, 40)


async def test_a_client_is_heard_when_it_closes_after_a_flood(run: Run) -> None:
    async with session(run().ws) as client:
        client.socket.transport.write(5_000 * PING + frame('{"type":"session.close"}'))
        await client.until(p.SessionClosed)
        await client.socket.wait_closed()
        assert client.socket.close_code == 1000


async def test_what_a_client_said_before_it_closed_is_answered_before_its_close(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Round, "admits", lambda *_: False)  # everybody has to wait for a turn
    async with session(run().ws) as client:
        frames = [frame(f'{{"type":"ping","id":"{n}"}}') for n in range(20)]
        client.socket.transport.write(b"".join(frames) + CLOSE)
        assert await pongs(client, 20) == [str(n) for n in range(20)]
        await client.socket.wait_closed()


async def test_a_client_that_goes_while_its_message_takes_long_is_noticed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, gone = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    take, lost = Intake.take, PricedFrames.connection_lost

    async def never_done(intake: Intake, said: str | bytes) -> None:
        if "ping" not in str(said):
            return await take(intake, said)
        loop.call_soon_threadsafe(reached.set)
        await asyncio.Event().wait()
        return None

    def connection_lost(protocol: PricedFrames, exc: Exception | None) -> None:
        lost(protocol, exc)
        loop.call_soon_threadsafe(gone.set)

    monkeypatch.setattr(Intake, "take", never_done)
    monkeypatch.setattr(PricedFrames, "connection_lost", connection_lost)
    async with session(run().ws) as client:
        client.socket.transport.write(frame('{"type":"ping"}'))
        await reached.wait()
        client.socket.transport.abort()
        await gone.wait()
