"""HTTP endpoints beside translations: probes, metrics, tokens for browsers, the protocol document.

Knows the state of the service; translations are in rest.py and openai.py.
"""

import secrets
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from service import wire
from service.config import Config
from service.doors.auth import LOOPBACK_NAMES, bearer, host_name
from service.doors.page import file_reply
from service.doors.state import AppState
from service.errors import RestError
from service.wire import protocol


class Operations:
    """Serves those who run the service.

    Args:
        state: shared state of the service.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state

    async def live(self, request: Request) -> Response:
        """Whether this process should live; if not, a supervisor restarts it."""
        if self._state.is_lost():
            return JSONResponse({"status": self._state.problem()}, 503)
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Whether it accepts sessions."""
        problem = "draining" if self._state.is_draining else self._state.problem()
        if problem is not None:
            return JSONResponse({"status": problem}, 503)
        return JSONResponse({"status": "ok"})

    async def document(self, request: Request) -> Response:
        """The protocol document."""
        document = Path(wire.__file__).with_name("asyncapi.yaml")
        return await file_reply(document, headers={"content-type": "application/yaml"})

    async def metrics(self, request: Request) -> Response:
        """Metrics for Prometheus: on a port of their own, or with a key."""
        if not self._state.config.metrics_port and not self._has_key(request):
            return _no_key('{"error":"an API key is needed: Authorization: Bearer"}')
        text = await self._state.scrape()
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def sessions(self, request: Request) -> Response:
        """Exchange an API key for a browser's single-use token."""
        state = self._state
        if not self._has_key(request):
            error = protocol.make_error(
                "unauthorized", "an API key is needed: Authorization: Bearer"
            )
            return _no_key(protocol.serialise(error))
        session_id = secrets.token_hex(8)
        try:
            token, expires_in = await state.auth.issue(session_id, state.now_s())
        except RestError as exc:
            error = protocol.make_error("overloaded", str(exc))
            body = protocol.serialise(error)
            return Response(body, exc.status, exc.headers, "application/json")
        ticket = {
            "session_id": session_id,
            "url": f"{public_url(state.config, request, 'ws')}/v1/stream",
            "token": token,
            "expires_in": expires_in,
        }
        return JSONResponse(ticket, headers={"cache-control": "no-store"})

    def _has_key(self, request: Request) -> bool:
        auth = self._state.auth
        return not auth.is_required or auth.is_key(bearer(request.headers.get("authorization")))


def public_url(config: Config, request: Request, scheme: Literal["http", "ws"]) -> str:
    """Return where a browser finds the service, such as `wss://host`; `scheme` without its `s`.

    A request's own word is taken from a trusted proxy, or if it names this machine;
    anything else could send a browser with a fresh token to somebody else's host.
    """
    if config.public_url:
        url = urlsplit(config.public_url)
        is_secure, place = url.scheme == "https", url.netloc + url.path.rstrip("/")
    else:
        is_secure = request.scope["scheme"] == "https"
        place = request.headers.get("host", "")
        if not config.proxies and host_name(place) not in LOOPBACK_NAMES:
            host, port = request.scope["server"]
            place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{scheme}{'s' if is_secure else ''}://{place}"


def _no_key(body: str) -> Response:
    return Response(body, 401, {"www-authenticate": "Bearer"}, "application/json")
