"""`tokenspeed bench replicas`: speakers and readers of a room while what serves them is killed.

What must hold: each commit has one final at its speaker and at each reader, event numbers have no
gap, and nothing that was appended is taken back. `watch` checks this on any running replicas; the
command starts processes of its own. Loopback only.
"""

import argparse
import asyncio
import itertools
import json
import random
import signal
import time
import urllib.request
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from service.bench.captions.scores import percentile
from service.bench.load.loadtest import script
from service.bench.load.own_redis import OwnRedis
from service.bench.served import Served, ServerFailed, serving
from service.wire import protocol as p
from tokenspeed.bench.kept import keep
from tokenspeed.bench.page import cell, markdown_table

PING_S: Final = 1.0  # between pings, and for the answer to one
RETRY_S: Final = 0.2  # between attempts to reach a replica, on average
PATIENCE_S: Final = 60.0  # for the last finals
AWAY_S: Final = 3.0  # that Redis is away, and to watch once it is back
KINDS: Final = ("kill", "pause", "redis")
OWN: Final = "own"
STRIKE_AT: Final = 0.4  # of the speaking time
FAULTS: Final = (
    "finals_lost", "finals_twice", "taken_back", "gaps", "reader_finals_lost",
    "reader_finals_twice", "reader_taken_back",
)  # fmt: skip


@dataclass(slots=True)
class Watched:
    """What speakers and readers saw.

    Attributes:
        segments: that were committed. finals: that came, in all languages.
        updates_ms: from a source update to the first event that answers it.
        lines_lost: connections of speakers. recoveries_ms: from each loss to the session on another
            connection.
        resumed: sessions that continued. forgotten: those that had to start over.
        faults: how often what must hold did not, by name.
    """

    segments: int = 0
    finals: int = 0
    updates_ms: list[float] = field(default_factory=list)
    lines_lost: int = 0
    recoveries_ms: list[float] = field(default_factory=list)
    resumed: int = 0
    forgotten: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def numbers(self) -> dict[str, Any]:
        """Return the numbers for a table or a file."""
        return {
            "segments": self.segments,
            "finals": self.finals,
            "update_ms_p50": _at(self.updates_ms, 0.5),
            "update_ms_p95": _at(self.updates_ms, 0.95),
            "lines_lost": self.lines_lost,
            "resumed": self.resumed,
            "forgotten": self.forgotten,
            "recovery_ms_p50": _at(self.recoveries_ms, 0.5),
            "recovery_ms_p95": _at(self.recoveries_ms, 0.95),
            **{name: self.faults[name] for name in FAULTS},
        }


class Line(ABC):
    """A client that goes from one replica to another until it is done.

    Args:
        addresses: "host:port" of each.
        first: index of the one to try first.
        watched: where it counts.
    """

    def __init__(self, addresses: Sequence[str], first: int, watched: Watched) -> None:
        self.watched = watched
        self.is_over = False
        self._addresses = addresses
        self._next = first

    async def run(self) -> None:
        """Stay connected, and reconnect, until it is done."""
        while not self.is_over:
            address = self._addresses[self._next % len(self._addresses)]
            with suppress(OSError, WebSocketException, TimeoutError):
                async with connect(
                    f"ws://{address}{self.path()}",
                    subprotocols=[Subprotocol(p.SUBPROTOCOL)],
                    proxy=None,
                    open_timeout=2.0,
                    close_timeout=1.0,
                    ping_interval=PING_S,
                    ping_timeout=PING_S,
                ) as socket:
                    try:
                        await self.converse(socket)
                    finally:
                        self.lost()
            self._next += 1
            await asyncio.sleep(random.uniform(0, 2 * RETRY_S))

    @abstractmethod
    def path(self) -> str:
        """Return the path to connect to, with its query."""

    @abstractmethod
    async def converse(self, socket: ClientConnection) -> None:
        """Use a connection until it ends."""

    def lost(self) -> None:  # noqa: B027 - a reader has nothing to note
        """Note that the connection has ended."""


