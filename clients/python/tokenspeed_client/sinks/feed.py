"""Passes captions to a sink in order, and retries while they are still of use."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Final, Protocol

from tokenspeed_client.backoff import next_delay_s
from tokenspeed_client.errors import ClientError

LATE_S: Final = 10.0  # a caption that could not be shown in this time is dropped


class SinkError(ClientError):
    """A caption was not shown.

    Attributes:
        is_retryable: whether the same caption may be shown in a moment.
    """

    def __init__(self, message: str, is_retryable: bool = True) -> None:
        self.is_retryable = is_retryable
        super().__init__(message)


class SinkRefused(ClientError):
    """A sink rejects us, and would do so again."""


class Sink(Protocol):
    """Shows captions, one after another."""

    async def open(self) -> None:
        """Connect. Raises: SinkError, SinkRefused."""

    async def show(self, text: str) -> None:
        """Show a caption. Raises: SinkError, SinkRefused."""

    async def close(self) -> None:
        """Close: there are no more captions."""


class Feed:
    """A queue in front of a sink, so that a slow one holds up nothing else.

    Args:
        tell: called with what goes wrong, once for each problem until a caption is shown again.
    """

    def __init__(self, sink: Sink, tell: Callable[[str], None]) -> None:
        self._sink = sink
        self._tell = tell
        self._queue: asyncio.Queue[tuple[float, str] | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._told = ""

    async def open(self) -> None:
        """Start.

        Raises:
            SinkRefused: the sink rejects us. If it is only not there yet, that is told.
        """
        try:
            await self._sink.open()
        except SinkError as exc:
            self._say(str(exc))
        self._task = asyncio.create_task(self._run(), name="captions out")

    def add(self, text: str) -> None:
        """Show a caption after those before it."""
        self._queue.put_nowait((time.monotonic(), text))

    async def close(self, timeout_s: float = LATE_S) -> None:
        """Show the captions that are still waiting, for at most `timeout_s`."""
        self._queue.put_nowait(None)
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._task
        await self._sink.close()

    async def _run(self) -> None:
        while (waiting := await self._queue.get()) is not None:
            try:
                await self._show(*waiting)
            except SinkRefused as exc:
                self._say(str(exc))
                return

    async def _show(self, since_s: float, text: str) -> None:
        delay_s = 0.0
        while True:
            try:
                await self._sink.show(text)
            except SinkError as exc:
                self._say(str(exc))
                delay_s = next_delay_s(delay_s, random.random)
                if not exc.is_retryable or time.monotonic() + delay_s - since_s > LATE_S:
                    return
                await asyncio.sleep(delay_s)
            else:
                self._told = ""
                return

    def _say(self, problem: str) -> None:
        if problem != self._told:
            self._told = problem
            self._tell(problem)
