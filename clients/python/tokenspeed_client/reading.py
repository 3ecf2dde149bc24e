"""A reader of a room: receives what is said there in one language, and reconnects when needed.

    async with listen("http://127.0.0.1:8000/r/ROOM", "fr") as reader:
        async for event in reader:
            ...

`audience.py` turns the events into text.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Final, Literal, TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tokenspeed_client.addresses import listen_url, with_query
from tokenspeed_client.backoff import next_delay_s
from tokenspeed_client.dialogue import STABLE_AFTER_S, ConnectionChanged
from tokenspeed_client.errors import Ended, NotConnected, Refused
from tokenspeed_client.events import CLOSE_REASONS, RETRYABLE_CODES, Ping, Pong, RoomState
from tokenspeed_client.sockets import LOST, NoLine, close_line, open_line
from tokenspeed_client.wire import Received, parse, serialise

ReaderEvent: TypeAlias = Received | ConnectionChanged
State = Literal["connecting", "open", "waiting", "closed"]

DONE: Final = 1000  # the room is closed


class Reader:
    """Reads a room. Use `listen()` to make it.

    Iterating yields the server's events and `ConnectionChanged`, and ends once the room is closed.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        connect_timeout_s: float | None,
        answer_timeout_s: float,
        ping_interval_s: float,
        socket_options: Mapping[str, Any],
    ) -> None:
        self._url = url
        self._headers = headers
        self._connect_timeout_s = connect_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._ping_interval_s = ping_interval_s
        self._socket_options = socket_options
        self._events: deque[ReaderEvent] = deque()
        self._has_news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last_seq = 0
        self._ending: tuple[int, str] | None = None

    async def __aenter__(self) -> "Reader":
        """Connect.

        Raises:
            Refused: there is no such room, the pass phrase is wrong, or the service does not know
                the language.
            NotConnected: the room did not answer in time.
        """
        self._task = asyncio.create_task(self._run(), name="tokenspeed reader")
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                while not any(isinstance(event, RoomState) for event in self._events):
                    if self._ending is not None:
                        raise self._exception()
                    self._has_news.clear()
                    await self._has_news.wait()
        except TimeoutError:
            reasons = [e.reason for e in self._events if isinstance(e, ConnectionChanged)]
            await self._stop()
            assert self._connect_timeout_s is not None
            reason = next((each for each in reversed(reasons) if each), "")
            raise NotConnected(self._connect_timeout_s, reason) from None
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[ReaderEvent]:
        """Yield events until the room is closed.

        Raises:
            Refused: the service no longer lets this reader in.
        """
        while True:
            while self._events:
                yield self._events.popleft()
            if self._ending is not None:
                break
            self._has_news.clear()
            await self._has_news.wait()
        if self._ending[0] != DONE:
            raise self._exception()

    async def close(self) -> None:
        """Stop reading."""
        self._end(DONE, "closed")
        await self._stop()

    def _exception(self) -> Ended:
        assert self._ending is not None
        code, reason = self._ending
        return (Ended if code == DONE or code in RETRYABLE_CODES else Refused)(code, reason)

    def _tell(self, event: ReaderEvent) -> None:
        self._events.append(event)
        self._has_news.set()

    def _end(self, code: int, reason: str) -> None:
        if self._ending is None:
            self._ending = code, reason
            self._tell(ConnectionChanged("closed", 0, 0.0, code, reason))

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        delay_s, attempt = 0.0, 0
        while True:
            self._tell(ConnectionChanged("connecting", attempt))
            began_s = time.monotonic()
            code, reason = await self._one_line()
            reason = reason or CLOSE_REASONS.get(code, f"closed with code {code}")
            if code not in RETRYABLE_CODES:
                self._end(code, reason)
                return
            if time.monotonic() - began_s > STABLE_AFTER_S:
                delay_s, attempt = 0.0, 0
            attempt += 1
            delay_s = next_delay_s(delay_s, random.random)
            self._tell(ConnectionChanged("waiting", attempt, delay_s, code, reason))
            await asyncio.sleep(delay_s)

    async def _one_line(self) -> tuple[int, str]:
        """Serve one connection to its end; return its close code and why."""
        url = with_query(self._url, {"last_seq": str(self._last_seq)} if self._last_seq else {})
        try:
            socket = await open_line(
                url, self._headers, self._answer_timeout_s, self._socket_options
            )
        except NoLine as exc:
            return LOST, str(exc)
        try:
            async with asyncio.timeout(2.5 * self._ping_interval_s) as silence:
                await self._follow(socket, silence)
        except TimeoutError:
            return LOST, "the server has gone silent"
        except ConnectionClosed:
            pass  # reported below
        finally:
            await close_line(socket)
        return socket.close_code or LOST, socket.close_reason or ""

    async def _follow(self, socket: ClientConnection, silence: asyncio.Timeout) -> None:
        """Read frames until there are no more; each one restarts the `silence` timeout."""
        loop = asyncio.get_running_loop()
        asking = asyncio.create_task(self._ask(socket))
        try:
            async for frame in socket:
                silence.reschedule(loop.time() + 2.5 * self._ping_interval_s)
                event = parse(frame)
                self._last_seq = max(self._last_seq, getattr(event, "seq", 0))
                if isinstance(event, RoomState):
                    self._tell(ConnectionChanged("open"))
                if not isinstance(event, Pong):
                    self._tell(event)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self, socket: ClientConnection) -> None:
        """Send pings, so that a dead connection, which nothing closes, shows by its silence."""
        while True:
            await asyncio.sleep(self._ping_interval_s)
            await socket.send(serialise(Ping()))


def listen(
    room_url: str,
    target: str,
    *,
    pass_phrase: str | None = None,
    mode: Literal["captions", "append_only"] = "captions",
    has_source: bool = False,
    connect_timeout_s: float | None = 10.0,
    answer_timeout_s: float = 8.0,
    ping_interval_s: float = 5.0,
    **socket_options: Any,
) -> Reader:
    """Return a reader, to be used as `async with listen(...) as reader`.

    Args:
        room_url: link of the room, such as http://127.0.0.1:8000/r/ROOM.
        target: language; `source` for the speaker's own words.
        mode: `append_only` gets only text that will not change.
        has_source: whether the source is sent as well.
        connect_timeout_s: for the first answer of the room; None tries for ever.
        socket_options: for `websockets.connect`.
    Raises:
        ValueError: this is not the address of a room.
    """
    query = {"target": target, **({"mode": mode} if mode != "captions" else {})}
    if has_source:
        query["source"] = "1"
    return Reader(
        with_query(listen_url(room_url), query),
        headers={} if pass_phrase is None else {"X-Pass-Phrase": pass_phrase},
        connect_timeout_s=connect_timeout_s,
        answer_timeout_s=answer_timeout_s,
        ping_interval_s=ping_interval_s,
        socket_options=socket_options,
    )
