"""What all HTTP answers have in common, and what is refused before a request is looked at.

Security headers; checks of host, origin, port and content type; errors in JSON. Knows HTTP; does
not know what is asked for.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import Counter
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.config import Config
from service.doors.auth import LOOPBACK_NAMES, host_name, is_origin_allowed
from service.doors.http import CLIENT_GONE
from service.doors.turns import OneByOne

# Scripts and styles come from this service only. The page's address may name another
# service, so sockets may go anywhere.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_EVERYWHERE: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": CONTENT_SECURITY_POLICY,
}
_BODIES: Final = frozenset(
    {"application/json", "application/x-www-form-urlencoded", "multipart/form-data"}
)
BEGUN_AT_ONCE: Final = 4  # requests; to begin one takes up to a millisecond
MAX_PARAMS: Final = 300  # in an address; thousands take ten milliseconds to be read
DRAINED_BYTES: Final = 32 * 1024 * 1024  # read from a refused request's body
WATCHERS: Final = frozenset({"/metrics", "/livez", "/health", "/readyz", "/startupz"})


class Guard:
    """Wraps the application.

    Args:
        app: the application to protect.
        config: says who may ask, and on which port.
        requests: counts answers by path and status.
    """

    def __init__(self, app: ASGIApp, config: Config, requests: Counter) -> None:
        self._app = app
        self._requests = requests
        self._config = config
        self._turns = OneByOne(BEGUN_AT_ONCE)
        # A proxy of an allowed site may pass that site's name on.
        self._hosts = {*LOOPBACK_NAMES, *(urlsplit(origin).hostname for origin in config.origins)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; sockets check their origin themselves."""
        if scope["type"] == "websocket" and (self._is_for_watchers(scope) or _is_endless(scope)):
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        # A hundred requests that came at once are not all begun in one turn of the event loop.
        await self._turns.turn()
        headers = Headers(scope=scope)
        # A client that first asks whether to send a body (100-continue) sends none if refused.
        is_held_back = headers.get("expect", "").lower() == "100-continue"
        body = _Body(receive, is_over=is_held_back or not _has_body(headers))

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] >= 400:
                    await body.drain()
                own = MutableHeaders(scope=message)
                for name, value in _EVERYWHERE.items():
                    own.setdefault(name, value)
                self._requests.labels(_path_label(scope), str(message["status"])).inc()
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await error_reply(scope["path"], *refusal)(scope, body.receive, send_guarded)
            return
        await self._app(scope, body.receive, send_guarded)

    def _is_for_watchers(self, scope: Scope) -> bool:
        return bool(self._config.metrics_port) and scope["server"][1] == self._config.metrics_port

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return the status and message for a refused request."""
        config, headers, method = self._config, Headers(scope=scope), scope["method"]
        if config.is_local and host_name(headers.get("host")) not in self._hosts:
            # Or a foreign page could read and translate here by pointing its own name at this
            # machine (DNS rebinding).
            return 403, "this service answers to localhost alone"
        if config.metrics_port:
            path = scope["path"]
            if not (path in WATCHERS if self._is_for_watchers(scope) else path != "/metrics"):
                return 404, "Not Found"
        if _is_endless(scope):
            return 414, f"at most {MAX_PARAMS} parameters"
        origin = headers.get("origin")
        if method not in ("GET", "HEAD") and not is_origin_allowed(
            origin, headers.get("host"), config.origins, is_local=config.is_local
        ):
            return 403, f"pages of {origin} may not use this service (TOKENSPEED_ORIGINS)"
        if method in ("POST", "PATCH") and _has_body(headers):
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in _BODIES:
                # Pages may send some types, such as text/plain, without a preflight. Of those only
                # forms are accepted, and they carry their origin.
                return 415, f"send JSON or a form, not {kind or 'a body without a type'}"
        return None


class _Body:
    """The body of a request, whoever reads it."""

    def __init__(self, receive: Receive, *, is_over: bool) -> None:
        self._receive = receive
        self._is_over = is_over
        self._num_bytes = 0

    async def receive(self) -> Message:
        """Return what comes next."""
        message = await self._receive()
        self._num_bytes += len(message.get("body", b""))
        self._is_over = not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read the rest, up to a limit: a client still sending would not read why it is refused."""
        while not self._is_over and self._num_bytes < DRAINED_BYTES:
            await self.receive()


class OtherMethods:
    """Refuses every method that a path's route does not have, where the page would say 404.

    Args:
        allowed: the route's methods.
    """

    def __init__(self, *allowed: str) -> None:
        self._allow = ", ".join(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raise HTTPException: 405 with `Allow`."""
        raise HTTPException(405, headers={"allow": self._allow})


async def json_error(request: Request, exc: Exception) -> Response:
    """Answer what no handler answers: 404, 405."""
    assert isinstance(exc, HTTPException)
    return error_reply(request.url.path, exc.status_code, exc.detail, exc.headers)


async def nobody_there(request: Request, exc: Exception) -> Response:
    """Answer a client that left in the middle of its body; that is no fault of ours."""
    return Response(status_code=CLIENT_GONE)


async def json_failure(request: Request, exc: Exception) -> Response:
    """Answer a request that a bug of ours ended; the traceback is logged."""
    return error_reply(request.url.path, 500, "Internal Server Error")


def error_reply(
    path: str, status: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error in the format of the path's API."""
    if path.startswith("/v2/"):  # DeepL's
        return JSONResponse({"message": message}, status, headers)
    error: Mapping[str, str] | str = message
    if path.startswith("/v1/"):
        kind = "invalid_request_error" if status < 500 else "server_error"
        error = {"message": message, "type": kind}
    return JSONResponse({"error": error}, status, headers)


def _path_label(scope: Scope) -> str:
    """Return the path of the route, not of the request: clients may invent any number of those."""
    route = scope.get("route")
    return route.path if isinstance(route, Route) else "other"


def _is_endless(scope: Scope) -> bool:
    """Whether an address has more parameters than anybody needs."""
    return bool(scope["query_string"].count(b"&") >= MAX_PARAMS)


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
