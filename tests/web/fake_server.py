"""A small server that speaks `tokenspeed.v1` and serves the page, without any model.

It "translates" from a table of sentences, in proportion to how much of the source has come, so that
tests and pictures know what will be on the screen. It is strict where a real server is: it refuses
frames that `service.wire.protocol` does not accept, and appended text is never taken back.
"""

import asyncio
import itertools
import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from service.wire import protocol as p

WEB = Path(__file__).parents[2] / "web"
LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish"}
HELD_WORDS = 2  # at the end of an open segment, still unstable

# Sentence by sentence, in the order of the languages above.
PHRASES: tuple[dict[str, str], ...] = (
    {
        "en": "Good morning, everyone.",
        "de": "Guten Morgen zusammen.",
        "fr": "Bonjour à tous.",
        "es": "Buenos días a todos.",
    },
    {
        "en": "Today we want to talk about the weather in the mountains.",
        "de": "Heute möchten wir über das Wetter in den Bergen sprechen.",
        "fr": "Aujourd'hui, nous voulons parler du temps dans les montagnes.",
        "es": "Hoy queremos hablar del tiempo en las montañas.",
    },
    {
        "en": "The weather changes there much faster than down in the valley.",
        "de": "Dort ändert sich das Wetter viel schneller als unten im Tal.",
        "fr": "Le temps y change beaucoup plus vite que dans la vallée.",
        "es": "Allí el tiempo cambia mucho más rápido que abajo en el valle.",
    },
    {
        "en": "The federal ministry has extended its motor insurance regulations once again.",
        "de": "Das Bundesministerium hat seine Kraftfahrzeughaftpflichtversicherungsverordnungen "
        "erneut um Donaudampfschifffahrtsgesellschaften erweitert.",
        "fr": "Le ministère fédéral a de nouveau étendu ses règles d'assurance automobile.",
        "es": "El ministerio federal ha vuelto a ampliar su normativa de seguros de automóviles.",
    },
)


def translate(source: str, target: str) -> list[str]:
    """Return the words of the translation so far; an unknown sentence comes back as it is."""
    for phrase in PHRASES:
        if source and phrase["en"].startswith(source):
            wanted = phrase[target].split()
            share = len(source.split()) / len(phrase["en"].split())
            return wanted[: round(share * len(wanted))]
    return source.split()


@dataclass
class Segment:
    """What one target has been told of a segment."""

    rev: int = -1
    source: str = ""
    shown: str = ""  # all that was appended
    is_final: bool = False


@dataclass
class FakeSession:
    """One connection's state; events out as values, as in the real service."""

    number: int
    total_ms: float
    targets: tuple[str, ...] = ()
    segments: dict[tuple[str, str], Segment] = field(default_factory=dict)

    def created(self) -> p.SessionCreated:
        """Return the greeting."""
        languages = tuple(
            p.LanguageInfo(code, name, tuple(other for other in LANGUAGES if other != code))
            for code, name in LANGUAGES.items()
        )
        limits = p.LimitsInfo(frame_bytes=65536, segment_chars=2000, updates_per_s=20, idle_s=60)
        info = p.SessionInfo(f"fake-{self.number}", "0", limits, "fake", languages)
        return p.SessionCreated(info)

    def answer(self, event: p.ClientEvent) -> list[p.ServerEvent]:
        """Return what a server says to one event."""
        match event:
            case p.SessionUpdate():
                if event.session.targets is not None:
                    self.targets = tuple(target.language for target in event.session.targets)
                return [p.SessionUpdated(event.session)]
            case p.SourceUpdate():
                source = (event.stable + event.unstable).strip()
                deltas = [self._delta(target, event, source) for target in self.targets]
                return [delta for delta in deltas if delta is not None]
            case p.SourceCommit():
                return [self._final(target, event) for target in self.targets]
            case p.SourceCancel():
                gone = [key for key in self.segments if key[0] == event.segment_id]
                for key in gone:
                    del self.segments[key]
                return [p.TranslationRetracted(segment, target) for segment, target in gone]
            case p.Ping():
                return [p.Pong(0.0, event.id)]
            case p.SessionClose():
                return [p.SessionClosed("closed", p.Usage(0, 0, 0.0))]
            case _:
                raise AssertionError(f"the fake does not know {event.type}")

    def _segment(self, segment_id: str | None, target: str) -> Segment:
        assert segment_id is not None, "the page names its segments"
        return self.segments.setdefault((segment_id, target), Segment())

    def _timing(self) -> p.Timing:
        return p.Timing(0.1, self.total_ms, self.total_ms, self.total_ms, 1, 1)

    def _delta(self, target: str, event: p.SourceUpdate, source: str) -> p.ServerEvent | None:
        segment = self._segment(event.segment_id, target)
        if event.rev <= segment.rev or segment.is_final:
            return None
        segment.rev, segment.source = event.rev, source
        words = translate(source, target)
        stable = " ".join(words[:-HELD_WORDS])
        whole = " ".join(words)
        append = stable[len(segment.shown) :] if stable.startswith(segment.shown) else ""
        segment.shown += append
        tail = whole[len(segment.shown) :] if whole.startswith(segment.shown) else ""
        assert event.segment_id is not None
        return p.TranslationDelta(
            event.segment_id, target, event.rev, append, tail, timing=self._timing()
        )

    def _final(self, target: str, event: p.SourceCommit) -> p.ServerEvent:
        segment = self._segment(event.segment_id, target)
        source = event.text if event.text is not None else segment.source
        text = " ".join(translate(source, target))
        if not text.startswith(segment.shown):
            text = segment.shown + " " + text
        segment.is_final = True
        assert event.segment_id is not None
        stats = p.FinalStats(updates=1, erased=0, first_ms=self.total_ms, final_ms=self.total_ms)
        return p.TranslationFinal(
            event.segment_id, target, text, source, stats, timing=self._timing()
        )


class FakeServer:
    """Serves the page and its sessions on one port, and can go away and come back."""

    def __init__(self, total_ms: float = 40.0) -> None:
        self.total_ms = total_ms
        self.port = 0
        self.received: list[p.ClientEvent] = []
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.port}/"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen; on the same port as before, if there was one."""
        async with serve(
            self._session,
            "127.0.0.1",
            self.port,
            subprotocols=[Subprotocol(p.SUBPROTOCOL)],
            process_request=self._page,
            close_timeout=1,
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield

    async def _session(self, connection: ServerConnection) -> None:
        session = FakeSession(next(self._numbers), self.total_ms)
        seq = itertools.count(1)

        async def send(event: p.ServerEvent) -> None:
            await connection.send(p.serialise(replace(event, seq=next(seq))))

        try:
            await send(session.created())
            async for frame in connection:
                event = p.parse_client(frame)
                self.received.append(event)
                for reply in session.answer(event):
                    await send(reply)
        except ConnectionClosed:
            return

    def _page(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path == "/v1/stream":
            return None
        file = WEB / (path.lstrip("/") or "index.html")
        if not file.is_file():
            return connection.respond(HTTPStatus.NOT_FOUND, f"{path} is not there\n")
        kind = mimetypes.types_map.get(file.suffix, "application/octet-stream")
        headers = Headers({"Content-Type": kind, "Connection": "close"})
        body = file.read_bytes()
        headers["Content-Length"] = str(len(body))
        return Response(HTTPStatus.OK, "OK", headers, body)


async def main() -> None:
    """Serve until interrupted, for looking at the page by hand."""
    server = FakeServer()
    async with server.running():
        print(server.url, flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
