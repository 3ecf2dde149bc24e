"""An engine that hangs or fails at its door, through the whole service: a process, a socket."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from service.bench.served import Served
from service.cli import EXIT_ENGINE_LOST
from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.faulty import HANGING_S
from tests.service.process import RunningProgram, serving

HANGS = "a step of the engine hangs"


@asynccontextmanager
async def speaking(
    model: Path, fault: str
) -> AsyncIterator[tuple[RunningProgram, httpx.AsyncClient, Client]]:
    """Say three sentences to a service with a fault."""
    variables = {"TOKENSPEED_ADMISSION": "0", "TOKENSPEED_LOG_LEVEL": "ERROR"}
    with serving(model, "tests.service.faulty", fault, **variables) as (process, port):
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http,
            session(f"ws://127.0.0.1:{port}/v1/stream") as client,
        ):
            await client.start("de", "fr", partials=False)
            for i in range(3):
                await client.send(p.SourceCommit(f"s{i}", text=f"This is sentence {i} of three."))
            yield process, http, client


async def answers(http: httpx.AsyncClient, path: str, status: int) -> str:
    """Wait for an answer with a status; return what it says."""
    while True:
        reply = await http.get(path)
        if reply.status_code == status:
            return str(reply.json()["status"])
        await asyncio.sleep(0.02)


async def test_a_step_that_hangs_is_told_and_ends_the_process(tiny_translator: Path) -> None:
    async with speaking(tiny_translator, "hang:3") as (process, http, client):
        assert await answers(http, "/readyz", 503) == HANGS
        with pytest.raises(ConnectionClosed) as caught:
            await client.until(p.SessionClosed, count=99)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (p.CLOSE_INTERNAL, HANGS)
        told = [event.error for event in client.received if isinstance(event, p.Error)]
        assert [(error.code, error.message) for error in told] == [("internal", HANGS)]
        assert await asyncio.to_thread(process.wait, 30) == EXIT_ENGINE_LOST


async def test_a_step_that_pauses_costs_nothing_but_time(tiny_translator: Path) -> None:
    async with speaking(tiny_translator, "pause:3") as (process, http, client):
        assert await answers(http, "/readyz", 503) == HANGS
        finals = await client.until(p.TranslationFinal, count=6)
        assert (
            len({(f.segment_id, f.target) for f in finals if isinstance(f, p.TranslationFinal)})
            == 6
        )
        assert await answers(http, "/readyz", 200) == "ok"
        assert not [event for event in client.received if isinstance(event, p.Error)]
        assert process.poll() is None


async def test_the_second_signal_ends_a_process_whose_engine_hangs(tiny_translator: Path) -> None:
    async with speaking(tiny_translator, "hang:3") as (process, http, client):
        assert await answers(http, "/readyz", 503) == HANGS
        process.send_signal(signal.SIGTERM)
        assert await answers(http, "/readyz", 503) == "draining"
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == -signal.SIGTERM
        assert time.monotonic() - began_s < HANGING_S, "it was the watchdog"


@pytest.mark.parametrize("fault", ["intake:4", "late:3"])
async def test_a_request_that_is_not_taken_in_once_is_taken_in_then(
    tiny_translator: Path, fault: str
) -> None:
    async with speaking(tiny_translator, fault) as (process, http, client):
        await client.until(p.TranslationFinal, count=6)
        assert not [event for event in client.received if isinstance(event, p.Error)]
        metrics = await Served(http.base_url.netloc.decode(), process.pid).metrics()
        assert metrics["tokenspeed_engine_failures_total"] == 0
        assert process.poll() is None
