"""HTTP and sockets of rooms: hosts open them, readers follow by WebSocket or server-sent events.

What a room says is the room's affair; this file owns its readers' lines, and asks for translations
of what was said before somebody wanted to read it.
"""

import asyncio
import contextlib
import io
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, Final

import segno
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket

from service.captions.settings import MAX_CUE_CHARS, MAX_CUE_LINES
from service.doors.auth import bearer, is_origin_allowed
from service.doors.guard import error_reply
from service.doors.http import (
    CLIENT_GONE,
    ClientGone,
    check_gate,
    client_of,
    json_reply,
    parse_body,
    read_body,
    while_connected,
)
from service.doors.operations import public_url
from service.doors.socket import Disconnected, Socket, StarletteSocket, send_away
from service.doors.state import AppState
from service.doors.turns import OneByOne
from service.errors import ProtocolError, RestError, TranslationFailed
from service.load.limits import Misses
from service.rooms.readers import Reader
from service.rooms.room import Room
from service.rooms.said import SOURCE, Said
from service.rooms.transcript import FORMS, transcript, write
from service.translator import TextOptions
from service.wire import protocol
from tokenspeed.text.steps import some_of

logger = logging.getLogger("service.doors.rooms")

LINGER_S: Final = 15.0  # that a language is kept for a reader whose connection was lost
SILENCE_S: Final = 15.0  # without an event, then a comment stops proxies from closing the line
RETRY_MS: Final = 1000  # that a browser waits before reconnecting
GRACE_S: Final = 5.0  # for a reader to acknowledge the close
LOOK_S: Final = 0.1  # between checks of what another replica translates
MAX_SIDE_BY_SIDE: Final = 4  # earlier segments translated at one time
MAX_AT_ONCE: Final = 32  # of those, between two checks for what is missing
KEPT_TRANSCRIPTS: Final = 8  # the newest
KEPT_QR_CODES: Final = 64  # the newest; to draw one takes 30 ms
WOKEN: Final = 16  # readers per turn of the event loop, 0.1 ms each
FRAMES_OF_A_TURN: Final = 8  # sent in a row to a reader before others get a turn
MISSES: Final = 300  # wrong names and tokens from one address, in MISSES_S
MISSES_S: Final = 60.0

_CLOSE_OF: Final[Mapping[int, int]] = {
    403: protocol.CLOSE_UNAUTHENTICATED,
    404: protocol.CLOSE_NO_ROOM,
    429: protocol.CLOSE_OVERLOADED,
    503: protocol.CLOSE_OVERLOADED,
}
_CODE_OF: Final[Mapping[int, str]] = {
    403: "unauthorized",
    404: "unknown_room",
    429: "rate_limited",
    503: "overloaded",
}


def answered(
    handler: Callable[["Rooms", Request], Awaitable[Response]],
) -> Callable[["Rooms", Request], Awaitable[Response]]:
    """Turn a handler's error into its response."""

    async def handle(self: "Rooms", request: Request) -> Response:
        try:
            return await handler(self, request)
        except RestError as exc:
            return error_reply(request.url.path, exc.status, str(exc), exc.headers)
        except ClientGone:
            return Response(status_code=CLIENT_GONE)

    return handle


class _Bell:
    """Wakes readers, a few per turn of the event loop, so that others are served in between."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, None] = {}

    def ring(self, has_news: asyncio.Event) -> None:
        """Wake a reader soon."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._wake_some)
        self._waiting[has_news] = None

    def _wake_some(self) -> None:
        for has_news in list(islice(self._waiting, WOKEN)):
            del self._waiting[has_news]
            has_news.set()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._wake_some)


