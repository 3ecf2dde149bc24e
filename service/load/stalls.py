"""How long the event loop is busy in one go: nothing else is served until it is done.

Measured where the loop asks for news: from an answer to the next question is one turn of it, with
everything that was due. There, too, the news of one turn are bounded: a thousand clients that leave
at once do so in many turns. Knows time; does not know what was done.
"""

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Final, TypeAlias

MIN_STALL_S: Final = 0.001  # shorter turns are unnoticeable
SOCKETS_OF_A_TURN: Final = 16  # that are read or written; each takes up to 0.1 ms, and more later

_News: TypeAlias = list[tuple[selectors.SelectorKey, int]]


class Stalls:
    """Measures long turns of an event loop.

    Attributes:
        tell: called on the loop's thread with the seconds of each turn above MIN_STALL_S, and with
            those of them that its thread had the processor; the rest is others' work.
    """

    def __init__(self) -> None:
        self.tell: Callable[[float, float], None] = _ignore

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop whose turns are measured."""
        return asyncio.SelectorEventLoop(_TimedSelector(self))


class _TimedSelector(selectors.DefaultSelector):
    """The platform's selector, reading the clock before and after each wait."""

    def __init__(self, stalls: Stalls) -> None:
        super().__init__()
        self._stalls = stalls
        self._began_s: float | None = None
        self._own_s = 0.0
        self._left: dict[int, int] = {}  # how often news of a descriptor were left for later

    def select(self, timeout: float | None = None) -> _News:
        if self._began_s is not None:
            seconds = time.perf_counter() - self._began_s
            if seconds > MIN_STALL_S:
                self._stalls.tell(seconds, time.thread_time() - self._own_s)
        found = self._some_of(super().select(timeout))
        self._began_s, self._own_s = time.perf_counter(), time.thread_time()
        return found

    def _some_of(self, found: _News) -> _News:
        """Return some of the news, those first that were left most often; all others come again."""
        if len(found) <= SOCKETS_OF_A_TURN:
            self._left.clear()
            return found
        left = self._left
        found.sort(key=lambda news: -left.get(news[0].fd, 0))
        self._left = {key.fd: left.get(key.fd, 0) + 1 for key, _ in found[SOCKETS_OF_A_TURN:]}
        return found[:SOCKETS_OF_A_TURN]


def _ignore(seconds: float, own_s: float) -> None:
    """Report to nobody."""
