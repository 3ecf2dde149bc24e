"""A line between a page and a server that a test can cut, or make deaf, at any moment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Cable:
    """Passes bytes on, both ways.

    Attributes:
        port: where it listens. is_deaf: whether what the server says is lost on the way.
        is_cut: whether nobody gets through.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self.is_deaf = False
        self.is_cut = False
        self._server_port = server_port
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Address of the page, through the cable."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """End all lines without a word of farewell; what is on its way is lost."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        await asyncio.gather(
            self._pass(reader, there[1], True), self._pass(there[0], writer, False)
        )
        self._writers -= {writer, there[1]}

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_client: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if is_client or not self.is_deaf:
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort() if writer.is_closing() else writer.close()
