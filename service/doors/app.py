"""Routes, start-up and the way down: the service as one Starlette application.

Knows HTTP and WebSockets; sessions are in connection.py and captions/session.py.
"""

import asyncio
import logging
import secrets
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.doors.auth import bearer, is_origin_allowed
from service.doors.connection import Connection
from service.doors.guard import Guard, OtherMethods, json_error
from service.doors.openai import OpenAI
from service.doors.rest import Rest
from service.doors.resume import Resumes
from service.doors.socket import ABORT, Disconnected, Socket, StarletteSocket
from service.doors.state import AppState
from service.wire import protocol

logger = logging.getLogger("service.doors.app")

WATCH_S: Final = 0.5  # between looks at the engine
GIVE_UP_S: Final = 2.0  # for clients to take the news that the engine is lost
PAGE_FOLDERS: Final = frozenset({"src", "assets"})
PAGE_SUFFIXES: Final = frozenset({".html", ".css", ".svg", ".js", ".png", ".ico", ".webmanifest"})


def make_app(state: AppState) -> Starlette:
    """Return the application."""
    rest, openai = Rest(state), OpenAI(state)
    routes: list[BaseRoute] = [
        WebSocketRoute("/v1/stream", partial(_stream, state)),
        Route("/v1/sessions", partial(_sessions, state), methods=["POST"]),
        Route("/livez", partial(_live, state)),
        Route("/health", partial(_live, state)),
        Route("/readyz", partial(_ready, state)),
        Route("/startupz", partial(_ready, state)),
        Route("/metrics", partial(_metrics, state)),
        Route("/translate", rest.translate, methods=["POST"]),
        Route("/detect", rest.detect, methods=["POST"]),
        Route("/languages", rest.languages),
        Route("/asyncapi.yaml", _document),
        Route("/frontend/settings", rest.settings),
        Route("/v1/chat/completions", openai.chat, methods=["POST"]),
        Route("/v1/models", openai.models),
    ]
    for route in list(routes):
        if isinstance(route, Route):
            methods = sorted(route.methods or ())
            routes.append(Route(route.path, OtherMethods(*methods)))
    if (state.config.web / "index.html").is_file():
        routes.append(Mount("/", _Page(directory=state.config.web, html=True)))
    local = state.config.is_open and state.config.is_loopback
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, is_local=local, origins=state.config.origins)],
        exception_handlers={HTTPException: json_error},
    )


# ---- plain HTTP ----


async def _live(state: AppState, request: Request) -> Response:
    """Whether this process is worth keeping: a supervisor restarts it where it is not."""
    if state.is_lost():
        return JSONResponse({"status": state.problem()}, 503)
    return JSONResponse({"status": "ok"})


async def _document(request: Request) -> Response:
    document = Path(protocol.__file__).with_name("asyncapi.yaml")
    return FileResponse(document, media_type="application/yaml")


async def _ready(state: AppState, request: Request) -> Response:
    if state.is_draining:
        return JSONResponse({"status": "draining"}, 503)
    problem = state.problem()
    if problem is not None:
        return JSONResponse({"status": problem}, 503)
    return JSONResponse({"status": "ok"})


async def _metrics(state: AppState, request: Request) -> Response:
    return PlainTextResponse(state.metrics.render(), media_type="text/plain; version=0.0.4")


async def _sessions(state: AppState, request: Request) -> Response:
    """API key in, a single-use token for a browser out."""
    key = bearer(request.headers.get("authorization"))
    if state.auth.is_required and not state.auth.is_key(key):
        error = protocol.make_error("unauthorized", "an API key is needed: Authorization: Bearer")
        return Response(protocol.serialise(error), 401, media_type="application/json")
    session_id = secrets.token_hex(8)
    token, expires_in = state.auth.issue(session_id, state.now_s())
    scheme = "wss" if request.url.scheme == "https" else "ws"
    ticket = {
        "session_id": session_id,
        "url": f"{scheme}://{request.headers.get('host', request.url.netloc)}/v1/stream",
        "token": token,
        "expires_in": expires_in,
    }
    return JSONResponse(ticket, headers={"cache-control": "no-store"})


