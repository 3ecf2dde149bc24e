"""Opens a room, for programs that speak in it."""

import asyncio
from dataclasses import dataclass
from typing import Final
from urllib.request import Request, urlopen

import orjson

from tokenspeed_client.addresses import rooms_url
from tokenspeed_client.errors import NotConnected, Refused
from tokenspeed_client.sockets import trace_headers

TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Room:
    """A room of our own.

    Attributes:
        id: for `connect(room=...)`.
        host_token: for `connect(host_token=...)`.
        view_url: what readers open, and `listen` takes.
    """

    id: str
    name: str
    host_token: str
    view_url: str


async def open_room(
    url: str, name: str = "", *, pass_phrase: str | None = None, api_key: str | None = None
) -> Room:
    """Open a room.

    Args:
        url: of the service, or of its `/v1/stream`.
        name: for people.
        pass_phrase: which readers need.
        api_key: if the service has keys.
    Raises:
        Refused: the service rejects the request.
        NotConnected: it did not answer.
        ValueError: this is not the address of a service.
    """
    wanted = {"name": name, **({} if pass_phrase is None else {"pass_phrase": pass_phrase})}
    headers = {"Content-Type": "application/json", **trace_headers()}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    request = Request(rooms_url(url), orjson.dumps(wanted), headers, method="POST")
    told = orjson.loads(await asyncio.to_thread(_ask, request))
    return Room(told["id"], told["name"], told["host_token"], told["view_url"])


def _ask(request: Request) -> bytes:
    try:
        with urlopen(request, timeout=TIMEOUT_S) as reply:
            body: bytes = reply.read()
            return body
    except OSError as exc:  # an HTTP status is one, too
        code = getattr(exc, "code", None)
        if code is None:
            raise NotConnected(TIMEOUT_S, str(exc)) from exc
        raise Refused(code, exc.read().decode(errors="replace")) from exc  # type: ignore[attr-defined]
