"""How things end and go wrong: codes of errors, notices and closed connections."""

from collections.abc import Mapping
from typing import Final, Literal

ErrorCode = Literal[
    "invalid_event",
    "unknown_segment",
    "unsupported_language",
    "text_too_long",
    "rate_limited",
    "glossary_invalid",
    "unsupported",
    "unknown_room",
    "unauthorized",
    "session_expired",
    "too_many_sessions",
    "overloaded",
    "internal",
]
ErrorType = Literal["invalid_request", "auth", "limit", "server"]
NoticeCode = Literal[
    "coalescing",
    "backlog",
    "slow_consumer",
    "degraded",
    "segment_cut",
    "language_mismatch",
    "room_cut_off",
    "room_back",
]

ERROR_TYPES: Final[Mapping[str, ErrorType]] = {
    "unauthorized": "auth",
    "session_expired": "auth",
    "rate_limited": "limit",
    "text_too_long": "limit",
    "too_many_sessions": "limit",
    "overloaded": "limit",
    "internal": "server",
}
RETRYABLE_ERRORS: Final = frozenset({"rate_limited", "too_many_sessions", "overloaded", "internal"})

CLOSE_DONE: Final = 1000
CLOSE_DRAINED: Final = 1001
CLOSE_INTERNAL: Final = 1011
CLOSE_RESTARTED: Final = 1012
CLOSE_OVERLOADED: Final = 1013
CLOSE_BAD_SESSION: Final = 4400
CLOSE_UNAUTHENTICATED: Final = 4401
CLOSE_NO_ROOM: Final = 4404
CLOSE_IDLE: Final = 4408
CLOSE_SUPERSEDED: Final = 4409

CLOSE_CODES: Final[Mapping[int, str]] = {
    CLOSE_DONE: "The session has ended",
    CLOSE_DRAINED: "The server is shutting down; all finals were sent",
    1002: "A frame violated the WebSocket protocol",
    1005: "The connection was closed without a code",
    1006: "The connection was lost",
    1007: "A frame was not UTF-8",
    1009: "A message was too big",
    CLOSE_INTERNAL: "The server failed",
    CLOSE_RESTARTED: "The server is restarting",
    CLOSE_OVERLOADED: "The server is full, or the client read too slowly",
    CLOSE_BAD_SESSION: "The client speaks another protocol",
    CLOSE_UNAUTHENTICATED: "Not authenticated",
    CLOSE_NO_ROOM: "There is no such room",
    CLOSE_IDLE: "The client sent nothing for too long",
    CLOSE_SUPERSEDED: "The session was continued on another connection",
}
"""What the end of a connection means. 1005 and 1006 are set by the client's own side."""
# 1011 as well: proxies and libraries close with it where only the line has failed, and a replica
# whose engine is lost, which another replaces.
RETRYABLE_CLOSE_CODES: Final = frozenset({1001, 1005, 1006, 1011, 1012, 1013})
