"""Turns of an event loop that take long are told, others are not."""

import asyncio
import socket
import time

from service.load.stalls import MIN_STALL_S, SOCKETS_OF_A_TURN, Stalls


def test_what_holds_up_the_loop_is_told_with_its_length() -> None:
    stalls = Stalls()
    told: list[tuple[float, float]] = []

    async def work() -> None:
        await asyncio.sleep(0)
        time.sleep(0.005)  # noqa: ASYNC251 - a stall on purpose
        await asyncio.sleep(0)
        stalls.tell = lambda seconds, own_s: told.append((seconds, own_s))
        time.sleep(0.03)  # noqa: ASYNC251
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=stalls.new_loop) as runner:
        runner.run(work())
    seconds, own_s = max(told)
    assert seconds >= 0.03  # what came before anybody listened is not told
    assert own_s < 0.03  # it only slept
    assert all(seconds > MIN_STALL_S for seconds, _ in told)


def test_waiting_is_no_stall() -> None:
    stalls = Stalls()
    told: list[tuple[float, float]] = []
    stalls.tell = lambda seconds, own_s: told.append((seconds, own_s))
    waited_s = 0.5
    with asyncio.Runner(loop_factory=stalls.new_loop) as runner:
        runner.run(asyncio.sleep(waited_s))
    assert all(seconds < waited_s for seconds, _ in told)


def test_news_of_many_sockets_come_in_turns_and_each_of_them_comes() -> None:
    read: list[int] = []
    per_turn: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(40)]

        def take(number: int) -> None:
            read.append(number)
            pairs[number][0].recv(1)  # of two bytes, so that there are news of all of them again

        for number, (mine, other) in enumerate(pairs):
            other.send(b"xx")
            loop.add_reader(mine, take, number)
        while len(read) < 80:
            before = len(read)
            await asyncio.sleep(0)
            per_turn.append(len(read) - before)
        for mine, other in pairs:
            loop.remove_reader(mine)
            mine.close()
            other.close()

    with asyncio.Runner(loop_factory=Stalls().new_loop) as runner:
        runner.run(work())
    assert max(per_turn) == SOCKETS_OF_A_TURN
    assert sorted(read[:40]) == list(range(40))
    assert sorted(read[40:]) == list(range(40))
