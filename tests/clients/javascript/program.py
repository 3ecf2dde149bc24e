"""A program that speaks with the JavaScript client, told what to say by a test."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.clients.javascript.conftest import Package
from tests.web.test_client import find_node


class Program:
    """A running program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def do(self, name: str, argument: Any = None) -> None:
        """Have it call a method of its session."""
        assert self._process.stdin is not None
        line = json.dumps({"do": name, "with": argument})
        self._process.stdin.write(line.encode() + b"\n")

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what it hears, until its session is over."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            yield json.loads(line)

    async def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Return that many events of a kind."""
        found = []
        async for event in self.events():
            if event["type"] == kind:
                found.append(event)
                if len(found) == count:
                    break
        return found


@asynccontextmanager
async def speaking(package: Package, *more: str, **options: Any) -> AsyncIterator[Program]:
    """Start it; it must end by itself once its session is closed."""
    process = await asyncio.create_subprocess_exec(
        *(str(find_node()), "speak.mjs", json.dumps(options), *more),
        cwd=package.folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        yield Program(process)
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
