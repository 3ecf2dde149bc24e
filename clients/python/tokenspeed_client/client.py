"""A live translation session: text goes out, translations come back; survives a lost connection.

    async with connect("ws://127.0.0.1:8000/v1/stream", source="en", targets=["de"]) as session:
        await session.update("Good morn")
        await session.commit("Good morning.")
        async for event in session:
            ...

Owns the socket, the clock and one task; all decisions are a `Dialogue`'s.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tokenspeed_client.addresses import stream_url
from tokenspeed_client.dialogue import ConnectionChanged, Dialogue, SessionEvent, Settings, State
from tokenspeed_client.errors import Ended, NotConnected, Refused
from tokenspeed_client.events import (
    RETRYABLE_CODES,
    Formality,
    GlossaryEntry,
    Mode,
    Stability,
)
from tokenspeed_client.pending import SourceText
from tokenspeed_client.sockets import LOST, NoLine, close_line, open_line
from tokenspeed_client.wire import parse, serialise

Token: TypeAlias = str | Callable[[], Awaitable[str]]


class Session:
    """One session. Use `connect()` to make it.

    Sending never waits for the network: of updates in quick succession only the newest is sent; a
    commit is kept, and sent again after a lost connection, until its finals have come. Iterating
    yields the server's events and `ConnectionChanged`, to one reader at a time, and ends once the
    session is closed.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        token: Token | None,
        *,
        connect_timeout_s: float | None,
        answer_timeout_s: float,
        min_update_interval_s: float,
        ping_interval_s: float,
        socket_options: Mapping[str, Any],
    ) -> None:
        self._url = stream_url(url)
        self._token = token
        self._connect_timeout_s = connect_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._socket_options = socket_options
        self._dialogue = Dialogue(
            settings,
            min_update_interval_s=min_update_interval_s,
            ping_interval_s=ping_interval_s,
            may_ask_again=callable(token),
        )
        self._has_work = asyncio.Event()  # for the task: the caller said something
        self._has_news = asyncio.Event()  # for the caller
        self._task: asyncio.Task[None] | None = None
        self._ending: ConnectionChanged | None = None
        self._is_asked_to_close = False

    @property
    def state(self) -> State:
        """The state of the connection."""
        return self._dialogue.state

    @property
    def settings(self) -> Settings:
        """The settings that the session is asked for."""
        return self._dialogue.settings

    @property
    def num_waiting(self) -> int:
        """How many committed segments have no final yet."""
        return self._dialogue.pending.num_commits

    # ---- the caller ----

    async def __aenter__(self) -> "Session":
        """Connect.

        Raises:
            Refused: the server rejects this client.
            NotConnected: there was no session in time.
        """
        self._task = asyncio.create_task(self._run(), name="tokenspeed session")
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                while self.state != "open":
                    if self.state == "closed":
                        raise self._exception()
                    self._has_news.clear()
                    await self._has_news.wait()
        except TimeoutError:
            reasons = [e.reason for e in self._dialogue.events if isinstance(e, ConnectionChanged)]
            reason = next((each for each in reversed(reasons) if each), "")
            await self._stop()
            assert self._connect_timeout_s is not None
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
        """Close; wait first for the finals of what was committed, unless there is an exception."""
        if kind is None:
            await self.close()
        await self._stop()

    async def update(
        self,
        unstable: str = "",
        *,
        stable: str = "",
        segment_id: str | None = None,
        start_ms: float | None = None,
        end_ms: float | None = None,
        speaker: str | None = None,
    ) -> None:
        """Send the text of a segment as it is now: always the whole of it.

        Args:
            unstable: text that may still be rewritten.
            stable: text before it that will not be.
            segment_id: names the segment; by default the open one, or a new one.
            start_ms: when it begins, on a clock of yours; its finals repeat it.
            end_ms: when it ends, likewise.
            speaker: who says it.
        """
        self._dialogue.update(SourceText(stable, unstable, start_ms, end_ms, speaker), segment_id)
        await self._said()

    async def append(
        self, text: str, *, segment_id: str | None = None, speaker: str | None = None
    ) -> None:
        """Add text to a segment, for typed text and recognisers that never rewrite."""
        self._dialogue.append(text, segment_id, speaker)
        await self._said()

    async def commit(
        self,
        text: str | None = None,
        *,
        segment_id: str | None = None,
        speaker: str | None = None,
    ) -> str:
        """End a segment; return the name that its events carry.

        Args:
            text: of the whole segment; None for the text of the last update.
        Raises:
            ValueError: the segment is not known and no text was given.
        """
        name = self._dialogue.commit(text, segment_id, speaker)
        await self._said()
        return name

    async def cancel(self, segment_id: str | None = None) -> None:
        """Withdraw a segment."""
        self._dialogue.cancel(segment_id)
        await self._said()

    async def flush(self) -> None:
        """Commit all open segments."""
        self._dialogue.flush()
        await self._said()

    async def configure(self, **settings: Any) -> None:
        """Change fields of `settings` while the session runs, such as `targets`."""
        if "targets" in settings:
            settings["targets"] = tuple(settings["targets"])
        self._dialogue.configure(replace(self._dialogue.settings, **settings))
        await self._said()

    async def drain(self, max_waiting: int = 0) -> None:
        """Wait until at most `max_waiting` committed segments have no final yet."""
        while self.num_waiting > max_waiting and self.state != "closed":
            self._has_news.clear()
            await self._has_news.wait()

    async def close(self, timeout_s: float = 10.0) -> None:
        """End the session; returns when all finals have come, or when the time is over.

        Iterating yields the events that are left, and then ends.
        """
        self._is_asked_to_close = True
        self._dialogue.close()
        self._has_work.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                if self._task is not None and self.state != "closed":
                    await asyncio.wait([self._task])
        self._dialogue.finish(1000, "closed")
        await self._stop()

    async def __aiter__(self) -> AsyncIterator[SessionEvent]:
        """Yield events until the session is closed.

        Raises:
            Ended: it ended without `close()`; `Refused` if the server rejects this client.
        """
        events = self._dialogue.events
        while True:
            while events:
                event = events.popleft()
                if isinstance(event, ConnectionChanged) and event.state == "closed":
                    self._ending = event
                yield event
            if self.state == "closed":
                break
            self._has_news.clear()
            await self._has_news.wait()
        if not self._is_asked_to_close:
            raise self._exception()

    def _exception(self) -> Ended:
        ends = [event for event in self._dialogue.events if isinstance(event, ConnectionChanged)]
        ending = self._ending or ends[-1]
        is_refused = ending.code not in RETRYABLE_CODES and ending.code != 1000
        return (Refused if is_refused else Ended)(ending.code, ending.reason)

    async def _said(self) -> None:
        self._has_work.set()
        await asyncio.sleep(0)  # lets the connection work while the caller sends a lot

    # ---- the line ----

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._has_news.set()

    async def _run(self) -> None:
        dialogue = self._dialogue
        try:
            while self.state != "closed":
                dialogue.dialling()
                code, reason = await self._one_line()
                if code is not None:
                    dialogue.lost(code, reason, time.monotonic())
                self._has_news.set()
                while self.state in ("waiting", "idle") and not await self._is_time():
                    pass
        except Exception as exc:
            # The task's edge: a bug of ours must not leave the caller waiting for ever.
            dialogue.finish(1011, f"{type(exc).__name__}: {exc}")
            raise
        finally:
            self._has_news.set()

    async def _is_time(self) -> bool:
        """Wait for the next try, or for the caller; return whether to try."""
        at_s = self._dialogue.retry_at_s
        left_s = None if at_s is None else at_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            return True
        self._has_work.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._has_work.wait()
        return False

    async def _one_line(self) -> tuple[int | None, str]:
        """Serve one connection to its end; return its close code, None to open another at once."""
        try:
            headers = await self._credentials()
        except Exception as exc:  # the caller's own function may raise anything
            return LOST, f"no token: {exc}"
        try:
            socket = await open_line(
                self._url, headers, self._answer_timeout_s, self._socket_options
            )
        except NoLine as exc:
            return LOST, str(exc)
        try:
            code, reason = await self._converse(socket)
            if code == LOST:
                # Given up, without a farewell: one that arrives late would end the session.
                socket.transport.abort()
            return code, reason
        except ConnectionClosed:
            return socket.close_code or LOST, socket.close_reason or ""
        finally:
            await close_line(socket)

    async def _credentials(self) -> dict[str, str]:
        # A session is resumed with a token of its own; a single-use token has been used up.
        if self._dialogue.is_resuming:
            return {}
        token = await self._token() if callable(self._token) else self._token
        token = token or self.settings.host_token
        if token is None:
            return {}
        return {"Authorization": f"Bearer {token}"}

    async def _converse(self, socket: ClientConnection) -> tuple[int | None, str]:
        dialogue = self._dialogue
        dialogue.connected(time.monotonic())
        give_up_s = time.monotonic() + self._answer_timeout_s
        reader = asyncio.create_task(self._read(socket))
        try:
            while True:
                for message in dialogue.messages(time.monotonic()):
                    await socket.send(serialise(message))
                if self.state == "closed":
                    return None, ""
                now_s = time.monotonic()
                if dialogue.is_silent(now_s):
                    return LOST, "the server has gone silent"
                if self.state == "connecting" and now_s >= give_up_s:
                    return LOST, f"no answer within {self._answer_timeout_s:g} s"
                until_s = give_up_s if self.state == "connecting" else dialogue.next_s()
                work = asyncio.create_task(self._has_work.wait())
                done, _ = await asyncio.wait(
                    [reader, work],
                    timeout=None if until_s == float("inf") else max(0.0, until_s - now_s),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                work.cancel()
                self._has_work.clear()
                if reader in done:
                    return reader.result()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, socket: ClientConnection) -> tuple[int | None, str]:
        async for frame in socket:
            is_useless = self._dialogue.received(parse(frame), time.monotonic())
            self._has_work.set()
            self._has_news.set()
            if is_useless or self.state == "closed":
                return None, ""
        return socket.close_code or LOST, socket.close_reason or ""


