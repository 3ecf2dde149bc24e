"""What is saved of a session, and when: nothing is sent that other replicas would not know of."""

import asyncio
from typing import Any, cast

from service.captions.session import Session
from service.doors.saving import SAVE_WITHIN_S, Saving
from service.doors.seat import Seat
from service.doors.shared_sessions import SharedSessions
from service.doors.sharing import News, Outcome, Share
from service.doors.turns import Round, Turns
from service.wire import protocol as p
from service.wire.outbox import Outbox

STATS = p.FinalStats(0, 0, 0.0, 0.0)
FINAL = p.TranslationFinal("a", "de", "Hallo", "hello", STATS)


class Shared:
    """Takes news, and answers as it was told to."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.saved: list[News] = []
        self.ended: list[bool] = []

    def share(self, share: Share) -> None:
        share.is_known = True

    def takes(self, share: Share) -> bool:
        return not share.is_superseded

    async def save(self, share: Share, news: News) -> Outcome:
        self.saved.append(news)
        outcome = self.outcomes.pop(0) if self.outcomes else "saved"
        share.is_superseded = outcome == "superseded"
        return outcome

    def end(self, share: Share, *, is_over: bool) -> None:
        self.ended.append(is_over)


class Parts:
    """A session of one part, or a seat that holds back one event for its room."""

    def __init__(self) -> None:
        self.holds = False
        self.number = 3
        self.released: list[int] = []

    def dump(self, **_: Any) -> dict[str, Any]:
        return {"head": 1}

    def release(self, number: int) -> None:
        self.released.append(number)


class Case:
    def __init__(self, *outcomes: Outcome) -> None:
        self.shared = Shared(*outcomes)
        self.share = Share("id", "digest", "epoch")
        self.seat = Parts()
        self.outbox = Outbox(100, 10**6, 0.0)
        self.due = asyncio.Event()
        self.saving = Saving(
            cast(SharedSessions, self.shared),
            self.share,
            cast(Session, Parts()),
            cast(Seat, self.seat),
            self.outbox,
            Turns(1.0, lambda: 5.0, Round()),
            lambda: 5.0,
            began_s=2.0,
            on_due=self.due.set,
        )
        self.saving.has_begun = True


async def test_frames_may_be_sent_once_they_are_saved_with_their_finals() -> None:
    case = Case()
    case.outbox.push(p.SourceFinal("a", "hello"))
    case.outbox.push(FINAL)
    frames = await case.saving.save()
    assert [p.parse_server(frame).type for frame in frames] == ["source.final", "translation.final"]
    (news,) = case.shared.saved
    assert news.is_whole
    assert news.finals == frames[1:]
    assert news.parts["line"]["t_ms"] == 5000.0
    assert not case.share.needs_whole
    assert case.seat.released == [3]
    assert await case.saving.save() == []
    assert len(case.shared.saved) == 1  # nothing is new
    case.outbox.push(FINAL)
    frames = await case.saving.save()
    assert not case.shared.saved[-1].is_whole
    assert case.shared.saved[-1].frames == frames


async def test_before_the_client_has_said_anything_nothing_is_saved() -> None:
    case = Case()
    case.saving.has_begun = False
    case.outbox.push(p.SourceFinal("a", "hello"))
    assert len(await case.saving.save()) == 1
    assert case.shared.saved == []


async def test_what_redis_has_lost_is_written_as_a_whole() -> None:
    case = Case("saved", "missing")
    case.outbox.push(p.SourceFinal("a", "hello"))  # the first frame is never replayed
    await case.saving.save()
    case.outbox.push(FINAL)
    (frame,) = await case.saving.save()
    assert [news.is_whole for news in case.shared.saved] == [True, False, True]
    assert case.shared.saved[-1].frames == [frame]
    assert not case.share.needs_whole


async def test_a_failed_save_holds_nothing_up_and_the_next_is_whole() -> None:
    case = Case("lost")
    case.outbox.push(FINAL)
    assert len(await case.saving.save()) == 1
    assert case.share.needs_whole
    assert case.seat.released == [3]


async def test_nothing_is_sent_of_a_session_that_another_replica_has() -> None:
    case = Case("superseded")
    case.outbox.push(FINAL)
    assert await case.saving.save() == []
    assert case.seat.released == []


async def test_without_a_reader_events_wait_and_are_saved_as_such() -> None:
    case = Case()
    case.outbox.push(FINAL)
    assert await case.saving.save(has_reader=False) == []
    (news,) = case.shared.saved
    assert len(news.parts["line"]["waiting"]) == 1
    assert len(case.outbox) == 1


async def test_what_a_client_said_is_due_soon_unless_it_is_saved_or_over_before() -> None:
    case = Case()
    case.saving.note_event()
    async with asyncio.timeout(100 * SAVE_WITHIN_S):
        await case.due.wait()
    await case.saving.save()
    await case.saving.save()
    case.saving.note_event()
    await case.saving.save()
    assert len(case.shared.saved) == 2
    case.saving.note_event()
    case.saving.end(is_over=True)
    assert case.shared.ended == [True]
