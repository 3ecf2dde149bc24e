"""A session survives its line: nothing is lost, or the loss is told."""

import asyncio
from dataclasses import dataclass, replace

import pytest

from service.doors.connection import Connection
from service.doors.resume import ResumableSessions
from service.doors.socket import Disconnected, Socket
from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import close_code, eventually
from tests.service.fakes import FakeEngine

KEY = "a-key-of-more-than-16"


async def begin(client: Client, service: Service) -> p.SessionInfo:
    """Speak three words, then lose the line before all of it was read."""
    created = await client.receive()
    assert isinstance(created, p.SessionCreated)
    await client.start("de", timing=True)
    for rev, text in enumerate(("we go", "we go home", "we go home now"), start=1):
        await client.send(p.SourceUpdate(rev, text, segment_id="a"))
        await client.until(p.TranslationDelta)
    return created.session


async def cut(client: Client, service: Service) -> None:
    client.socket.transport.abort()
    await eventually(lambda: not service.state.connections)


def resume(info: p.SessionInfo, last_seq: int, **wrong: str) -> p.SessionResume:
    token = wrong.get("token", info.resume_token or "")
    return p.SessionResume(
        wrong.get("id", info.id), token, last_seq, wrong.get("epoch", info.epoch)
    )


def appended(client: Client) -> str:
    return "".join(e.append for e in client.received if isinstance(e, p.TranslationDelta))


async def test_the_gap_is_replayed_and_the_segment_goes_on(run: Run) -> None:
    service = run()
    async with session(service.ws) as first:
        info = await begin(first, service)
        known = first.last_seq - 1  # as if the last delta had been lost on the way
        await cut(first, service)
    lost = first.received.pop()
    async with session(service.ws) as second:
        await second.receive()  # its own session.created, of no use now
        await second.send(resume(info, known))
        assert replace(await second.receive(), t_ms=0.0) == p.SessionResumed(
            True, known + 1, seq=known
        )
        assert await second.receive() == lost
        await second.send(p.SourceUpdate(4, "we go home now and rest", segment_id="a"))
        await second.send(p.SourceCommit("a"))
        (final,) = await second.until(p.TranslationFinal)
        assert isinstance(final, p.TranslationFinal)
        assert final.text == "WE GO HOME NOW AND REST"
        assert final.text.startswith(appended(first) + appended(second))
        await second.send(p.SessionClose())
        assert await close_code(second) == 1000
    await eventually(lambda: len(service.state.sessions) == 0)


@pytest.mark.parametrize("code", [1011, 1012])
async def test_a_line_that_was_closed_by_what_lies_between_is_lost_too(run: Run, code: int) -> None:
    service = run()
    async with session(service.ws) as first:
        info = await begin(first, service)
        await first.socket.close(code)
    await eventually(lambda: not service.state.connections)
    async with session(service.ws) as second:
        await second.receive()
        await second.send(resume(info, first.last_seq))
        assert isinstance(await second.receive(), p.SessionResumed)


async def test_a_session_that_ends_while_it_is_asked_for_is_not_continued(run: Run) -> None:
    state = run().state
    first, second = Line(), Line()
    connection = Connection(state, first, "s")
    serving = asyncio.create_task(connection.run(None))
    first.say(p.SessionUpdate(p.SessionParams(p.SourceParams("en"), (p.TargetParams("de"),))))
    await eventually(lambda: first.has(p.SessionUpdated))
    first.lose()
    await serving
    assert "s" in state.sessions
    state.sessions.retire(connection)  # as one that waited for too long
    await connection.resume(second, first.sent[-1].seq)
    assert second.codes == [1012]  # its client asks again, and is told
    assert not second.sent
    assert "s" not in state.sessions


