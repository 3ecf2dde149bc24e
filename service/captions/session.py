"""One connection as a state machine: client events in; server events and translation jobs out.

Knows the protocol, segments and translations. Does no I/O and reads no clock: every call gets the
time, in seconds on one monotonic clock, and returns what is to be done.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from service.captions.actions import Action, Close, Counters, Outcome, Send, Start, Stop
from service.captions.glossary import Glossary
from service.captions.policy import TokenText
from service.captions.segment import Segment
from service.captions.segmenter import cut_at
from service.captions.settings import MAX_CONTEXT, ModelInfo, Settings
from service.captions.stream import ContextPair, Job, TargetStream
from service.errors import ProtocolError
from service.load.limits import Bucket, Limits
from service.wire import protocol
from service.wire.protocol import Error, FinalStats, Timing

PROGRESS_INTERVAL_S: Final = 0.05  # between deltas of an update that is still being decoded
NOTICE_INTERVAL_S: Final = 1.0
MAX_CLOSED_SEGMENTS: Final = 1000  # names of finished segments that are remembered


@dataclass(slots=True)
class _Open:
    """A segment with its translations."""

    segment: Segment
    streams: dict[str, TargetStream] = field(default_factory=dict)
    parked: dict[str, TargetStream] = field(default_factory=dict)  # languages not wanted now
    finals: set[str] = field(default_factory=set)  # targets whose final is sent
    next_progress: dict[str, float] = field(default_factory=dict)


class Session:
    """State of one connection.

    Args:
        session_id: names the session in events and job keys.
        model: what can be asked for.
        limits: bounds.
        token_text: turns ids into text.
        now: when the session begins.
    """

    def __init__(
        self, session_id: str, model: ModelInfo, limits: Limits, token_text: TokenText, now: float
    ) -> None:
        self.id = session_id
        self.counters = Counters()
        self.is_closing = False
        self.interval_s = 0.0  # between partials at least, by how busy the machine is
        self._next_partial = now
        self._model = model
        self._limits = limits
        self._token_text = token_text
        self._started = self._last_frame = now
        self._settings = Settings(context=model.default_context)
        self._open: dict[str, _Open] = {}  # by wire id
        self._names: dict[str, str] = {}  # client's id -> wire id of the part that is open
        self._closed: OrderedDict[str, int] = OrderedDict()  # client's id -> last rev
        self._implicit = 0
        self._glossaries: dict[str, Glossary] = {}  # by target
        self._context: dict[str, deque[ContextPair]] = {}
        self._updates = Bucket(limits.updates_per_s, now)
        self._noticed = float("-inf")
        self._close: Close | None = None
        self._source_chars = 0
        self._target_tokens = 0

    # ---- what comes in ----

    def open(self, now: float, epoch: str, resume_token: str | None = None) -> list[Action]:
        """Greet the client."""
        limits = self._limits
        info = protocol.SessionInfo(
            id=self.id,
            epoch=epoch,
            limits=protocol.LimitsInfo(
                limits.frame_bytes, limits.segment_chars, limits.updates_per_s, limits.idle_s
            ),
            model=self._model.name,
            languages=self._model.languages,
            resume_token=resume_token,
        )
        self._last_frame = now
        return [Send(protocol.SessionCreated(info))]

    def receive(self, event: protocol.ClientEvent, now: float, wall_time: float) -> list[Action]:
        """Take in an event; `wall_time` in seconds since 1970 is for `pong` alone."""
        self._last_frame = now
        try:
            if isinstance(event, protocol.Ping):
                return [Send(protocol.Pong(wall_time, event.id))]
            if self.is_closing:
                raise ProtocolError("invalid_event", "the session is closing")
            return self._handlers[type(event)](self, event, now)
        except ProtocolError as exc:
            exc.event_id = event.event_id
            return [self._error(exc)]

    def refuse(self, exc: ProtocolError, now: float) -> list[Action]:
        """Take in a frame that is no event."""
        self._last_frame = now
        return [self._error(exc)]

    def progress(self, job: Job, tokens: tuple[int, ...], now: float) -> list[Action]:
        """Take in an output that is still being decoded."""
        found = self._open.get(job.key[1])
        stream = found.streams.get(job.target) if found else None
        if found is None or stream is None or found.next_progress.get(job.target, 0.0) > now:
            return []
        found.next_progress[job.target] = now + PROGRESS_INTERVAL_S
        stream.progress(job, tokens)
        return self._deltas(found, stream, job, None, now)

    def complete(self, job: Job, outcome: Outcome, now: float) -> list[Action]:
        """Take in a finished output."""
        self._target_tokens += len(outcome.tokens) - len(job.work.forced)
        found = self._open.get(job.key[1])
        stream = found.streams.get(job.target) if found else None
        if found is None or stream is None or not outcome.is_current:
            return []
        following = stream.complete(job, outcome.tokens, is_whole=outcome.is_whole)
        actions: list[Action] = [] if following is None else [Start(following)]
        self._remember(stream)
        return actions + self._after_job(found, stream, job, outcome.timing, now)

    def fail(self, job: Job, code: str, message: str, now: float) -> list[Action]:
        """Take in that a job could not be run; a final is sent all the same, with what there is."""
        found = self._open.get(job.key[1])
        stream = found.streams.get(job.target) if found else None
        if found is None or stream is None:
            return []
        stream.fail(job)
        message = f"segment {job.key[1]!r} to {job.target}: {message}"
        error = Send(protocol.make_error(code, message, "segment_id"))
        return [error, *self._after_job(found, stream, job, None, now)]

    def tick(self, now: float) -> list[Action]:
        """Do what has become due."""
        actions: list[Action] = []
        if now >= self._next_partial:
            for found in list(self._open.values()):
                if found.segment.is_dirty and self._updates.take(now):
                    actions += self._revise(found, now)
        if not self.is_closing and now - self._last_frame >= self._limits.idle_s:
            actions += self._begin_close("idle", protocol.CLOSE_IDLE, now)
        return actions

    def next_tick(self) -> float:
        """Return when `tick` is due."""
        idle = self._last_frame + self._limits.idle_s
        if any(found.segment.is_dirty for found in self._open.values()):
            return min(idle, max(self._updates.ready_at(), self._next_partial))
        return float("inf") if self.is_closing else idle

    def drain(self, time_left_s: float, now: float) -> list[Action]:
        """The server goes away: finish every segment, then close."""
        if self.is_closing:
            return []
        # Sessions do not outlive the process, so there is no token to come back with.
        notice = Send(protocol.SessionGoingAway(time_left_s * 1e3, "shutdown"))
        return [notice, *self._begin_close("shutdown", protocol.CLOSE_DRAINED, now)]

    def suspend(self) -> None:
        """The line was lost: wait for no job any more."""
        for found in self._open.values():
            for stream in found.streams.values():
                stream.stop()

    def wake(self, now: float) -> list[Action]:
        """The client is back: ask again for what was not done."""
        self._last_frame = now
        return [a for found in list(self._open.values()) for a in self._revise(found, now)]

    def snapshot(self) -> tuple[protocol.SnapshotSegment, ...]:
        """Return the open segments as they were told."""
        return tuple(
            protocol.SnapshotSegment(segment_id, target, stream.committed, stream.unstable)
            for segment_id, found in self._open.items()
            for target, stream in found.streams.items()
        )

    # ---- handlers of client events ----

    def _on_session_update(self, event: protocol.SessionUpdate, now: float) -> list[Action]:
        settings = self._settings.merged(event.session, self._model, self._limits.targets)
        is_other_source = settings.source != self._settings.source
        self._settings = settings
        self._glossaries = {
            target: settings.glossary_of(target, self._model) for target in settings.targets
        }
        actions: list[Action] = []
        for found in list(self._open.values()):
            actions += self._resettle(found, is_other_source)
            if not found.segment.is_committed:
                actions += self._revise(found, now)
        for target in settings.targets:
            self._context.setdefault(target, deque(maxlen=MAX_CONTEXT))
        if is_other_source:
            for pairs in self._context.values():
                pairs.clear()
        return [
            Send(protocol.SessionUpdated(self._settings.applied())),
            *actions,
            *self._finish(now),
        ]

    def _on_source_update(self, event: protocol.SourceUpdate, now: float) -> list[Action]:
        if self._is_stale(event.segment_id, event.rev):
            self.counters.stale_revisions += 1
            return []
        found = self._find_or_open(event.segment_id, now)
        segment = found.segment
        if event.rev <= segment.rev:
            self.counters.stale_revisions += 1
            return []
        segment.rev, segment.stable, segment.unstable = event.rev, event.stable, event.unstable
        segment.start_ms = segment.start_ms if event.start_ms is None else event.start_ms
        segment.end_ms = segment.end_ms if event.end_ms is None else event.end_ms
        segment.is_appended = False
        return self._updated(found, now)

    def _on_source_append(self, event: protocol.SourceAppend, now: float) -> list[Action]:
        found = self._find_or_open(event.segment_id, now)
        segment = found.segment
        segment.stable = segment.stable + segment.unstable + event.text
        segment.unstable = ""
        segment.rev += 1
        segment.is_appended = True
        return self._updated(found, now)

    def _on_source_commit(self, event: protocol.SourceCommit, now: float) -> list[Action]:
        name = event.segment_id or self._implicit_name()
        if name in self._closed or (name not in self._names and event.text is None):
            if event.segment_id is None or name in self._closed:
                self.counters.repeated_commits += 1
                return []
            raise ProtocolError("unknown_segment", f"no segment {name!r} is open", "segment_id")
        found = self._find_or_open(event.segment_id, now)
        segment = found.segment
        if event.text is not None:
            segment.stable, segment.unstable = event.text, ""
        if event.rev is not None:
            segment.rev = max(segment.rev, event.rev)
        segment.rev = max(segment.rev, 0)
        actions = self._split_long(found, now)
        last = self._open[self._names[name]]
        return actions + self._commit(last, now) + self._finish(now)

    def _on_source_cancel(self, event: protocol.SourceCancel, now: float) -> list[Action]:
        name = event.segment_id or self._implicit_name()
        wanted = [f for f in self._open.values() if f.segment.client_id == name]
        if not wanted:
            raise ProtocolError("unknown_segment", f"no segment {name!r} is open", "segment_id")
        actions: list[Action] = []
        for found in wanted:
            actions += [Stop(key) for s in found.streams.values() for key in s.stop()]
            actions += [
                Send(protocol.TranslationRetracted(found.segment.segment_id, target))
                for target in found.streams
                if target not in found.finals
            ]
            self._forget(found)
        return actions + self._finish(now)

    def _on_source_flush(self, event: protocol.SourceFlush, now: float) -> list[Action]:
        return self._commit_all(now) + self._finish(now)

    def _on_session_resume(self, event: protocol.SessionResume, now: float) -> list[Action]:
        raise ProtocolError(
            "session_expired", "there is no such session any more; go on with the new one"
        )

    def _on_session_close(self, event: protocol.SessionClose, now: float) -> list[Action]:
        return self._begin_close("client", protocol.CLOSE_DONE, now)

    _handlers: dict[type, Callable[..., list[Action]]] = {
        protocol.SessionUpdate: _on_session_update,
        protocol.SourceUpdate: _on_source_update,
        protocol.SourceAppend: _on_source_append,
        protocol.SourceCommit: _on_source_commit,
        protocol.SourceCancel: _on_source_cancel,
        protocol.SourceFlush: _on_source_flush,
        protocol.SessionResume: _on_session_resume,
        protocol.SessionClose: _on_session_close,
    }

    # ---- segments ----

    def _resettle(self, found: _Open, is_other_source: bool) -> list[Action]:
        """Stop the languages of a segment that are not wanted any more, or not like that."""
        settings = self._settings
        actions: list[Action] = []
        for target, stream in list(found.streams.items()):
            stream.preset = settings.preset
            stream.glossary = self._glossaries.get(target, stream.glossary)
            # Text that is appended already cannot be asked for again from another language.
            is_restarted = (
                is_other_source and not stream.committed and not found.segment.is_committed
            )
            if target in found.finals or (target in settings.targets and not is_restarted):
                continue
            actions += [Stop(key) for key in stream.stop()]
            del found.streams[target]
            if not is_restarted:
                found.parked[target] = stream
        self._forget_if_done(found)
        return actions

    def _implicit_name(self) -> str:
        return f"auto-{self._implicit + 1}"

    def _is_stale(self, name: str | None, rev: int) -> bool:
        return name is not None and self._closed.get(name, -1) >= rev

    def _find_or_open(self, client_id: str | None, now: float) -> _Open:
        if not self._settings.targets:
            raise ProtocolError(
                "invalid_event", "no target language is set; send session.update first", "type"
            )
        name = client_id or self._implicit_name()
        if name in self._closed:
            raise ProtocolError(
                "unknown_segment", f"segment {name!r} is committed already", "segment_id"
            )
        if name in self._names:
            return self._open[self._names[name]]
        # Finals that are awaited do not count: whole pages may be pasted at once.
        count = sum(not found.segment.is_committed for found in self._open.values())
        if count >= self._limits.open_segments:
            raise ProtocolError("rate_limited", f"{count} segments are open already", "segment_id")
        return self._add(Segment(name, name, first_arrival=now))

    def _add(self, segment: Segment) -> _Open:
        found = _Open(segment)
        self._open[segment.segment_id] = found
        self._names[segment.client_id] = segment.segment_id
        return found

    def _updated(self, found: _Open, now: float) -> list[Action]:
        """A segment has news: translate it, or note it for later when there are too many."""
        actions = self._split_long(found, now)
        found = self._open[self._names[found.segment.client_id]]
        found.segment.arrival = now
        is_thinned = now < self._next_partial
        if is_thinned or not self._updates.take(now):
            self.counters.coalesced += 1
            found.segment.is_dirty = True
            if now - self._noticed >= NOTICE_INTERVAL_S:
                self._noticed = now
                actions.append(Send(self._notice(is_thinned=is_thinned)))
            return actions
        return actions + self._revise(found, now)

    def _notice(self, *, is_thinned: bool) -> protocol.SessionNotice:
        if is_thinned:
            seldom = f"the machine is busy: a translation every {self.interval_s:.1f} s"
            return protocol.SessionNotice("degraded", seldom)
        limit = f"more than {self._limits.updates_per_s} updates in a second"
        return protocol.SessionNotice("coalescing", limit)

    def _split_long(self, found: _Open, now: float) -> list[Action]:
        """Force a boundary where a segment has become too long; the rest goes on by itself."""
        actions: list[Action] = []
        limit = self._limits.segment_chars
        while len(found.segment.text) > limit:
            long = found.segment
            cut = cut_at(long.text, limit)
            offset = len(long.stable + long.unstable) - len(long.text) + cut
            full, is_appended = long.stable + long.unstable, long.is_appended
            rest = Segment(
                f"{long.client_id}~{long.part + 1}",
                long.client_id,
                first_arrival=now,
                base=full[:offset],
                part=long.part + 1,
                rev=long.rev,
                stable=full[: max(offset, len(long.stable))],
                unstable=full[max(offset, len(long.stable)) :],
                start_ms=long.start_ms,
                end_ms=long.end_ms,
                is_appended=is_appended,
            )
            long.stable, long.unstable = full[:offset], ""
            message = (
                f"segment {long.segment_id!r} is cut after {limit} characters and goes on as "
                f"{rest.segment_id!r}"
            )
            actions.append(Send(protocol.make_error("text_too_long", message, "segment_id")))
            actions += self._commit(found, now, is_last=False)
            found = self._add(rest)
        return actions

    def _revise(self, found: _Open, now: float) -> list[Action]:
        """Give the newest text of a segment to its translations."""
        settings, segment = self._settings, found.segment
        segment.is_dirty = False
        if not segment.is_committed:
            self._next_partial = now + self.interval_s
        if not settings.partials and not segment.is_committed:
            return []
        for target in settings.targets:
            if target in found.parked:  # wanted again: it goes on from what it appended
                found.streams[target] = found.parked.pop(target)
            elif target not in found.streams and target not in found.finals:
                found.streams[target] = TargetStream(
                    self.id,
                    segment.segment_id,
                    settings.source,
                    target,
                    settings.preset,
                    self._token_text,
                    self._glossaries[target],
                )
        frozen = len(segment.frozen)
        covered = max((s.covered_words(frozen) for s in found.streams.values()), default=0)
        sources = segment.pieces(covered)
        actions: list[Action] = []
        for target, stream in found.streams.items():
            pairs = list(self._context.get(target, ()))
            context = pairs[len(pairs) - min(settings.context, len(pairs)) :]
            jobs, dropped = stream.revise(
                sources, max(segment.rev, 0), segment.arrival or now, context
            )
            actions += [Stop(key) for key in dropped]
            actions += [Start(job) for job in jobs]
            if not segment.is_committed:
                actions += self._deltas(found, stream, None, None, now)
        return actions

    def _commit(self, found: _Open, now: float, *, is_last: bool = True) -> list[Action]:
        """The source of a segment is complete."""
        segment = found.segment
        segment.committed_at = segment.arrival = now
        self._source_chars += len(segment.text)
        if is_last:
            name = segment.client_id
            if name == self._implicit_name():
                self._implicit += 1
            self._names.pop(name, None)
            self._closed[name] = segment.rev
            if len(self._closed) > MAX_CLOSED_SEGMENTS:
                self._closed.popitem(last=False)
        actions = self._revise(found, now)
        for stream in list(found.streams.values()):
            actions += self._finals(found, stream, None, now)
        self._forget_if_done(found)
        return actions

    def _commit_all(self, now: float) -> list[Action]:
        waiting = [f for f in self._open.values() if not f.segment.is_committed]
        return [action for found in waiting for action in self._commit(found, now)]

    def _forget(self, found: _Open) -> None:
        segment = found.segment
        self._open.pop(segment.segment_id, None)
        if self._names.get(segment.client_id) == segment.segment_id:
            del self._names[segment.client_id]
            self._closed[segment.client_id] = segment.rev
            if segment.client_id == self._implicit_name():
                self._implicit += 1

    def _forget_if_done(self, found: _Open) -> None:
        if found.segment.is_committed and not set(found.streams) - found.finals:
            self._open.pop(found.segment.segment_id, None)

    # ---- what goes out ----

    def _after_job(
        self, found: _Open, stream: TargetStream, job: Job, timing: Timing | None, now: float
    ) -> list[Action]:
        if found.segment.is_committed and stream.is_done:
            actions = self._finals(found, stream, timing, now)
            self._forget_if_done(found)
            return actions + self._finish(now)
        return self._deltas(found, stream, job, timing, now)

    def _deltas(
        self,
        found: _Open,
        stream: TargetStream,
        job: Job | None,
        timing: Timing | None,
        now: float,
    ) -> list[Action]:
        """Send what changed; the end of an update is always told to a client that wants timing."""
        append, unstable, is_news = stream.take(now)
        timing = timing if self._settings.timing else None
        if not is_news and timing is None:
            return []
        segment = found.segment
        rev = max(segment.rev, 0) if job is None else job.rev
        delta = protocol.TranslationDelta(
            segment.segment_id, stream.target, rev, append, unstable, timing
        )
        return [Send(delta, segment.arrival if job is None else job.arrival)]

    def _finals(
        self, found: _Open, stream: TargetStream, timing: Timing | None, now: float
    ) -> list[Action]:
        if not stream.is_done or stream.target in found.finals:
            return []
        stream.take(now)
        found.finals.add(stream.target)
        segment = found.segment
        assert segment.committed_at is not None
        first = now if stream.first_shown is None else stream.first_shown
        final = protocol.TranslationFinal(
            segment_id=segment.segment_id,
            target=stream.target,
            text=stream.committed,
            source_text=segment.text,
            stats=FinalStats(
                updates=stream.updates,
                erased=stream.erased,
                first_ms=round((first - segment.first_arrival) * 1e3, 3),
                final_ms=round((now - segment.committed_at) * 1e3, 3),
                terms=stream.terms,
                violations=stream.violations,
            ),
            start_ms=segment.start_ms,
            end_ms=segment.end_ms,
            timing=timing if self._settings.timing else None,
        )
        return [Send(final, segment.committed_at)]

    def _remember(self, stream: TargetStream) -> None:
        pairs = self._context.setdefault(stream.target, deque(maxlen=MAX_CONTEXT))
        pairs.extend(stream.remember())

    def _error(self, exc: ProtocolError) -> Send:
        self.counters.errors += 1
        event: Error = protocol.error_event(exc)
        return Send(event)

    def _begin_close(self, reason: str, code: int, now: float) -> list[Action]:
        actions = self._commit_all(now)
        self.is_closing = True
        self._close = Close(code, reason)
        return actions + self._finish(now)

    def _finish(self, now: float) -> list[Action]:
        """End the session once nothing is open any more."""
        if self._close is None or self._open:
            return []
        close, self._close = self._close, None
        usage = protocol.Usage(
            self._source_chars, self._target_tokens, round(now - self._started, 3)
        )
        return [Send(protocol.SessionClosed(close.reason, usage)), close]
