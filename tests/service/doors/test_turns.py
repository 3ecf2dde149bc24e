"""Turns on the event loop: in order, a slice at a time, and paid for."""

import asyncio
import time
from functools import partial
from typing import Any

import pytest

from service.doors import turns
from service.doors.turns import TASKS_OF_A_TURN, Newest, OneByOne, Round, Slices, Turns


def burn() -> None:
    """Take a slice of this thread's time."""
    end_s = time.thread_time() + turns.SLICE_S
    while time.thread_time() <= end_s:
        pass


def two() -> tuple[Turns, Turns]:
    shared = Round()
    return Turns(1.0, time.monotonic, shared), Turns(1.0, time.monotonic, shared)


async def test_who_has_much_to_do_lets_others_have_their_turn() -> None:
    greedy, patient = two()
    done: list[str] = []

    def work(name: str) -> None:
        burn()
        done.append(name)

    for number in range(3):
        greedy.do(partial(work, f"greedy {number}"))
    for number in range(2):
        patient.do(partial(done.append, f"patient {number}"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert done == ["greedy 0", "patient 0", "greedy 1", "patient 1", "greedy 2"]


async def test_what_many_do_in_one_turn_of_the_loop_is_bounded() -> None:
    shared, done = Round(), list[int]()

    def work(number: int) -> None:
        burn()
        done.append(number)

    for number in range(4):
        Turns(1.0, time.monotonic, shared).do(partial(work, number))
    for count in range(1, 5):
        await asyncio.sleep(0)
        assert done == list(range(count))


async def test_of_calls_that_wait_for_a_turn_the_newest_gets_it() -> None:
    """Else words of a hundred speakers, told one by one, hold up everything else for seconds."""
    turns, _ = two()
    done: list[str] = []
    tell, other = Newest(turns, done.append), Newest(turns, done.append)
    for said in ("a", "a b", "a b c"):
        tell(said)
        other(said.upper())
    await asyncio.sleep(0)
    tell("a b c d")
    for _ in range(3):
        await asyncio.sleep(0)
    assert done == ["a b c", "A B C", "a b c d"]


async def test_who_comes_first_need_not_wait_but_others_do() -> None:
    first, second = two()
    done: list[str] = []

    async def act(turns: Turns, name: str) -> None:
        await turns.turn(partial(done.append, name))
        done.append(f"{name} goes on")

    tasks = [asyncio.create_task(act(turns, name)) for turns, name in ((first, "a"), (second, "b"))]
    await asyncio.sleep(0)
    assert done == ["a", "a goes on"]
    await asyncio.gather(*tasks)
    assert done == ["a", "a goes on", "b", "b goes on"]


async def test_who_came_first_goes_on_at_once_until_its_time_is_over() -> None:
    first, second = two()
    done: list[str] = []
    await first.turn(partial(done.append, "a"))
    second.do(partial(done.append, "c"))
    await first.turn(partial(done.append, "b"))  # as two frames that came in one go
    assert done == ["a", "b"]
    burn()
    await first.turn(partial(done.append, "d"))
    assert done == ["a", "b", "c", "d"]


async def test_an_act_knows_when_its_time_is_over() -> None:
    shared = Round()
    turns = Turns(1.0, time.monotonic, shared)

    def act() -> tuple[bool, bool]:
        before = shared.is_spent()
        burn()
        return before, shared.is_spent()

    for _ in range(2):  # at once, then in the next turn
        assert await turns.turn(act) == (False, True)
    assert shared.is_spent()


async def test_what_nobody_waits_for_any_more_is_not_done() -> None:
    first, second = two()
    done: list[int] = []
    first.do(burn)
    task = asyncio.create_task(second.turn(lambda: done.append(1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert done == []


async def test_what_is_added_meanwhile_comes_after_what_waits() -> None:
    client, _ = two()
    done: list[int] = []

    def first() -> None:
        client.do(lambda: done.append(3))
        done.append(1)

    client.do(first)
    client.do(lambda: done.append(2))
    for _ in range(3):
        await asyncio.sleep(0)
    assert done == [1, 2, 3]


async def test_a_failure_is_told_who_waits_and_holds_up_nobody() -> None:
    client, other = two()
    done, told = list[int](), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what["exception"]))
    client.do(lambda: done.append(1 // 0))
    client.do(lambda: done.append(1))
    other.do(lambda: done.append(2))
    with pytest.raises(ZeroDivisionError):
        await other.turn(lambda: 1 // 0)
    assert sorted(done) == [1, 2]
    assert isinstance(told[0], ZeroDivisionError)


def test_work_is_charged_to_its_client_also_where_it_fails() -> None:
    now_s = 5.0
    client = Turns(0.001, lambda: now_s, Round())
    assert client.delay_s() == 0.0

    def fail() -> None:
        burn()
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        client.charge(fail)
    assert client.delay_s() > 0.0
    now_s = 5.0 + client.delay_s()
    assert client.delay_s() == 0.0


@pytest.mark.parametrize("at_once", [TASKS_OF_A_TURN, 4])
async def test_many_tasks_go_on_some_at_a_turn_in_their_order(at_once: int) -> None:
    turns = OneByOne(at_once)
    done: list[int] = []
    most = before = 0

    async def work(number: int) -> None:
        await turns.turn()
        done.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(20)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    for _ in range(20):
        await asyncio.sleep(0)
        most, before = max(most, len(done) - before), len(done)
    assert done == [number for number in range(20) if number != 3]
    assert most == at_once
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_acts_of_many_share_a_turn_and_come_in_order() -> None:
    slices = Slices()
    done: list[str] = []

    def work(name: str) -> None:
        burn()
        done.append(name)

    for number in range(2):
        slices.do(partial(work, f"long {number}"))
        slices.do(partial(done.append, f"short {number}"))
    assert done == []
    await asyncio.sleep(0)
    assert done == ["long 0"]
    await asyncio.sleep(0)
    assert done == ["long 0", "short 0", "long 1"]
    await asyncio.sleep(0)
    assert done == ["long 0", "short 0", "long 1", "short 1"]


async def test_who_fails_holds_up_nobody() -> None:
    slices, done, told = Slices(), list[int](), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what["exception"]))
    slices.do(lambda: done.append(1 // 0))
    slices.do(lambda: done.append(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == [1]
    assert isinstance(told[0], ZeroDivisionError)
