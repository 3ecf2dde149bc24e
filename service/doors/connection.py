"""One client's connection: its session, on one socket after another, and how each of them ends.

Decisions are made by the session, which a `Driver` runs; frames come in by `Intake` and go out by
`Sending`. This file owns the tasks, the timers and the socket, and knows how a session is resumed,
drained, and left to another replica; it does not know what is in a frame.
"""

import asyncio
import contextlib
import logging
import secrets
import time
import weakref
from collections.abc import Coroutine
from typing import Any, Final

from service.captions.actions import Close
from service.captions.job import FollowJob, Job, Outcome, Tokens
from service.captions.session import Session
from service.doors.intake import Intake
from service.doors.record import Record
from service.doors.resume import LOST_LINE, Resumes
from service.doors.saving import Saving
from service.doors.seat import Seat
from service.doors.sending import Sending
from service.doors.sharing import Found, Share, digest_of
from service.doors.socket import NOBODY, Disconnected, Socket, send_away
from service.doors.state import AppState
from service.doors.ticker import Ticker
from service.doors.turns import Newest, Turns
from service.driver import Driver, StartJob
from service.errors import ProtocolError, TranslationFailed
from service.load.meter import in_thread
from service.wire import protocol
from service.wire.outbox import Outbox
from tokenspeed.engine.engine import Cancellable

logger = logging.getLogger("service.connection")

LOOK_S: Final = 0.02  # between checks whether all finals are there
GRACE_S: Final = 5.0  # for a client to take the last frames and the close


