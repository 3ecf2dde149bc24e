"""What a client is sent, in which order, and what has to be saved before."""

import asyncio
from typing import cast

import pytest

from service.captions.actions import Close
from service.doors import sending as module
from service.doors.saving import Saving
from service.doors.sending import FRAMES_OF_A_TURN, Sending
from service.doors.socket import NOBODY, Disconnected, Socket
from service.wire import protocol as p
from service.wire.outbox import Outbox
from tests.service.doors.test_app import eventually

DONE = Close(p.CLOSE_DONE, "done")


class Line:
    """A socket whose client reads as long as it may."""

    def __init__(self) -> None:
        self.frames: list[p.ServerEvent] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def send(self, frame: str) -> None:
        await self.reads.wait()
        self.frames.append(p.parse_server(frame))


class Saved:
    """Saves by noting it, and returns the frames that wait."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.holds = True
        self.saves: list[bool] = []

    async def save(self, *, has_reader: bool = True) -> list[str]:
        self.saves.append(has_reader)
        frames = []
        while has_reader and (popped := self.outbox.pop(1.0)) is not None:
            frames.append(popped[1])
        return frames


class Case:
    def __init__(self, *, is_shared: bool = False) -> None:
        self.line = Line()
        self.outbox = Outbox(10_000, 10**6, 0.0)
        self.saved = Saved(self.outbox)
        saving = cast(Saving, self.saved) if is_shared else None
        self.sending = Sending(self.outbox, lambda: 1.0, saving)

    @property
    def socket(self) -> Socket:
        return cast(Socket, self.line)

    def say(self, *appended: str) -> None:
        for append in appended:
            self.outbox.push(p.TranslationDelta("a", "de", 1, append, ""))
        self.sending.note()

    @property
    def appended(self) -> list[str]:
        return [each.append for each in self.line.frames if isinstance(each, p.TranslationDelta)]


@pytest.mark.parametrize("is_shared", [False, True])
async def test_all_that_waits_is_sent_before_a_connection_is_closed(is_shared: bool) -> None:
    case = Case(is_shared=is_shared)
    case.say("Hallo")
    case.sending.close = DONE
    assert await case.sending.run(case.socket) == DONE
    assert case.appended == ["Hallo"]
    assert all(case.saved.saves)


async def test_what_waits_for_a_slow_client_is_merged() -> None:
    case = Case()
    case.line.reads.clear()
    running = asyncio.create_task(case.sending.run(case.socket))
    case.say("Wir ")
    await eventually(lambda: not len(case.outbox))
    case.say("gehen ", "heim")
    case.sending.close = DONE
    case.line.reads.set()
    await running
    assert case.appended == ["Wir ", "gehen heim"]


async def test_others_get_a_turn_between_many_frames() -> None:
    case = Case()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    for number in range(4 * FRAMES_OF_A_TURN):
        case.outbox.push(p.SessionNotice("slow_consumer", str(number)))
    case.sending.note()
    case.sending.close = DONE
    await case.sending.run(case.socket)
    other.cancel()
    assert len(case.line.frames) == 4 * FRAMES_OF_A_TURN
    assert turns >= 4


async def test_the_room_hears_what_is_said_while_a_client_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SAVE_STUCK_S", 0.01)
    case = Case(is_shared=True)
    case.line.reads.clear()
    running = asyncio.create_task(case.sending.run(case.socket))
    case.say("Hallo")
    await eventually(lambda: False in case.saved.saves)  # nothing is taken from the outbox
    case.line.reads.set()
    case.sending.close = DONE
    case.sending.note()
    await running
    assert case.appended == ["Hallo"]


async def test_what_a_client_missed_is_sent_again_and_numbered_as_before() -> None:
    case = Case()
    case.sending.close = DONE
    for each in ("Wir ", "gehen"):
        case.say(each)
        await case.sending.run(case.socket)
    missed = case.line.frames[1]
    case.line.frames.clear()
    await case.sending.replay(case.socket, 1, lambda: ())
    assert case.line.frames == [p.SessionResumed(True, 2, seq=1, t_ms=1000.0), missed]


async def test_a_client_that_missed_too_much_gets_finals_and_a_snapshot() -> None:
    case = Case()
    stats = p.FinalStats(0, 0, 0.0, 0.0)
    case.outbox.push(p.TranslationFinal("a", "de", "Hallo", "hello", stats))
    case.sending.close = DONE
    for number in range(600):
        case.outbox.push(p.SessionNotice("slow_consumer", str(number)))
    case.sending.note()
    await case.sending.run(case.socket)
    case.line.frames.clear()
    case.outbox.push(p.TranslationDelta("b", "de", 1, "alt", ""))
    segment = p.SnapshotSegment("b", "de", "alt", "")
    await case.sending.replay(case.socket, 0, lambda: (segment,))
    case.sending.note()
    await case.sending.run(case.socket)
    resumed, final, snapshot = case.line.frames
    assert isinstance(resumed, p.SessionResumed)
    assert not resumed.recovered
    assert isinstance(final, p.TranslationFinal)
    assert (final.text, final.seq) == ("Hallo", 0)
    assert isinstance(snapshot, p.SessionSnapshot)
    assert snapshot.segments == (segment,)


async def test_a_client_that_is_gone_ends_it() -> None:
    case = Case()
    case.say("Hallo")
    with pytest.raises(Disconnected):
        await case.sending.run(NOBODY)


async def test_nothing_is_saved_where_replicas_share_nothing() -> None:
    case = Case()
    await case.sending.save()
    assert case.saved.saves == []