class Rooms:
    """Serves hosts and readers.

    Args:
        state: shared state of the service.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._catching_up: dict[tuple[str, str], asyncio.Task[None]] = {}  # by room and language
        self._transcripts: dict[tuple[str, int, str, str, int, int], asyncio.Task[bytes]] = {}
        self._qr_codes: dict[str, bytes] = {}  # by address
        self._pen = asyncio.Lock()
        self._bell = _Bell()
        self._turns = OneByOne()
        # A name has 96 bits and a token 256: guessing is hopeless anyway. But each guess may cost a
        # request to the Redis that replicas share.
        self._misses = Misses(MISSES, sys.maxsize, MISSES_S)
        state.rooms.on_lack = self._begin_catching_up

    # ---- hosts ----

    @answered
    async def create(self, request: Request) -> Response:
        """Open a room; `name` and `pass_phrase` are optional."""
        auth = self._state.auth
        if auth.is_required and not auth.is_key(bearer(request.headers.get("authorization"))):
            raise RestError(401, "an API key is needed: Authorization: Bearer")
        body = await _body(request)
        name = _text(body, "name") or ""
        room, token = await self._state.rooms.create(
            name, _text(body, "pass_phrase"), self._state.now_s()
        )
        reply = {
            "id": room.id,
            "name": room.name,
            "host_token": token,
            "view_url": self._view_url(request, room),
        }
        return _json(reply, 201)

    @answered
    async def room(self, request: Request) -> Response:
        """Describe a room, change it or close it, by the method of the request."""
        if request.method == "PATCH":
            return await self._change(request)
        if request.method == "DELETE":
            return await self._close(request)
        return _json(self._described(await self._found(request)))

    async def _change(self, request: Request) -> Response:
        """Give the room another `name` or `pass_phrase` (empty: none)."""
        room = await self._hosted(request)
        body = await _body(request)
        name, pass_phrase = _text(body, "name"), _text(body, "pass_phrase")
        if pass_phrase is not None:
            await self._state.rooms.set_pass_phrase(room, pass_phrase or None)
        if name is not None:
            self._state.rooms.rename(room, name)
        return await self._done(room)

    async def _close(self, request: Request) -> Response:
        """Close the room: nothing more is said, and what there is stays readable."""
        room = await self._hosted(request)
        room.close()
        return await self._done(room)

    async def _done(self, room: Room) -> Response:
        """Reply once a change has happened everywhere."""
        if not await self._state.rooms.settled(room):
            raise RestError(
                503, "the room is cut off; the change is kept and will be made later", 5
            )
        return _json(self._described(room))

    # ---- readers ----

    @answered
    async def qr_code(self, request: Request) -> Response:
        """Return a QR code of the readers' page."""
        url = self._view_url(request, await self._found(request))
        drawn = self._qr_codes.get(url)
        if drawn is None:
            client, gate = client_of(request, None), self._state.gate
            check_gate(gate, client)
            with gate.passing(client):
                async with self._pen:
                    drawn = await asyncio.to_thread(_qr_code, url)
            self._qr_codes[url] = drawn
            if len(self._qr_codes) > KEPT_QR_CODES:
                del self._qr_codes[next(iter(self._qr_codes))]
        return Response(drawn, media_type="image/svg+xml")

    def _view_url(self, request: Request, room: Room) -> str:
        return f"{public_url(self._state.config, request, 'http')}/r/{room.id}"

    @answered
    async def transcript(self, request: Request) -> Response:
        """Return what was said so far as a file, after translating what nobody has read yet."""
        room, target = await self._entered(request), self._target(request)
        form = request.path_params["form"]
        if form not in FORMS:
            raise RestError(404, f"a transcript is one of {', '.join(FORMS)}")
        max_chars = _number(request, "max_chars", 42, MAX_CUE_CHARS)
        max_lines = _number(request, "lines", 2, MAX_CUE_LINES)
        await while_connected(request, self._caught_up(room, target))
        written = self._written(request, room, (target, form, max_chars, max_lines))
        data = await while_connected(request, written)
        name = f'attachment; filename="{target}.{form}"'
        headers = {"content-disposition": name, "cache-control": "no-store"}
        return Response(data, headers=headers, media_type=FORMS[form])

    async def _written(
        self, request: Request, room: Room, wanted: tuple[str, str, int, int]
    ) -> bytes:
        """Return a transcript: written once, and reused until more is said.

        In a thread, one at a time: a long evening takes a quarter of a second.
        """
        client, gate = client_of(request, None), self._state.gate
        key = (room.id, room.newest, *wanted)

        async def work() -> bytes:
            target, form, max_chars, max_lines = wanted
            with gate.passing(client):
                async with self._pen:
                    segments = list(room.segments.values())
                    return await asyncio.to_thread(
                        lambda: write(transcript(segments, target), form, max_chars, max_lines)
                    )

        if key not in self._transcripts:
            check_gate(gate, client)
            self._transcripts[key] = asyncio.create_task(work())
            if len(self._transcripts) > KEPT_TRANSCRIPTS:
                del self._transcripts[next(iter(self._transcripts))]
        return await asyncio.shield(self._transcripts[key])

    @answered
    async def events(self, request: Request) -> Response:
        """Let somebody read by server-sent events; `Last-Event-ID` resumes a lost connection."""
        room = await self._entered(request)
        last = request.headers.get("last-event-id") or request.query_params.get("last_seq") or "0"
        has_news = asyncio.Event()
        reader = self._reader(request, last, partial(self._bell.ring, has_news))
        if room.is_closed and reader.seen:
            return Response(status_code=204)  # tells a browser not to reconnect
        self._check_places()
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(
            self._sent_events(room, reader, has_news), 200, headers, "text/event-stream"
        )

    async def _sent_events(
        self, room: Room, reader: Reader, has_news: asyncio.Event
    ) -> AsyncIterator[str]:
        with self._reading(room, reader):
            yield f"retry: {RETRY_MS}\n\n"
            while True:
                await self._prepare(room, reader)  # again if the room was restored
                # Together: to send each by itself takes ten times as long.
                frames = [f"id: {number}\ndata: {frame}\n\n" for number, frame in room.take(reader)]
                if frames:
                    yield "".join(frames)
                if self._is_over(room):
                    return
                try:
                    async with asyncio.timeout(SILENCE_S):
                        await has_news.wait()
                except TimeoutError:
                    yield ": still here\n\n"
                has_news.clear()

    async def listen(self, websocket: WebSocket) -> None:
        """Let somebody read by WebSocket."""
        config, headers = self._state.config, websocket.headers
        origin, host = headers.get("origin"), headers.get("host")
        if not is_origin_allowed(origin, host, config.origins, is_local=config.is_local):
            self._state.metrics.refused.labels("forbidden_origin").inc()
            await websocket.close(1008)
            return
        offered = websocket.scope.get("subprotocols", [])
        is_offered = protocol.SUBPROTOCOL in offered
        await websocket.accept(subprotocol=protocol.SUBPROTOCOL if is_offered else None)
        line = StarletteSocket(websocket)
        try:
            try:
                room = await self._entered(websocket)
                has_news = asyncio.Event()
                last = websocket.query_params.get("last_seq") or "0"
                reader = self._reader(websocket, last, partial(self._bell.ring, has_news))
                self._check_places()
            except RestError as exc:
                code = _CODE_OF.get(exc.status, "invalid_event")
                await line.send(protocol.serialise(protocol.make_error(code, str(exc))))
                await send_away(
                    line, _CLOSE_OF.get(exc.status, protocol.CLOSE_BAD_SESSION), str(exc)
                )
                return
            line.keep()
            with self._reading(room, reader):
                await self._serve(line, room, reader, has_news)
        except Disconnected:
            logger.debug("reader left")

    async def _serve(
        self, line: Socket, room: Room, reader: Reader, has_news: asyncio.Event
    ) -> None:
        async def write_frames() -> None:
            while True:
                await self._prepare(room, reader)  # again if the room was restored
                has_news.clear()
                for number, (_, frame) in enumerate(room.take(reader), 1):
                    await line.send(frame)
                    if not number % FRAMES_OF_A_TURN:
                        await asyncio.sleep(0)
                if self._is_over(room):
                    return
                await has_news.wait()

        async def read_frames() -> None:
            while True:
                await _answer(line, await line.receive())

        tasks = [asyncio.create_task(write_frames()), asyncio.create_task(read_frames())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        is_over = room.is_closed
        code = protocol.CLOSE_DONE if is_over else protocol.CLOSE_DRAINED
        try:
            async with asyncio.timeout(GRACE_S):
                await line.close(code, "the room is closed" if is_over else "shutdown")
        except TimeoutError:
            line.abort()

    async def _prepare(self, room: Room, reader: Reader) -> None:
        """Get ready what a newcomer is told, and wait for the turn in which it may be sent."""
        is_new = reader.is_new
        for _ in room.prepare(reader):
            await self._turns.turn()
        if is_new:
            await self._turns.turn()

    def _is_over(self, room: Room) -> bool:
        """Whether nothing more will be said: during a drain, speakers may still finish."""
        state = self._state
        is_left = state.is_drained or (state.is_draining and not room.info().speakers)
        return room.is_closed or is_left

    # ---- who reads what ----

    @contextlib.contextmanager
    def _reading(self, room: Room, reader: Reader) -> Any:
        """Have a reader in the room for as long as the context lasts."""
        room.read(reader)
        self._begin_catching_up(room, reader.target)
        try:
            yield
        finally:
            room.unread(reader, lingers=True)
            loop = asyncio.get_running_loop()
            loop.call_later(LINGER_S, room.forget, reader.target)

    def _reader(self, connection: HTTPConnection, last: str, wake: Callable[[], None]) -> Reader:
        params = connection.query_params
        form = params.get("mode", "captions")
        if form not in ("captions", "append_only"):
            raise RestError(400, f"mode is {form[:40]!r}, expected captions or append_only")
        if not last.isdecimal() or len(last) > 16:
            raise RestError(400, f"the last event is {last[:40]!r}, expected a number")
        has_source = params.get("source", "0") not in ("0", "")
        target = self._target(connection)
        return Reader(target, form, has_source, wake, int(last))  # type: ignore[arg-type]

    def _check_places(self) -> None:
        if self._state.is_draining:
            raise RestError(503, "the server is shutting down", 1)
        if self._state.rooms.num_readers >= self._state.config.max_readers:
            raise RestError(503, "all places are taken", 10)

    def _target(self, connection: HTTPConnection) -> str:
        target = connection.query_params.get("target", "")
        known = {code for info in self._state.model.languages for code in info.targets}
        if target != SOURCE:
            target = self._state.model.code_of(target) or target
        if target != SOURCE and target not in known:
            expected = ", ".join((*sorted(known), SOURCE))
            raise RestError(400, f"target is {target[:40]!r}, expected one of {expected}")
        return target

    async def _entered(self, connection: HTTPConnection) -> Room:
        rooms = self._state.rooms
        given = connection.headers.get("x-pass-phrase") or connection.query_params.get("pass")
        address = connection.client.host if connection.client else ""
        with self._missing(connection):
            room_id, now_s = connection.path_params["room"], self._state.now_s()
            return await rooms.enter(room_id, given, now_s, address)

    async def _hosted(self, request: Request) -> Room:
        with self._missing(request):
            room = await self._state.rooms.room(request.path_params["room"])
            token = bearer(request.headers.get("authorization"))
            hosted = await self._state.rooms.hosted_by(token)
            if hosted != room.id and not self._state.auth.is_key(token):
                raise RestError(401, "the host token is needed: Authorization: Bearer")
            return room

    async def _found(self, request: Request) -> Room:
        """Return a room to a reader who has not given its pass phrase yet."""
        with self._missing(request):
            return await self._state.rooms.room(request.path_params["room"])

    @contextlib.contextmanager
    def _missing(self, connection: HTTPConnection) -> Iterator[None]:
        """Count unknown room names and wrong host tokens.

        Raises:
            RestError: an address had too many; nothing more is looked up for it.
        """
        address = connection.client.host if connection.client else ""
        if self._misses.is_over(address, self._state.now_s()):
            raise RestError(
                429, "too many requests for unknown rooms; try again later", int(MISSES_S)
            )
        try:
            yield
        except RestError as exc:
            if exc.status in (401, 404):
                self._misses.note(address)
            raise

    def _described(self, room: Room) -> dict[str, Any]:
        known = sorted({code for info in self._state.model.languages for code in info.targets})
        return {
            "id": room.id,
            "name": room.name,
            "speakers": room.info().speakers,
            "readers": room.num_readers,
            "readers_by_target": room.readers_by_target,
            "is_closed": room.is_closed,
            "has_pass_phrase": room.guard is not None,
            "targets": known,
        }

    # ---- what was said before ----

    def _begin_catching_up(self, room: Room, target: str) -> None:
        if target != SOURCE and room.may_lack(target):
            self._catching(room, target)

    def _catching(self, room: Room, target: str) -> asyncio.Task[None]:
        """Return the task that translates what a language lacks; all who want it share one."""
        key = (room.id, target)
        if key not in self._catching_up:
            task = asyncio.create_task(self._catch_up(room, target))
            self._catching_up[key] = task
            task.add_done_callback(lambda _: self._catching_up.pop(key, None))
        return self._catching_up[key]

    async def _caught_up(self, room: Room, target: str) -> None:
        """Wait until everything has been translated."""
        if target != SOURCE:
            await asyncio.shield(self._catching(room, target))

    async def _catch_up(self, room: Room, target: str) -> None:
        """Translate what was said before anybody wanted to read it, newest first."""
        rooms = self._state.rooms
        has_claimed = False
        try:
            while waiting := await self._untranslated(room, target):
                if not room.is_claimed_here(target):
                    has_claimed = True
                    room.claim(target)
                    await rooms.settled(room)
                if not room.is_claimed_here(target):
                    await asyncio.sleep(LOOK_S)  # another replica is doing it
                    continue
                # Some of the newest at a time, each time in the order in which they were said.
                for at in range(0, min(len(waiting), MAX_AT_ONCE), MAX_SIDE_BY_SIDE):
                    some = waiting[at : at + MAX_SIDE_BY_SIDE][::-1]
                    found = await asyncio.gather(
                        *(
                            self._translate(room, said.source.text, said.language, target)
                            for said in some
                        )
                    )
                    for said, text in zip(some, found, strict=True):
                        room.translated(said.number, target, text)
                while not (await rooms.settled(room) or room.is_closed):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_S)
        finally:
            if has_claimed:
                room.unclaim(target)

    async def _untranslated(self, room: Room, target: str) -> list[Said]:
        """Return the finished segments that lack a language, newest first."""
        finding = room.untranslated(target)
        while (found := some_of(finding, lambda: True)) is None:
            await self._turns.turn()
        return found[0]

    async def _translate(self, room: Room, text: str, source: str | None, target: str) -> str:
        try:
            return await self._state.translator.whole(
                text, source, target, TextOptions(f"room {room.id}", turn=self._state.turns.turn)
            )
        except (TranslationFailed, ValueError) as exc:
            logger.warning("segment stays untranslated", extra={"data": {"problem": str(exc)}})
            return text


