"""One connection as a state machine: client events in; server events and translation jobs out.

Knows the protocol, segments and translations. Does no I/O and reads no clock: every call gets the
time, in seconds on one monotonic clock, and returns what is to be done.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from service.captions.actions import Action, Close, Counters, Send, Start, Stop
from service.captions.context import Context
from service.captions.cues import Timeline
from service.captions.hygienes import Hygienes
from service.captions.job import Job, JobKey, Outcome
from service.captions.pacing import Pacing, Reader
from service.captions.policy import PRESETS, Preset, Source
from service.captions.reports import delta_of, final_of, source_delta_of, source_final_of
from service.captions.routes import for_pivot, for_target, is_pivoted
from service.captions.segment import Segment
from service.captions.segments import Segments, over
from service.captions.settings import PIVOT, ModelInfo, Settings
from service.captions.spoken import Spoken
from service.captions.stream import TargetStream
from service.captions.streams import Streams
from service.errors import ProtocolError
from service.load.limits import Limits
from service.wire import protocol
from service.wire.protocol import Timing
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.languages import name_of

PROGRESS_INTERVAL_S: Final = 0.05  # between deltas of an update that is still being decoded
MAX_PIECES: Final = 6  # that are asked for in one go, each in each language one: 2 ms or so
MAX_BACKLOG: Final = 64  # jobs that may wait for the engine when more of a long text is cut


@dataclass(slots=True)
class _Revision:
    """A text on its way to the translations of its segment, some pieces at a time."""

    segment: Segment
    sources: list[Source] | None = None  # None: not cut into pieces yet
    num_taken: int = 0


class Session:
    """State of one connection.

    Args:
        session_id: names the session in events and job keys.
        model: what can be asked for.
        limits: bounds.
        new_detokenizer: returns what turns the ids of one output into text.
        now_s: when the session begins.
        presets: how eager translations are, by the name of a stability and "append_only".

    Attributes:
        pacing: when revisions are translated.
        counters: what happened, for metrics.
        is_closing: whether no more source is taken.
        is_full: whether so much waits for its translation that no more is to be read.
        backlog: jobs that wait for the engine, as the driver says.
    """

    def __init__(
        self,
        session_id: str,
        model: ModelInfo,
        limits: Limits,
        new_detokenizer: Callable[[], TokenText],
        now_s: float,
        presets: Mapping[str, Preset] = PRESETS,
    ) -> None:
        self.id = session_id
        self.pacing = Pacing(limits.updates_per_s, now_s)
        self.counters = Counters()
        self.is_closing = False
        self.is_full = False
        self.backlog = 0
        self._model = model
        self._limits = limits
        self._new_detokenizer = new_detokenizer
        self._presets = presets
        self._started_s = self._last_frame_s = now_s
        self._settings = Settings(context=model.default_context)
        self._audience: frozenset[str] = frozenset()  # languages that readers of the room want
        self._is_suspended = False
        self._segments = Segments(limits.open_segments, limits.segment_chars)
        self._streams = Streams()
        self._committed: dict[str, Segment] = {}  # finals are awaited, in the order of commits
        self._revisions: dict[str, _Revision] = {}  # by wire id
        self._hygienes = Hygienes(model)
        self._context = Context()
        self._spoken: str | None = None  # the language of the last segment
        self._readers: dict[str, Reader] = {}  # by target
        self._timeline = Timeline()
        self._close: Close | None = None
        self._source_chars = 0
        self._target_tokens = 0

    # ---- what comes in ----

    def open(self, now_s: float, epoch: str, resume_token: str | None = None) -> list[Action]:
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
        self._last_frame_s = now_s
        return [Send(protocol.SessionCreated(info))]

    def receive(
        self, event: protocol.ClientEvent, now_s: float, wall_time_s: float = 0.0
    ) -> list[Action]:
        """Take in an event; `wall_time_s`, seconds since 1970, is for `pong` alone."""
        self._last_frame_s = now_s
        try:
            if isinstance(event, protocol.Ping):
                return [Send(protocol.Pong(wall_time_s, event.id))]
            if self.is_closing:
                raise ProtocolError("invalid_event", "the session is closing")
            actions = self._handlers[type(event)](self, event, now_s)
            return actions + self._go_on(now_s)
        except ProtocolError as exc:
            exc.event_id = event.event_id
            return [self._error(exc)]

    def refuse(self, exc: ProtocolError, now_s: float) -> list[Action]:
        """Take in a frame that is no event."""
        self._last_frame_s = now_s
        return [self._error(exc)]

    def progress(self, job: Job, tokens: tuple[int, ...], now_s: float) -> list[Action]:
        """Take in an output that is still being decoded."""
        segment, stream = self._find(job.key)
        if segment is None or stream is None or stream.next_progress_s > now_s:
            return []
        stream.next_progress_s = now_s + PROGRESS_INTERVAL_S
        stream.progress(job, tokens)
        if stream.is_pivot:
            return []
        return self._deltas(segment, stream, job, None, now_s)

    def complete(self, job: Job, outcome: Outcome, now_s: float) -> list[Action]:
        """Take in a finished output."""
        self._target_tokens += len(outcome.tokens) - len(job.forced)
        segment, stream = self._find(job.key)
        if segment is None or stream is None or not outcome.is_current:
            return []
        following = stream.complete(job, outcome.tokens, is_whole=outcome.is_whole)
        actions: list[Action] = [] if following is None else [Start(following)]
        self._context.add(stream.target, stream.remember())
        return actions + self._after_job(segment, stream, job, outcome.timing, now_s)

    def fail(self, job: Job, code: str, message: str, now_s: float) -> list[Action]:
        """Take in that a job could not be run; a final is sent all the same, with what there is."""
        segment, stream = self._find(job.key)
        if segment is None or stream is None:
            return []
        following = stream.fail(job)
        message = f"segment {job.key.segment_id!r} to {job.target}: {message}"
        actions: list[Action] = [Send(protocol.make_error(code, message, "segment_id"))]
        if following is not None:
            actions.append(Start(following))
        return actions + self._after_job(segment, stream, job, None, now_s)

    def tick(self, now_s: float) -> list[Action]:
        """Do what has become due."""
        actions: list[Action] = []
        if not self.pacing.is_thinned(now_s):
            for segment in self._segments:
                if segment.is_dirty and self.pacing.take(now_s):
                    self._revise(segment)
        if not self._revisions and (long := self._next_long()) is not None:
            # One part a tick, and its pieces at the next ones: a page that is pasted at once must
            # not hold up other connections.
            return self._cut(long, now_s)
        if now_s >= self._idle_s():
            actions += self._begin_close("idle", protocol.CLOSE_IDLE, now_s)
        return actions + self._go_on(now_s)

    def next_tick_s(self) -> float:
        """Return when `tick` is due."""
        if self._revisions or self._next_long() is not None:
            return 0.0
        if any(segment.is_dirty for segment in self._segments):
            return min(self._idle_s(), self.pacing.ready_s())
        return self._idle_s()

    @property
    def settings(self) -> Settings:
        """What the client asked for, as it is applied."""
        return self._settings

    def set_audience(self, targets: frozenset[str], now_s: float) -> list[Action]:
        """Translate into these languages, too: readers of the session's room want them.

        While the line is lost they are noted alone; `wake` asks for them.
        """
        self._audience = targets
        if self._is_suspended:
            self._hygienes.follow(self._settings, self._targets)
            return []
        return self._retarget(now_s) + self._go_on(now_s)

    def drain(self, time_left_s: float, now_s: float) -> list[Action]:
        """The server goes away: finish every segment, then close."""
        if self.is_closing:
            return []
        # Sessions do not outlive the process, so there is no token to come back with.
        notice = Send(protocol.SessionGoingAway(time_left_s * 1e3, "shutdown"))
        return [notice, *self._begin_close("shutdown", protocol.CLOSE_DRAINED, now_s)]

    def suspend(self) -> None:
        """The line was lost: wait for no job any more."""
        self._is_suspended = True
        self._revisions.clear()
        for segment in self._segments:
            for stream in self._streams.running_of(segment):
                stream.stop()

    def wake(self, now_s: float) -> list[Action]:
        """The client is back: ask again for what was not done."""
        self._is_suspended = False
        self._last_frame_s = now_s
        for segment in self._segments:
            self._revise(segment)
        return self._go_on(now_s)

    def measure_pending(self, now_s: float) -> list[Action]:
        """Find out whether so much waits for its translation that no more is to be read.

        What is read already is taken all the same, so that nothing committed is dropped.
        """
        pending = self._segments.pending_chars
        bound = self._limits.pending_chars
        if self.is_full:
            self.is_full = pending > bound // 2
            self._last_frame_s = now_s  # the client may have spoken, nobody listened
            return []
        self.is_full = pending > bound
        if not self.is_full:
            return []
        waiting = f"{pending} characters wait for their translation; no more is read meanwhile"
        return [Send(protocol.SessionNotice("backlog", waiting))]

    def snapshot(self) -> tuple[protocol.SnapshotSegment, ...]:
        """Return the open segments as they were told."""
        return tuple(
            protocol.SnapshotSegment(
                segment.segment_id,
                stream.target,
                stream.committed,
                stream.unstable,
                is_final=stream.is_final_sent,
            )
            for segment in self._segments
            for stream in self._streams.of(segment)
            if stream.target in self._settings.targets or stream.target not in self._audience
        )

    # ---- handlers of client events ----

    def _on_session_update(self, event: protocol.SessionUpdate, now_s: float) -> list[Action]:
        settings = self._settings.merged(event.session, self._model, self._limits.targets)
        is_other_source = settings.source != self._settings.source
        self._settings = settings
        if settings.room is None:
            self._audience = frozenset()
        if is_other_source:
            self._context.clear()
            self._spoken = None
            for segment in self._segments:
                if not segment.is_committed:  # what is complete is translated as it was said
                    segment.spoken, segment.is_mismatch_told = Spoken(), False
        actions = self._retarget(now_s, is_other_source=is_other_source)
        return [
            Send(protocol.SessionUpdated(self._settings.applied())),
            *actions,
            # Those of a language that is not wanted any more hold up none.
            *self._all_finals(now_s),
            *self._finish(now_s),
        ]

    def _retarget(self, now_s: float, *, is_other_source: bool = False) -> list[Action]:
        """Let open segments follow the settings and the audience."""
        self._hygienes.follow(self._settings, self._targets)
        actions: list[Action] = []
        for segment in self._segments:
            actions += self._apply_settings(segment, is_other_source)
            if not segment.is_committed:
                self._revise(segment)
        return actions

    @property
    def _targets(self) -> tuple[str, ...]:
        """Languages that the client wants, then those of its readers that the model has."""
        source = self._settings.source
        read = sorted(t for t in self._audience if self._model.translates(source, t))
        return tuple(dict.fromkeys((*self._settings.targets, *read)))

    def _targets_of(self, segment: Segment) -> tuple[str, ...]:
        """Those, and what is not wanted any more but was begun and is to have its end."""
        begun = [stream.target for stream in self._streams.of(segment)]
        return tuple(dict.fromkeys((*self._targets, *begun)))

    def _on_source_update(self, event: protocol.SourceUpdate, now_s: float) -> list[Action]:
        text = event.stable + event.unstable
        closed = self._segments.closed(self._segments.name(event.segment_id))
        if closed is not None and closed.repeats_update(event.rev, text):
            self.counters.stale_revisions += 1
            return []
        segment = self._open_segment(event.segment_id, now_s, event.speaker)
        if event.rev <= segment.rev:
            self.counters.stale_revisions += 1
            return []
        segment.rev, segment.stable, segment.unstable = event.rev, event.stable, event.unstable
        segment.last_update = (event.rev, hash(text))
        segment.start_ms = segment.start_ms if event.start_ms is None else event.start_ms
        segment.end_ms = segment.end_ms if event.end_ms is None else event.end_ms
        segment.is_appended = False
        return self._updated(segment, now_s)

    def _on_source_append(self, event: protocol.SourceAppend, now_s: float) -> list[Action]:
        segment = self._open_segment(event.segment_id, now_s, event.speaker)
        if segment.rev >= protocol.MAX_INT:
            raise ProtocolError("invalid_event", f"no revision comes after {segment.rev}", "type")
        segment.stable = segment.stable + segment.unstable + event.text
        segment.unstable = ""
        segment.rev += 1
        segment.is_appended = True
        return self._updated(segment, now_s)

    def _on_source_commit(self, event: protocol.SourceCommit, now_s: float) -> list[Action]:
        name = self._segments.name(event.segment_id)
        closed = self._segments.closed(name)
        is_nothing = closed is None and event.text is None and self._segments.named(name) is None
        if is_nothing and event.segment_id is not None:
            raise ProtocolError("unknown_segment", f"no segment {name!r} is open", "segment_id")
        if closed is not None and not closed.repeats_commit(event.rev, event.text):
            raise over(name)
        if closed is not None or is_nothing:
            self.counters.repeated_commits += 1
            return []
        segment = self._open_segment(event.segment_id, now_s, event.speaker)
        if event.text is not None:
            segment.stable, segment.unstable = event.text, ""
        segment.rev = max(segment.rev, event.rev or 0, 0)
        return self._commit(segment, now_s)

    def _on_source_cancel(self, event: protocol.SourceCancel, now_s: float) -> list[Action]:
        name = self._segments.name(event.segment_id)
        wanted = self._segments.of_name(name)
        if not wanted:
            raise ProtocolError("unknown_segment", f"no segment {name!r} is open", "segment_id")
        actions: list[Action] = []
        for segment in wanted:
            self._streams.resume_shown(segment)
            running = self._streams.running_of(segment)
            actions += [Stop(key) for stream in running for key in stream.stop()]
            actions += [
                Send(protocol.TranslationRetracted(segment.segment_id, stream.target))
                for stream in self._streams.of(segment)
                if not stream.is_final_sent
            ]
            if not segment.is_committed:
                actions += self._told(source_final_of(segment, self._settings.source, ""))
            self._segments.close(segment)
            self._forget(segment)
        # Finals may have waited for those that do not come now.
        return actions + self._all_finals(now_s)

    def _on_source_flush(self, event: protocol.SourceFlush, now_s: float) -> list[Action]:
        return self._commit_all(now_s)

    def _on_session_resume(self, event: protocol.SessionResume, now_s: float) -> list[Action]:
        raise ProtocolError(
            "session_expired", "there is no such session any more; go on with the new one"
        )

    def _on_session_close(self, event: protocol.SessionClose, now_s: float) -> list[Action]:
        return self._begin_close("client", protocol.CLOSE_DONE, now_s)

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

    @property
    def worth(self) -> int:
        """How much would be lost: 2 where text has no final yet, 1 where all has, 0 without any."""
        return 2 if len(self._segments) else int(self._source_chars > 0)

    # ---- segments and their translations ----

    def _find(self, key: JobKey) -> tuple[Segment | None, TargetStream | None]:
        """Return what a job is for, where it is still wanted."""
        return self._segments.get(key.segment_id), self._streams.find(key)

    def _apply_settings(self, segment: Segment, is_other_source: bool) -> list[Action]:
        """Stop the languages of a segment that are not wanted any more, or not like that."""
        actions: list[Action] = []
        pivot = self._streams.pivot_of(segment)
        if pivot is not None and not segment.is_committed:
            pivot.preset = self._settings.preset(self._presets)
            pivot.hygiene = self._hygienes.pivot
            if is_other_source:
                actions += [Stop(key) for key in pivot.stop()]
                self._streams.remove_pivot(segment)
        for stream in self._streams.of(segment):
            stream.formality = self._settings.formality.get(stream.target)
            stream.preset = self._settings.preset(self._presets)
            stream.hygiene = self._hygienes.by_target.get(stream.target, stream.hygiene)
            # Text that is appended already cannot be asked for again from another language.
            is_wanted = stream.target in self._targets
            is_open = not segment.is_committed
            is_restarted = is_other_source and is_wanted and is_open and not stream.committed
            if stream.is_final_sent or not is_open or (is_wanted and not is_restarted):
                continue
            actions += [Stop(key) for key in stream.stop()]
            if is_restarted:
                stream.restart(self._settings.source)  # a reader may have seen something of it
            else:
                stream.is_parked = True
        self._forget_if_done(segment)
        return actions

    def _open_segment(self, client_id: str | None, now_s: float, speaker: str | None) -> Segment:
        if not self._settings.targets and self._settings.room is None:
            raise ProtocolError(
                "invalid_event", "no target language is set; send session.update first", "type"
            )
        segment = self._segments.open(client_id, now_s)
        segment.speaker = speaker or segment.speaker
        return segment

    def _updated(self, segment: Segment, now_s: float) -> list[Action]:
        """A segment has news: translate it, or note it for later when there are too many."""
        segment.arrival_s = now_s
        if not self._segments.check_length(segment):
            return []
        told = self._told(source_delta_of(segment, self._settings.source))
        if self.pacing.admit(now_s):
            self._revise(segment)
            return told
        self.counters.coalesced += 1
        segment.is_dirty = True
        notice = self.pacing.notice(now_s)
        return told if notice is None else [*told, Send(notice)]

    def _told(self, event: protocol.SourceDelta | protocol.SourceFinal) -> list[Action]:
        """Tell a room what is said; nobody else is told what he said himself."""
        return [] if self._settings.room is None else [Send(event)]

    def _cut(self, segment: Segment, now_s: float) -> list[Action]:
        """Force a boundary where a segment has become too long; the rest goes on by itself."""
        rest = self._segments.cut(segment, now_s)
        message = (
            f"segment {segment.segment_id!r} is longer than {self._limits.segment_chars} "
            f"characters: it is cut and goes on as {rest.segment_id!r}"
        )
        notice = protocol.SessionNotice(
            "segment_cut",
            message,
            segment_id=segment.segment_id,
            next_segment_id=rest.segment_id,
        )
        told = Send(notice)
        actions = [told, *self._commit_whole(segment, now_s)]
        if rest.is_ending:
            return actions + self._commit(rest, now_s)
        return actions + self._updated(rest, now_s)

    def _next_long(self) -> Segment | None:
        """Return a segment of which a part is to be cut now; text waits as text, not as jobs."""
        return self._segments.next_long() if self.backlog < MAX_BACKLOG else None

    def _idle_s(self) -> float:
        """Return when the client has been silent for too long."""
        is_heard = not (self.is_closing or self.is_full)
        return self._last_frame_s + self._limits.idle_s if is_heard else float("inf")

    def _revise(self, segment: Segment) -> None:
        """Let the newest text of a segment go to its translations."""
        segment.is_dirty = False
        self._revisions[segment.segment_id] = _Revision(segment)

    def _go_on(self, now_s: float) -> list[Action]:
        """Give some pieces of text to the translations; the rest has its turn at the next tick."""
        actions: list[Action] = []
        room = MAX_PIECES
        while self._revisions and room > 0:
            revision = next(iter(self._revisions.values()))
            segment = revision.segment
            if revision.sources is None:
                revision.sources = self._pieces_of(segment, now_s)
            streams = self._streams.of(segment)
            begin = revision.num_taken
            end = min(begin + max(room // max(len(streams), 1), 1), len(revision.sources))
            room -= max((end - begin) * len(streams), 1)
            actions += self._mark(revision, range(begin, end))
            rev, arrival_s = max(segment.rev, 0), segment.arrival_s or now_s
            for stream in self._streams.running_of(segment):
                actions += self._ask(segment, stream, range(begin, end), rev, arrival_s, now_s)
            revision.num_taken = end
            if end == len(revision.sources):
                del self._revisions[segment.segment_id]
                self._spoken = segment.spoken.language or self._spoken
                for stream in streams:
                    actions += self._revised(segment, stream, now_s)
                self._forget_if_done(segment)
        return actions + self._finish(now_s)

    def _pieces_of(self, segment: Segment, now_s: float) -> list[Source]:
        """Return the pieces of a segment that are to be translated."""
        if not segment.is_committed:
            if not self._segments.check_length(segment):
                return []  # it is cut first
            self.pacing.partial_started(now_s)
            if not self._settings.partials:
                return []
            self._open_streams(segment)
        frozen = len(segment.frozen)
        running = self._streams.running_of(segment)
        covered = max((stream.covered_words(frozen) for stream in running), default=0)
        return segment.pieces(covered, self._hygienes.cutting)

    def _mark(self, revision: _Revision, part: range) -> list[Action]:
        """Find out which language some pieces are in; begin a first pass where one is needed."""
        segment, sources = revision.segment, revision.sources or []
        sources[part.start : part.stop] = segment.spoken.mark(
            sources, part, self._model.language_of, self._settings.source, self._spoken
        )
        segment.sources = sources
        self._open_pivot(segment)
        return list(self._mismatch(segment))

    def _ask(
        self, segment: Segment, stream: TargetStream, part: range, rev: int, arrival_s: float,
        now_s: float,
    ) -> list[Action]:  # fmt: skip
        """Let one translation take some pieces in; `rev` and `arrival_s` are of their text."""
        part = range(min(part.start, stream.num_pieces), part.stop)
        if not part:
            return []
        sources = self._read_by(stream, segment, part)
        language = sources[part.start].language
        context = self._context.of(stream.target, language, self._settings.context)
        jobs, dropped = stream.revise(sources, rev, arrival_s, context, part)
        return [
            *(Stop(key) for key in dropped),
            *(Start(self._timed(job, now_s)) for job in jobs),
        ]

    def _read_by(self, stream: TargetStream, segment: Segment, part: range) -> list[Source]:
        """Return the pieces of a segment, some of them as a translation is to read them."""
        model, settings, sources = self._model, self._settings, list(segment.sources)
        pivot = self._streams.pivot_of(segment)
        for i in part:
            if stream.is_pivot:
                sources[i] = for_pivot(sources[i], self._targets_of(segment), model)
            else:
                target, named = stream.target, settings.source
                sources[i] = for_target(sources[i], i, target, pivot, named, model)
        return sources

    def _revised(self, segment: Segment, stream: TargetStream, now_s: float) -> list[Action]:
        """Tell what a new text alone changed."""
        if segment.is_committed:
            return self._finals(stream.target, now_s)
        return self._deltas(segment, stream, None, None, now_s)

    def _open_pivot(self, segment: Segment) -> None:
        """Begin the first pass of a segment's translations where any of them takes two."""
        settings, model = self._settings, self._model
        targets = self._targets_of(segment)
        is_needed = any(is_pivoted(segment.sources, target, model) for target in targets)
        if not is_needed or self._streams.pivot_of(segment) is not None:
            return
        self._streams.add(
            TargetStream(
                self.id,
                segment.segment_id,
                settings.source,
                PIVOT,
                settings.preset(self._presets),
                self._new_detokenizer,
                self._hygienes.pivot,
                is_pivot=True,
            )
        )

    def _pivoted(self, segment: Segment, job: Job, now_s: float) -> list[Action]:
        """A first pass has news: translate it on."""
        actions: list[Action] = []
        begin, pivot = job.key.piece, self._streams.pivot_of(segment)
        end = begin + 1
        while pivot is not None and pivot.is_piece_done(end):
            end += 1  # one without words is done with the one that it waited for
        for stream in self._streams.of(segment):
            part = range(begin, min(end, stream.num_pieces))
            if is_pivoted(segment.sources[begin : begin + 1], stream.target, self._model):
                actions += self._ask(segment, stream, part, job.rev, job.arrival_s, now_s)
                # One that has nothing to translate is done at once.
                actions += self._after_job(segment, stream, job, None, now_s)
        return actions

    def _mismatch(self, segment: Segment) -> Iterator[Send]:
        """Tell once that a segment is not in the language that the session names."""
        named, found = self._settings.source, segment.spoken.mismatch
        if named is None:
            spoken = segment.spoken.languages
            found = next((each for each in spoken if not self._model.knows(each)), None)
        if found is None or segment.is_mismatch_told:
            return
        segment.is_mismatch_told = True
        message = f"segment {segment.segment_id!r} is in {name_of(found)}"
        if named is not None:
            message += f", the source is said to be {name_of(named)}"
        if not self._model.knows(found):
            message += "; the model does not know it, what is in it passes through"
        yield Send(
            protocol.SessionNotice(
                "language_mismatch",
                message,
                segment_id=segment.segment_id,
                language=named,
                detected_language=found,
            )
        )

    def _timed(self, job: Job, now_s: float) -> Job:
        """Say when a reader gets to a job's text: a pasted page need not be there at once."""
        reader = self._readers.setdefault(job.target, Reader())
        final_chars = len(job.text) if job.is_final else 0
        return replace(job, reached_s=reader.reaches_s(now_s, final_chars))

    def _open_streams(self, segment: Segment) -> None:
        """Begin or go on with the translations of a segment that are wanted."""
        settings = self._settings
        for target in self._targets:
            if not self._streams.resume(segment, target):
                self._streams.add(
                    TargetStream(
                        self.id,
                        segment.segment_id,
                        settings.source,
                        target,
                        settings.preset(self._presets),
                        self._new_detokenizer,
                        self._hygienes.by_target[target],
                    )
                )
            stream = self._streams.get(segment.segment_id, target)
            assert stream is not None
            stream.formality = settings.formality.get(target)

    def _commit(self, segment: Segment, now_s: float) -> list[Action]:
        """The source of a segment is complete; one that is too long is cut first, tick by tick."""
        if self._segments.check_length(segment):
            return self._commit_whole(segment, now_s)
        segment.is_ending = True
        return []

    def _commit_whole(self, segment: Segment, now_s: float) -> list[Action]:
        segment.committed_s = segment.arrival_s = now_s
        self._source_chars += len(segment.text)
        self._segments.close(segment)
        self._committed[segment.segment_id] = segment
        self._streams.resume_shown(segment)
        self._open_streams(segment)  # in the languages of now, whenever its turn comes
        self._revise(segment)
        return self._told(source_final_of(segment, self._settings.source, segment.text))

    def _commit_all(self, now_s: float) -> list[Action]:
        waiting = [segment for segment in self._segments if not segment.is_committed]
        return [action for segment in waiting for action in self._commit(segment, now_s)]

    def _forget_if_done(self, segment: Segment) -> None:
        is_taken = segment.is_committed and segment.segment_id not in self._revisions
        if is_taken and all(s.is_final_sent for s in self._streams.of(segment)):
            self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        self._segments.forget(segment)
        self._streams.forget(segment)
        self._committed.pop(segment.segment_id, None)
        self._revisions.pop(segment.segment_id, None)

    # ---- what goes out ----

    def _after_job(
        self, segment: Segment, stream: TargetStream, job: Job, timing: Timing | None, now_s: float
    ) -> list[Action]:
        if stream.is_pivot:
            return self._pivoted(segment, job, now_s)
        is_taken = segment.is_committed and segment.segment_id not in self._revisions
        if is_taken and stream.is_done:
            stream.timing = timing
            actions = self._finals(stream.target, now_s)
            if not stream.is_final_sent:  # its text need not wait for the finals before it
                actions += self._deltas(segment, stream, job, timing, now_s)
            return actions + self._finish(now_s)
        return self._deltas(segment, stream, job, timing, now_s)

    def _deltas(
        self,
        segment: Segment,
        stream: TargetStream,
        job: Job | None,
        timing: Timing | None,
        now_s: float,
    ) -> list[Action]:
        """Send what changed; the end of an update is always told to a client that wants timing."""
        delta = delta_of(segment, stream, job, self._wanted(timing), now_s)
        arrival_s = segment.arrival_s if job is None else job.arrival_s
        return [] if delta is None else [Send(delta, arrival_s)]

    def _finals(self, target: str, now_s: float) -> list[Action]:
        """Send what is complete in one language, each once, in the order of the commits."""
        actions: list[Action] = []
        told = []
        for segment in self._committed.values():
            stream = self._streams.get(segment.segment_id, target)
            if stream is None or stream.is_final_sent:
                continue
            if segment.segment_id in self._revisions or not stream.is_done:
                break
            stream.is_final_sent = True
            pivot = self._streams.pivot_of(segment)
            has_two = is_pivoted(segment.sources, target, self._model)
            lost_terms = pivot.violations if pivot is not None and has_two else 0
            final = final_of(segment, stream, self._wanted(stream.timing), now_s, lost_terms)
            actions += [Send(final, segment.committed_s), *self._cues(segment, stream, now_s)]
            told.append(segment)
        for segment in told:
            self._forget_if_done(segment)
        return actions

    def _all_finals(self, now_s: float) -> list[Action]:
        targets = self._streams.targets
        return [action for target in targets for action in self._finals(target, now_s)]

    def _cues(self, segment: Segment, stream: TargetStream, now_s: float) -> list[Action]:
        """Cut a final into cues, where the client wants them."""
        wanted = self._settings.captions
        if wanted is None:
            return []
        own_ms = [(at_s - self._started_s) * 1e3 for at_s in (segment.first_arrival_s, now_s)]
        start_ms = own_ms[0] if segment.start_ms is None else segment.start_ms
        end_ms = own_ms[1] if segment.end_ms is None else segment.end_ms
        cues = self._timeline.add(
            stream.target, stream.committed, start_ms, end_ms, wanted.max_chars, wanted.lines
        )
        return [
            Send(
                protocol.CaptionCue(
                    f"{segment.segment_id}.{i + 1}",
                    segment.segment_id,
                    stream.target,
                    cue.lines,
                    cue.start_ms,
                    cue.end_ms,
                )
            )
            for i, cue in enumerate(cues)
        ]

    def _wanted(self, timing: Timing | None) -> Timing | None:
        return timing if self._settings.timing else None

    def _error(self, exc: ProtocolError) -> Send:
        self.counters.errors += 1
        return Send(protocol.error_event(exc))

    def _begin_close(self, reason: str, code: int, now_s: float) -> list[Action]:
        actions = self._commit_all(now_s)
        self.is_closing = True
        self._close = Close(code, reason)
        return actions + self._go_on(now_s)

    def _finish(self, now_s: float) -> list[Action]:
        """End the session once nothing is open any more."""
        if self._close is None or len(self._segments):
            return []
        close, self._close = self._close, None
        usage = protocol.Usage(
            self._source_chars, self._target_tokens, round(now_s - self._started_s, 3)
        )
        return [Send(protocol.SessionClosed(close.reason, usage)), close]
