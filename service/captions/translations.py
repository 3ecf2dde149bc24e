"""The translations of a session's segments: which jobs their texts need, and what becomes of them.

Knows which languages are wanted, and by which route a piece gets into each; does not know what a
client may send when, nor how results are reported to it.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from service.captions.actions import Action, Send, Start, Stop
from service.captions.context import Context
from service.captions.delivery import Delivery
from service.captions.job import Job, JobKey, Outcome
from service.captions.pacing import Pacing, Reader
from service.captions.policy import Preset, Source
from service.captions.reports import mismatch_of
from service.captions.revisions import Revision, Revisions
from service.captions.routes import for_pivot, for_target, is_pivoted
from service.captions.segment import Segment
from service.captions.segments import Segments
from service.captions.settings import ModelInfo, Settings
from service.captions.spoken import Spoken
from service.captions.stream import TargetStream
from service.captions.streams import Streams
from service.captions.wanted import Wanted
from service.wire import protocol
from service.wire.protocol import Timing
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.steps import never

PROGRESS_INTERVAL_S: Final = 0.05  # between deltas of an update that is still being decoded
MAX_PIECES: Final = 2  # per turn, over all languages (but one in each at least): about 2 ms
SHORT: Final = 400  # characters; a longer text is cut in one turn and translated from the next on


class Translations:
    """All translations of one session.

    Args:
        session_id: names the session in job keys.
        model: what can be asked for.
        segments: of the session.
        pacing: when revisions are translated.
        new_detokenizer: makes a detokenizer for the ids of one output.
        presets: how eager translations are, by the name of a stability and "append_only".
        now_s: when the session begins.
        is_spent: whether there is no time for more in this turn.

    Attributes:
        num_tokens: that the model produced, partials included.
        is_held: whether texts are handed over later.
        waited_s: how long the event that is being taken waited for its turn.
    """

    def __init__(
        self,
        session_id: str,
        model: ModelInfo,
        segments: Segments,
        pacing: Pacing,
        new_detokenizer: Callable[[], TokenText],
        presets: Mapping[str, Preset],
        now_s: float,
        is_spent: Callable[[], bool] = never,
    ) -> None:
        self.num_tokens = 0
        self.is_held = False
        self.waited_s = 0.0
        self._model = model
        self._wanted = Wanted(session_id, model, new_detokenizer, presets)
        self._segments = segments
        self._pacing = pacing
        self._is_spent = is_spent
        self._streams = Streams()
        self._revisions = Revisions()
        self._delivery = Delivery(
            model, self.settings, segments, self._streams, self._revisions, now_s
        )
        self._context = Context()
        # Finished outputs of which nothing was told yet, as there was no time to begin the next
        # piece. Not written down: whoever goes on with the session looks at each segment anew.
        self._completed: deque[tuple[Job, Timing | None]] = deque()
        self._spoken: str | None = None  # the language of the newest segment
        self._readers: dict[str, Reader] = {}  # by target

    # ---- what is wanted ----

    @property
    def settings(self) -> Settings:
        """What the client asks for, as applied."""
        return self._wanted.settings

    @property
    def is_waiting(self) -> bool:
        """Whether some text has not been asked for yet, and may be."""
        return bool(self._completed) or (len(self._revisions) > 0 and not self.is_held)

    def preparation(
        self, settings: Settings, audience: frozenset[str] | None = None
    ) -> Callable[[], None] | None:
        """Return what makes new settings fast if they would take long; it may run in a thread.

        Args:
            audience: languages that readers want then; None: those of now.
        """
        return self._wanted.preparation(settings, audience)

    def compiling(self) -> Callable[[], None] | None:
        """Return what makes the first texts fast if they would take long; may run in a thread."""
        return self._wanted.compiling()

    def follow(self, settings: Settings, now_s: float) -> list[Action]:
        """Apply new settings from now on."""
        is_other_source = settings.source != self.settings.source
        self._delivery.settings = settings
        audience = frozenset[str]() if settings.room is None else self._wanted.audience
        self._wanted.follow(settings, audience)
        if is_other_source:
            self._context.clear()
            self._spoken = None
            for segment in self._segments:
                if not segment.is_committed:  # what is complete keeps its language
                    segment.spoken, segment.is_mismatch_told = Spoken(), False
        actions = self._retarget(is_other_source=is_other_source)
        # Finals in a language that is no longer wanted hold up no others.
        return actions + self._delivery.all_finals(now_s)

    def set_audience(self, targets: frozenset[str], *, is_suspended: bool) -> list[Action]:
        """Translate into these languages as well; without a connection they are only noted."""
        self._wanted.follow(self.settings, targets)
        return [] if is_suspended else self._retarget()

    def revise(self, segment: Segment) -> None:
        """Queue the newest text of a segment for its translations."""
        self._segments.touch(segment)
        segment.is_dirty = False
        self._revisions.add(segment)

    def commit(self, segment: Segment) -> None:
        """The text of a segment is complete: translate all of it, then send its finals."""
        self._delivery.await_finals(segment)
        self._streams.resume_shown(segment)
        for stream in self._streams.of(segment):
            self._wanted.renew(stream)
        self._open_streams(segment)  # in the languages wanted now, whenever its turn comes
        self.revise(segment)

    def withdraw(self, segment: Segment) -> list[Action]:
        """A segment will not be translated after all."""
        self._streams.resume_shown(segment)
        running = self._streams.running_of(segment)
        actions: list[Action] = [Stop(key) for stream in running for key in stream.stop()]
        actions += [
            Send(protocol.TranslationRetracted(segment.segment_id, stream.target))
            for stream in self._streams.of(segment)
            if not stream.is_final_sent
        ]
        self._delivery.forget(segment)
        return actions

    def all_finals(self, now_s: float) -> list[Action]:
        """Send the finals that nothing holds up any more."""
        return self._delivery.all_finals(now_s)

    def suspend(self) -> None:
        """The connection was lost: stop waiting for jobs."""
        self._completed.clear()
        self._revisions.clear()
        for segment in self._segments:
            segment.forget_cuts()
            for stream in self._streams.running_of(segment):
                stream.stop()

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
            if self._wanted.is_told(stream.target)
        )

    def _retarget(self, *, is_other_source: bool = False) -> list[Action]:
        """Apply what is wanted to open segments."""
        actions: list[Action] = []
        for segment in self._segments:
            actions += self._apply_settings(segment, is_other_source)
            if not segment.is_committed:
                self.revise(segment)
        return actions

    def _apply_settings(self, segment: Segment, is_other_source: bool) -> list[Action]:
        """Apply the settings to a segment; stop what is not wanted, restart on another source."""
        self._segments.touch(segment)
        actions: list[Action] = []
        pivot = self._streams.pivot_of(segment)
        if pivot is not None and not segment.is_committed:
            self._wanted.renew(pivot)
            if is_other_source:
                actions += [Stop(key) for key in pivot.stop()]
                self._streams.remove_pivot(segment)
        for stream in self._streams.of(segment):
            self._wanted.address(stream)
            # Text that has been appended cannot be translated again from another language.
            is_wanted = stream.target in self._wanted.targets
            is_open = not segment.is_committed
            is_restarted = is_other_source and is_wanted and is_open and not stream.committed
            if stream.is_final_sent or not is_open or (is_wanted and not is_restarted):
                continue
            actions += [Stop(key) for key in stream.stop()]
            if is_restarted:
                stream.restart(self.settings.source)  # a reader may have seen some of it
            else:
                stream.is_parked = True
        self._delivery.forget_if_done(segment)
        return actions

    def _open_streams(self, segment: Segment) -> None:
        """Start or continue the wanted translations of a segment."""
        for target in self._wanted.targets:
            if not self._streams.resume(segment, target):
                self._streams.add(self._wanted.stream(segment.segment_id, target))
            stream = self._streams.get(segment.segment_id, target)
            assert stream is not None
            self._wanted.address(stream)

    def _open_pivot(self, segment: Segment) -> None:
        """Start the first pass of a segment's translations if any of them takes two."""
        targets = self._targets_of(segment)
        is_needed = any(is_pivoted(segment.sources, target, self._model) for target in targets)
        if is_needed and self._streams.pivot_of(segment) is None:
            self._streams.add(self._wanted.pivot(segment.segment_id))

    def _targets_of(self, segment: Segment) -> tuple[str, ...]:
        """The wanted ones, and any no longer wanted that were begun and will be finished."""
        begun = [stream.target for stream in self._streams.of(segment)]
        return tuple(dict.fromkeys((*self._wanted.targets, *begun)))

    # ---- written down for another replica ----

    def dump(self, origin_s: float) -> dict[str, Any]:
        """Return the state that belongs to no single segment; times count from `origin_s`."""
        return {
            "num_tokens": self.num_tokens,
            "audience": sorted(self._wanted.audience),
            "spoken": self._spoken,
            "context": self._context.dump(),
            "readers": {t: each.until_s - origin_s for t, each in self._readers.items()},
            "targets": self._streams.targets,
            "delivery": self._delivery.dump(),
        }

    def dump_segment(self, segment: Segment) -> list[dict[str, Any]]:
        """Return the translations of a segment, as plain values."""
        return [
            {"target": stream.target, "is_pivot": stream.is_pivot, "stream": stream.dump()}
            for stream in self._streams.all_of(segment.segment_id)
        ]

    def load(
        self,
        settings: Settings,
        state: dict[str, Any],
        streams: Mapping[str, Sequence[dict[str, Any]]],
        origin_s: float,
        later_s: float,
    ) -> None:
        """Restore the state that another instance dumped; the segments are restored already.

        Args:
            settings: what the client asks for.
            streams: by wire id of their segments.
            origin_s: what times count from. later_s: added to the times of segments.
        """
        self._delivery.settings = settings
        self._wanted.follow(settings, frozenset(state["audience"]))
        self.num_tokens, self._spoken = state["num_tokens"], state["spoken"]
        self._context.load(state["context"])
        self._readers = {t: Reader(until_s + origin_s) for t, until_s in state["readers"].items()}
        self._streams.expect(state["targets"])
        for segment in self._segments:
            for each in streams[segment.segment_id]:
                name, is_pivot = each["target"], each["is_pivot"]
                stream = self._wanted.stream(segment.segment_id, name, is_pivot=is_pivot)
                stream.load(each["stream"], later_s)
                self._streams.add(stream)
        self._delivery.load(state["delivery"])

    # ---- from texts to jobs ----

    def take(self, now_s: float) -> list[Action]:
        """Hand some pieces of text to the translations; the rest follows at the next tick."""
        actions: list[Action] = []
        while self._completed:
            actions += self._release(now_s)
            if self._is_spent():
                return actions
        room = 0 if self.is_held else MAX_PIECES
        while room > 0 and (revision := self._revisions.first()) is not None:
            segment = revision.segment
            self._segments.touch(segment)
            if revision.sources is None:
                revision.sources = self._pieces_of(segment, now_s)
                is_long = len(segment.text) > SHORT or self._is_spent()
                if revision.sources is None or (revision.sources and is_long):
                    break
            room -= self._hand_over(revision, revision.sources, actions, now_s)
            if revision.num_taken >= len(revision.sources):
                self._revisions.drop(segment)
                self._spoken = segment.spoken.language or self._spoken
                for stream in self._streams.of(segment):
                    actions += self._revised(segment, stream, now_s)
                self._delivery.forget_if_done(segment)
            if self._is_spent():
                break
        return actions

    def _hand_over(
        self, revision: Revision, sources: Sequence[Source], actions: list[Action], now_s: float
    ) -> int:
        """Hand the next piece to the translations, or to some of them; return to how many."""
        segment, begin = revision.segment, revision.num_taken
        part = range(begin, min(begin + 1, len(sources)))
        if not revision.asked:
            actions += self._mark(revision, part)
        rev, arrival_s = max(segment.rev, 0), segment.arrival_s or now_s
        count = 0
        for stream in self._streams.running_of(segment):
            name = stream.target, stream.is_pivot
            if name in revision.asked:
                continue
            if count and self._is_spent():
                return count
            actions += self._ask(segment, stream, part, rev, arrival_s, now_s)
            revision.asked.add(name)
            count += 1
        revision.num_taken += 1
        revision.asked.clear()
        return max(count, 1)

    def _pieces_of(self, segment: Segment, now_s: float) -> list[Source] | None:
        """Return the pieces of a segment that are to be translated; None if more is to be cut."""
        if not segment.is_committed:
            if not self._segments.check_length(segment):
                return []  # it is cut first
            self._pacing.partial_started(now_s)
            if not self.settings.partials:
                return []
            self._open_streams(segment)
        frozen = len(segment.frozen)
        running = self._streams.running_of(segment)
        covered = max((stream.covered_words(frozen) for stream in running), default=0)
        return segment.pieces(covered, self._wanted.cutting, self._is_spent)

    def _mark(self, revision: Revision, part: range) -> list[Action]:
        """Find out which language some pieces are in; start a first pass if one is needed."""
        segment, sources = revision.segment, revision.sources or []
        marked = segment.spoken.mark(
            sources, part, self._model.language_of, self.settings.source, self._spoken
        )
        targets = self._targets_of(segment)
        sources[part.start : part.stop] = [
            replace(each, language=each.language or self._model.route_of(each.text, targets))
            for each in marked
        ]
        segment.sources = sources
        self._open_pivot(segment)
        notice = mismatch_of(segment, self.settings.source, self._model)
        if notice is None:
            return []
        segment.is_mismatch_told = True
        return [Send(notice)]

    def _ask(
        self,
        segment: Segment,
        stream: TargetStream,
        part: range,
        rev: int,
        arrival_s: float,
        now_s: float,
    ) -> list[Action]:
        """Hand some pieces to one translation; `rev` and `arrival_s` belong to their text."""
        part = range(min(part.start, stream.num_pieces), part.stop)
        if not part:
            return []
        sources = self._read_by(stream, segment, part)
        language = sources[part.start].language
        context = self._context.of(stream.target, language, self.settings.context)
        jobs, dropped = stream.revise(sources, rev, arrival_s, context, part)
        return [
            *(Stop(key) for key in dropped),
            *(Start(self._timed(job, now_s)) for job in jobs),
        ]

    def _read_by(self, stream: TargetStream, segment: Segment, part: range) -> list[Source]:
        """Return the pieces of a segment, some of them as a translation is to read them."""
        model, settings, sources = self._model, self.settings, list(segment.sources)
        pivot = self._streams.pivot_of(segment)
        for i in part:
            if stream.is_pivot:
                sources[i] = for_pivot(sources[i], self._targets_of(segment), model)
            else:
                target, named = stream.target, settings.source
                sources[i] = for_target(sources[i], i, target, pivot, named, model)
        return sources

    def _timed(self, job: Job, now_s: float) -> Job:
        """Say when a reader gets to a job's text: not all of a pasted page is needed at once."""
        reader = self._readers.setdefault(job.target, Reader())
        final_chars = len(job.text) if job.is_final else 0
        # Not from its arrival: a text that was held back, or is asked for again, is not late.
        reached_s = reader.reaches_s(now_s - self.waited_s, final_chars)
        return replace(job, reached_s=reached_s)

    # ---- from jobs to what the client is told ----

    def progress(self, job: Job, tokens: tuple[int, ...], now_s: float) -> list[Action]:
        """Take an output that is still being decoded."""
        segment, stream = self._find(job.key)
        is_due = stream is not None and stream.next_progress_s <= now_s
        if segment is None or stream is None or not is_due or self._pacing.is_for_finals:
            return []
        stream.next_progress_s = now_s + PROGRESS_INTERVAL_S
        stream.progress(job, tokens)
        if stream.is_pivot:
            return []
        return self._delivery.deltas(segment, stream, job, None, now_s)

    def complete(self, job: Job, outcome: Outcome, now_s: float) -> list[Action]:
        """Take a finished output."""
        self.num_tokens += len(outcome.tokens) - len(job.forced)
        segment, stream = self._find(job.key)
        if segment is None or stream is None or not outcome.is_current:
            return []
        following = stream.complete(
            job, outcome.tokens, is_whole=outcome.is_whole, is_spent=self._is_spent
        )
        if stream.may_release(job.key.piece + 1):
            self._completed.append((job, outcome.timing))
            return []
        return self._completed_by(segment, stream, job, following, outcome.timing, now_s)

    def fail(self, job: Job, code: str, message: str, now_s: float) -> list[Action]:
        """Note that a job could not be run; a final is sent anyway, with what there is."""
        segment, stream = self._find(job.key)
        if segment is None or stream is None:
            return []
        following = stream.fail(job)
        message = f"segment {job.key.segment_id!r} to {job.target}: {message}"
        actions: list[Action] = [Send(protocol.make_error(code, message, "segment_id"))]
        if following is not None:
            actions.append(Start(following))
        return actions + self._after_job(segment, stream, job, None, now_s)

    def _release(self, now_s: float) -> list[Action]:
        """Go on after a finished output from where there was no time for more."""
        job, timing = self._completed.popleft()
        segment, stream = self._find(job.key)
        if segment is None or stream is None:
            return []
        following = stream.release(job.key.piece + 1)
        return self._completed_by(segment, stream, job, following, timing, now_s)

    def _completed_by(
        self,
        segment: Segment,
        stream: TargetStream,
        job: Job,
        following: Job | None,
        timing: Timing | None,
        now_s: float,
    ) -> list[Action]:
        """Start the job that was waiting for another, and tell what that brought."""
        actions: list[Action] = [] if following is None else [Start(following)]
        self._context.add(stream.target, stream.remember())
        return actions + self._after_job(segment, stream, job, timing, now_s)

    def _find(self, key: JobKey) -> tuple[Segment | None, TargetStream | None]:
        """Return the stream of a job, if it is still wanted."""
        segment = self._segments.get(key.segment_id)
        if segment is not None:
            self._segments.touch(segment)
        return segment, self._streams.find(key)

    def _after_job(
        self, segment: Segment, stream: TargetStream, job: Job, timing: Timing | None, now_s: float
    ) -> list[Action]:
        if stream.is_pivot:
            return self._pivoted(segment, job, now_s)
        is_taken = segment.is_committed and segment not in self._revisions
        if is_taken and stream.is_done:
            stream.timing = timing
            actions = self._delivery.finals(stream.target, now_s)
            if not stream.is_final_sent:  # its deltas need not wait for earlier finals
                actions += self._delivery.deltas(segment, stream, job, timing, now_s)
            return actions
        return self._delivery.deltas(segment, stream, job, timing, now_s)

    def _pivoted(self, segment: Segment, job: Job, now_s: float) -> list[Action]:
        """A first pass has news: translate that into the targets."""
        actions: list[Action] = []
        begin, pivot = job.key.piece, self._streams.pivot_of(segment)
        end = begin + 1
        while pivot is not None and pivot.is_piece_done(end):
            end += 1  # a piece without words is done together with the one before it
        for stream in self._streams.of(segment):
            part = range(begin, min(end, stream.num_pieces))
            if is_pivoted(segment.sources[begin : begin + 1], stream.target, self._model):
                actions += self._ask(segment, stream, part, job.rev, job.arrival_s, now_s)
                # A piece that has nothing to translate is done at once.
                actions += self._after_job(segment, stream, job, None, now_s)
        return actions

    def _revised(self, segment: Segment, stream: TargetStream, now_s: float) -> list[Action]:
        """Report what a new text changed by itself."""
        if segment.is_committed:
            return self._delivery.finals(stream.target, now_s)
        return self._delivery.deltas(segment, stream, None, None, now_s)
