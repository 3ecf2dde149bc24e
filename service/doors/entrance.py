"""The door of `/v1/stream`: who gets a session, who resumes one, who is turned away.

A connection without a session waits at the door and may be evicted there; it takes nobody's place.
Knows origins, credentials and capacity; what a session says is the connection's business.
"""

import asyncio
import logging
import secrets
from dataclasses import replace

from starlette.websockets import WebSocket

from service.doors.auth import bearer, is_origin_allowed
from service.doors.connection import Connection
from service.doors.resume import Resumes
from service.doors.socket import Disconnected, Socket, StarletteSocket, send_away
from service.doors.state import AppState
from service.errors import AuthError, ProtocolError, RestError
from service.wire import protocol

logger = logging.getLogger("service.doors.entrance")


async def stream(state: AppState, websocket: WebSocket) -> None:
    """Serve one WebSocket; returns once it is closed."""
    headers, config = websocket.headers, state.config
    origin, host = headers.get("origin"), headers.get("host")
    if not is_origin_allowed(origin, host, config.origins, is_local=config.is_local):
        state.metrics.refused.labels("forbidden_origin").inc()
        await websocket.close(1008)  # before accepting it: the client gets HTTP 403
        return
    offered = websocket.scope.get("subprotocols", [])
    is_offered = protocol.SUBPROTOCOL in offered
    await websocket.accept(subprotocol=protocol.SUBPROTOCOL if is_offered else None)
    line = StarletteSocket(websocket)
    credential = bearer(headers.get("authorization")) or websocket.query_params.get("token")
    try:
        if offered and not is_offered:
            await send_away(line, protocol.CLOSE_BAD_SESSION, f"speak {protocol.SUBPROTOCOL}")
            return
        connection, first = await _admit(state, line, credential)
        line.keep()
        await connection.run(first)
    except Resumes as exc:
        line.keep()
        await exc.older.resume(line, exc.last_seq)
    except AuthError as exc:
        await _refuse(state, line, protocol.make_error("unauthorized", str(exc), "token"))
    except _Full as exc:
        await _refuse(state, line, protocol.make_error(exc.code, str(exc)))
    except Disconnected:
        logger.debug("client left at the door")


async def _admit(
    state: AppState, line: Socket, credential: str | None
) -> tuple[Connection, str | bytes | None]:
    """Return a connection with a place, and its first frame if that carried the credentials.

    Raises:
        AuthError: the credentials are missing or wrong.
        Resumes: the client resumes an older session instead.
        _Full: there is no place.
        Disconnected: the client left, or was evicted.
    """
    first = None
    if state.is_draining:
        raise _Full("overloaded", "the server is shutting down")
    if state.auth.is_required and credential is None:
        line.stand_by()
        first, credential = await _first_frame(state, line)
    full = _is_full(state)
    if full is not None:
        if first is None:
            line.stand_by()
            await state.sessions.check_next(line)
        raise full
    session_id, granted = None, await _hosted_by(state, credential)
    if granted is None:
        try:
            session_id = await state.auth.check(credential, state.now_s())
        except RestError as exc:
            raise _Full("overloaded", str(exc)) from exc
    session_id = session_id or secrets.token_hex(8)
    return Connection(state, line, session_id, credential, granted), first


async def _hosted_by(state: AppState, credential: str | None) -> str | None:
    try:
        return await state.rooms.hosted_by(credential)
    except RestError as exc:
        if state.auth.is_key(credential) or not state.auth.is_required:
            return None  # admitted without being a host
        raise _Full("overloaded", str(exc)) from exc


async def _first_frame(state: AppState, line: Socket) -> tuple[str | bytes, str | None]:
    """Return the first frame, and the credential in it."""
    try:
        async with asyncio.timeout(state.config.limits.first_event_s):
            frame = await line.receive()
        event = protocol.parse_client(frame)
    except TimeoutError:
        raise AuthError("no credentials were sent") from None
    except ProtocolError as exc:
        raise AuthError("the first message must be a session.update with a token") from exc
    await state.sessions.check(event, has_place=_is_full(state) is None)
    return frame, getattr(event, "token", None)


class _Full(Exception):
    """There is no place for one more session."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def _is_full(state: AppState) -> _Full | None:
    if len(state.connections) >= state.config.max_sessions:
        return _Full("too_many_sessions", "all sessions are taken")
    if not state.has_room():
        return _Full("overloaded", "one more would make all of them late")
    return None


async def _refuse(state: AppState, line: Socket, error: protocol.Error) -> None:
    code = error.error.code
    state.metrics.refused.labels(code).inc()
    is_stranger = code == "unauthorized"
    try:
        await line.send(protocol.serialise(replace(error, seq=1)))
        await send_away(
            line,
            protocol.CLOSE_UNAUTHENTICATED if is_stranger else protocol.CLOSE_OVERLOADED,
            "unauthorized" if is_stranger else error.error.message,
        )
    except Disconnected:
        logger.debug("client left at the door")
