"""Routes: the whole service as one application.

Every route in the table also gets errors in JSON, 405 with `Allow`, CORS, and security headers.
Knows paths; the answers come from the modules that it names.
"""

from functools import partial
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

from service.doors.connection import Connection
from service.doors.deepl import DeepL
from service.doors.entrance import stream
from service.doors.files import Files
from service.doors.glossaries import Glossaries
from service.doors.guard import Guard, OtherMethods, json_error, json_failure, nobody_there
from service.doors.openai import OpenAI
from service.doors.operations import Operations
from service.doors.page import Page, file_reply
from service.doors.rest import Rest
from service.doors.rooms import Rooms
from service.doors.state import AppState
from service.doors.toll import Toll

PREFLIGHT_S: Final = 600  # for which a browser caches a preflight


def make_app(state: AppState) -> ASGIApp:
    """Return the application."""
    state.sessions.restore = partial(Connection.restored, state)
    rest, openai, operations = Rest(state), OpenAI(state), Operations(state)
    files, deepl = Files(state, rest), DeepL(state)
    glossaries = Glossaries(state, deepl)
    rooms = Rooms(state)
    routes = [
        Route("/v1/sessions", operations.sessions, methods=["POST"]),
        Route("/livez", operations.live),
        Route("/health", operations.live),
        Route("/readyz", operations.ready),
        Route("/startupz", operations.ready),
        Route("/metrics", operations.metrics),
        Route("/translate", rest.translate, methods=["POST"]),
        Route("/detect", rest.detect, methods=["POST"]),
        Route("/suggest", rest.suggest, methods=["POST"]),
        Route("/translate_file", files.translate, methods=["POST"]),
        Route("/download_file/{name}", files.download),
        Route("/languages", rest.languages),
        Route("/asyncapi.yaml", operations.document),
        Route("/frontend/settings", rest.settings),
        Route("/v2/translate", deepl.translate, methods=["POST"]),
        Route("/v2/languages", deepl.languages, methods=["GET", "POST"]),
        Route("/v2/glossaries", glossaries.all, methods=["GET", "POST"]),
        Route("/v2/glossaries/{id}", glossaries.one, methods=["GET", "DELETE"]),
        Route("/v2/glossaries/{id}/entries", glossaries.entries),
        Route("/v2/glossary-language-pairs", glossaries.pairs),
        Route("/v2/usage", deepl.usage, methods=["GET", "POST"]),
        Route("/v1/chat/completions", openai.chat, methods=["POST"]),
        Route("/v1/models", openai.models),
        Route("/v1/models/{name:path}", openai.model),
        Route("/v1/rooms", rooms.create, methods=["POST"]),
        Route("/v1/rooms/{room}", rooms.room, methods=["GET", "PATCH", "DELETE"]),
        Route("/v1/rooms/{room}/events", rooms.events),
        Route("/v1/rooms/{room}/qr.svg", rooms.qr_code),
        Route("/v1/rooms/{room}/transcript.{form}", rooms.transcript),
    ]
    others = [Route(route.path, OtherMethods(*sorted(route.methods or ()))) for route in routes]
    table: list[BaseRoute] = [
        WebSocketRoute("/v1/stream", partial(stream, state)),
        WebSocketRoute("/v1/rooms/{room}/listen", rooms.listen),
        *routes,
    ]
    table += others
    config = state.config
    if (config.web / "index.html").is_file():
        table.append(Route("/r/{room}", partial(_html, config.web / "room.html")))
        table.append(Route("/overlay", partial(_html, config.web / "overlay.html")))
        table.append(Mount("/", Page(directory=config.web, html=True)))
    cors = Middleware(
        CORSMiddleware,
        allow_origins=config.origins,
        allow_methods=("GET", "POST", "PATCH", "DELETE"),
        allow_headers=("*",),  # none is trusted for the page it comes from; no cookies
        expose_headers=("retry-after",),
        max_age=PREFLIGHT_S,
    )
    app = Starlette(
        routes=table,
        middleware=[cors] if config.origins else [],
        exception_handlers={
            HTTPException: json_error,
            ClientDisconnect: nobody_there,
            Exception: json_failure,
        },
    )
    guarded = Guard(Toll(app, state), config, state.metrics.requests)
    if state.tracing is None:
        return guarded
    from service.doors.traced import TracedApp  # needs an optional extra

    return TracedApp(guarded, state.tracing)


async def _html(path: Path, request: Request) -> Response:
    """One page for every room: its script reads the address."""
    return await file_reply(path, headers={"content-type": "text/html; charset=utf-8"})
