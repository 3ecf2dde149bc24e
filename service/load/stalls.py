"""How long the event loop is busy in one go: until it is done, nobody is listened to.

Measured where the loop asks for news: from an answer to the next question is one turn of it, with
everything that was due. Knows time; does not know what was done.
"""

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Final

MIN_STALL_S: Final = 0.001  # a shorter turn is none that anybody could notice


class Stalls:
    """The turns of an event loop that took long.

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
    """The platform's selector, with a look at the clock before and after each question."""

    def __init__(self, stalls: Stalls) -> None:
        super().__init__()
        self._stalls = stalls
        self._began_s: float | None = None
        self._own_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._began_s is not None:
            seconds = time.perf_counter() - self._began_s
            if seconds > MIN_STALL_S:
                self._stalls.tell(seconds, time.thread_time() - self._own_s)
        found = super().select(timeout)
        self._began_s, self._own_s = time.perf_counter(), time.thread_time()
        return found


def _ignore(seconds: float, own_s: float) -> None:
    """Tell nobody."""
