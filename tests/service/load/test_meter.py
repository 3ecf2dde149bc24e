"""What is done for somebody is paid for by whoever it is for, step by step."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial

import pytest

from service.load.meter import Metered, charge, in_thread, metered, metered_each, paid_by

BURN_S = 0.01
ROOM_S = 0.005  # that everything else may take


def burn() -> None:
    end_s = time.thread_time() + BURN_S
    while time.thread_time() < end_s:
        pass


class Purse:
    def __init__(self) -> None:
        self.spent_s = 0.0

    def __call__(self, seconds: float) -> None:
        self.spent_s += seconds


async def work() -> str:
    burn()
    await asyncio.sleep(0.02)
    burn()
    return "done"


async def test_own_steps_are_paid_for_and_waiting_is_not() -> None:
    purse = Purse()
    with paid_by(purse):
        waiting = asyncio.create_task(metered(work()))
    burn()  # another's
    assert await waiting == "done"
    assert 2 * BURN_S <= purse.spent_s < 2 * BURN_S + ROOM_S


async def test_tasks_pay_for_themselves_once() -> None:
    purse = Purse()

    async def both() -> None:
        await asyncio.gather(asyncio.create_task(metered(work())), asyncio.create_task(work()))

    with paid_by(purse):
        await Metered(both())
    assert 2 * BURN_S <= purse.spent_s < 2 * BURN_S + ROOM_S


async def test_threads_and_what_is_told_of_elsewhere_are_paid_for() -> None:
    purse = Purse()
    with paid_by(purse):
        await in_thread(burn)
        charge(1.0)
    charge(1.0)  # for nobody
    assert 1.0 + BURN_S <= purse.spent_s < 1.0 + BURN_S + ROOM_S


async def test_acts_run_one_after_the_other_in_the_context_of_their_callers() -> None:
    running: list[int] = []
    name: ContextVar[int] = ContextVar("name")

    def act(number: int) -> int:
        running.append(number)
        time.sleep(0.01)
        assert running == [number]
        running.clear()
        return name.get()

    async def ask(number: int) -> int:
        name.set(number)
        return await in_thread(partial(act, number))

    assert await asyncio.gather(*map(ask, range(5))) == list(range(5))


async def test_parts_are_paid_for_whoever_asks_for_them() -> None:
    purse = Purse()
    is_closed = False

    async def parts() -> AsyncIterator[int]:
        nonlocal is_closed
        try:
            for number in range(3):
                burn()
                yield number
        finally:
            is_closed = True

    with paid_by(purse):
        made = metered_each(parts())
        found = [number async for number in made]
    assert found == [0, 1, 2]
    assert is_closed
    assert 3 * BURN_S <= purse.spent_s < 3 * BURN_S + ROOM_S


async def test_errors_and_cancellation_go_through_it() -> None:
    async def failing() -> None:
        await asyncio.sleep(0)
        raise KeyError("own")

    with pytest.raises(KeyError):
        await Metered(failing())
    seen: list[str] = []

    async def cancelled() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = asyncio.create_task(metered(cancelled()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]

    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "stayed"

    task_of_words = asyncio.create_task(metered(stubborn()))
    await asyncio.sleep(0)
    task_of_words.cancel()
    assert await task_of_words == "stayed"


class Problem(Exception):
    """What went wrong."""


async def test_what_is_raised_is_kept_by_nothing() -> None:
    made: list[weakref.ref[Problem]] = []

    def problem() -> Problem:
        found = Problem()
        made.append(weakref.ref(found))
        return found

    async def failing() -> None:
        raise problem()

    async def several() -> None:
        await asyncio.gather(failing())

    gc.disable()  # it would find them
    try:
        with suppress(Problem):
            await Metered(several())
        steps = Metered(asyncio.sleep(60)).__await__()
        next(steps)
        with suppress(Problem):
            steps.throw(problem())
        del steps
        await asyncio.sleep(0)
        assert [each() for each in made] == [None, None]
    finally:
        gc.enable()
