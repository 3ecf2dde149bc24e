"""A session does by itself what is due, when it is due and paid for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from service.doors.ticker import Ticker
from service.doors.turns import Round, Turns
from service.driver import Driver
from tests.service.doors.test_app import eventually


class Due:
    """A driver that is due at one time, and whose clock the test sets."""

    def __init__(self) -> None:
        self.now_s = 5.0
        self.due_s = float("inf")
        self.ticks: list[float] = []

    def next_tick_s(self) -> float:
        return self.due_s

    def tick(self) -> None:
        self.ticks.append(self.now_s)
        self.due_s = float("inf")


class Paid(Turns):
    """Charges nothing, but may have the client wait."""

    wait_s = 0.0

    def delay_s(self) -> float:
        return self.wait_s


@asynccontextmanager
async def ticking(due: Due, turns: Turns) -> AsyncIterator[Ticker]:
    ticker = Ticker(cast(Driver, due), turns, lambda: due.now_s)
    task = asyncio.create_task(ticker.run())
    await asyncio.sleep(0)
    yield ticker
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_ticks_once_what_is_due() -> None:
    due = Due()
    due.due_s = 5.01
    async with ticking(due, Paid(1.0, lambda: due.now_s, Round())):
        await eventually(lambda: due.ticks == [5.0])
        await asyncio.sleep(0.02)
        assert len(due.ticks) == 1


async def test_it_hears_that_something_is_due_sooner() -> None:
    due = Due()
    async with ticking(due, Paid(1.0, lambda: due.now_s, Round())) as ticker:
        due.due_s = 4.0
        await asyncio.sleep(0.02)
        assert due.ticks == []
        ticker.note()
        await eventually(lambda: len(due.ticks) == 1)


async def test_it_waits_until_the_work_is_paid_for() -> None:
    due, turns = Due(), Paid(1.0, lambda: 5.0, Round())
    due.due_s, turns.wait_s = 4.0, 60.0
    async with ticking(due, turns) as ticker:
        await asyncio.sleep(0.02)
        assert due.ticks == []
        turns.wait_s = 0.0
        ticker.note()
        await eventually(lambda: len(due.ticks) == 1)


async def test_nothing_is_done_for_a_session_that_goes_on_elsewhere() -> None:
    due = Due()
    async with ticking(due, Paid(1.0, lambda: due.now_s, Round())) as ticker:
        ticker.is_over = True
        due.due_s = 4.0
        ticker.note()
        await asyncio.sleep(0.02)
        assert due.ticks == []
