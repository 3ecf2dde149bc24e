"""When a session has something to do by itself, and does it: as soon as that is due and paid for.

Knows the clock; does not know what is done.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from service.doors.turns import Turns
from service.driver import Driver

MAX_WAIT_S: Final = 3600.0  # at one time


class Ticker:
    """Ticks the driver of one session.

    Args:
        driver: says when it is due.
        turns: charged for the work.
        now_s: the clock of both, in seconds.

    Attributes:
        is_over: whether there is nothing more to do, because the session goes on elsewhere.
    """

    def __init__(self, driver: Driver, turns: Turns, now_s: Callable[[], float]) -> None:
        self.is_over = False
        self._driver = driver
        self._turns = turns
        self._now_s = now_s
        self._is_changed = asyncio.Event()

    def note(self) -> None:
        """The next tick may be due at another time than before."""
        self._is_changed.set()

    async def run(self) -> None:
        """Tick, until cancelled."""
        while True:
            delay_s = max(self._driver.next_tick_s() - self._now_s(), self._turns.delay_s())
            self._is_changed.clear()
            if delay_s > 0 and await self._is_changed_within(min(delay_s, MAX_WAIT_S)):
                continue
            await self._turns.turn(self._tick)

    def _tick(self) -> None:
        if not self.is_over:
            self._driver.tick()

    async def _is_changed_within(self, seconds: float) -> bool:
        try:
            # Not wait_for: before Python 3.12 it can swallow a cancellation.
            async with asyncio.timeout(seconds):
                await self._is_changed.wait()
        except TimeoutError:
            return False
        return True
