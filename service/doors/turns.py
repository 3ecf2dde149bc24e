"""One client's work on the event loop, a slice per turn, and what it costs.

Everybody's work shares one thread. So whoever has much of it does some, lets the others have their
turn, and goes on. Knows time and callables; does not know sessions.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from service.load.limits import Account

_T = TypeVar("_T")

SLICE_S: Final = 0.002  # per turn; a single piece of work may exceed it
TASKS_OF_A_TURN: Final = 1  # each takes a millisecond or two


class Turns:
    """What remains to be done for a client, in order.

    Args:
        share: of the event loop's time that the client may cost.
        clock: seconds, monotonic.
    """

    def __init__(self, share: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._account = Account(share, clock())
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False

    def do(self, act: Callable[[], None]) -> None:
        """Schedule something for the next turn, after everything already waiting."""
        self._waiting.append(act)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._take_turn)

    def charge(self, act: Callable[[], _T]) -> _T:
        """Do something at once, and charge it to the client."""
        # This thread's processor time: nobody pays for other threads or processes.
        before_s = time.thread_time()
        try:
            return act()
        finally:
            self._account.spend(time.thread_time() - before_s, self._clock())

    def delay_s(self) -> float:
        """Return how long the client must wait until everything is paid for."""
        return max(self._account.ready_s() - self._clock(), 0.0)

    def _take_turn(self) -> None:
        self.charge(self._do_some)
        self._is_due = bool(self._waiting)
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _do_some(self) -> None:
        end_s = time.thread_time() + SLICE_S
        while self._waiting and time.thread_time() < end_s:
            self._waiting.popleft()()


class Slices:
    """Acts of many clients, as many in a turn of the event loop as fit, in order of arrival."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False

    def do(self, act: Callable[[], None]) -> None:
        """Schedule something for the next turn, after everything already waiting."""
        self._waiting.append(act)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._do_some)

    def _do_some(self) -> None:
        end_s = time.thread_time() + SLICE_S
        try:
            while self._waiting and time.thread_time() < end_s:
                self._waiting.popleft()()
        finally:
            self._is_due = bool(self._waiting)
            if self._is_due:
                asyncio.get_running_loop().call_soon(self._do_some)


class OneByOne:
    """Lets tasks continue, a few per turn of the event loop, in order of arrival.

    Args:
        at_once: tasks of one turn.
    """

    def __init__(self, at_once: int = TASKS_OF_A_TURN) -> None:
        self._at_once = at_once
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_due = False

    async def turn(self) -> None:
        """Wait for a turn."""
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._let_on)
        await mine

    def _let_on(self) -> None:
        num_left = self._at_once
        while self._waiting and num_left:
            first = self._waiting.popleft()
            if not first.done():  # otherwise its task was cancelled
                first.set_result(None)
                num_left -= 1
        self._is_due = bool(self._waiting)
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._let_on)
