"""`tokenspeed bench room`: one speaker, many readers; how soon does each of them see a frame?

Starts a service of its own, so that its processor time can be told from that of the readers. A
reader is a bare socket that notes when a frame came and which revision it answers, so that a
thousand of them do not distort the measurement. Loopback only.
"""

import argparse
import asyncio
import base64
import json
import os
import re
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tqdm import tqdm
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from service.bench.captions.documents import Update
from service.bench.captions.scores import percentile
from service.bench.captions.transcript import client_event
from service.bench.load.loadtest import script
from service.bench.served import Served, ServerFailed, serving
from service.wire.protocol import (
    SUBPROTOCOL,
    SessionParams,
    SessionUpdate,
    SourceParams,
    serialise,
)
from tokenspeed.bench.kept import SERVICE, keep
from tokenspeed.bench.page import cell, markdown_table

OPENED_AT_ONCE: Final = 50  # connections
SETTLE_S: Final = 1.0  # before the speaker begins
PATIENCE_S: Final = 15.0  # for the last finals
_FIELDS = re.compile(rb'"segment_id":"(\d+)".*?(?:"source_rev":(\d+)|"stats":)')


@dataclass(slots=True)
class Heard:
    """What one number of readers saw; times in ms from a source update to a frame.

    Attributes:
        lost: readers that lack finals.
    """

    readers: int
    deltas: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)
    lost: int = 0
    frames: int = 0
    cpu_s: float = 0.0
    seconds: float = 0.0

    def numbers(self) -> dict[str, Any]:
        """Return the numbers for a table or a file."""
        delays = self.deltas + self.finals
        cpu_share = self.cpu_s / self.seconds
        return {
            "readers": self.readers,
            "frames": self.frames,
            "frame_ms_p50": round(percentile(delays, 0.5), 2),
            "frame_ms_p95": round(percentile(delays, 0.95), 2),
            "frame_ms_p99": round(percentile(delays, 0.99), 2),
            "final_ms_p95": round(percentile(self.finals, 0.95), 2),
            "lost_readers": self.lost,
            "cpu_cores": round(cpu_share, 3),
            "cpu_ms_a_reader_and_second": round(1e3 * cpu_share / max(self.readers, 1), 4),
        }


class ReaderSocket(asyncio.Protocol):
    """A WebSocket that only reads: notes when each frame came.

    Args:
        path: of the room, with its query.
        address: "host:port" of the service.
    """

    def __init__(self, path: str, address: str) -> None:
        self.path = path
        self.frames: list[tuple[float, int, int | None]] = []  # when, segment, revision or None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.finals = 0
        self._address = address
        self._data = b""
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self.path} HTTP/1.1\r\nhost: {self._address}\r\nupgrade: websocket\r\n"
            f"connection: upgrade\r\nsec-websocket-key: {key}\r\nsec-websocket-version: 13\r\n"
            f"sec-websocket-protocol: {SUBPROTOCOL}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._data += data
        if not self._is_open:
            head, mark, self._data = self._data.partition(b"\r\n\r\n")
            if not mark:
                self._data = head
                return
            self._is_open = True
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.opened.set_exception(ServerFailed(f"a reader is refused: {head[:60]!r}"))
                return
            self.opened.set_result(None)
        while (payload := self._frame()) is not None:
            found = _FIELDS.search(payload)
            if found and b'"type":"translation.' in payload:
                revision = None if found[2] is None else int(found[2])
                self.frames.append((now, int(found[1]), revision))
                self.finals += revision is None

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ServerFailed("a reader's line was closed"))

    def _frame(self) -> bytes | None:
        """Take the payload of the next frame; a server does not mask it."""
        data = self._data
        if len(data) < 2:
            return None
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4]), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10]), 10
        if len(data) < start or len(data) < start + length:
            return None
        self._data = data[start + length :]
        return data[start : start + length]


