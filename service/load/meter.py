"""Meters the processor time of work, and charges it to whomever the work is for.

Measured at each step of a task, so that waiting is free. Knows time; does not know clients.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Final, Generic, TypeVar

_T = TypeVar("_T")

# One thread, as threads that compute take Python's lock in turns: more of them finish no sooner,
# and each makes the event loop wait once more after every call to the system, of which a turn has
# dozens.
_WORKER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker")

_spend: ContextVar[Callable[[float], None] | None] = ContextVar("spend", default=None)


@contextmanager
def paid_by(spend: Callable[[float], None]) -> Iterator[None]:
    """Charge somebody for everything metered in this context, and in tasks started in it.

    Args:
        spend: takes seconds; called on the event loop.
    """
    token = _spend.set(spend)
    try:
        yield
    finally:
        _spend.reset(token)


def charge(seconds: float) -> None:
    """Charge seconds to whomever the current work is for."""
    spend = _spend.get()
    if spend is not None:
        spend(seconds)


class Metered(Generic[_T]):
    """An awaitable whose own steps are charged.

    Tasks that it starts are not included; they have to be metered themselves.
    """

    def __init__(self, work: Awaitable[_T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, _T]:
        """Pass on what the work awaits, and the results."""
        steps = self._work.__await__()
        step: Callable[[], Any] = partial(next, steps)
        while True:
            before_s = time.thread_time()
            try:
                awaited = step()
            except StopIteration as exc:
                return exc.value
            finally:
                # What is raised refers to this frame. If the frame referred to that in turn,
                # neither would go until the collector of garbage finds them.
                del step
                charge(time.thread_time() - before_s)
            try:
                yield awaited
                step = partial(next, steps)
            except BaseException as exc:  # such as a cancellation, which the work has to handle
                step = partial(steps.throw, exc)
            del awaited  # it may hold what was raised as well


async def metered(work: Awaitable[_T]) -> _T:
    """Return the result of work, and charge it; for work that becomes a task of its own."""
    return await Metered(work)


async def metered_each(parts: AsyncIterator[_T]) -> AsyncIterator[_T]:
    """Yield parts, charged to whomever work is for at the start, whoever asks for them later."""
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
    """Return the result of an act that runs in the one worker thread, and charge it.

    Acts run one after the other, so none may wait for another.
    """
    took_s = 0.0

    def timed() -> _T:
        nonlocal took_s
        before_s = time.thread_time()
        try:
            return act()
        finally:
            took_s = time.thread_time() - before_s

    context = copy_context()
    try:
        return await asyncio.get_running_loop().run_in_executor(_WORKER, context.run, timed)
    finally:
        charge(took_s)