def connect(
    url: str,
    *,
    source: str = "auto",
    targets: Sequence[str] = (),
    token: Token | None = None,
    mode: Mode = "captions",
    stability: Stability = "balanced",
    formality: Mapping[str, Formality] | None = None,
    glossary: Sequence[GlossaryEntry] | None = None,
    do_not_translate: Sequence[str] | None = None,
    room: str | None = None,
    host_token: str | None = None,
    source_id: str | None = None,
    connect_timeout_s: float | None = 10.0,
    answer_timeout_s: float = 8.0,
    min_update_interval_s: float = 0.1,
    ping_interval_s: float = 5.0,
    **socket_options: Any,
) -> Session:
    """Return a session, to be used as `async with connect(...) as session`.

    Args:
        url: of the service, such as http://127.0.0.1:8000, or of its `/v1/stream`.
        source: language of the text; `auto` lets the server detect it.
        targets: languages to translate into.
        token: API key or single-use token; a function is called for a fresh one for each new
            session.
        mode: `append_only` gets only text that will not change, for speech.
        stability: how long text waits before it is appended.
        formality: form of address, by target.
        glossary: words and their translations.
        do_not_translate: words that stay as they are.
        room: id of a room in which readers follow.
        host_token: of the room.
        source_id: of an earlier session in the room (`session.settings.source_id`), so that
            segments without finals can be sent again under the same names.
        connect_timeout_s: for the first session; None tries for ever.
        answer_timeout_s: for a server to answer one attempt.
        min_update_interval_s: between updates; of more the newest is sent.
        ping_interval_s: between pings; a server that is silent for this long after one is given up.
        socket_options: for `websockets.connect`, such as `ssl` and `proxy`.
    Raises:
        ValueError: this is not the address of a service.
    """
    settings = Settings(
        source,
        tuple(targets),
        mode,
        stability,
        dict(formality or {}),
        None if glossary is None else tuple(glossary),
        None if do_not_translate is None else tuple(do_not_translate),
        room,
        host_token,
        source_id,
    )
    return Session(
        url,
        settings,
        token,
        connect_timeout_s=connect_timeout_s,
        answer_timeout_s=answer_timeout_s,
        min_update_interval_s=min_update_interval_s,
        ping_interval_s=ping_interval_s,
        socket_options=socket_options,
    )
