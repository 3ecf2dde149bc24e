"""What becomes of a client's frames before its session gets them."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from service.doors.intake import Intake
from service.doors.saving import Saving
from service.doors.seat import Seat
from service.doors.socket import Disconnected, Socket
from service.doors.state import AppState
from service.doors.turns import Round, Turns
from service.driver import Driver
from service.errors import ProtocolError, RestError
from service.load.limits import Limits
from service.wire import protocol as p
from tests.service.doors.test_app import eventually


class Around:
    """All that an intake talks to, and what it heard of it."""

    def __init__(self) -> None:
        self.is_full = False
        self.received: list[p.ClientEvent] = []
        self.refused: list[str] = []
        self.firsts: list[p.ClientEvent] = []
        self.frames: asyncio.Queue[str | None] = asyncio.Queue()
        self.seat_problem: ProtocolError | None = None
        self.store_problem: RestError | None = None
        self.found: list[str] = []
        self.num_taken = self.num_noted = 0
        self.has_begun = False
        self.prepared: list[p.ClientEvent] = []
        # The state, with its glossaries and limits, and the session.
        self.config = self.glossaries = self.session = self
        self.limits = Limits(targets=2)

    # The driver, the seat and what saves.
    def receive(self, event: p.ClientEvent, wall_time_s: float, arrived_s: float) -> None:
        self.received.append(event)

    def refuse(self, problem: ProtocolError) -> None:
        self.refused.append(problem.code)

    async def check(self, event: p.ClientEvent) -> None:
        if self.seat_problem is not None:
            raise self.seat_problem

    def preparation(self, event: p.ClientEvent) -> Callable[[], None] | None:
        is_long = isinstance(event, p.SessionUpdate)
        return partial(self.prepared.append, event) if is_long else None

    def follow(self) -> None:
        pass

    def note_event(self) -> None:
        self.num_noted += 1

    def now_s(self) -> float:
        return 5.0

    async def find(self, key: str, now_s: float) -> None:
        if self.store_problem is not None:
            raise self.store_problem
        self.found.append(key)

    async def check_first(self, event: p.ClientEvent) -> None:
        self.firsts.append(event)

    def on_taken(self) -> None:
        self.num_taken += 1


class Line:
    """A socket with the frames of the test; None ends it."""

    def __init__(self, around: Around) -> None:
        self._frames = around.frames

    async def receive(self) -> str:
        frame = await self._frames.get()
        if frame is None:
            raise Disconnected(1001)
        return frame


def intake(around: Around) -> Intake:
    any_of: Any = around
    return Intake(
        cast(AppState, any_of),
        cast(Driver, any_of),
        cast(Seat, any_of),
        Turns(1.0, lambda: 5.0, Round()),
        cast(Saving, any_of),
        around.check_first,
        around.on_taken,
    )


def frame(event: p.ClientEvent) -> str:
    return p.serialise(event)


UPDATE = p.SourceUpdate(1, "we go home")


async def test_the_first_event_alone_is_checked_and_begins_the_session() -> None:
    around = Around()
    found = intake(around)
    await found.take("no JSON")
    assert (around.refused, around.firsts, around.has_begun) == (["invalid_event"], [], False)
    for _ in range(2):
        await found.take(frame(UPDATE))
    assert around.firsts == [UPDATE]
    assert around.received == [UPDATE, UPDATE]
    assert around.has_begun
    assert (around.num_taken, around.num_noted) == (3, 2)


async def test_a_session_that_began_elsewhere_is_not_checked_again() -> None:
    around = Around()
    found = intake(around)
    found.note_begun()
    await found.take(frame(UPDATE))
    assert around.firsts == []


async def test_what_the_seat_or_the_store_refuses_does_not_reach_the_session() -> None:
    around = Around()
    found = intake(around)
    around.seat_problem = ProtocolError("unauthorized", "no host", "session.room")
    await found.take(frame(UPDATE))
    around.seat_problem = None
    around.store_problem = RestError(503, "the store is gone")
    target = p.TargetParams("de", glossary_id="mine")
    update = p.SessionUpdate(p.SessionParams(targets=(target,)))
    await found.take(frame(update))
    assert around.refused == ["unauthorized", "overloaded"]
    assert around.received == []
    assert around.num_taken == 2


async def test_glossaries_are_at_hand_for_as_many_targets_as_there_may_be() -> None:
    around = Around()
    targets = tuple(p.TargetParams("de", glossary_id=key) for key in ("a", "b", "c"))
    await intake(around).take(frame(p.SessionUpdate(p.SessionParams(targets=targets))))
    assert sorted(around.found) == ["a", "b"]


async def test_long_work_is_done_before_the_session_gets_its_event() -> None:
    around = Around()
    found = intake(around)
    update = p.SessionUpdate(p.SessionParams(targets=(p.TargetParams("de"),)))
    for event in (update, UPDATE):
        await found.take(frame(event))
    assert around.prepared == [update]
    assert around.received == [update, UPDATE]


async def test_no_more_is_taken_while_too_much_waits() -> None:
    around = Around()
    around.is_full = True
    found = intake(around)
    running = asyncio.create_task(found.run(cast(Socket, Line(around))))
    around.frames.put_nowait(frame(UPDATE))
    await asyncio.sleep(0.02)
    assert around.received == []
    around.is_full = False
    found.note_room()
    await eventually(lambda: around.received == [UPDATE])
    around.frames.put_nowait(None)
    with pytest.raises(Disconnected):
        await running


async def test_what_comes_after_the_end_is_dropped() -> None:
    around = Around()
    found = intake(around)
    found.is_over = True
    around.frames.put_nowait(frame(UPDATE))
    around.frames.put_nowait(None)
    with pytest.raises(Disconnected):
        await found.run(cast(Socket, Line(around)))
    assert (around.received, around.num_taken) == ([], 0)
