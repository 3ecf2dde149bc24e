"""The door of `/v1/stream`: who gets a session, who goes on with an older one, who is turned away.

Knows origins, subprotocols and places; what a session says is the connection's affair.
"""

import logging
import secrets

from starlette.websockets import WebSocket

from service.doors.auth import bearer, is_origin_allowed
from service.doors.connection import Connection
from service.doors.resume import Resumes
from service.doors.socket import Disconnected, Socket, StarletteSocket
from service.doors.state import AppState
from service.wire import protocol

logger = logging.getLogger("service.doors.entrance")


async def stream(state: AppState, websocket: WebSocket) -> None:
    """Serve one WebSocket; returns once it is closed."""
    headers, config = websocket.headers, state.config
    origin, host = headers.get("origin"), headers.get("host")
    if not is_origin_allowed(origin, host, config.origins, is_local=config.is_local):
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
