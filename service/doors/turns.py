"""One client's work on the event loop, a slice per turn, and what it costs.

Everybody's work shares one thread. So whoever has much of it does some, lets the others have their
turn, and goes on. Knows time and callables; does not know sessions.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, ParamSpec, TypeVar

from service.load.limits import Account

_T = TypeVar("_T")
_P = ParamSpec("_P")

SLICE_S: Final = 0.002  # per turn; a single piece of work may exceed it
ROUND_S: Final = 0.001  # likewise, for all sessions together
TASKS_OF_A_TURN: Final = 1  # each takes a millisecond or two


class Round:
    """The time that each turn of the event loop has for the work of all clients.

    Clients that have something to do come one after another, an act each; who comes too late for
    this turn is among the first of the next one.
    """

    def __init__(self) -> None:
        self._waiting: deque[Turns] = deque()
        self._is_due = False  # whether the next turn of the loop is ours to give
        self._is_acting = False
        self._holder: Turns | None = None  # who came first
        self._has_gone_on = False  # whether they have acted again
        self._end_s = 0.0  # of the time of this turn

    def is_spent(self) -> bool:
        """Whether an act should leave the rest of its work for a later turn."""
        return time.thread_time() >= self._end_s

    def admits(self, turns: "Turns") -> bool:
        """Whether a client may act at once: nobody else has in this turn, nor waits for one."""
        if self._is_acting:
            return False
        return not self._is_due or (self._holder is turns and not self.is_spent())

    def hold(self, turns: "Turns") -> None:
        """A client acts that need not wait; with it the time of this turn begins, or goes on."""
        self._has_gone_on = self._is_due
        if not self._is_due:
            self._holder = turns
            self._begin()

    def join(self, turns: "Turns") -> None:
        """Let a client come in its turn."""
        self._waiting.append(turns)
        self._arrange()

    def _begin(self) -> None:
        self._end_s = time.thread_time() + ROUND_S
        self._arrange()

    def _arrange(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._go_round)

    def _go_round(self) -> None:
        self._is_due = False
        if self._has_gone_on:  # in this turn, perhaps
            self._has_gone_on = False
            self._arrange()
            return
        self._holder = None
        if not self._waiting:
            return
        self._begin()
        self._is_acting = True
        try:
            while self._waiting:
                self._let(self._waiting.popleft())
                if self.is_spent():
                    break
        finally:
            self._is_acting = False

    def _let(self, turns: "Turns") -> None:
        try:
            turns.take()
        finally:
            if turns.is_waiting:
                self._waiting.append(turns)


class Turns:
    """What remains to be done for a client, in order.

    Args:
        share: of the event loop's time that the client may cost.
        clock: seconds, monotonic.
        round: shared by all clients.
    """

    def __init__(self, share: float, clock: Callable[[], float], round: Round) -> None:
        self._clock = clock
        self._round = round
        self._account = Account(share, clock())
        self._waiting: deque[Callable[[], None]] = deque()

    def do(self, act: Callable[[], None]) -> None:
        """Schedule something for one of the next turns, after everything already waiting."""
        self._waiting.append(act)
        if len(self._waiting) == 1:
            self._round.join(self)

    async def turn(self, act: Callable[[], _T]) -> _T:
        """Do something at once if this turn is free, else in one of the next; return its result."""
        if not self._waiting and self._round.admits(self):
            self._round.hold(self)
            return self.charge(act)
        result: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self.do(partial(_settle, result, act))
        return await result

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

    @property
    def is_waiting(self) -> bool:
        """Whether something waits to be done."""
        return bool(self._waiting)

    def take(self) -> None:
        """Do what is first."""
        try:
            self.charge(self._waiting[0])
        finally:
            self._waiting.popleft()


class Newest(Generic[_P]):
    """An act of a client for which only the newest call counts: earlier ones need no turn.

    Args:
        turns: of the client.
        act: takes the arguments of the newest call.
    """

    def __init__(self, turns: Turns, act: Callable[_P, None]) -> None:
        self._turns = turns
        self._act = act
        self._newest: Callable[[], None] | None = None  # while it waits for its turn

    def __call__(self, *arguments: _P.args, **named: _P.kwargs) -> None:
        """Act in one of the next turns, unless there is a newer call by then."""
        is_waiting = self._newest is not None
        self._newest = partial(self._act, *arguments, **named)
        if not is_waiting:
            self._turns.do(self._take)

    def _take(self) -> None:
        newest, self._newest = self._newest, None
        assert newest is not None
        newest()


def _settle(result: "asyncio.Future[_T]", act: Callable[[], _T]) -> None:
    """Do something for a task that waits for it, unless it no longer does."""
    if result.done():
        return
    try:
        result.set_result(act())
    except Exception as exc:
        result.set_exception(exc)


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
