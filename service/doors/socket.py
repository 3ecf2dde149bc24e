"""A WebSocket as the service sees it: frames in, frames out, and how it ends."""

import asyncio
from typing import Final, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

LINE: Final = "tokenspeed.line"  # scope extension: the underlying connection, if any
FAREWELL_S: Final = 1.0  # for a rejected client to close in turn


class Line(Protocol):
    """What lies beneath a WebSocket."""

    def abort(self) -> None:
        """Drop it at once, without a closing handshake."""
        ...

    def keep(self) -> None:
        """Protect it from eviction: it has a session."""
        ...

    def stand_by(self, address: str) -> None:
        """Allow its eviction: it has no session."""
        ...


class Disconnected(Exception):
    """The client is gone.

    Attributes:
        code: with which it closed; 1006 where it just went.
    """

    def __init__(self, code: int = 1006) -> None:
        self.code = code
        super().__init__(f"the client left with {code}")


class Socket(Protocol):
    """What a connection needs from a WebSocket."""

    @property
    def address(self) -> str:
        """The client's address; "" if unknown."""
        ...

    async def receive(self) -> str | bytes:
        """Return the next frame, or raise Disconnected."""
        ...

    async def send(self, frame: str) -> None:
        """Send a frame, waiting while the client reads too slowly; or raise Disconnected."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        ...

    def abort(self) -> None:
        """Drop the line at once, without a closing handshake."""
        ...

    def keep(self) -> None:
        """Protect the line from eviction: it has a session."""
        ...

    def stand_by(self) -> None:
        """Allow the line's eviction: it has no session."""
        ...


class _Nobody:
    """No connection at all: for a session that was left on another replica."""

    address = ""

    async def receive(self) -> str:
        """Raise Disconnected."""
        raise Disconnected

    async def send(self, frame: str) -> None:
        """Raise Disconnected."""
        raise Disconnected

    async def close(self, code: int, reason: str) -> None:
        """Raise Disconnected."""
        raise Disconnected

    def abort(self) -> None:
        """There is nothing to drop."""

    def keep(self) -> None:
        """There is nothing to protect."""

    def stand_by(self) -> None:
        """There is nothing to evict."""


NOBODY: Final = _Nobody()


class StarletteSocket:
    """A Starlette WebSocket as a `Socket`.

    Args:
        websocket: accepted already.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._line: Line | None = websocket.scope["extensions"].get(LINE)

    @property
    def address(self) -> str:
        """The client's address; "" if unknown."""
        return self._websocket.client.host if self._websocket.client else ""

    async def receive(self) -> str | bytes:
        """Return the next frame, or raise Disconnected."""
        try:
            message = await self._websocket.receive()
        except (WebSocketDisconnect, RuntimeError) as exc:
            raise Disconnected from exc
        if message["type"] == "websocket.disconnect":
            raise Disconnected(message.get("code", 1006))
        text: str | None = message.get("text")
        return message["bytes"] if text is None else text

    async def send(self, frame: str) -> None:
        """Send a frame, or raise Disconnected."""
        try:
            await self._websocket.send({"type": "websocket.send", "text": frame})
        except (WebSocketDisconnect, RuntimeError) as exc:
            raise Disconnected from exc

    async def close(self, code: int, reason: str) -> None:
        """Close the connection, or raise Disconnected."""
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError) as exc:
            raise Disconnected from exc

    def abort(self) -> None:
        """Drop the line at once, without a closing handshake."""
        if self._line is not None:
            self._line.abort()

    def keep(self) -> None:
        """Protect the line from eviction: it has a session."""
        if self._line is not None:
            self._line.keep()

    def stand_by(self) -> None:
        """Allow the line's eviction: it has no session."""
        if self._line is not None:
            self._line.stand_by(self.address)


async def send_away(line: Socket, code: int, reason: str) -> None:
    """Close a line without a session, by force if its client does not close in turn.

    Raises:
        Disconnected: the client is gone already.
    """
    line.stand_by()
    asyncio.get_running_loop().call_later(FAREWELL_S, line.abort)
    await line.close(code, reason)