class Connection:
    """Serves one client until it or the session ends; the sink of its session's driver.

    Args:
        state: what all connections share.
        socket: accepted already.
        session_id: unique.
        credential: the client's credential, verified.
        granted: the room that the credential makes the client host of.
        found: the session as another replica left it; None for a new one.

    Attributes:
        ended: set while no socket is attached.
        digest: of the token that proves the session is the client's own.
        epoch: names the process that the session began in.
        share: the session as saved for other replicas; None if they share nothing.
    """

    def __init__(
        self,
        state: AppState,
        socket: Socket,
        session_id: str,
        credential: str | None = None,
        granted: str | None = None,
        found: Found | None = None,
    ) -> None:
        now_s = state.now_s() - (0.0 if found is None else _age_s(found))
        limits = state.config.limits
        translator = state.translator
        # What belongs to a connection refers to it only weakly, so that all of it goes with the
        # connection: as a cycle, hundreds of objects would wait for the collector of garbage.
        me = weakref.proxy(self)
        self.ended = asyncio.Event()
        self._resume_token = secrets.token_urlsafe(24)
        self.epoch = state.epoch if found is None else found.epoch
        self.digest = digest_of(self._resume_token) if found is None else found.digest
        self._state = state
        self._socket = socket
        self._session = Session(
            session_id,
            state.model,
            limits,
            translator.new_detokenizer,
            now_s,
            state.presets,
            state.round.is_spent,
        )
        self._record, start = self._recording()
        self._driver = Driver(
            self._session,
            start,
            state.now_s,
            me,
            state.partial_interval_s,
        )
        self._seat = Seat(
            state.rooms,
            self._session,
            lambda targets: me._set_audience(targets),
            lambda event: me.send(event, None),
        )
        self._seat.granted = granted
        self._seat.may_speak_anywhere = state.auth.is_key(credential)
        self._outbox = Outbox(limits.queue_events, limits.queue_bytes, now_s)
        self._turns = Turns(limits.work_share, state.now_s, state.round)
        self._ticker = Ticker(self._driver, self._turns, state.now_s)
        self._cut_off: asyncio.TimerHandle | None = None
        self._is_created = False
        self._found = found  # the stored session, until it is resumed here
        self._leaving: asyncio.Task[None] | None = None
        self._compiling: asyncio.Task[None] | None = None  # what languages of readers need
        self._is_left = False  # has been handed over
        self._is_retired = False  # nobody resumes it any more
        self.share: Share | None = None
        self._saving: Saving | None = None
        if state.shared is not None:
            self.share = self._new_share(1 if found is None else found.generation)
            self.share.is_known = found is not None
            self._saving = Saving(
                state.shared,
                self.share,
                self._session,
                self._seat,
                self._outbox,
                self._turns,
                state.now_s,
                began_s=now_s,
                on_due=lambda: me._sending.note(),
            )
        self._sending = Sending(self._outbox, state.now_s, self._saving)
        self._intake = Intake(
            state,
            self._driver,
            self._seat,
            self._turns,
            self._saving,
            check_first=lambda event: me._check_first(event),
            on_taken=self._ticker.note,
        )

    @classmethod
    async def restored(cls, state: AppState, found: Found) -> "Connection":
        """Return a session that another replica had; `resume` continues it.

        Raises:
            ValueError: it comes from another version or model.
            ProtocolError: the model cannot do what the session asks for.
        """
        connection = cls(state, NOBODY, found.session_id, found=found)
        try:
            prepare = connection._session.preparation_to_load(found.parts)
            if prepare is not None:
                await in_thread(prepare)
            connection._session.load(found.parts)
        except (ValueError, ProtocolError):
            connection._stop_sharing()
            raise
        line = found.parts["line"]
        connection._outbox.load(found.seq, found.frames, found.finals, line["waiting"])
        connection._intake.note_begun()
        connection._is_created = True
        connection.ended.set()
        return connection

    @property
    def session_id(self) -> str:
        """Names the session."""
        return self._session.id

    @property
    def address(self) -> str:
        """The client's address."""
        return self._socket.address

    @property
    def worth(self) -> int:
        """How much would be lost with the session."""
        return self._session.worth

    async def run(self, first: str | bytes | None = None) -> None:
        """Serve the client; return once the connection is closed.

        Args:
            first: the client's first frame, if it was read already.
        Raises:
            Resumes: the client resumes an older session instead.
        """
        await self._attached(self._begin(first))

    async def resume(self, socket: Socket, last_seq: int) -> None:
        """Continue this session on another socket; return once that is closed."""
        while not self.ended.is_set():
            # The old connection is most often dead without knowing it. While it ends, another
            # resume may attach its own socket; then that is the next one to end.
            line = self._socket
            await self._end(protocol.CLOSE_SUPERSEDED, "superseded by a resume")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.ended.wait()
            if self._socket is line and not self.ended.is_set():
                line.abort()
                await self.ended.wait()
        if self._is_retired:  # it ended while its client was on its way back, which may ask again
            with contextlib.suppress(Disconnected):
                await send_away(socket, protocol.CLOSE_RESTARTED, "the session has just ended")
            return
        self._state.sessions.add(self)
        self._socket = socket
        await self._attached(self._replay(last_seq))

    def retire(self) -> None:
        """Note that nobody will resume the session here."""
        self._is_retired = True
        if self._is_left or (self.share is not None and self.share.is_superseded):
            self._seat.let_go()
        else:
            self._seat.leave()
        self._stop_sharing()
        self._record.retired(self._outbox.coalesced)

    def drain(self, time_left_s: float) -> None:
        """Finish every segment, then close; or leave the session to another replica."""
        shared = self._state.shared
        if not self._is_created:
            self.close(Close(protocol.CLOSE_OVERLOADED, "going away"))
        elif self.share is not None and shared is not None and shared.takes(self.share):
            self.send(protocol.SessionGoingAway(time_left_s * 1e3, "shutdown"), None)
            self._intake.is_over = True  # the client repeats what it says from now on elsewhere
            self._leaving = asyncio.create_task(self._leave(time_left_s))
        else:
            self._driver.drain(time_left_s)
            self._ticker.note()

    def give_up(self, problem: str) -> None:
        """Tell the client that nothing more will come, then close."""
        self.send(protocol.make_error("internal", problem), None)
        self.close(Close(protocol.CLOSE_INTERNAL, problem))

    def _new_share(self, generation: int) -> Share:
        """Return the session as saved; `generation` counts the replicas that it was on."""
        share = Share(self.session_id, self.digest, self.epoch)
        share.generation = self._seat.generation = generation
        share.on_superseded, share.on_back = self._supersede, self._save_again
        return share

    def _recording(self) -> tuple[Record, StartJob]:
        """Return what records the session, and what starts its jobs."""
        me = weakref.proxy(self)

        def start(job: Job, follow: FollowJob) -> Cancellable:
            started: Cancellable = me._start_job(job, follow)
            return started

        if self._state.tracing is None:
            return Record(self._state, self._session), start
        from service.doors.traced import TracedRecord  # needs an optional extra

        record = TracedRecord(self._state, self._session, self._state.tracing)
        return record, record.starting(start)

    # ---- connecting and disconnecting ----

    async def _attached(self, beginning: Coroutine[None, None, None]) -> None:
        """Serve a socket to its end."""
        state = self._state
        state.connections.add(self)
        self.ended.clear()
        started_s = state.now_s()
        code = protocol.CLOSE_INTERNAL
        may_resume = False
        self._record.line_began()
        try:
            await beginning
            self._record.began()
            self._is_created = True
            if state.is_draining:  # draining has begun in the meantime
                self.drain(state.config.drain_s)
            try:
                code = await self._serve()
            finally:
                self._record.stopped()
        except Resumes:
            code = protocol.CLOSE_DONE
            raise
        except Disconnected as exc:
            code = exc.code
            may_resume = code in LOST_LINE and self._is_created and self._sending.close is None
        except Exception:
            # The outermost edge: a bug of ours ends this session, not the service.
            logger.exception("session failed", extra={"data": {"session": self.session_id}})
            await self._end(protocol.CLOSE_INTERNAL, "internal error")
        finally:
            state.connections.discard(self)
            self._detach(code, state.now_s() - started_s)
            is_elsewhere = self.share is not None and self.share.is_superseded
            if may_resume and not state.is_draining and not is_elsewhere:
                state.sessions.park(self)
                if self.share is not None:  # the room still hears what it was due to hear
                    self._leaving = asyncio.create_task(self._sending.save())
            else:
                self._is_left |= may_resume and self.share is not None
                state.sessions.retire(self)
            self.ended.set()

    async def _begin(self, first: str | bytes | None) -> None:
        self._state.sessions.add(self)
        self._driver.open(self.epoch, self._resume_token)
        if first is not None:
            await self._intake.take(first)

    async def _replay(self, last_seq: int) -> None:
        """Send what a client missed, then let the session continue."""
        if self._found is not None:
            await self._seat.load(self._found.parts["seat"], self._state.now_s())
            self._found = None
        else:
            await self._sending.save()  # others must know what is replayed
        await self._sending.replay(self._socket, last_seq, self._session.snapshot)
        self._driver.wake()
        self._sending.note()  # the snapshot, and what was waiting when the connection was lost

    def _detach(self, code: int, seconds: float) -> None:
        """Let go of the socket and free the engine at once."""
        if self._cut_off is not None:
            self._cut_off.cancel()
        self._driver.suspend()
        self._record.line_ended(code, seconds)

    # ---- the session ----

    async def _check_first(self, event: protocol.ClientEvent) -> None:
        """Let the client's first event take over an older session; see `ResumableSessions`."""
        await self._state.sessions.check(event, asking=self)

    async def _serve(self) -> int:
        """Run until the session is closed or the client gone; return the close code."""
        writer = asyncio.create_task(self._write())
        others: list[asyncio.Task[None]] = [
            asyncio.create_task(self._intake.run(self._socket)),
            asyncio.create_task(self._ticker.run()),
        ]
        each: asyncio.Task[Any] = writer
        try:
            await asyncio.wait([writer, *others], return_when=asyncio.FIRST_COMPLETED)
            for each in others:
                if each.done():
                    each.result()  # raises whatever ended it
            return await writer
        finally:
            for each in (writer, *others):
                each.cancel()
            await asyncio.gather(writer, *others, return_exceptions=True)
            # What is raised refers to this frame. If that referred to the tasks, which refer to
            # what they raised, all of it would stay until the collector of garbage finds it.
            del each, others, writer

    async def _write(self) -> int:
        close = await self._sending.run(self._socket)
        await self._end(close.code, close.reason)
        return close.code

    # ---- what replicas share ----

    async def _leave(self, time_left_s: float) -> None:
        """Close once everything committed has its finals, and let another replica continue."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(time_left_s / 2):
                while self._session.is_pending:  # noqa: ASYNC110 - many things end it
                    await asyncio.sleep(LOOK_S)
        # From here on, nothing happens to the session that its client would not be told.
        self._is_left = self._ticker.is_over = True
        self._driver.suspend()
        self.close(Close(protocol.CLOSE_DRAINED, "the session goes on at another replica"))

    def _supersede(self) -> None:
        """Another replica has the session."""
        share = self.share
        if self.ended.is_set():
            self._state.sessions.retire(self)
        elif share is not None and share.is_unsure:
            # Its client has no other line: it came back here while Redis was lost.
            self.close(Close(protocol.CLOSE_RESTARTED, "the session was at another replica"))
        else:
            self.close(Close(protocol.CLOSE_SUPERSEDED, "the session went on elsewhere"))

    def _save_again(self) -> None:
        """Redis is back, perhaps without the session: write all of it, even if nobody is there."""
        self._sending.note()
        if self.ended.is_set() and self._is_created and not self._is_retired:
            self._leaving = asyncio.create_task(self._sending.save())

    def _stop_sharing(self) -> None:
        if self._saving is not None:
            self._saving.end(is_over=not self._is_left)

    def _start_job(self, job: Job, follow: FollowJob) -> Cancellable:
        """Hand a job to the engine; a bug in handling its results ends this session only."""

        def take(tokens: Tokens, ending: Outcome | TranslationFailed | None) -> None:
            try:
                follow(tokens, ending)
            except Exception:
                # Called by the event loop, so this is an outermost edge too.
                logger.exception("job failed", extra={"data": {"session": self.session_id}})
                self.close(Close(protocol.CLOSE_INTERNAL, "internal error"))

        # While many wait for their turn, words come faster than they are told.
        return self._state.translator.start(job, Newest(self._turns, take))

    def _set_audience(self, targets: frozenset[str]) -> None:
        """Readers of the session's room want these languages."""
        if self._session.hold(targets) and self._compiling is None:
            self._compiling = asyncio.create_task(self._compile())
        self._driver.set_audience(targets)
        self._ticker.note()

    async def _compile(self) -> None:
        """Compile in a thread what new languages need, then translate into them."""
        try:
            while (compiling := self._session.compiling()) is not None:
                await in_thread(compiling)
        finally:
            self._compiling = None
            self._session.let_go()
            self._ticker.note()

    # ---- the sink of the driver ----

    def send(self, event: protocol.ServerEvent, arrival_s: float | None) -> None:
        """Put an event into the outbox, and let the session's room hear it."""
        if not self._seat.pass_on(event, self._state.now_s()):
            if self.share is not None:
                self._sending.note()
            return
        if self._sending.close is not None:
            return
        self._record.told(event)
        self._outbox.push(event, arrival_s)
        if self._outbox.is_over:
            self._record.read_too_slowly()
            self._outbox.clear()
            message = "frames were read too slowly"
            self._outbox.push(protocol.SessionNotice("slow_consumer", message))
            self.close(Close(protocol.CLOSE_OVERLOADED, "slow consumer"))
        self._sending.note()

    def close(self, close: Close) -> None:
        """Close once everything is sent; a client that does not take it is disconnected."""
        if self._sending.close is None:
            self._sending.close = close
            self._cut_off = asyncio.get_running_loop().call_later(GRACE_S, self._socket.abort)
        self._sending.note()

    def job_started(self, job: Job) -> None:
        """Count an update."""
        self._record.job_started(job)

    def job_ended(self, job: Job, outcome: Outcome) -> None:
        """Record how long an update took; there may be room for more now."""
        self._job_over()
        self._record.job_ended(job, outcome)

    def job_failed(self, job: Job, problem: TranslationFailed) -> None:
        """Log that a job could not be run."""
        self._job_over()
        self._record.job_failed(job, problem)

    def _job_over(self) -> None:
        """There may be room to read more, or to cut more of a long text."""
        self._intake.note_room()
        if self._driver.next_tick_s() <= 0.0:
            self._ticker.note()

    # ---- the end ----

    async def _end(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(GRACE_S):
                await self._socket.close(code, reason)
        except Disconnected:
            pass
        except TimeoutError:
            self._socket.abort()


def _age_s(found: Found) -> float:
    """Return how long ago a session began: at least any `t_ms` that its client has seen, in s."""
    line = found.parts["line"]
    return max(time.time() - line["began"], line["t_ms"] / 1e3)  # whatever the clocks say
