"""One socket and its session: reads frames, runs jobs, writes events.

All decisions are the session's; this file owns the tasks, the clock and the socket.
"""

import asyncio
import contextlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final, Protocol

from service.captions.actions import Action, Close, Send, Start, Stop
from service.captions.session import Session
from service.captions.settings import ModelInfo
from service.captions.stream import Job
from service.config import Config
from service.doors.auth import Auth
from service.errors import AuthError, ProtocolError, TranslationFailed
from service.load.admission import Admission, Work
from service.load.limits import Bucket
from service.load.metrics import Metrics
from service.logs import text_data
from service.translator import Running, Translator
from service.wire import protocol
from service.wire.outbox import Outbox
from tokenspeed.engine.engine import EngineStats

logger = logging.getLogger("service.doors.connection")

GRACE_S: Final = 5.0  # for a client to take the last frames and the close
RESUME_S: Final = 60.0  # that a session waits for its client to come back
LOST_LINE: Final = (1005, 1006, protocol.CLOSE_SUPERSEDED)  # without a word of farewell
MEASURE_S: Final = 1.0  # between looks at the engine's counters
FIRST_MESSAGE_S: Final = 10.0  # for credentials in the first message


class Resumes(Exception):
    """The first message of a connection takes over an older session.

    Attributes:
        older: the connection that has it.
        last_seq: the newest event that the client has.
    """

    def __init__(self, older: "Connection", last_seq: int) -> None:
        self.older = older
        self.last_seq = last_seq
        super().__init__(f"resumes after {last_seq}")


class Disconnected(Exception):
    """The client is gone.

    Attributes:
        code: with which it closed; 1006 where it just went.
    """

    def __init__(self, code: int = 1006) -> None:
        self.code = code
        super().__init__(f"the client left with {code}")


class Socket(Protocol):
    """What a connection needs of a WebSocket."""

    async def receive(self) -> str | bytes:
        """Return the next frame, or raise Disconnected."""
        ...

    async def send(self, frame: str) -> None:
        """Hand a frame over, waiting while the client reads too slowly; or raise Disconnected."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """End the connection."""
        ...

    def abort(self) -> None:
        """Cut the line at once."""
        ...


@dataclass
class Hub:
    """What all connections share.

    Attributes:
        connections: open ones, authenticated or not.
        sessions: by id; those whose line was lost wait here for a while to be resumed.
        is_draining: the service is going away and takes nobody new.
        admission: who is let in, and how often partials come.
        stats: of the engine.
    """

    config: Config
    translator: Translator
    model: ModelInfo
    auth: Auth
    metrics: Metrics
    epoch: str
    admission: Admission
    stats: Callable[[], EngineStats]
    connections: set["Connection"] = field(default_factory=set)
    sessions: dict[str, "Connection"] = field(default_factory=dict)
    is_draining: bool = False
    measured: float = float("-inf")  # when the engine was asked last

    def measure(self) -> None:
        """Let the admission know what the engine does, about every second."""
        now = self.now()
        if now - self.measured >= MEASURE_S:
            self.measured = now
            stats = self.stats()
            self.admission.measure(Work(stats.rows, stats.step_s, stats.row_s), now)

    def now(self) -> float:
        """Seconds on the engine's clock."""
        return self.translator.engine.clock()


