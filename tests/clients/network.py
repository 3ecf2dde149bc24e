"""A network between a client and a server that a test can cut, slow down, or make deaf."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Network:
    """Passes bytes on, both ways.

    Attributes:
        port: where it listens.
        server_port: where it leads; a server may come back elsewhere.
        is_down: whether nobody gets through.
        is_deaf: whether what the server says is lost on the way.
        delay_s: that every piece of `piece_bytes` takes.
    """

    def __init__(self, server_port: int = 0) -> None:
        self.port = 0
        self.server_port = server_port
        self.is_down = False
        self.is_deaf = False
        self.delay_s = 0.0
        self.piece_bytes = 65536
        self._writers: set[asyncio.StreamWriter] = set()
        self._lines: set[asyncio.Task[None]] = set()

    @property
    def http(self) -> str:
        """Address of the service, through here."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Network"]:
        """Listen."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._lines)

    def cut(self) -> None:
        """End all lines without a word of farewell; what is on its way is lost."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_down:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        await asyncio.gather(
            self._pass(reader, there[1], True), self._pass(there[0], writer, False)
        )
        self._lines.discard(line)
        self._writers -= {writer, there[1]}

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_client: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(self.piece_bytes):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if is_client or not self.is_deaf:
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort() if writer.is_closing() else writer.close()
