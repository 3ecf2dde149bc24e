"""What plain HTTP requests share: bodies within bounds, who asks, and whether he is still there."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request

from service.errors import RestError
from service.load.gate import RequestGate

_T = TypeVar("_T")

MAX_BODY_BYTES: Final = 256 * 1024
MAX_TEXTS: Final = 64
CLIENT_GONE: Final = 499  # as nginx logs it; nobody reads it
MAX_CHARS: Final = 20_000  # of all texts of one request


async def read_body(request: Request) -> bytes:
    """Return the body.

    Raises:
        RestError: it is too big.
    """
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise RestError(413, f"at most {MAX_BODY_BYTES} bytes")
    return data


def parse_body(data: bytes, content_type: str) -> dict[str, Any]:
    """Return the fields of a body.

    Raises:
        RestError: it is neither a JSON object nor a form.
    """
    if content_type.startswith("application/x-www-form-urlencoded"):
        found = parse_qs(data.decode("utf-8", "replace"), keep_blank_values=True)
        return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise RestError(400, "the body is neither JSON nor a form") from exc
    if not isinstance(body, dict):
        raise RestError(400, "the body must be a JSON object")
    return body


def client_of(request: Request, key: str | None) -> str:
    """Return who asks: the key where one was given, else the address."""
    if key:
        return f"key {key}"
    return f"address {request.client.host}" if request.client else "unknown"


def check_gate(gate: RequestGate, client: str) -> None:
    """Let a request of a client begin.

    Raises:
        RestError: too many are under way.
    """
    if not gate.is_open(client):
        raise RestError(429, "too many requests are under way; wait for one to end", 1)


async def while_connected(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of work; cancel it as soon as the client has gone.

    Raises:
        ClientGone: nobody waits for the result any more.
    """
    task = asyncio.ensure_future(work)
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


async def _disconnected(request: Request) -> None:
    """Return when the client has gone; its body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class ClientGone(Exception):
    """The client closed the connection before it had its answer."""