def _qr_code(url: str) -> bytes:
    """Draw an address, or raise RestError."""
    picture = io.BytesIO()
    try:
        code = segno.make(url, error="m")
    except segno.DataOverflowError as exc:
        raise RestError(400, "the address is too long for a QR code") from exc
    # Dark on light with the quiet zone that cameras need, whatever the page's colours.
    code.save(picture, kind="svg", scale=8, border=4, light="#fff", xmldecl=False)
    return picture.getvalue()


async def _answer(line: Socket, frame: str | bytes) -> None:
    """Answer a reader's messages: pings, and nothing else."""
    try:
        event = protocol.parse_client(frame)
        if not isinstance(event, protocol.Ping):
            raise ProtocolError("invalid_event", "a reader may only send pings", "type")
    except ProtocolError as exc:
        await line.send(protocol.serialise(protocol.error_event(exc)))
        return
    await line.send(protocol.serialise(protocol.Pong(time.time(), event.id)))


async def _body(request: Request) -> dict[str, Any]:
    data = await read_body(request)
    return parse_body(data, request.headers.get("content-type", "")) if data else {}


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise RestError(400, f"{name} is not a string")
    return value


def _number(request: Request, name: str, default: int, most: int) -> int:
    given = request.query_params.get(name, str(default))
    if not given.isdecimal() or len(given) > 9 or not 1 <= int(given) <= most:
        raise RestError(400, f"{name} is {given[:40]!r}, expected 1 to {most}")
    return int(given)


def _json(value: Any, status: int = 200) -> Response:
    return json_reply(value, status, {"cache-control": "no-store"})
