"""A Starlette WebSocket in the words of the service."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.websockets import WebSocket

from service.doors.socket import LINE, Disconnected, StarletteSocket

Message = MutableMapping[str, Any]


class FakeLine:
    """Notes what it is told."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    def abort(self) -> None:
        self.done.append("cut")

    def keep(self) -> None:
        self.done.append("kept")

    def stand_by(self, address: str) -> None:
        self.done.append(f"stands by for {address}")


async def connected(*messages: Message) -> tuple[StarletteSocket, list[Message], list[str]]:
    """Return a socket whose client sends these messages; what it is sent; what its line does."""
    incoming = iter([{"type": "websocket.connect"}, *messages])
    sent: list[Message] = []
    done: list[str] = []

    async def receive() -> Message:
        return next(incoming)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "extensions": {LINE: FakeLine(done)},
        "client": ("10.0.0.1", 50000),
    }
    websocket = WebSocket(scope, receive, send)
    await websocket.accept()
    return StarletteSocket(websocket), sent, done


async def test_frames_of_both_kinds_come_in() -> None:
    socket, _, _ = await connected(
        {"type": "websocket.receive", "text": "a"}, {"type": "websocket.receive", "bytes": b"b"}
    )
    assert [await socket.receive(), await socket.receive()] == ["a", b"b"]


async def test_a_client_that_leaves_is_told_with_its_code() -> None:
    socket, _, _ = await connected({"type": "websocket.disconnect", "code": 4000})
    with pytest.raises(Disconnected) as caught:
        await socket.receive()
    assert caught.value.code == 4000
    with pytest.raises(Disconnected):
        await socket.receive()  # Starlette refuses a second look


async def test_frames_and_the_close_go_out_and_nothing_behind_it() -> None:
    socket, sent, done = await connected()
    await socket.send("hello")
    await socket.close(4408, "idle")
    assert sent[1:] == [
        {"type": "websocket.send", "text": "hello"},
        {"type": "websocket.close", "code": 4408, "reason": "idle"},
    ]
    with pytest.raises(Disconnected):
        await socket.send("more")
    socket.stand_by()
    socket.keep()
    socket.abort()
    assert done == ["stands by for 10.0.0.1", "kept", "cut"]
