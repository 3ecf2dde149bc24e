"""Replays over a real socket against a server process of their own; the clock is the client's."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from service.bench.captions.documents import Line, Update
from service.bench.captions.policies import Policy
from service.bench.captions.simulated_replay import END_S, Spoken
from service.bench.captions.transcript import (
    EngineUsage,
    Received,
    Sent,
    Transcript,
    client_event,
    session_params,
)
from service.bench.served import Served, running
from service.errors import ServiceError
from service.wire.protocol import (
    SUBPROTOCOL,
    Error,
    SessionClose,
    SessionUpdate,
    parse_server,
    serialise,
)

SETTLE_S: Final = 0.3  # between connecting and the first word


class ReplayFailed(ServiceError):
    """The server refused something, or ended a session in the middle."""


@asynccontextmanager
async def running_server(policy: str, model: Path, device: str) -> AsyncIterator[Served]:
    """Run a server that follows a policy, for as long as the context lasts.

    Raises:
        ServerFailed: it did not come up.
    """
    program = ["service.bench.captions.server", "--policy", policy]
    environment = {**os.environ, "TOKENSPEED_LOG_LEVEL": "WARNING"}
    async with running(program, model, device, environment) as served:
        yield served


async def replay(
    server: Served, spoken: Spoken, policy: Policy, source: str, target: str
) -> tuple[list[Transcript], EngineUsage]:
    """Let speakers talk side by side in real time until all is translated.

    Raises:
        ReplayFailed: the server refused something or ended a session.
    """
    before = await usage(server)
    params = session_params(source, target, has_partials=policy.has_partials)
    begin = time.perf_counter() + SETTLE_S
    hello = SessionUpdate(params)
    url = f"ws://{server.address}"
    transcripts = await asyncio.gather(
        *(speak(url, hello, lines, updates, begin) for lines, updates in spoken)
    )
    return transcripts, await usage(server) - before


async def speak(
    url: str,
    hello: SessionUpdate,
    lines: Sequence[Line],
    updates: Sequence[Update],
    begin: float,
    api_key: str | None = None,
) -> Transcript:
    """Be one speaker: send updates when they are due, whatever comes back, until all is translated.

    Args:
        url: of the service, "ws://host:port".
        begin: when the speaker begins, on time.perf_counter().
    Raises:
        ReplayFailed: the server refused something or ended the session.
        OSError: the server cannot be reached.
    """
    headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
    try:
        return await _speak(url, headers, serialise(hello), lines, updates, begin)
    except WebSocketException as exc:
        raise ReplayFailed(f"the connection ended: {exc}") from exc


async def _speak(
    url: str,
    headers: dict[str, str],
    hello: str,
    lines: Sequence[Line],
    updates: Sequence[Update],
    begin: float,
) -> Transcript:
    transcript = Transcript(lines)
    frames: list[tuple[float, str | bytes]] = []

    async def listen(socket: ClientConnection) -> None:
        async for frame in socket:
            frames.append((time.perf_counter(), frame))

    async with connect(
        f"{url}/v1/stream",
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        additional_headers=headers,
        proxy=None,
    ) as socket:
        listener = asyncio.create_task(listen(socket))
        await socket.send(hello)
        for update in updates:
            await asyncio.sleep(begin + update.at_ms / 1e3 - time.perf_counter())
            event = serialise(client_event(update))
            transcript.sent.append(Sent(time.perf_counter(), update))
            await socket.send(event)
        await asyncio.sleep(END_S)
        await socket.send(serialise(SessionClose()))
        await listener  # the server sends what is open, then closes
    for at, frame in frames:
        answer = parse_server(frame)
        if isinstance(answer, Error):
            raise ReplayFailed(f"{answer.error.code}: {answer.error.message}")
        transcript.received.append(Received(at, answer))
    return transcript


async def usage(server: Served) -> EngineUsage:
    """Read the service's counters."""
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(await server.get("/metrics")):
        for sample in family.samples:
            kind = sample.labels.get("kind", "") if family.name == "tokenspeed_tokens" else ""
            name = f"{sample.name}.{kind}" if kind else sample.name
            totals[name] = totals.get(name, 0.0) + sample.value
    return EngineUsage(
        requests=int(totals.get("tokenspeed_updates_total", 0)),
        superseded=int(totals.get("tokenspeed_updates_superseded_total", 0)),
        decoded=int(totals.get("tokenspeed_tokens_total.decoded", 0)),
        accepted=int(totals.get("tokenspeed_tokens_total.accepted", 0)),
        draft_tokens=int(totals.get("tokenspeed_engine_draft_tokens_total", 0)),
    )
