"""What one client can do to all others without a session: through rooms, files, texts over HTTP.

Kinds, not single cases, as in attacks.py: readers that never read, files that unpack to a lot,
guesses, repetitions, requests that never end. Only for one's own services.
"""

import asyncio
import io
import secrets
import time
import zipfile
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from service.bench.load.attacks import PROSE, Attack, Outcome, attacker
from service.wire.protocol import SUBPROTOCOL

NUM_READERS: Final = 200
NUM_SEGMENTS: Final = 400
NUM_LINES: Final = 100
_DOORS: Final = ("/translate", "/detect", "/v2/translate", "/v1/chat/completions", "/v1/rooms")
_NEVER: Final = 1 << 30  # content length of a body that never ends
_REPLAYED: Final = 60_000  # bytes of a room to read before starting over
_FORM: Final = "content-type: application/x-www-form-urlencoded"


async def ask(
    address: str,
    outcome: Outcome,
    path: str,
    data: bytes = b"",
    head: str = "",
    method: str = "",
    host: str = "",
) -> bytes:
    """Ask once on a connection of its own; return the body of the answer."""
    named = host or address
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        method = method or ("POST" if data else "GET")
        is_measured = data and "transfer-encoding" not in head
        length = f"content-length: {len(data)}\r\n" if is_measured else ""
        kind = "" if "content-type" in head else "content-type: application/json\r\n"
        said = f"{method} {path} HTTP/1.1\r\nhost: {named}\r\nconnection: close\r\n"
        writer.write(f"{said}{kind}{head}{length}\r\n".encode() + data)
        outcome.sent += 1
        answer = await reader.read()
    except OSError:  # it was refused while this was still writing
        outcome.statuses[0] += 1
        return b""
    finally:
        writer.transport.abort()
    outcome.statuses[int(answer.split(b" ", 2)[1]) if answer else 0] += 1
    return answer.partition(b"\r\n\r\n")[2]


async def again(
    seconds: float, count: int, act: Callable[[int], Coroutine[Any, Any, object]]
) -> None:
    """Let so many clients repeat something for a while."""
    end_s = time.monotonic() + seconds

    async def work(number: int) -> None:
        while time.monotonic() < end_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(end_s - time.monotonic(), 0.0)):
                    await act(number)
            await asyncio.sleep(0.001)

    await asyncio.gather(*(work(number) for number in range(count)))


async def opened_room(address: str, outcome: Outcome, **wanted: str) -> dict[str, Any]:
    """Open a room; return what its host is told."""
    return orjson.loads(
        await ask(address, outcome, "/v1/rooms", orjson.dumps(wanted or {"name": ""}))
    )


async def listeners(address: str, seconds: float) -> Outcome:
    """200 readers of a room that never read, while somebody speaks in it."""

    async def listen(room: str) -> ClientConnection:
        line = await connect(
            f"ws://{address}/v1/rooms/{room}/listen?target=source",
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            proxy=None,
            ping_interval=None,
            max_queue=1,
        )
        line.transport.pause_reading()
        return line

    return await _unread(address, seconds, listen)


async def event_streams(address: str, seconds: float) -> Outcome:
    """200 readers of server-sent events that never read, while somebody speaks."""
    host, _, port = address.partition(":")

    async def listen(room: str) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection(host, int(port))
        reader.feed_eof()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        path = f"/v1/rooms/{room}/events?target=source"
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n".encode())
        return writer

    return await _unread(address, seconds, listen)


async def _unread(
    address: str, seconds: float, listen: Callable[[str], Coroutine[Any, Any, Any]]
) -> Outcome:
    outcome = Outcome()
    room = await opened_room(address, outcome)
    lines = [await listen(room["id"]) for _ in range(NUM_READERS)]
    outcome.sent += len(lines)
    try:
        async with _host(address, room) as speaker:
            end_s, number = time.monotonic() + seconds, 0
            while time.monotonic() < end_s:
                number += 1
                text = f"{number} {PROSE * 10}"
                await speaker.send(type="source.commit", segment_id=f"r{number}", text=text)
                await asyncio.sleep(0.05)
            outcome.closed = speaker.outcome.closed
    finally:
        for line in lines:
            line.transport.abort()
    return outcome