def run_room_test(options: argparse.Namespace) -> list[Heard]:
    """Run one number of readers after the other.

    Raises:
        ValueError: the numbers cannot be used.
        ServerFailed: the service did not come up, or refused a reader.
    """
    if options.seconds <= 0 or not options.targets:
        raise ValueError("expected some seconds and some languages")
    found = asyncio.run(_run_levels(options))
    about = {
        "targets": options.targets,
        "seconds": options.seconds,
        "words_per_minute": options.words_per_minute,
    }
    rows = [heard.numbers() for heard in found]
    keep(options, rows, room_table(found), packages=SERVICE, about=about)
    return found


def room_table(found: list[Heard]) -> str:
    """Return a row for each number of readers."""
    numbers = [heard.numbers() for heard in found]
    titles = " | ".join(numbers[0]).replace("_", " ")
    cells = [[cell(value, "{:.4g}") for value in row.values()] for row in numbers]
    return markdown_table(titles, "r" * len(numbers[0]), cells)


async def _run_levels(options: argparse.Namespace) -> list[Heard]:
    found = []
    most = str(max(options.readers) + 10)
    settings = {"MAX_READERS": most, "ADMISSION": "0"}
    async with serving(options.model, options.device, **settings) as served:
        for count in tqdm(options.readers, unit="level", leave=False):
            found.append(await _run_level(options, served, count))
    return found


async def _run_level(options: argparse.Namespace, served: Served, count: int) -> Heard:
    room = await asyncio.to_thread(_open_room, served)
    loop = asyncio.get_running_loop()
    host, _, port = served.address.partition(":")
    places = asyncio.Semaphore(OPENED_AT_ONCE)

    async def one(number: int) -> tuple[asyncio.BaseTransport, ReaderSocket]:
        target = options.targets[number % len(options.targets)]
        path = f"/v1/rooms/{room['id']}/listen?target={target}"
        async with places:
            line = await loop.create_connection(
                lambda: ReaderSocket(path, served.address), host, int(port)
            )
            await line[1].opened
        return line

    lines = await asyncio.gather(*(one(i) for i in range(count)))
    try:
        await asyncio.sleep(SETTLE_S)
        cpu_s, began = served.cpu_s(), time.perf_counter()
        sent, num_segments = await _speak(options, served, room)
        deadline = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < deadline:
            if all(reader.finals >= num_segments for _, reader in lines):
                break
            await asyncio.sleep(0.05)
        heard = Heard(count, cpu_s=served.cpu_s() - cpu_s, seconds=time.perf_counter() - began)
    finally:
        for transport, _ in lines:
            transport.close()
    for _, reader in lines:
        heard.frames += len(reader.frames)
        heard.lost += reader.finals < num_segments
        for at, segment, revision in reader.frames:
            delay_ms = (at - sent[segment, revision]) * 1e3  # a room numbers from 1, as we do
            (heard.finals if revision is None else heard.deltas).append(delay_ms)
    return heard


async def _speak(
    options: argparse.Namespace, served: Served, room: Mapping[str, str]
) -> tuple[dict[tuple[int, int | None], float], int]:
    """Speak in the room; return when each revision (None: the commit) of a segment was sent."""
    lines, updates = script(options.seconds, options.words_per_minute, 0)
    sent: dict[tuple[int, int | None], float] = {}
    params = SessionParams(source=SourceParams(options.source), targets=(), room=room["id"])
    async with connect(
        f"{served.url}?token={room['host_token']}",
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        proxy=None,
    ) as socket:
        await socket.send(serialise(SessionUpdate(params)))
        begin = time.perf_counter()
        for update in updates:
            await asyncio.sleep(begin + update.at_ms / 1e3 - time.perf_counter())
            _note(sent, update)
            await socket.send(serialise(client_event(update)))
        # Until the finals are there: when a speaker leaves, what is open is dropped.
        await asyncio.sleep(PATIENCE_S / 5)
    return sent, len(lines)


def _note(sent: dict[tuple[int, int | None], float], update: Update) -> None:
    now = time.perf_counter()
    sent[update.line + 1, update.rev] = now
    if update.is_commit:
        sent[update.line + 1, None] = now


def _open_room(served: Served) -> dict[str, str]:
    request = urllib.request.Request(
        f"http://{served.address}/v1/rooms", b"{}", {"content-type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as response:
        opened: dict[str, str] = json.load(response)
        return opened
