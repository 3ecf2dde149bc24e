"""What one client can do to all others, if it is not stopped: each attack is a function.

They are kinds, not single cases: expensive texts, floods of messages, clients that vanish. Only for
one's own services: whoever starts an attack also starts the service that it is aimed at.
"""

import asyncio
import json
import random
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from service.wire.protocol import SUBPROTOCOL

THREE: Final = ("de", "fr", "es")
PROSE: Final = (
    "The committee met on Tuesday to discuss the new station and what it will cost. Many people "
    "had questions about the bridge, and nobody knew the answer. "
)
MAX_BUFFER: Final = 1 << 20  # bytes that wait in this process


@dataclass(slots=True)
class Outcome:
    """What an attacker did and got.

    Attributes:
        sent: messages, frames or requests.
        events: that came back, by type; errors and notices by their codes.
        statuses: of answers over HTTP.
        closed: the code with which the server closed, None if it did not.
    """

    sent: int = 0
    events: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    closed: int | None = None

    @property
    def finals(self) -> int:
        """Finals that came."""
        return self.events["translation.final"]


class Attacker:
    """One session that reads everything it is sent, so that its own answers do not hold it up."""

    def __init__(self, socket: ClientConnection, outcome: Outcome) -> None:
        self.socket = socket
        self.outcome = outcome

    async def send(self, **event: Any) -> None:
        """Send an event."""
        await self.socket.send(json.dumps(event, ensure_ascii=False))
        self.outcome.sent += 1

    async def write(self, frames: bytes, count: int) -> None:
        """Send raw frames; wait while they pile up in this process."""
        self.socket.transport.write(frames)
        self.outcome.sent += count
        while self.socket.transport.get_write_buffer_size() > MAX_BUFFER:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def listen(self) -> None:
        """Count what comes until the connection ends."""
        try:
            async for frame in self.socket:
                event = orjson.loads(frame)
                code = event.get("code") or event.get("error", {}).get("code")
                self.outcome.events[code or event["type"]] += 1
        finally:
            self.outcome.closed = self.socket.close_code

    async def finals(self, count: int) -> None:
        """Wait for so many finals, or the end of the connection."""
        while self.outcome.finals < count and self.outcome.closed is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def attacker(
    address: str, *targets: str, token: str = "", **settings: Any
) -> AsyncIterator[Attacker]:
    """Open a session, which vanishes without a close at the end of the context."""
    outcome = Outcome()
    socket = await connect(
        f"ws://{address}/v1/stream?token={token}",
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        proxy=None,
        ping_interval=None,
    )
    found = Attacker(socket, outcome)
    listener = asyncio.create_task(found.listen())
    try:
        languages = [{"language": target} for target in targets or ("de",)]
        session = {"source": {"language": "en"}, "targets": languages, **settings}
        await found.send(type="session.update", session=session)
        with suppress(ConnectionClosed):  # the outcome has the code
            yield found
    finally:
        closed = outcome.closed
        socket.transport.abort()
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        outcome.closed = closed


async def _paste(address: str, seconds: float, text: str) -> Outcome:
    async with attacker(address) as a:
        await a.send(type="source.update", segment_id="x", rev=1, stable=text)
        await a.send(type="source.commit", segment_id="x")
        await asyncio.sleep(seconds)
    return a.outcome


async def paste(address: str, seconds: float) -> Outcome:
    """56 KB in one frame, 7,000 sentences."""
    return await _paste(address, seconds, "We met. " * 7000)


async def prose(address: str, seconds: float) -> Outcome:
    """60 KB of plain prose."""
    return await _paste(address, seconds, (PROSE * 400)[:60_000])


async def letters(address: str, seconds: float) -> Outcome:
    """A word of 60,000 letters."""
    return await _paste(address, seconds, "a" * 60_000)


async def chinese(address: str, seconds: float) -> Outcome:
    """18,000 characters without a space or a mark, which the model does not know."""
    return await _paste(address, seconds, "你好世界今天天气很好我们去公园" * 1200)