async def transcripts(address: str, seconds: float) -> Outcome:
    """Transcripts of a long evening, each with another line width, eight at once."""
    outcome = Outcome()
    room = await opened_room(address, outcome)
    async with _host(address, room) as speaker:
        for number in range(NUM_SEGMENTS):
            text = f"{number} {PROSE}"
            await speaker.send(type="source.commit", segment_id=f"r{number}", text=text)

        async def fetch(number: int) -> None:
            width = 20 + (outcome.sent + number) % 60
            path = f"/v1/rooms/{room['id']}/transcript.vtt?target=source&max_chars={width}"
            await ask(address, outcome, path)

        await again(seconds, 8, fetch)
    return outcome


def _host(address: str, room: dict[str, Any]) -> Any:
    return attacker(address, room=room["id"], targets=[], token=room["host_token"])


async def guesses(address: str, seconds: float) -> Outcome:
    """Pass phrases, names of rooms and host tokens, guessed."""
    outcome = Outcome()
    room = await opened_room(address, outcome, pass_phrase="open sesame")

    async def guess(number: int) -> None:
        secret = secrets.token_urlsafe(12)
        path = f"/v1/rooms/{room['id']}"
        await ask(address, outcome, f"{path}/events?target=de&pass={secret}")
        await ask(address, outcome, f"/v1/rooms/{secret}")
        await ask(
            address, outcome, path, head=f"authorization: Bearer {secret}\r\n", method="DELETE"
        )

    await again(seconds, 4, guess)
    return outcome


async def tickets(address: str, seconds: float) -> Outcome:
    """Tokens for browsers that nobody uses, again and again."""
    outcome = Outcome()
    await again(seconds, 8, lambda _: ask(address, outcome, "/v1/sessions", method="POST"))
    return outcome


async def glossary_uploads(address: str, seconds: float) -> Outcome:
    """Glossaries of a thousand words, uploaded and deleted."""
    outcome = Outcome()
    entries = "\n".join(f"word{i}\tWort{i}" for i in range(1000))
    wanted = {"name": "n", "source_lang": "en", "target_lang": "de", "entries": entries}
    body = orjson.dumps({**wanted, "entries_format": "tsv"})

    async def upload(_: int) -> None:
        made = orjson.loads(await ask(address, outcome, "/v2/glossaries", body) or b"{}")
        path = f"/v2/glossaries/{made.get('glossary_id', 'none')}"
        await ask(address, outcome, path, method="DELETE")

    await again(seconds, 4, upload)
    return outcome


