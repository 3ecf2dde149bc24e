"""What is done for somebody, and what it costs of the processor: who it is for pays.

Measured at each step of a task, so that who waits pays nothing. Knows time; does not know clients.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")

_spend: ContextVar[Callable[[float], None] | None] = ContextVar("spend", default=None)


@contextmanager
def paid_by(spend: Callable[[float], None]) -> Iterator[None]:
    """Let somebody pay for all that is metered meanwhile, also in tasks that are started then.

    Args:
        spend: takes seconds; called on the event loop.
    """
    token = _spend.set(spend)
    try:
        yield
    finally:
        _spend.reset(token)


def charge(seconds: float) -> None:
    """Let whoever it is for pay."""
    spend = _spend.get()
    if spend is not None:
        spend(seconds)


class Metered(Generic[_T]):
    """Something to wait for whose own steps are paid for.

    Tasks that it starts are not among them; they are metered by themselves.
    """

    def __init__(self, work: Awaitable[_T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, _T]:
        """Pass on what is waited for, and what comes of it."""
        steps = self._work.__await__()
        step: Callable[[], Any] = partial(next, steps)
        while True:
            before_s = time.thread_time()
            try:
                awaited = step()
            except StopIteration as exc:
                return exc.value
            finally:
                charge(time.thread_time() - before_s)
            try:
                yield awaited
                step = partial(next, steps)
            except BaseException as exc:  # a cancellation: it is the work's to end
                step = partial(steps.throw, exc)


async def metered(work: Awaitable[_T]) -> _T:
    """Return what work returns, paid for: a task of its own."""
    return await Metered(work)


async def metered_each(parts: AsyncIterator[_T]) -> AsyncIterator[_T]:
    """Yield what is yielded, paid for by whom it is made for now, whoever asks for it."""
    spend = _spend.get()
    if spend is None:
        async for part in parts:
            yield part
        return
    while True:
        try:
            with paid_by(spend):
                part = await Metered(anext(parts))
        except StopAsyncIteration:
            return
        yield part


async def in_thread(act: Callable[[], _T]) -> _T:
    """Return what an act returns, in a thread, paid for."""
    took_s = 0.0

    def timed() -> _T:
        nonlocal took_s
        before_s = time.thread_time()
        try:
            return act()
        finally:
            took_s = time.thread_time() - before_s

    try:
        return await asyncio.to_thread(timed)
    finally:
        charge(took_s)