async def test_work_that_was_cut_off_is_done_again(run: Run) -> None:
    service = run(FakeEngine(delay_s=0.3))
    async with session(service.ws) as first:
        created = await first.receive()
        assert isinstance(created, p.SessionCreated)
        await first.start("de")
        await first.send(p.SourceCommit("a", text="we go home"))
        await eventually(lambda: bool(service.engine.running))
        await cut(first, service)
        assert service.engine.running == {}
    async with session(service.ws) as second:
        await second.receive()
        await second.send(resume(created.session, 2))
        (final,) = await second.until(p.TranslationFinal)
        assert isinstance(final, p.TranslationFinal)
        assert final.text == "WE GO HOME"


async def test_a_gap_that_is_not_kept_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.wire.outbox.MAX_REPLAY_EVENTS", 2)
    service = run()
    async with session(service.ws) as first:
        info = await begin(first, service)
        await cut(first, service)
    async with session(service.ws) as second:
        await second.receive()
        await second.send(resume(info, 1))
        assert replace(await second.receive(), t_ms=0.0) == p.SessionResumed(False, 2, seq=1)
        frame = p.parse_server(await second.socket.recv())
        assert isinstance(frame, p.SessionSnapshot)
        (segment,) = frame.segments
        assert (segment.segment_id, segment.target, segment.is_final) == ("a", "de", False)
        assert segment.text == appended(first)


async def test_a_final_in_a_gap_that_is_not_kept_comes_all_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.wire.outbox.MAX_REPLAY_EVENTS", 2)
    service = run()
    async with session(service.ws) as first:
        info = await begin(first, service)
        known = first.last_seq
        await first.send(p.SourceCommit("a"))
        (final,) = await first.until(p.TranslationFinal)
        for rev, text in enumerate(("it is", "it is late", "it is late now"), start=1):
            await first.send(p.SourceUpdate(rev, text, segment_id="b"))
            await first.until(p.TranslationDelta)
        await cut(first, service)
    async with session(service.ws) as second:
        await second.receive()
        await second.send(resume(info, known))
        assert replace(await second.receive(), t_ms=0.0) == p.SessionResumed(
            False, known + 1, seq=known
        )
        assert p.parse_server(await second.socket.recv()) == replace(final, seq=known)
        snapshot = p.parse_server(await second.socket.recv())
        assert isinstance(snapshot, p.SessionSnapshot)
        assert [segment.segment_id for segment in snapshot.segments] == ["b"]


class Line:
    """A socket whose client stops reading when it is told to."""

    address = "127.0.0.1"

    def __init__(self) -> None:
        self.sent: list[p.ServerEvent] = []
        self.codes: list[int] = []  # that it was closed with
        self.reads = asyncio.Event()
        self.reads.set()
        self._frames: asyncio.Queue[str | None] = asyncio.Queue()

    def say(self, event: p.ClientEvent) -> None:
        self._frames.put_nowait(p.serialise(event))

    def lose(self) -> None:
        self._frames.put_nowait(None)

    def has(self, kind: type[p.ServerEvent]) -> bool:
        return any(isinstance(event, kind) for event in self.sent)

    async def receive(self) -> str:
        frame = await self._frames.get()
        if frame is None:
            raise Disconnected
        return frame

    async def send(self, frame: str) -> None:
        await self.reads.wait()
        self.sent.append(p.parse_server(frame))

    async def close(self, code: int, reason: str) -> None:
        self.codes.append(code)
        self.lose()

    def abort(self) -> None:
        self.lose()

    def keep(self) -> None: ...

    def stand_by(self) -> None: ...