async def bombs(address: str, seconds: float) -> Outcome:
    """Files that unpack to a lot, nest very deep or refer to files that are not theirs."""
    outcome = Outcome()
    files = list(hostile_files().items())

    async def upload(_: int) -> None:
        name, data = files[outcome.sent % len(files)]
        boundary = "----------------x"
        parts = b"".join(
            f'--{boundary}\r\ncontent-disposition: form-data; name="{field}"'.encode() + value
            for field, value in (
                ("source", b"\r\n\r\nen\r\n"),
                ("target", b"\r\n\r\nde\r\n"),
                ("file", f'; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n"),
            )
        )
        head = f"content-type: multipart/form-data; boundary={boundary}\r\n"
        await ask(address, outcome, "/translate_file", parts + f"--{boundary}--".encode(), head)

    await again(seconds, 4, upload)
    return outcome


def hostile_files() -> dict[str, bytes]:
    """Return files that a parser must be wary of, by name."""
    laughs = b"".join(
        b'<!ENTITY l%d "%s">' % (i, b"&l%d;" % (i - 1) * 10 if i else b"ha") for i in range(10)
    )
    doctype = b"<!DOCTYPE d [%s<!ENTITY out SYSTEM 'file:///etc/hostname'>]>" % laughs
    word = b'<w:document xmlns:w="%s">%%s</w:document>' % _WORD.encode()
    paragraph = b"<w:p><w:r><w:t>%s</w:t></w:r></w:p>"
    deep = b"<w:p><w:r>" * 100 + b"<w:t>a b</w:t>" + b"</w:r></w:p>" * 100
    return {
        "zeros.docx": _docx(word % (paragraph % (b"a" * (15 << 20)))),
        "many.docx": _docx(word % (paragraph % b"a" * 200_000)),
        "nested.docx": _docx(word % (deep * 50)),
        "laughs.docx": _docx(doctype + word % (paragraph % b"&l9; &out;")),
        "too-deep.docx": _docx(word % (b"<w:p>" * 100_000)),
        "no-word.docx": _docx(b"<a/>"),
        "empty.docx": b"PK\x05\x06" + b"\0" * 18,
        "deep.html": b"<div>" * 100_000 + b"Good day",
        "tags.html": b"<b>a</b> " * 20_000,
        "open.html": b"<a " * 300_000,
        "laughs.html": doctype + b"<p>&l9; &out;</p>",
        "deep.json": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "wide.json": b"[" + b'"a",' * 100_000 + b'"a"]',
        "numbers.json": b"[" + b"9" * 1_000_000 + b"]",
        "cues.srt": b"1\n00:00:00,000 --> 00:00:01,000\n" * 20_000,
        "marks.md": b"*" * 200_000 + b"_" * 200_000 + b"[" * 200_000 + b"`" * 200_000,
        "quotes.md": b"> " * 100_000 + b"Good day",
        "one.txt": b"a" * 190_000,
        "lines.txt": b"\n" * 2_000_000,
        "parts.po": b'msgid "a"\nmsgstr ""\n\n' * 50_000,
    }


_WORD: Final = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_TYPES: Final = """<?xml version="1.0"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/word/document.bin" ContentType=
"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>"""
_RELATIONS: Final = """<?xml version="1.0"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Target="word/document.bin" Type=
"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"/>
</Relationships>"""


def _docx(document: bytes) -> bytes:
    """Pack a document, under a name that does not reveal that it is XML."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("[Content_Types].xml", _TYPES)
        package.writestr("_rels/.rels", _RELATIONS)
        package.writestr("word/document.bin", document)
    return packed.getvalue()


async def nests(address: str, seconds: float) -> Outcome:
    """JSON bodies that nest deep, or hold enormous numbers, at every endpoint."""
    bodies = (b"[" * 200_000, b'{"q":' * 40_000, b'{"q":' + b"9" * 200_000 + b"}")
    return await _bodies(address, seconds, bodies)


async def many_fields(address: str, seconds: float) -> Outcome:
    """Bodies with thousands of unknown fields."""
    fields = b",".join(b'"%d":1' % i for i in range(20_000))
    pairs = b"&".join(b"q%d=1" % i for i in range(900))
    return await _bodies(address, seconds, (b"{%s}" % fields, pairs))


async def _bodies(address: str, seconds: float, bodies: Iterable[bytes]) -> Outcome:
    outcome = Outcome()
    asked = [
        (path, body, f"{_FORM}\r\n" if body.startswith(b"q") else "")
        for path in _DOORS
        for body in bodies
    ]

    async def send(_: int) -> None:
        path, body, head = asked[outcome.sent % len(asked)]
        await ask(address, outcome, path, body, head)

    await again(seconds, 4, send)
    return outcome


async def half_bodies(address: str, seconds: float) -> Outcome:
    """A hundred requests whose bodies come one byte at a time and never end."""
    outcome = Outcome()
    host, _, port = address.partition(":")
    lines = [await asyncio.open_connection(host, int(port)) for _ in range(NUM_LINES)]
    try:
        for number, (_, writer) in enumerate(lines):
            path = _DOORS[number % len(_DOORS)]
            head = f"POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {_NEVER}\r\n"
            writer.write(f"{head}content-type: application/json\r\n\r\n".encode())
            outcome.sent += 1
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            for _, writer in lines:
                writer.write(b" ")
            await asyncio.sleep(0.05)
    finally:
        for _, writer in lines:
            writer.transport.abort()
    return outcome


async def forms(address: str, seconds: float) -> Outcome:
    """Large forms in which each character is escaped, or which repeat a field."""
    outcome = Outcome()
    bodies = (b"q=" + b"%41" * 80_000, b"q=" + b"%c3" * 80_000, b"&".join([b"q=%e4%bd%a0"] * 900))

    async def post(_: int) -> None:
        path = f"{_DOORS[outcome.sent % 3]}?source=en&target=de"
        await ask(address, outcome, path, bodies[outcome.sent // 3 % 3], f"{_FORM}\r\n")

    await again(seconds, 4, post)
    return outcome


async def tags(address: str, seconds: float) -> Outcome:
    """Texts made of tags and entities, open and closed, deep and wide."""
    outcome = Outcome()
    texts = (
        "<a>" * 3000 + "x" + "</a>" * 2500, "<a b='c'>x</a> " * 1300, "<" * 20_000, "<a " * 6600,
        "&amp;" * 4000, "<b>a</b>" * 2500,
    )  # fmt: skip
    names = ["a"] * 256

    async def post(_: int) -> None:
        wanted = {
            "text": [texts[outcome.sent % len(texts)]],
            "target_lang": "DE",
            "source_lang": "EN",
            "tag_handling": ("xml", "html")[outcome.sent % 2],
        }
        body = orjson.dumps(wanted | {"splitting_tags": names, "ignore_tags": names})
        await ask(address, outcome, "/v2/translate", body)

    await again(seconds, 8, post)
    return outcome


async def resumes(address: str, seconds: float) -> Outcome:
    """Sessions of others, resumed by guessed names and tokens."""
    outcome = Outcome()

    async def guess(_: int) -> None:
        with suppress(OSError, WebSocketException):
            line = await connect(
                f"ws://{address}/v1/stream",
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                proxy=None,
                ping_interval=None,
            )
            try:
                outcome.sent += 1
                names = {"session_id": secrets.token_hex(8), "resume_token": secrets.token_hex(16)}
                resume = {"type": "session.resume", **names, "last_seq": 0}
                await line.send(orjson.dumps(resume).decode())
                await line.recv()
            finally:
                line.transport.abort()

    await again(seconds, 8, guess)
    return outcome


async def replays(address: str, seconds: float) -> Outcome:
    """A room with a long history, read from its beginning by server-sent events, repeatedly."""
    outcome = Outcome()
    host, _, port = address.partition(":")
    room = await opened_room(address, outcome)
    async with _host(address, room) as speaker:
        for number in range(NUM_SEGMENTS):
            text = f"{number} {PROSE}"
            await speaker.send(type="source.commit", segment_id=f"r{number}", text=text)

        async def read(_: int) -> None:
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                path = f"/v1/rooms/{room['id']}/events?target=source"
                head = f"GET {path} HTTP/1.1\r\nhost: {address}\r\nlast-event-id: 1\r\n\r\n"
                writer.write(head.encode())
                outcome.sent += 1
                with suppress(asyncio.IncompleteReadError, OSError):
                    await reader.readexactly(_REPLAYED)
            finally:
                writer.transport.abort()

        await again(seconds, 16, read)
    return outcome


async def heads(address: str, seconds: float) -> Outcome:
    """Enormous addresses and headers."""
    outcome = Outcome()

    async def send(number: int) -> None:
        path = (*_DOORS, "/", "/v1/stream")[number % 7]
        long = "a" * 1_000_000
        if outcome.sent % 2:
            await ask(address, outcome, f"{path}?{long}")
        else:
            await ask(address, outcome, path, head=f"x: {long}\r\n")

    await again(seconds, 4, send)
    return outcome


DOOR_ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack
    for attack in (
        listeners, event_streams, transcripts, guesses, tickets, glossary_uploads, bombs, nests,
        many_fields, half_bodies, heads, forms, tags, resumes, replays,
    )
}  # fmt: skip
