"""A service in a process of its own, and what can be read from it under load."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from service.errors import ServiceError

START_S: Final = 120.0  # for a server to load its model
STOP_S: Final = 20.0
PATIENCE_S: Final = 60.0  # for an HTTP answer: late ones are measured, too


class ServerFailed(ServiceError):
    """The server could not be started, or did not answer."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running service.

    Attributes:
        address: "host:port".
        pid: of its process.
    """

    address: str
    pid: int

    @property
    def url(self) -> str:
        """Of the WebSocket."""
        return f"ws://{self.address}/v1/stream"

    async def get(self, path: str) -> str:
        """Return the body of an answer.

        Raises:
            ServerFailed: there is none, or its status is not 200.
        """
        host, _, port = self.address.partition(":")
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_connection(host, int(port))
                try:
                    writer.write(f"GET {path} HTTP/1.0\r\nhost: {self.address}\r\n\r\n".encode())
                    answer = await reader.read()
                finally:  # also when whoever asks is cancelled
                    writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError) as exc:
            raise ServerFailed(f"{path} does not answer: {exc}") from exc
        head, _, body = answer.decode().partition("\r\n\r\n")
        if " 200 " not in head.split("\r\n")[0]:
            raise ServerFailed(f"{path} answers {head[:60]!r}")
        return body

    async def metrics(self) -> dict[str, float]:
        """Return the samples of `/metrics` by name; those with labels are added up."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(await self.get("/metrics")):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def memory_mb(self) -> float:
        """Return the resident memory of the process, in 10^6 bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def num_files(self) -> int:
        """Return how many descriptors the process has."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_s(self) -> float:
        """Return the processor time that the process has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def serving(model: Path, device: str = "auto", **settings: str) -> AsyncIterator[Served]:
    """Run `tokenspeed serve` for as long as the context lasts, without this process's settings.

    Args:
        settings: environment variables, without their prefix TOKENSPEED_.

    Raises:
        ServerFailed: it did not come up.
    """
    kept = {name: v for name, v in os.environ.items() if not name.startswith("TOKENSPEED_")}
    given = {f"TOKENSPEED_{name}": value for name, value in settings.items()}
    environment = {**kept, "TOKENSPEED_LOG_LEVEL": "ERROR", **given}
    async with running(["tokenspeed", "serve"], model, device, environment) as served:
        yield served


@asynccontextmanager
async def running(
    program: Sequence[str], model: Path, device: str, environment: Mapping[str, str]
) -> AsyncIterator[Served]:
    """Run a server on a free port for as long as the context lasts.

    Args:
        program: a module that takes the options of `serve`, and options of its own.

    Raises:
        ServerFailed: it did not come up.
    """
    options = ["--model", str(model), "--device", device, "--host", "127.0.0.1", "--port", "0"]
    process = await start([*program, *options], environment)
    try:
        yield Served(await asyncio.wait_for(_address(process), START_S), process.pid)
    except TimeoutError as exc:
        raise ServerFailed(f"the server was not ready within {START_S:.0f} s") from exc
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def start(program: Sequence[str], environment: Mapping[str, str]) -> Process:
    """Start a module with arguments, whose output is read."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", *program, stdout=PIPE, env=environment
    )


async def _address(process: Process) -> str:
    assert process.stdout is not None
    async for line in process.stdout:
        found = re.search(rb"ready on http://(\S+)", line)
        if found:
            return found[1].decode()
    raise ServerFailed("the server ended before it was ready")