async def flags(address: str, seconds: float) -> Outcome:
    """7,500 flags."""
    return await _paste(address, seconds, "\U0001f1e9\U0001f1ea" * 7500)


async def marks(address: str, seconds: float) -> Outcome:
    """Letters under piles of combining marks, and characters without width."""
    return await _paste(address, seconds, ("a" + "\u0301" * 40 + " \u200b\u200d\u200c") * 500)


async def rewrites(address: str, seconds: float) -> Outcome:
    """A page in which each revision changes the first word, although it was called stable."""
    async with attacker(address) as a:
        end_s, rev = time.monotonic() + seconds, 0
        while time.monotonic() < end_s:
            rev += 1
            text = f"{rev} " + (PROSE * 400)[:55_000]
            await a.send(type="source.update", segment_id="x", rev=rev, stable=text)
            await asyncio.sleep(0.05)
    return a.outcome


async def partials(address: str, seconds: float) -> Outcome:
    """A segment of 250 short sentences, all of them unstable, in three languages."""
    async with attacker(address, *THREE) as a:
        end_s, rev = time.monotonic() + seconds, 0
        while time.monotonic() < end_s:
            rev += 1
            text = f"We met {rev}. " * 160
            await a.send(type="source.update", segment_id="x", rev=rev, unstable=text[:1990])
            await asyncio.sleep(0.05)
    return a.outcome


async def appends(address: str, seconds: float) -> Outcome:
    """60 KB of marks, appended again and again."""
    return await _appends(address, seconds, ("." * 58 + " \n") * 1000)


async def word_appends(address: str, seconds: float) -> Outcome:
    """56 KB of sentences, appended again and again."""
    return await _appends(address, seconds, "We met. " * 7000)


async def _appends(address: str, seconds: float, text: str) -> Outcome:
    async with attacker(address) as a:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await a.send(type="source.append", segment_id="big", text=text)
    return a.outcome


async def commits(address: str, seconds: float) -> Outcome:
    """Short segments in three languages, 200 a second."""
    async with attacker(address, *THREE) as a:
        end_s, number = time.monotonic() + seconds, 0
        while time.monotonic() < end_s:
            number += 1
            text = f"The committee number {number} met to discuss the new station and its cost."
            with suppress(TimeoutError):
                async with asyncio.timeout(end_s - time.monotonic()):
                    await a.send(type="source.commit", segment_id=f"c{number}", text=text)
            await asyncio.sleep(0.005)
    return a.outcome


async def opens(address: str, seconds: float) -> Outcome:
    """Segments that are opened and never committed."""
    async with attacker(address) as a:
        end_s, number = time.monotonic() + seconds, 0
        while time.monotonic() < end_s:
            number += 1
            text = "Good morning my friends"
            await a.send(type="source.update", segment_id=f"o{number}", rev=1, stable=text)
            await asyncio.sleep(0.002)
    return a.outcome


async def cancels(address: str, seconds: float) -> Outcome:
    """Segments with long names that are opened and withdrawn."""
    async with attacker(address, partials=False) as a:
        end_s, number = time.monotonic() + seconds, 0
        while time.monotonic() < end_s:
            number += 1
            name = f"{number:0128d}"
            await a.send(type="source.update", segment_id=name, rev=0, stable="")
            await a.send(type="source.cancel", segment_id=name)
            await asyncio.sleep(0.005)
    return a.outcome


async def pings(address: str, seconds: float) -> Outcome:
    """Messages without content, as fast as they are taken."""
    return await _flood(address, seconds, _frame(1, b'{"type":"ping","id":"x"}'), 200)


async def empties(address: str, seconds: float) -> Outcome:
    """Empty ping frames, as fast as they are taken."""
    return await _flood(address, seconds, _frame(9, b""), 2000)


async def bad_frames(address: str, seconds: float) -> Outcome:
    """Messages that are not valid events, as fast as they are taken."""
    return await _flood(address, seconds, _frame(1, b'{"type":"nope"}'), 200)