class _Page(StaticFiles):
    """The page's files, and nothing else of its folder (its tests, its tools)."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        parts = Path(path).parts
        is_top = len(parts) < 2 and (path in (".", "") or Path(path).suffix in PAGE_SUFFIXES)
        if not is_top and (not parts or parts[0] not in PAGE_FOLDERS):
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"  # revalidated, so an update shows at once
        return response


# ---- the socket ----


async def _stream(state: AppState, websocket: WebSocket) -> None:
    headers, config = websocket.headers, state.config
    is_local = config.is_open and config.is_loopback
    origin = headers.get("origin")
    if not is_origin_allowed(origin, headers.get("host"), config.origins, is_local=is_local):
        state.metrics.refused.labels("forbidden_origin").inc()
        await websocket.close(1008)  # before it is accepted: the client gets HTTP 403
        return
    offered = websocket.scope.get("subprotocols", [])
    is_offered = protocol.SUBPROTOCOL in offered
    await websocket.accept(subprotocol=protocol.SUBPROTOCOL if is_offered else None)
    line = StarletteSocket(websocket)
    try:
        if offered and not is_offered:
            await line.close(protocol.CLOSE_BAD_SESSION, f"speak {protocol.SUBPROTOCOL}")
        elif state.is_draining:
            await _turn_away(state, line, "overloaded", "the server is going away")
        elif len(state.connections) >= config.max_sessions:
            await state.sessions.check_next(line)
            await _turn_away(state, line, "too_many_sessions", "all sessions are taken")
        elif not state.has_room():
            await state.sessions.check_next(line)
            await _turn_away(state, line, "overloaded", "one more would make all of them late")
        else:
            credential = websocket.query_params.get("token")
            credential = bearer(headers.get("authorization")) or credential
            await Connection(state, line, secrets.token_hex(8)).run(credential)
    except Resumes as exc:
        await exc.older.resume(line, exc.last_seq)
    except Disconnected:
        logger.debug("client left at the door")


async def _turn_away(state: AppState, line: Socket, code: str, message: str) -> None:
    state.metrics.refused.labels(code).inc()
    await line.send(protocol.serialise(protocol.make_error(code, message)))
    await line.close(protocol.CLOSE_OVERLOADED, message)


# ---- the server ----


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, plus a way to cut off a client that does not read."""

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][ABORT] = {"call": self.transport.abort}


class Server(uvicorn.Server):
    """uvicorn, but a signal drains first: its own way down closes sockets with 1012 at once.

    Args:
        state: shared state of the service.
        on_started: called once connections are taken.

    Attributes:
        is_engine_lost: whether the server ended because its engine did.
    """

    def __init__(self, state: AppState, on_started: Callable[[], None] = lambda: None) -> None:
        config = state.config
        super().__init__(
            uvicorn.Config(
                make_app(state),
                host=config.host,
                port=config.port,
                ws=_WebSocketProtocol,
                ws_max_size=config.limits.frame_bytes,
                ws_ping_interval=20.0,
                ws_ping_timeout=20.0,
                ws_per_message_deflate=config.deflate,
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        self._state = state
        self._on_started = on_started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: asyncio.Task[None] | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self.is_engine_lost = False

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super()._serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._watchdog = asyncio.create_task(self._watch_engine())
        self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, go at once at the second."""
        if self._loop is None or self._state.is_draining:
            # At once, also where a step hangs and the engine's thread would be waited for.
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
            return
        # Not passed on to uvicorn, which would raise the signal again after a clean exit.
        self._state.is_draining = True
        self._loop.call_soon_threadsafe(self._begin_drain, signal.Signals(sig).name)

    async def _watch_engine(self) -> None:
        """Where the engine is lost, tell everybody and let the process end."""
        while not self._state.is_lost():  # noqa: ASYNC110 - a hanging thread sets no event
            await asyncio.sleep(WATCH_S)
        problem = self._state.problem() or "the engine is lost"
        logger.critical("engine lost", extra={"data": {"problem": problem}})
        self.is_engine_lost = True
        for connection in list(self._state.connections):
            connection.give_up(problem)
        ended = [asyncio.ensure_future(c.ended.wait()) for c in self._state.connections]
        if ended:
            await asyncio.wait(ended, timeout=GIVE_UP_S)
        self.should_exit = True

    def _begin_drain(self, cause: str) -> None:
        logger.info("draining", extra={"data": {"cause": cause}})
        self._drain = asyncio.ensure_future(self._drain_all())

    async def _drain_all(self) -> None:
        """Tell every session, wait until they are done, then let uvicorn stop."""
        for connection in list(self._state.connections):
            connection.drain(self._state.config.drain_s)
        ended = [asyncio.ensure_future(c.ended.wait()) for c in self._state.connections]
        if ended:
            await asyncio.wait(ended, timeout=self._state.config.drain_s)
        self.should_exit = True
