"""Opens and closes a WebSocket of the service, within time limits."""

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake
from websockets.typing import Subprotocol

from tokenspeed_client.events import SUBPROTOCOL

LOST: Final = 1006  # a connection that ended without a close
CLOSE_S: Final = 1.0  # for a server to answer a close


class NoLine(Exception):
    """There was no answer, or not one of a WebSocket."""


async def open_line(
    url: str, headers: Mapping[str, str], timeout_s: float, options: Mapping[str, Any]
) -> ClientConnection:
    """Open a connection.

    Args:
        options: for `websockets.connect`.
    Raises:
        NoLine: it could not be opened; the text says why.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await connect(
                url,
                additional_headers={**trace_headers(), **headers},
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                ping_interval=None,  # the protocol has its own, which show that the server lives
                close_timeout=CLOSE_S,
                max_size=None,
                **{"proxy": None, **options},
            )
    except TimeoutError:
        raise NoLine(f"no answer within {timeout_s:g} s") from None
    except (OSError, InvalidHandshake) as exc:
        raise NoLine(str(exc)) from exc


def trace_headers() -> dict[str, str]:
    """Return the headers of the current trace (W3C), if the program uses OpenTelemetry."""
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry import propagate  # it is installed: the program has imported its sibling

    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


async def close_line(socket: ClientConnection) -> None:
    """Close a connection, without waiting long if it is dead."""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(CLOSE_S):
            await socket.close()
    socket.transport.abort()