async def _flood(address: str, seconds: float, frame: bytes, count: int) -> Outcome:
    async with attacker(address) as a:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and a.outcome.closed is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(end_s - time.monotonic()):
                    await a.write(frame * count, count)
            await asyncio.sleep(0)
    return a.outcome


def _frame(opcode: int, data: bytes) -> bytes:
    """Return a frame, masked with zeros, which leave the data unchanged."""
    return struct.pack("!BB4s", 0x80 | opcode, 0x80 | len(data), b"\0\0\0\0") + data


def glossary(number: int) -> dict[str, Any]:
    """Return 500 terms and 500 protected words; translations depend on the number."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(1000)]
    terms = [{"source": word, "target": f"{word[::-1]}{number % 7}"} for word in words[:500]]
    return {"glossary": terms, "do_not_translate": words[500:]}


async def glossaries(address: str, seconds: float) -> Outcome:
    """Settings with 1,000 terms, again and again."""
    async with attacker(address, *THREE) as a:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for number in range(10**6):
                    await a.send(type="session.update", session=glossary(number))
    return a.outcome


async def terms(address: str, seconds: float) -> Outcome:
    """A text made of glossary terms, in three languages."""
    async with attacker(address, *THREE, **glossary(0)) as a:
        words = [term["source"] for term in glossary(0)["glossary"]]
        end_s, rev, text = time.monotonic() + seconds, 0, ""
        while time.monotonic() < end_s:
            text = f"{text} {words[rev % 500]}"[:1990]
            rev += 1
            await a.send(type="source.update", segment_id="t", rev=rev, stable=text)
            await asyncio.sleep(0.05)
    return a.outcome


async def posts(address: str, seconds: float) -> Outcome:
    """Eight texts of 20,000 characters at once over HTTP, again and again."""
    body = {"q": (PROSE * 150)[:20_000], "source": "en", "target": "de"}
    return await _posts(address, seconds, [body] * 8)


async def many_posts(address: str, seconds: float) -> Outcome:
    """40 lists of 64 texts at once over HTTP, most of them more than are allowed."""
    body = {"q": [PROSE] * 64, "source": "en", "target": "de"}
    return await _posts(address, seconds, [body] * 40)


async def flag_posts(address: str, seconds: float) -> Outcome:
    """20,000 halves of flags in one text over HTTP, four times at once."""
    body = {"q": "\U0001f1e9" * 20_000, "source": "en", "target": "de"}
    return await _posts(address, seconds, [body] * 4)


async def vanishing_posts(address: str, seconds: float) -> Outcome:
    """Long texts over HTTP whose clients leave at once."""
    outcome = Outcome()
    body = {"q": (PROSE * 150)[:20_000], "source": "en", "target": "de"}
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        for _ in range(8):
            _, writer = await _open(address, body)
            writer.transport.abort()
            outcome.sent += 1
        await asyncio.sleep(0.25)
    return outcome


async def _posts(address: str, seconds: float, bodies: Iterable[dict[str, Any]]) -> Outcome:
    outcome = Outcome()

    async def post(body: dict[str, Any]) -> None:
        while True:
            reader, writer = await _open(address, body)
            try:
                outcome.sent += 1
                head = await reader.readline()
                outcome.statuses[int(head.split()[1]) if head else 0] += 1
                await reader.read()
            finally:
                writer.transport.abort()
            await asyncio.sleep(0.05)

    posting = [asyncio.create_task(post(body)) for body in bodies]
    await asyncio.sleep(seconds)
    for task in posting:
        task.cancel()
    await asyncio.gather(*posting, return_exceptions=True)
    return outcome


async def _open(
    address: str, body: dict[str, Any]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Post to `/translate` without reading the answer."""
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    data = orjson.dumps(body)
    head = (
        f"POST /translate HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + data)
    return reader, writer


Attack = Callable[[str, float], Coroutine[Any, Any, Outcome]]
ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack
    for attack in (
        paste, prose, letters, chinese, flags, marks, rewrites, partials, appends, word_appends,
        commits, opens, cancels, pings, empties, bad_frames, glossaries, terms, posts, many_posts,
        flag_posts, vanishing_posts,
    )
}  # fmt: skip