class Speaker(Line):
    """Says sentences word by word; after losing its connection repeats what has no final."""

    def __init__(
        self,
        addresses: Sequence[str],
        number: int,
        watched: Watched,
        room: dict[str, Any],
        source: str,
        targets: Sequence[str],
    ) -> None:
        super().__init__(addresses, number, watched)
        params = p.SessionParams(
            p.SourceParams(source),
            tuple(map(p.TargetParams, targets)),
            room=room["id"],
            source_id=random.randbytes(16).hex(),
        )
        self._hello = p.SessionUpdate(params, token=room["host_token"])
        self._name = f"speaker {number}"
        self._targets = targets
        self._socket: ClientConnection | None = None
        self._resume: p.SessionResume | None = None
        self._last_seq = 0
        self._open: p.SourceUpdate | None = None
        self._commits: dict[str, p.SourceCommit] = {}
        self._finals: dict[tuple[str, str], str] = {}
        self._texts: dict[tuple[str, str], str] = {}
        self._sent: dict[tuple[str, int], float] = {}
        self._lost_at: float | None = None
        self._is_closing = False

    @property
    def finals(self) -> dict[tuple[str, str], str]:
        """Texts by segment and target."""
        return self._finals

    @property
    def num_waiting(self) -> int:
        """How many finals have not come yet."""
        return len(self._commits) * len(self._targets) - len(self._finals)

    def path(self) -> str:
        return "/v1/stream"

    async def update(self, segment_id: str, rev: int, text: str) -> None:
        """Send the newest text of a segment."""
        self._open = p.SourceUpdate(rev, "", text, segment_id, speaker=self._name)
        self._sent[segment_id, rev] = time.perf_counter()
        await self._say(self._open)

    async def commit(self, segment_id: str, text: str) -> None:
        """End a segment."""
        rev = 10_000 if self._open is None else self._open.rev + 1
        self._open = None
        self.watched.segments += 1
        self._commits[segment_id] = p.SourceCommit(segment_id, rev, text, self._name)
        await self._say(self._commits[segment_id])

    async def close(self) -> None:
        """End the session; all finals have come."""
        self.is_over = True
        await self._say(p.SessionClose())

    async def _say(self, event: p.ClientEvent) -> None:
        if self._socket is not None:
            with suppress(WebSocketException):
                await self._socket.send(p.serialise(event))

    async def converse(self, socket: ClientConnection) -> None:
        asked, greeting = self._resume, None
        if asked is not None:
            await socket.send(p.serialise(asked))
        async for frame in socket:
            event = p.parse_server(frame)
            if self._socket is None:
                if isinstance(event, p.SessionCreated):
                    greeting = event
                elif isinstance(event, p.SessionResumed):
                    self.watched.resumed += 1
                    await self._begin(socket)
                elif isinstance(event, p.Error) and event.error.code == "session_expired":
                    asked = self._resume = None
                    self.watched.forgotten += 1
                    self._texts.clear()
                if asked is None and greeting is not None and self._socket is None:
                    info = greeting.session
                    self._last_seq = event.seq
                    self._resume = p.SessionResume(
                        info.id, info.resume_token or "", self._last_seq, info.epoch
                    )
                    await self._begin(socket)
                continue
            self._take(event)

    async def _begin(self, socket: ClientConnection) -> None:
        """The session is there: send what it may not know."""
        self._socket = socket
        if self._lost_at is not None:
            self.watched.recoveries_ms.append((time.perf_counter() - self._lost_at) * 1e3)
            self._lost_at = None
        await self._say(self._hello)
        for segment_id, commit in self._commits.items():
            if any((segment_id, target) not in self._finals for target in self._targets):
                await self._say(commit)
        if self._open is not None:
            await self._say(self._open)

    def lost(self) -> None:
        if self._socket is not None and not self.is_over:
            self.watched.lines_lost += 1
            self._lost_at = time.perf_counter()
        self._socket = None

    def _take(self, event: p.ServerEvent) -> None:
        if event.seq != self._last_seq + 1:
            self.watched.faults["gaps"] += 1
        self._last_seq = event.seq
        if self._resume is not None:
            resume = self._resume
            self._resume = p.SessionResume(
                resume.session_id, resume.resume_token, event.seq, resume.epoch
            )
        if isinstance(event, p.SessionSnapshot):
            self._texts |= {(each.segment_id, each.target): each.text for each in event.segments}
        if isinstance(event, p.TranslationDelta):
            key = (event.segment_id, event.target)
            self._texts[key] = self._texts.get(key, "") + event.append
            sent = self._sent.pop((event.segment_id, event.source_rev), None)
            if sent is not None:
                self.watched.updates_ms.append((time.perf_counter() - sent) * 1e3)
        if isinstance(event, p.TranslationFinal):
            key = (event.segment_id, event.target)
            if key in self._finals:
                self.watched.faults["finals_twice"] += 1
            if not event.text.startswith(self._texts.get(key, "")):
                self.watched.faults["taken_back"] += 1
            self._finals[key] = event.text
            self.watched.finals += 1


