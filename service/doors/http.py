"""What HTTP requests share: their fields, who sent them, whether the client is there, and replies.

Fields come as JSON, as a form of either kind, or in the query. Knows HTTP; does not know what is
asked for.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import orjson
import regex
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from service.doors.forms import parse_form
from service.errors import RestError
from service.load.gate import RequestGate
from service.load.meter import in_thread, metered

_T = TypeVar("_T")

MAX_BODY_BYTES: Final = 256 * 1024
MAX_FILE_BYTES: Final = 2 * 1024 * 1024
MAX_FIELDS: Final = 1000
MARKS: Final = b"[{,:"  # of JSON: each may begin a list or an object, or end a value or a key
MAX_MARKS: Final = 30_000  # in a body; the texts that it may hold have at most MAX_CHARS of them
SLICE_BYTES: Final = 16 * 1024  # of a form; a longer one is read in a thread
PART_BYTES: Final = 4 * 1024  # of a form in parts that are read in one turn: 80 of the smallest
MAX_TEXTS: Final = 256
CLIENT_GONE: Final = 499  # as in nginx; nobody receives it
MAX_CHARS: Final = 20_000  # in all texts of one request

_FORM: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"
_BOUNDARY: Final = regex.compile(r"(?i)boundary=(?|\"([^\"]{1,70})\"|([^\s;,\"]{1,70}))")
_KINDS: Final = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a form."""

    name: str
    data: bytes


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a reply in JSON."""
    return Response(orjson.dumps(value), status, headers, "application/json")


async def read_body(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Return the body.

    Raises:
        RestError: it is too big.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > max_bytes:
            raise RestError(413, f"at most {max_bytes} bytes")
    return bytes(data)


async def read_fields(request: Request, max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Return the fields of the body, plus those of the query that the body lacks.

    Raises:
        RestError: the body is too big, or neither a JSON object nor a form.
    """
    data = await read_body(request, max_bytes)
    content_type = request.headers.get("content-type", "")
    query = _listed((name, value) for name, value in request.query_params.multi_items())
    if not data.strip() and (query or request.method in ("GET", "DELETE")):
        return query
    if content_type.lower().startswith(_MULTIPART):
        return query | await _multipart(request, data)
    if content_type.lower().startswith(_FORM) and len(data) > SLICE_BYTES:
        # In a thread: letters and escapes in turns, 60,000 of each, take 20 ms.
        return query | await in_thread(partial(parse_body, data, content_type))
    return query | parse_body(data, content_type)


def parse_body(data: bytes, content_type: str) -> dict[str, Any]:
    """Return the fields of a body.

    Raises:
        RestError: it is neither a JSON object nor a form.
    """
    # curl labels everything it sends as a form, unless told otherwise.
    if content_type.lower().startswith(_FORM) and not data.lstrip().startswith(b"{"):
        try:
            found = parse_form(data, MAX_FIELDS)
        except ValueError as exc:
            raise RestError(400, f"the form has more than {MAX_FIELDS} fields") from exc
        return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
    if sum(map(data.count, MARKS)) > MAX_MARKS:
        raise RestError(413, f"at most {MAX_MARKS} brackets, commas and colons")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise RestError(400, "the body is neither JSON nor a form") from exc
    if not isinstance(body, dict):
        raise RestError(400, "the body must be a JSON object")
    return body


def kind_of(value: object) -> str:
    """Return a description of a value's type: `a list`, `null`."""
    return _KINDS.get(type(value), "a file")


def text_field(body: dict[str, Any], name: str, max_chars: int = MAX_CHARS) -> str:
    """Return a field that must be a non-empty string.

    Raises:
        RestError: it is missing, something else, or too long.
    """
    value = body.get(name)
    if value is None or value == "":
        raise RestError(400, f"Invalid request: missing {name} parameter", param=name)
    if not isinstance(value, str):
        raise RestError(
            400, f"Invalid request: {name} must be a string, not {kind_of(value)}", param=name
        )
    if len(value) > max_chars:
        raise RestError(413, f"{name} has more than {max_chars} characters", param=name)
    return value


def texts_field(body: dict[str, Any], name: str) -> list[str]:
    """Return a field that is a string or a list of strings, as a list.

    Raises:
        RestError: it is missing, something else, or too long.
    """
    raw = body.get(name)
    if raw is None:
        raise RestError(400, f"Invalid request: missing {name} parameter", param=name)
    texts = raw if isinstance(raw, list) else [raw]
    if not texts:
        raise RestError(400, f"Invalid request: {name} is an empty list", param=name)
    for text in texts:
        if not isinstance(text, str):
            held = f"a list with {kind_of(text)}" if isinstance(raw, list) else kind_of(raw)
            raise RestError(
                400,
                f"Invalid request: {name} must be a string or a list of strings, not {held}",
                param=name,
            )
    if len(texts) > MAX_TEXTS:
        raise RestError(413, f"{name} has {len(texts)} texts, at most {MAX_TEXTS}", param=name)
    chars = sum(map(len, texts))
    if chars > MAX_CHARS:
        raise RestError(413, f"{name} has {chars} characters, at most {MAX_CHARS}", param=name)
    return texts


def client_of(request: Request, key: str | None) -> str:
    """Return who is asking: the key if there is one, else the address."""
    if key:
        return f"key {key}"
    return f"address {request.client.host}" if request.client else "unknown"


def check_gate(gate: RequestGate, client: str) -> None:
    """Check that one more request of a client may begin.

    Raises:
        RestError: too many are under way, or the service is shutting down.
    """
    if gate.is_closed:
        raise RestError(503, "the service is shutting down", 1)
    if not gate.is_open(client):
        raise RestError(429, "too many requests are under way; wait for one to end", 1)


async def while_connected(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of `work`; cancel it as soon as the client has gone.

    Raises:
        ClientGone: nobody is waiting for the result.
    """
    task = asyncio.ensure_future(metered(work))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)
        # What is raised refers to this frame; the tasks refer to what they raised.
        del each, task, gone


async def _disconnected(request: Request) -> None:
    """Return once the client has gone; its body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class ClientGone(Exception):
    """The client closed the connection before its answer was ready."""


async def _multipart(request: Request, data: bytes) -> dict[str, Any]:
    async def slices() -> AsyncGenerator[bytes, None]:
        for at in range(0, len(data), PART_BYTES):
            yield data[at : at + PART_BYTES]
            await asyncio.sleep(0)

    boundary = _BOUNDARY.search(request.headers["content-type"])
    # Without a charset: some of those that Python knows take the square of a text's length.
    kind = f'{_MULTIPART}; boundary="{boundary[1]}"' if boundary else _MULTIPART
    try:
        parser = MultiPartParser(
            Headers({"content-type": kind}),
            slices(),
            max_files=1,
            max_fields=MAX_FIELDS,
            max_part_size=len(data),
        )
        parser.spool_max_size = len(data)  # no files on a disk
        form = await parser.parse()
    except MultiPartException as exc:
        raise RestError(400, f"the form cannot be read: {exc.message}") from exc
    fields: list[tuple[str, Any]] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            fields.append((name, Upload(value.filename or "", await value.read())))
            await value.close()
        else:
            fields.append((name, value))
    return _listed(fields)


def _listed(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return fields by name; a repeated one becomes a list."""
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
