"""The same session for programs without asyncio.

    with connect("ws://127.0.0.1:8000/v1/stream", source="en", targets=["de"]) as session:
        session.commit("Good morning.")
        for event in session:
            ...

A thread runs the event loop of each session. Methods and iteration may be used from different
threads at once.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

from tokenspeed_client import client, reading
from tokenspeed_client.dialogue import SessionEvent, Settings, State
from tokenspeed_client.reading import ReaderEvent

_T = TypeVar("_T")
_Line = TypeVar("_Line", client.Session, reading.Reader)
_Event = TypeVar("_Event")


class _Threaded(Generic[_Line, _Event]):
    """Runs a session or a reader in a thread."""

    def __init__(self, line: _Line) -> None:
        self._line: _Line = line
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="tokenspeed client", daemon=True
        )

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _begin(self) -> None:
        self._thread.start()
        try:
            self._do(self._line.__aenter__())
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._do(self._line.__aexit__(kind, exc, traceback))
        finally:
            self._end()

    def __iter__(self) -> Iterator[_Event]:
        """Yield events until the end; see the wrapped class for what is raised."""
        events: Any = self._line.__aiter__()

        async def following() -> _Event | None:
            return await anext(events, None)

        while (event := self._do(following())) is not None:
            yield event


class Session(_Threaded[client.Session, SessionEvent]):
    """See `tokenspeed_client.client.Session`; every method is the same without `await`."""

    def __enter__(self) -> "Session":
        self._begin()
        return self

    @property
    def state(self) -> State:
        """The state of the connection."""
        return self._line.state

    @property
    def settings(self) -> Settings:
        """The settings that the session is asked for."""
        return self._line.settings

    def update(self, unstable: str = "", **options: Any) -> None:
        """Send the text of a segment as it is now: always the whole of it."""
        self._do(self._line.update(unstable, **options))

    def append(self, text: str, **options: Any) -> None:
        """Add text to a segment."""
        self._do(self._line.append(text, **options))

    def commit(self, text: str | None = None, **options: Any) -> str:
        """End a segment; return its name."""
        return self._do(self._line.commit(text, **options))

    def cancel(self, segment_id: str | None = None) -> None:
        """Withdraw a segment."""
        self._do(self._line.cancel(segment_id))

    def flush(self) -> None:
        """Commit all open segments."""
        self._do(self._line.flush())

    def configure(self, **settings: Any) -> None:
        """Change settings while the session runs."""
        self._do(self._line.configure(**settings))

    def close(self, timeout_s: float = 10.0) -> None:
        """End the session; returns when all finals have come, or when the time is over."""
        self._do(self._line.close(timeout_s))


class Reader(_Threaded[reading.Reader, ReaderEvent]):
    """See `tokenspeed_client.reading.Reader`."""

    def __enter__(self) -> "Reader":
        self._begin()
        return self

    def close(self) -> None:
        """Stop reading."""
        self._do(self._line.close())


def connect(url: str, **options: Any) -> Session:
    """Return a session, to be used with `with`; options as in `tokenspeed_client.connect`."""
    return Session(client.connect(url, **options))


def listen(room_url: str, target: str, **options: Any) -> Reader:
    """Return a reader, to be used with `with`; options as in `tokenspeed_client.listen`."""
    return Reader(reading.listen(room_url, target, **options))