class Reader(Line):
    """Reads a room in one language."""

    def __init__(
        self, addresses: Sequence[str], number: int, watched: Watched, room_id: str, target: str
    ) -> None:
        super().__init__(addresses, number, watched)
        self.target = target
        self.finals: dict[str, str] = {}
        self._room_id = room_id
        self._seen = 0
        self._texts: dict[str, str] = {}

    def path(self) -> str:
        return f"/v1/rooms/{self._room_id}/listen?target={self.target}&last_seq={self._seen}"

    async def converse(self, socket: ClientConnection) -> None:
        async for frame in socket:
            event = p.parse_server(frame)
            self._seen = max(self._seen, event.seq)
            if isinstance(event, p.RoomState):
                for each in event.segments:
                    if each.is_final:
                        self._end(each.segment_id, each.text, is_state=True)
                    else:
                        self._texts[each.segment_id] = each.text
            elif isinstance(event, p.TranslationDelta):
                before = self._texts.get(event.segment_id, "")
                self._texts[event.segment_id] = before + event.append
                if event.segment_id in self.finals:
                    self.watched.faults["reader_taken_back"] += 1
            elif isinstance(event, p.TranslationFinal):
                self._end(event.segment_id, event.text, is_state=False)

    def _end(self, segment_id: str, text: str, *, is_state: bool) -> None:
        if not text.startswith(self._texts.get(segment_id, "")):
            self.watched.faults["reader_taken_back"] += 1
        if segment_id in self.finals and not (is_state and self.finals[segment_id] == text):
            self.watched.faults["reader_finals_twice"] += 1
        self.finals[segment_id] = self._texts[segment_id] = text


async def watch(
    addresses: Sequence[str],
    strike: Callable[[Watched], Awaitable[None]],
    *,
    speakers: int,
    viewers: int,
    seconds: float,
    source: str = "en",
    targets: Sequence[str] = ("de",),
    words_per_minute: float = 200.0,
) -> Watched:
    """Let speakers speak in one room and readers read it, spread over replicas; strike meanwhile.

    Args:
        addresses: "host:port" of each replica, or of a proxy before all of them.
        strike: does to the replicas what they must survive; it is given what was seen so far.
        seconds: least time to speak; `strike` begins after a part of it, and everybody continues
            until it has returned.
    Raises:
        ServerFailed: no room could be opened, or nobody could speak.
    """
    watched = Watched()
    room = await asyncio.to_thread(_open_room, addresses[0])
    reading = [
        Reader(addresses, i, watched, room["id"], targets[i % len(targets)]) for i in range(viewers)
    ]
    speaking = [Speaker(addresses, i, watched, room, source, targets) for i in range(speakers)]
    lines = [asyncio.create_task(each.run()) for each in (*reading, *speaking)]
    try:
        is_over = asyncio.Event()
        told = [
            asyncio.create_task(_speak(each, is_over, words_per_minute, number))
            for number, each in enumerate(speaking)
        ]
        await asyncio.sleep(STRIKE_AT * seconds)
        begin = time.perf_counter()
        await strike(watched)
        await asyncio.sleep(max((1 - STRIKE_AT) * seconds + begin - time.perf_counter(), 0.0))
        is_over.set()
        await asyncio.gather(*told)
        await _until(lambda: all(each.num_waiting <= 0 for each in speaking))
        wanted = {t: _texts_of(speaking, t) for t in targets}
        await _until(lambda: all(_read(each) == wanted[each.target] for each in reading))
        for speaker in speaking:
            watched.faults["finals_lost"] += max(speaker.num_waiting, 0)
            await speaker.close()
        for reader in reading:
            read = _read(reader)
            watched.faults["reader_finals_lost"] += (wanted[reader.target] - read).total()
            watched.faults["reader_finals_twice"] += (read - wanted[reader.target]).total()
    finally:
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)
    if not watched.segments:
        raise ServerFailed("nobody could speak")
    return watched


