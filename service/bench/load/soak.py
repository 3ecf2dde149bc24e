"""`tokenspeed bench soak`: speakers who come, go, are cut off and come back, for many minutes.

Each minute it records what must not grow: memory, descriptors, tasks, and how late finals come.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from tqdm import tqdm
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from service.bench.captions.scores import percentile
from service.bench.load.victim import SENTENCE, SESSION
from service.bench.served import PATIENCE_S, Served, serving
from service.wire.protocol import SUBPROTOCOL
from tokenspeed.bench.kept import SERVICE, keep
from tokenspeed.bench.page import cell, markdown_table

PACE_S: Final = 0.15  # between words
SETTLED: Final = 2  # minutes after which nothing may grow


@dataclass(slots=True)
class Minute:
    """What happened in one minute; the counts are of clients."""

    finals: list[float] = field(default_factory=list)
    lost: int = 0
    sessions: int = 0
    resumes: int = 0
    vanished: int = 0


@dataclass(slots=True)
class Soak:
    """A soak under way.

    Attributes:
        minute: where events are counted now.
    """

    server: Served
    minute: Minute = field(default_factory=Minute)

    async def look(self, number: int) -> dict[str, Any]:
        """Return a row of the minute and the server's state, and start the next minute."""
        minute, self.minute = self.minute, Minute()
        found = await self.server.metrics()
        return {
            "minute": number,
            "memory_mb": round(self.server.memory_mb(), 1),
            "files": self.server.num_files(),
            "tasks": int(found["tokenspeed_event_loop_tasks"]),
            "sessions_open": int(found["tokenspeed_sessions"]),
            "sessions_begun": minute.sessions,
            "resumes": minute.resumes,
            "vanished": minute.vanished,
            "finals": len(minute.finals),
            "finals_lost": minute.lost,
            "final_ms_p50": _rounded(percentile(minute.finals, 0.5)),
            "final_ms_p95": _rounded(percentile(minute.finals, 0.95)),
        }

    async def speak_on(self, rng: random.Random) -> None:
        """Hold one session after another, until cancelled."""
        while True:
            with suppress(OSError, WebSocketException):
                await _Visit(self, rng).run()
            await asyncio.sleep(rng.random() * 0.3)


class _Visit:
    """One session, from its first connection to its last."""

    def __init__(self, soak: Soak, rng: random.Random) -> None:
        self._soak = soak
        self._rng = rng
        self._pending: dict[str, float] = {}
        self._session: dict[str, Any] = {}
        self._last_seq = 0

    async def run(self) -> None:
        """Say some sentences; now and then lose the connection and resume, or leave for good."""
        rng = self._rng
        self._soak.minute.sessions += 1
        socket, listener = await self._connected()
        await socket.send(json.dumps({"type": "session.update", "session": SESSION}))
        try:
            for number in range(rng.randint(1, 4)):
                await self._say(socket, f"s{number}")
                if rng.random() < 0.3:
                    await _cut(socket, listener)
                    await asyncio.sleep(rng.random() * 0.2)
                    socket, listener = await self._connected(resumes=True)
                    self._soak.minute.resumes += 1
            if rng.random() < 0.3:
                self._soak.minute.vanished += 1
                return
            await socket.send(json.dumps({"type": "session.close"}))
            await asyncio.wait_for(listener, PATIENCE_S)
            self._soak.minute.lost += len(self._pending)
        finally:
            await _cut(socket, listener)

    async def _connected(
        self, *, resumes: bool = False
    ) -> tuple[ClientConnection, asyncio.Task[None]]:
        socket = await connect(
            self._soak.server.url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            proxy=None,
        )
        created = orjson.loads(await socket.recv())
        if resumes:
            session = self._session
            await socket.send(
                json.dumps(
                    {
                        "type": "session.resume",
                        "session_id": session["id"],
                        "epoch": session["epoch"],
                        "resume_token": session["resume_token"],
                        "last_seq": self._last_seq,
                    }
                )
            )
        else:
            self._session, self._last_seq = created["session"], created["seq"]
        return socket, asyncio.create_task(self._listen(socket))

    async def _listen(self, socket: ClientConnection) -> None:
        async for frame in socket:
            event = orjson.loads(frame)
            self._last_seq = event["seq"]
            if event["type"] == "translation.final":
                began_s = self._pending.pop(event["segment_id"], None)
                if began_s is not None:
                    took_s = time.perf_counter() - began_s
                    self._soak.minute.finals.append(took_s * 1e3)

    async def _say(self, socket: ClientConnection, name: str) -> None:
        for rev in range(1, len(SENTENCE) + 1):
            update = {"segment_id": name, "rev": rev, "stable": " ".join(SENTENCE[:rev])}
            await socket.send(json.dumps({"type": "source.update", **update}))
            await asyncio.sleep(PACE_S)
        self._pending[name] = time.perf_counter()
        await socket.send(json.dumps({"type": "source.commit", "segment_id": name}))


async def _cut(socket: ClientConnection, listener: asyncio.Task[None]) -> None:
    socket.transport.abort()
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


def run_soak(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Let speakers come and go; return a row for each minute.

    Raises:
        ServerFailed: the server could not be started.
        OSError: a file cannot be written.
        ValueError: a page has no place for the table.
    """
    rows = asyncio.run(_run(options))
    about = {"speakers": options.speakers, **growth(rows)}
    keep(options, rows, soak_table(rows), packages=SERVICE, about=about)
    return rows


async def _run(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    async with serving(options.model, options.device, ADMISSION="0") as server:
        soak = Soak(server)
        rng = random.Random(options.seed)
        speaking = [
            asyncio.create_task(soak.speak_on(random.Random(rng.random())))
            for _ in range(options.speakers)
        ]
        try:
            for number in tqdm(range(1, options.minutes + 1), leave=False):
                await asyncio.sleep(options.minute_s)
                rows.append(await soak.look(number))
        finally:
            for task in speaking:
                task.cancel()
            await asyncio.gather(*speaking, return_exceptions=True)
    return rows


def growth(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how much more the last minute has than minute SETTLED."""
    first, last = rows[min(SETTLED, len(rows)) - 1], rows[-1]
    names = ("memory_mb", "files", "tasks")
    return {f"{name}_growth": round(last[name] - first[name], 1) for name in names}


def soak_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a row for each minute, and what grew."""
    titles = " | ".join(rows[0]).replace("_", " ")
    cells = [[cell(value, "{:.4g}") for value in row.values()] for row in rows]
    grown = growth(rows)
    line = (
        f"From minute {SETTLED} to the end: {grown['memory_mb_growth']:+.1f} MB, "
        f"{grown['files_growth']:+d} descriptors, {grown['tasks_growth']:+d} tasks."
    )
    return markdown_table(titles, "r" * len(rows[0]), cells) + "\n\n" + line


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 1)
