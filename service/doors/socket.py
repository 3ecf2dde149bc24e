"""A WebSocket in the words of the service: frames in, frames out, and how it ends."""

from typing import Final, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

ABORT: Final = "tokenspeed.abort"  # extension of the scope that cuts the line


class Disconnected(Exception):
    """The client is gone.

    Attributes:
        code: with which it closed; 1006 where it just went.
    """

    def __init__(self, code: int = 1006) -> None:
        self.code = code
        super().__init__(f"the client left with {code}")


class Socket(Protocol):
    """What a connection needs of a WebSocket."""

    async def receive(self) -> str | bytes:
        """Return the next frame, or raise Disconnected."""
        ...

    async def send(self, frame: str) -> None:
        """Hand a frame over, waiting while the client reads too slowly; or raise Disconnected."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """End the connection."""
        ...

    def abort(self) -> None:
        """Cut the line at once."""
        ...


class StarletteSocket:
    """A Starlette WebSocket as a `Socket`.

    Args:
        websocket: accepted already.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

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
        """Hand a frame over, or raise Disconnected."""
        try:
            await self._websocket.send({"type": "websocket.send", "text": frame})
        except (WebSocketDisconnect, RuntimeError) as exc:
            raise Disconnected from exc

    async def close(self, code: int, reason: str) -> None:
        """End the connection, or raise Disconnected."""
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError) as exc:
            raise Disconnected from exc

    def abort(self) -> None:
        """Cut the line at once."""
        abort = self._websocket.scope["extensions"].get(ABORT)
        if abort is not None:
            abort["call"]()
