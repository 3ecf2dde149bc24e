"""A proxy between a client and replicas: closes lines with codes of its own, and may be late.

Knows frames, unlike network.py: what it closes with is what a client is told, and what it holds
back reaches a replica after the client has gone elsewhere.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from service.wire import protocol as p

NO_CODE = 1005
NO_CLOSE = 1006


@dataclass(frozen=True)
class Broken:
    """A line that ends as soon as its client has asked for its session.

    Attributes:
        url: of the replica that gets what the client asked.
        code: that the client is told; 1005 for a close without one, 1006 for none.
        is_late: whether the replica gets it only by `deliver`, or before the line ends.
    """

    url: str
    code: int
    is_late: bool


class Relay:
    """Passes frames on, both ways.

    Args:
        url: of the replica that lines lead to.

    Attributes:
        broken: what happens to the next lines, one after the other.
    """

    def __init__(self, url: str) -> None:
        self.broken: deque[Broken] = deque()
        self.port = 0
        self._url = url
        self._held: list[tuple[ClientConnection, str | bytes]] = []
        self._lines: set[ServerConnection] = set()

    @property
    def http(self) -> str:
        """Address of the service, through here."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        """Listen."""
        spoken = [Subprotocol(p.SUBPROTOCOL)]
        async with serve(self._take, "127.0.0.1", 0, subprotocols=spoken) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
            self.cut()
            for there, _ in self._held:
                there.transport.abort()

    def cut(self) -> None:
        """End all lines without a word of farewell."""
        for line in self._lines:
            line.transport.abort()

    async def deliver(self) -> None:
        """Let replicas have what is held back, and act on it."""
        while self._held:
            there, frame = self._held.pop()
            await _ask(there, frame)
            there.transport.abort()  # nobody is behind it

    async def _take(self, line: ServerConnection) -> None:
        self._lines.add(line)
        broken = self.broken.popleft() if self.broken else None
        url = self._url if broken is None else broken.url
        there = await connect(url, subprotocols=[Subprotocol(p.SUBPROTOCOL)], proxy=None)
        if broken is None:
            await _pass_on(line, there)
        else:
            await self._break(line, there, broken)
        self._lines.discard(line)

    async def _break(self, line: ServerConnection, there: ClientConnection, broken: Broken) -> None:
        frame = await line.recv()
        if broken.is_late:
            self._held.append((there, frame))
        else:
            await _ask(there, frame)
            there.transport.abort()
        if broken.code == NO_CODE:
            line.transport.write(b"\x88\x00")
            await line.wait_closed()
        elif broken.code == NO_CLOSE:
            line.transport.abort()
        else:
            await line.close(broken.code)


async def _ask(there: ClientConnection, frame: str | bytes) -> None:
    """Ask a replica for a session, and wait until it has taken that over."""
    await there.send(frame)
    while not isinstance(p.parse_server(await there.recv()), p.SessionResumed):
        pass


async def _pass_on(line: ServerConnection, there: ClientConnection) -> None:
    async def copy(source: Connection, target: Connection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in source:
                await target.send(frame)

    tasks = [asyncio.create_task(copy(*pair)) for pair in ((line, there), (there, line))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if there.close_code is None or there.close_code == NO_CLOSE:
            line.transport.abort()
        else:
            await line.close(there.close_code, there.close_reason or "")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        there.transport.abort()
