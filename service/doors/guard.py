"""What all answers over plain HTTP have: headers that bind a browser, and errors in JSON.

Knows HTTP; does not know what is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.doors.auth import LOOPBACK_NAMES

# Scripts, styles and sockets of this service alone. Other services may be named in the page's
# address, so that sockets may go anywhere.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_EVERYWHERE: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": CONTENT_SECURITY_POLICY,
}


class Guard:
    """Wraps the application.

    Args:
        app: what answers.
        is_local: whether the service is open to this machine alone, without keys. Then the host
            must be this machine by name too, or a foreign page could read and translate here by
            pointing its own name at this machine (DNS rebinding).
        origins: of sites that may connect; a proxy of theirs brings their names along.
    """

    def __init__(self, app: ASGIApp, *, is_local: bool, origins: Sequence[str] = ()) -> None:
        self._app = app
        self._is_local = is_local
        self._hosts = {*LOOPBACK_NAMES, *(urlsplit(origin).hostname for origin in origins)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; sockets check their origin by themselves."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _EVERYWHERE.items():
                    headers.setdefault(name, value)
            await send(message)

        if self._is_local and _name_of(Request(scope).headers.get("host")) not in self._hosts:
            refused = JSONResponse({"error": "this service answers to localhost alone"}, 403)
            await refused(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


class OtherMethods:
    """Refuses every method of a path that its route does not have; the page would say 404.

    Args:
        allowed: what the route has.
    """

    def __init__(self, *allowed: str) -> None:
        self._allow = ", ".join(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raise HTTPException: 405 with `Allow`."""
        raise HTTPException(405, headers={"allow": self._allow})


def _name_of(host: str | None) -> str:
    """Return the name in a Host header, without its port; "" for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def json_error(request: Request, exc: Exception) -> Response:
    """Answer what no handler answers (404, 405) in JSON, in the shape of each API's errors."""
    assert isinstance(exc, HTTPException)
    error: Mapping[str, str] | str = exc.detail
    if request.url.path.startswith("/v1/"):
        error = {"message": exc.detail, "type": "invalid_request_error"}
    return JSONResponse({"error": error}, exc.status_code, exc.headers)
