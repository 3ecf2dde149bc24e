"""A Redis for one measurement: on loopback, with nothing on disk, so that it can be killed."""

import asyncio
import shutil
import socket
import tempfile
from asyncio.subprocess import DEVNULL, Process
from types import TracebackType
from typing import Final

from service.bench.served import ServerFailed

PROGRAMS: Final = ("redis-server", "valkey-server")
START_S: Final = 20.0
LOOK_S: Final = 0.02


class OwnRedis:
    """Runs Redis while it is used as a context; it can be killed and restarted, without its memory.

    Raises:
        ServerFailed: none is installed, or it does not start.
    """

    def __init__(self) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise ServerFailed(f"none of {', '.join(PROGRAMS)} is installed")
        self._program = program
        self._process: Process | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self._port}/0"

    async def __aenter__(self) -> "OwnRedis":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        """Start it, empty; return once it takes connections."""
        options = {"port": str(self._port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        options["dir"] = tempfile.gettempdir()
        given = [part for name, value in options.items() for part in (f"--{name}", value)]
        process = await asyncio.create_subprocess_exec(self._program, *given, stdout=DEVNULL)
        self._process = process
        try:
            async with asyncio.timeout(START_S):
                while not await self._answers():
                    if process.returncode is not None:
                        raise ServerFailed(f"{self._program} ended with {process.returncode}")
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            await self.kill()
            raise ServerFailed(f"{self._program} does not answer") from None

    async def kill(self) -> None:
        """Kill it."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True