async def test_what_waited_for_a_line_is_in_the_snapshot_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.wire.outbox.MAX_REPLAY_EVENTS", 0)
    state = run().state
    first, second = Line(), Line()
    connection = Connection(state, first, "s")
    serving = asyncio.create_task(connection.run(None))
    first.say(p.SessionUpdate(p.SessionParams(p.SourceParams("en"), (p.TargetParams("de"),))))
    await eventually(lambda: first.has(p.SessionUpdated))
    first.reads.clear()
    words = "we go home now and we rest".split()
    for rev in range(1, len(words)):
        first.say(p.SourceUpdate(rev, " ".join(words[: rev + 1]), segment_id="a"))
        await asyncio.sleep(0.1)  # is translated, and waits behind what the client does not read
    first.lose()
    await serving
    assert not first.has(p.TranslationDelta)

    serving = asyncio.create_task(connection.resume(second, first.sent[-1].seq))
    second.say(p.SourceCommit("a", text="we go home now and we rest"))
    await eventually(lambda: second.has(p.TranslationFinal))
    second.lose()
    await serving
    resumed, snapshot, *later = second.sent
    assert isinstance(resumed, p.SessionResumed)
    assert isinstance(snapshot, p.SessionSnapshot)
    (segment,) = snapshot.segments
    assert segment.text.startswith("WE GO")
    deltas = [event.append for event in later if isinstance(event, p.TranslationDelta)]
    final = later[-1]
    assert isinstance(final, p.TranslationFinal)
    assert final.text.startswith(segment.text + "".join(deltas))


async def test_a_full_service_lets_the_owner_of_a_lost_line_back_in(run: Run) -> None:
    service = run(max_sessions=1)
    async with session(service.ws) as first:
        info = await begin(first, service)
        async with session(service.ws) as second:  # the old line still looks alive
            await second.send(resume(info, first.last_seq))
            assert isinstance(await second.receive(), p.SessionResumed)
            await cut(second, service)
    async with session(service.ws) as other:  # another client took the free place
        await other.start("de")
        async with session(service.ws) as third:
            await third.send(resume(info, first.last_seq))
            assert isinstance(await third.receive(), p.SessionResumed)
            await third.send(p.SourceCommit("a"))
            await third.until(p.TranslationFinal)
        async with session(service.ws) as stranger:
            await stranger.send(resume(info, 1, token="x"))
            error = p.parse_server(await stranger.socket.recv())
            assert isinstance(error, p.Error)
            assert error.error.code == "too_many_sessions"
            assert await close_code(stranger) == 1013


async def test_only_the_owner_may_resume(run: Run) -> None:
    service = run()
    async with session(service.ws) as first:
        info = await begin(first, service)
        await cut(first, service)
    for wrong in ({"token": "x"}, {"id": "x"}, {"epoch": "x"}):
        async with session(service.ws) as second:
            await second.send(resume(info, 1, **wrong))
            (event,) = await second.until(p.Error)
            assert isinstance(event, p.Error)
            assert event.error.code == "session_expired"
            await second.start("de")  # the new session is there
            await second.until(p.SessionUpdated)


async def test_a_line_that_only_seems_alive_is_superseded(run: Run) -> None:
    service = run(api_keys=(KEY,))
    headers = {"authorization": f"Bearer {KEY}"}
    async with session(service.ws, additional_headers=headers) as first:
        info = await begin(first, service)
        async with session(service.ws) as second:  # the token of the session is its credential
            await second.send(resume(info, first.last_seq))
            assert isinstance(await second.receive(), p.SessionResumed)
            assert await close_code(first) == 4409
            await second.send(p.SourceCommit("a"))
            await second.until(p.TranslationFinal)