def run_replicas(options: argparse.Namespace) -> Watched:
    """Start replicas, and watch them.

    Raises:
        ValueError: the numbers cannot be used.
        ServerFailed: a replica did not come up.
    """
    if options.replicas < 2 or options.seconds <= 0:
        raise ValueError("expected two replicas at least, and some seconds")
    unknown = sorted(set(options.strikes) - set(KINDS))
    if unknown:
        raise ValueError(f"strikes are {', '.join(unknown)}, expected of {', '.join(KINDS)}")
    if "redis" in options.strikes and options.redis != OWN:
        raise ValueError(f"the strike redis needs --redis {OWN}: nobody else's is killed")
    found = asyncio.run(_run(options))
    about = {
        name: getattr(options, name)
        for name in ("replicas", "speakers", "viewers", "seconds", "strikes", "targets")
    } | {"is_shared": bool(options.redis)}
    packages = ("torch", "websockets", "redis")
    keep(options, [found.numbers()], replicas_table(found), packages=packages, about=about)
    return found


def replicas_table(found: Watched) -> str:
    """Return a row for each number."""
    rows = [[name.replace("_", " "), cell(v, "{:.4g}")] for name, v in found.numbers().items()]
    return markdown_table("what | number", "lr", rows)


async def _run(options: argparse.Namespace) -> Watched:
    settings = {"ADMISSION": "0", "MAX_SESSIONS": str(2 * options.speakers + 16)}
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(OwnRedis()) if options.redis == OWN else None
        url = options.redis if redis is None else redis.url
        settings |= {"REDIS_URL": url} if url else {}
        starting = [
            serving(options.model, options.device, **settings) for _ in range(options.replicas)
        ]
        replicas = await asyncio.gather(*map(stack.enter_async_context, starting))

        async def strike(watched: Watched) -> None:
            victims = itertools.cycle(reversed(replicas))
            for kind in options.strikes:
                if kind == "redis":
                    assert redis is not None  # checked in run_replicas
                    await _lose(redis)
                else:
                    await _strike(next(victims), kind, watched)

        return await watch(
            [each.address for each in replicas],
            strike,
            speakers=options.speakers,
            viewers=options.viewers,
            seconds=options.seconds,
            source=options.source,
            targets=options.targets,
            words_per_minute=options.words_per_minute,
        )


async def _lose(redis: OwnRedis) -> None:
    """Take Redis away for a while, and bring it back empty."""
    await redis.kill()
    await asyncio.sleep(AWAY_S)
    await redis.start()
    await asyncio.sleep(AWAY_S)


async def _strike(victim: Served, kind: str, watched: Watched) -> None:
    """Kill a replica, or pause it until nobody waits for it any more."""
    lost, recovered = watched.lines_lost, len(watched.recoveries_ms)

    def is_done() -> bool:
        is_noted = watched.lines_lost > lost and len(watched.recoveries_ms) > recovered
        return is_noted and watched.lines_lost == len(watched.recoveries_ms)

    victim.signal(signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
    await _until(is_done)
    await asyncio.sleep(PING_S)
    if kind == "pause":
        victim.signal(signal.SIGCONT)
        await asyncio.sleep(PING_S)


async def _speak(
    speaker: Speaker, is_over: asyncio.Event, words_per_minute: float, number: int
) -> None:
    """Say sentences until `is_over`."""
    pace_s = 60.0 / words_per_minute
    lines, _ = script(60.0, words_per_minute, number)
    await asyncio.sleep(random.uniform(0, pace_s))
    count = 0
    while not is_over.is_set():
        words = lines[count % len(lines)].source.split()
        segment_id = f"{number}-{count}"
        for rev in range(1, len(words) + 1):
            await speaker.update(segment_id, rev, " ".join(words[:rev]))
            await asyncio.sleep(pace_s)
        await speaker.commit(segment_id, " ".join(words))
        count += 1


async def _until(is_so: Callable[[], bool]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():  # noqa: ASYNC110 - many things set it
                await asyncio.sleep(0.05)


def _texts_of(speakers: Sequence[Speaker], target: str) -> Counter[str]:
    return Counter(
        text for each in speakers for (_, lang), text in each.finals.items() if lang == target
    )


def _read(reader: Reader) -> Counter[str]:
    return Counter(reader.finals.values())


def _open_room(address: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://{address}/v1/rooms",
        data=b"{}",
        headers={"content-type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return json.load(reply)
    except OSError as exc:
        raise ServerFailed(f"no room can be opened: {exc}") from exc


def _at(values: list[float], share: float) -> float | None:
    return round(percentile(values, share), 1) if values else None