class Connection:
    """Serves one client until it or the session ends; `ended` is set while no socket is attached.

    Args:
        hub: shared state.
        socket: accepted already.
        session_id: unique.
    """

    def __init__(self, hub: Hub, socket: Socket, session_id: str) -> None:
        now = hub.now()
        self.ended = asyncio.Event()
        limits = hub.config.limits
        self._hub = hub
        self._socket = socket
        self._session = Session(session_id, hub.model, limits, hub.translator.token_text, now)
        self._outbox = Outbox(limits.queue_events, limits.queue_bytes, now)
        self._messages = Bucket(limits.messages_per_s, now)
        self._resume_token = secrets.token_urlsafe(24)
        self._running: dict[tuple[str, str, str, int], Running] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._has_news = asyncio.Event()
        self._changed_tick = asyncio.Event()
        self._close: Close | None = None
        self._cut_off: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._is_created = False
        self._is_first = True  # no event of the client was taken yet

    async def run(self, credential: str | None) -> None:
        """Serve the client; returns once the connection is closed."""
        try:
            await self._attached(self._begin(credential))
        except Resumes as exc:
            await exc.older.resume(self._socket, exc.last_seq)

    async def resume(self, socket: Socket, last_seq: int) -> None:
        """Go on with this session on another socket; returns once that is closed."""
        while not self.ended.is_set():
            # The old line is most often dead without knowing it.
            await self._end(protocol.CLOSE_SUPERSEDED, "superseded by a resume")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.ended.wait()
            if not self.ended.is_set():
                self._socket.abort()
                await self.ended.wait()
        if self._expiry is not None:
            self._expiry.cancel()
        self._hub.sessions[self._session.id] = self
        self._socket = socket
        await self._attached(self._replay(last_seq))

    async def _attached(self, beginning: Coroutine[None, None, None]) -> None:
        """Serve a socket to its end."""
        hub = self._hub
        hub.connections.add(self)
        self.ended.clear()
        started = hub.now()
        code = protocol.CLOSE_INTERNAL
        may_resume = False
        try:
            await beginning
            hub.metrics.sessions.inc()
            hub.admission.open(self._session.id, hub.now())
            self._is_created = True
            if hub.is_draining:  # the drain began meanwhile
                self.drain(hub.config.drain_s)
            try:
                code = await self._serve()
            finally:
                hub.metrics.sessions.dec()
                hub.admission.close(self._session.id)
        except Resumes:
            code = protocol.CLOSE_DONE
            raise
        except AuthError as exc:
            code = await self._refuse(exc)
        except Disconnected as exc:
            code = exc.code
            may_resume = code in LOST_LINE and self._is_created and self._close is None
        except Exception:
            # The connection's edge: a bug of ours ends this session, not the service.
            logger.exception("session failed", extra={"data": {"session": self._session.id}})
            await self._end(protocol.CLOSE_INTERNAL, "internal error")
        finally:
            hub.connections.discard(self)
            self._detach(code, hub.now() - started)
            has_room = len(hub.sessions) <= 2 * hub.config.max_sessions
            if may_resume and has_room and not hub.is_draining:
                self._expiry = asyncio.get_running_loop().call_later(RESUME_S, self._retire)
            else:
                self._retire()
            self.ended.set()

    async def _begin(self, credential: str | None) -> None:
        first = await self._authenticate(credential)
        hub = self._hub
        hub.sessions[self._session.id] = self
        self._do(self._session.open(hub.now(), hub.epoch, self._resume_token))
        if first is not None:
            self._take(first)

    async def _replay(self, last_seq: int) -> None:
        """Send what a client missed, then let the session go on."""
        now = self._hub.now()
        missed = self._outbox.replay(last_seq)
        # Numbered as the last event that the client has: it counts none that are replayed.
        resumed = protocol.SessionResumed(missed is not None, last_seq + 1, seq=last_seq)
        await self._socket.send(protocol.serialise(resumed))
        for frame in missed or ():
            await self._socket.send(frame)
        if missed is None:
            self._outbox.push(protocol.SessionSnapshot(self._session.snapshot()))
        self._do(self._session.wake(now))

    def _detach(self, code: int, seconds: float) -> None:
        """Let go of the socket and free the engine at once."""
        if self._cut_off is not None:
            self._cut_off.cancel()
        for running in self._running.values():
            running.cancel()
        for task in self._jobs:
            task.cancel()
        self._running.clear()
        self._session.suspend()
        self._hub.metrics.closed.labels(str(code)).inc()
        data = {"session": self._session.id, "code": code, "seconds": round(seconds, 3)}
        logger.info("connection ended", extra={"data": data})

    def _retire(self) -> None:
        """Forget the session."""
        self._hub.sessions.pop(self._session.id, None)
        metrics, counters = self._hub.metrics, self._session.counters
        metrics.stale.inc(counters.stale_revisions)
        metrics.coalesced.labels("revisions").inc(counters.coalesced)
        metrics.coalesced.labels("deltas").inc(self._outbox.coalesced)

    def _find_resumed(self, event: protocol.ClientEvent) -> "Connection | None":
        """Return the connection whose session an event rightly asks for."""
        if not isinstance(event, protocol.SessionResume) or event.epoch != self._hub.epoch:
            return None
        found = self._hub.sessions.get(event.session_id)
        if found is None or found is self:
            return None
        token = found._resume_token
        is_right = hmac.compare_digest(event.resume_token.encode(), token.encode())
        return found if is_right else None

    def drain(self, time_left_s: float) -> None:
        """Finish every segment, then close."""
        if self._is_created:
            self._do(self._session.drain(time_left_s, self._hub.now()))
        else:
            self._begin_close(Close(protocol.CLOSE_OVERLOADED, "going away"))

    # ---- before the session ----

    async def _authenticate(self, credential: str | None) -> str | bytes | None:
        """Check the credentials; return the first frame where they came in it.

        Raises:
            AuthError: they are missing or wrong.
            Disconnected: the client left.
        """
        auth = self._hub.auth
        if not auth.is_required or credential is not None:
            self._accept(credential)
            return None
        try:
            async with asyncio.timeout(FIRST_MESSAGE_S):
                frame = await self._socket.receive()
            event = protocol.parse_client(frame)
        except TimeoutError:
            raise AuthError("no credentials came") from None
        except ProtocolError as exc:
            raise AuthError("the first message must be a session.update with a token") from exc
        older = self._find_resumed(event)
        if older is not None and isinstance(event, protocol.SessionResume):
            raise Resumes(older, event.last_seq)
        self._accept(getattr(event, "token", None))
        return frame

    def _accept(self, credential: str | None) -> None:
        session_id = self._hub.auth.check(credential, self._hub.now())
        self._session.id = session_id or self._session.id

    async def _refuse(self, exc: AuthError) -> int:
        self._hub.metrics.refused.labels("unauthorized").inc()
        self._outbox.push(protocol.make_error("unauthorized", str(exc), "token"))
        popped = self._outbox.pop(self._hub.now())
        assert popped is not None
        try:
            await self._socket.send(popped[1])
        except Disconnected as gone:
            return gone.code
        await self._end(protocol.CLOSE_UNAUTHENTICATED, "unauthorized")
        return protocol.CLOSE_UNAUTHENTICATED

    # ---- the session ----

    async def _serve(self) -> int:
        """Run until the session is closed or the client gone; return the close code."""
        writer = asyncio.create_task(self._write())
        others: list[asyncio.Task[None]] = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._tick()),
        ]
        try:
            await asyncio.wait([writer, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                if task.done():
                    task.result()  # raises what ended it
            return await writer
        finally:
            for each in (writer, *others):
                each.cancel()
            await asyncio.gather(writer, *others, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            self._take(await self._socket.receive())
            now = self._hub.now()
            if not self._messages.take(now):  # the client's own socket makes it wait
                await asyncio.sleep(self._messages.ready_at() - now)

    def _take(self, frame: str | bytes) -> None:
        now = self._hub.now()
        try:
            event = protocol.parse_client(frame)
        except ProtocolError as exc:
            self._do(self._session.refuse(exc, now))
        else:
            older = self._find_resumed(event) if self._is_first else None
            self._is_first = False
            if older is not None and isinstance(event, protocol.SessionResume):
                raise Resumes(older, event.last_seq)
            self._do(self._session.receive(event, now, time.time()))
        self._changed_tick.set()

    async def _write(self) -> int:
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            while (popped := self._outbox.pop(self._hub.now())) is not None:
                await self._socket.send(popped[1])
            if self._close is not None:
                await self._end(self._close.code, self._close.reason)
                return self._close.code

    async def _tick(self) -> None:
        while True:
            delay = self._session.next_tick() - self._hub.now()
            self._changed_tick.clear()
            try:
                # Not wait_for: before Python 3.12 it can swallow a cancellation.
                async with asyncio.timeout(min(max(delay, 0.0), 3600.0)):
                    await self._changed_tick.wait()
            except TimeoutError:
                self._do(self._session.tick(self._hub.now()))

    def _do(self, actions: list[Action]) -> None:
        """Carry out what the session decided."""
        self._session.interval_s = self._hub.admission.interval_s
        for action in actions:
            if isinstance(action, Send):
                self._push(action)
            elif isinstance(action, Start):
                self._start(action.job)
            elif isinstance(action, Stop):
                running = self._running.pop(action.key, None)
                if running is not None:
                    running.cancel()
            else:
                self._begin_close(action)

    def _push(self, send: Send) -> None:
        if self._close is not None:
            return
        event = send.event
        if isinstance(event, protocol.Error):
            self._hub.metrics.errors.labels(event.error.code).inc()
        if isinstance(event, protocol.TranslationFinal):
            self._log_final(event)
        self._outbox.push(event, send.arrival)
        if self._outbox.is_over:
            self._hub.metrics.slow.inc()
            self._outbox.clear()
            message = "frames were read too slowly"
            self._outbox.push(protocol.SessionNotice("slow_consumer", message))
            self._begin_close(Close(protocol.CLOSE_OVERLOADED, "slow consumer"))
        self._has_news.set()

    def _start(self, job: Job) -> None:
        pair = (job.source_language or "auto", job.target)
        kind = "final" if job.work.is_final else "partial"
        self._hub.metrics.updates.labels(*pair, kind).inc()
        try:
            running = self._hub.translator.start(job)
        except TranslationFailed as exc:
            self._fail(job, exc)
            return
        self._running[job.key] = running
        task = asyncio.create_task(self._follow(job, running))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _follow(self, job: Job, running: Running) -> None:
        """Tell the session of a job's progress and end."""
        hub, session = self._hub, self._session
        try:
            async for tokens in running.outputs():
                self._do(session.progress(job, tokens, hub.now()))
            outcome = await running.outcome()
        except TranslationFailed as exc:
            self._fail(job, exc)
            return
        except Exception:
            # As at the edge of the connection: without this, a bug would leave the session waiting.
            logger.exception("job failed", extra={"data": {"session": self._session.id}})
            self._begin_close(Close(protocol.CLOSE_INTERNAL, "internal error"))
            return
        finally:
            if self._running.get(job.key) is running:
                del self._running[job.key]
        now = hub.now()
        pair = (job.source_language or "auto", job.target)
        kind = "final" if job.work.is_final else "partial"
        if outcome.is_current:
            hub.metrics.update_seconds.labels(*pair, kind).observe(now - job.arrival)
            hub.measure()
            hub.admission.observe(self._session.id, now - job.arrival, now)
        else:
            hub.metrics.superseded.labels(*pair).inc()
        if outcome.timing is not None:
            hub.metrics.queue_seconds.labels(*pair).observe(outcome.timing.queue_ms / 1e3)
            hub.metrics.tokens.labels(*pair, "accepted").inc(outcome.timing.accepted)
            hub.metrics.tokens.labels(*pair, "decoded").inc(outcome.timing.decoded)
        self._do(session.complete(job, outcome, now))

    def _fail(self, job: Job, exc: TranslationFailed) -> None:
        data = {"session": self._session.id, "target": job.target, "problem": str(exc)}
        logger.warning("translation failed", extra={"data": data})
        self._do(self._session.fail(job, exc.code, str(exc), self._hub.now()))

    # ---- the end ----

    def _begin_close(self, close: Close) -> None:
        """Close once everything is sent; a client that does not take it is cut off."""
        if self._close is None:
            self._close = close
            self._cut_off = asyncio.get_running_loop().call_later(GRACE_S, self._socket.abort)
        self._has_news.set()

    async def _end(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(GRACE_S):
                await self._socket.close(code, reason)
        except Disconnected:
            pass
        except TimeoutError:
            self._socket.abort()

    def _log_final(self, event: protocol.TranslationFinal) -> None:
        data = {
            "session": self._session.id,
            "target": event.target,
            "updates": event.stats.updates,
            "erased": event.stats.erased,
            "final_ms": event.stats.final_ms,
            **text_data(self._hub.config.log_text, source=event.source_text, text=event.text),
        }
        logger.debug("segment done", extra={"data": data})