async def test_nobody_waits_for_ever(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.doors.resume.RESUME_S", 0.1)
    service = run()
    async with session(service.ws) as first:
        info = await begin(first, service)
        await cut(first, service)
    assert info.id in service.state.sessions
    await asyncio.sleep(0.1)
    await eventually(lambda: len(service.state.sessions) == 0)


async def test_who_says_to_have_more_than_was_sent_gets_a_snapshot(run: Run) -> None:
    service = run()
    async with session(service.ws) as first:
        info = await begin(first, service)
        await cut(first, service)
    async with session(service.ws) as second:
        await second.receive()
        await second.send(resume(info, 2**53 - 1))
        resumed = await second.receive()
        assert isinstance(resumed, p.SessionResumed)
        assert not resumed.recovered
        assert resumed.seq >= first.last_seq
        assert resumed.from_seq == resumed.seq + 1 < 100
        assert isinstance(await second.receive(), p.SessionSnapshot)


async def test_of_two_that_come_back_at_once_one_is_superseded_and_told(run: Run) -> None:
    service = run()
    async with (
        session(service.ws) as first,
        session(service.ws) as one,
        session(service.ws) as two,
    ):
        info = await begin(first, service)
        for client in (one, two):
            await client.receive()
            client.last_seq = 0
        await asyncio.gather(*(each.send(resume(info, first.last_seq)) for each in (one, two)))
        for client in (one, two):
            assert isinstance(await client.receive(), p.SessionResumed)
        done, (going,) = await asyncio.wait(
            [asyncio.create_task(close_code(each)) for each in (one, two)],
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert [task.result() for task in done] == [4409]
        going.cancel()


@dataclass(eq=False)
class Parked:
    """A session whose line was lost."""

    session_id: str
    address: str
    worth: int
    digest: str = "digest"
    epoch: str = "epoch"
    share: None = None
    is_retired: bool = False

    async def resume(self, socket: Socket, last_seq: int) -> None: ...

    def retire(self) -> None:
        self.is_retired = True


async def park(*parked: tuple[str, int]) -> list[bool]:
    """Drop lines of (address, worth) into room for four; return who is kept."""
    sessions = ResumableSessions(max_sessions=2)
    found = [Parked(str(number), *each) for number, each in enumerate(parked)]
    for each in found:
        sessions.add(each)
        sessions.park(each)
    assert len(sessions) == min(len(found), 4)
    kept = [each.session_id in sessions for each in found]
    assert kept == [not each.is_retired for each in found]
    for each in found:
        sessions.retire(each)
    return kept


async def test_sessions_with_work_outrank_empty_ones_and_new_ones_old_ones() -> None:
    assert await park(*[("a", 0)] * 6) == [False, False, True, True, True, True]
    assert await park(("a", 2), *[("a", 0)] * 6, ("a", 1)) == [True, *[False] * 4, *[True] * 3]
    assert await park(*[("a", 2)] * 4, ("a", 0)) == [True] * 4 + [False]
    assert await park(*[("a", 1)] * 4, ("a", 2)) == [False, True, True, True, True]


async def test_many_dropped_lines_push_out_nobody_of_another_address() -> None:
    assert await park(("b", 0), *[("a", 2)] * 9) == [True, *[False] * 6, *[True] * 3]
    assert (await park(("b", 1), ("c", 0), *[("a", 2)] * 9))[:2] == [True, True]


async def test_an_older_copy_of_a_session_goes_without_the_newer_one() -> None:
    sessions = ResumableSessions(max_sessions=2)
    older, newer = Parked("x", "a", 1), Parked("x", "a", 1)
    sessions.add(older)
    sessions.add(newer)  # it was on another replica meanwhile
    sessions.retire(older)  # which this one learns of late
    assert older.is_retired
    assert "x" in sessions
    sessions.park(newer)
    sessions.retire(older)
    assert "x" in sessions
    assert len(sessions._waiting) == 1
    sessions.retire(newer)
    assert "x" not in sessions
    assert not sessions._waiting
    assert not sessions._ranked


async def test_a_speaker_comes_back_after_many_have_left(run: Run) -> None:
    service = run(FakeEngine(delay_s=30), max_sessions=4)
    async with session(service.ws) as speaker:
        created = await speaker.receive()
        assert isinstance(created, p.SessionCreated)
        await speaker.start("de")
        await speaker.send(p.SourceUpdate(1, "we go home", segment_id="a"))
        await eventually(lambda: bool(service.engine.running))
        await cut(speaker, service)
    for _ in range(20):
        async with session(service.ws) as empty:
            await empty.receive()
            await cut(empty, service)
    assert len(service.state.sessions) == 8
    async with session(service.ws) as again:
        await again.receive()
        await again.send(resume(created.session, speaker.last_seq))
        assert isinstance(await again.receive(), p.SessionResumed)
