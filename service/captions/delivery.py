"""What a client is told of its translations: changes at once, finals in commit order.

Knows which segments are complete and what has been sent of them; does not know jobs.
"""

from typing import Any

from service.captions.actions import Action, Send
from service.captions.cues import Timeline
from service.captions.job import Job
from service.captions.reports import delta_of, final_of
from service.captions.revisions import Revisions
from service.captions.routes import is_pivoted
from service.captions.segment import Segment
from service.captions.segments import Segments
from service.captions.settings import ModelInfo, Settings
from service.captions.stream import TargetStream
from service.captions.streams import Streams
from service.wire.protocol import CaptionCue, Timing


class Delivery:
    """The path from a session's translations to its client.

    Args:
        model: tells which pairs take two passes.
        settings: what the client asked for.
        segments, streams, revisions: of the session; a segment leaves them once its finals are
            sent.
        now_s: when the session begins.

    Attributes:
        settings: what the client asks for now.
    """

    def __init__(
        self,
        model: ModelInfo,
        settings: Settings,
        segments: Segments,
        streams: Streams,
        revisions: Revisions,
        now_s: float,
    ) -> None:
        self.settings = settings
        self._model = model
        self._segments = segments
        self._streams = streams
        self._revisions = revisions
        self._started_s = now_s
        self._committed: dict[str, Segment] = {}  # waiting for their finals, in commit order
        self._num_committed = 0
        self._timeline = Timeline()

    def await_finals(self, segment: Segment) -> None:
        """A segment is complete: its finals are sent after those of all earlier ones."""
        self._num_committed += 1
        segment.commit_number = self._num_committed
        self._committed[segment.segment_id] = segment

    def deltas(
        self,
        segment: Segment,
        stream: TargetStream,
        job: Job | None,
        timing: Timing | None,
        now_s: float,
    ) -> list[Action]:
        """Send what changed; a client that asked for timing hears of the end of every update."""
        delta = delta_of(segment, stream, job, self._wanted(timing), now_s)
        arrival_s = segment.arrival_s if job is None else job.arrival_s
        return [] if delta is None else [Send(delta, arrival_s)]

    def finals(self, target: str, now_s: float) -> list[Action]:
        """Send what is complete in one language, each once, in commit order."""
        actions: list[Action] = []
        told = []
        for segment in self._committed.values():
            stream = self._streams.get(segment.segment_id, target)
            if stream is None or stream.is_final_sent:
                continue
            if segment in self._revisions or not stream.is_done:
                break
            stream.is_final_sent = True
            pivot = self._streams.pivot_of(segment)
            has_two = is_pivoted(segment.sources, target, self._model)
            lost_terms = pivot.counts.violations if pivot is not None and has_two else 0
            final = final_of(segment, stream, self._wanted(stream.timing), now_s, lost_terms)
            actions += [Send(final, segment.committed_s), *self._cues(segment, stream, now_s)]
            told.append(segment)
        for segment in told:
            self._segments.touch(segment)
            self.forget_if_done(segment)
        return actions

    def all_finals(self, now_s: float) -> list[Action]:
        """Send what is complete in any language."""
        targets = self._streams.targets
        return [action for target in targets for action in self.finals(target, now_s)]

    def dump(self) -> dict[str, Any]:
        """Return the state that belongs to no single segment, as plain values."""
        return {"num_committed": self._num_committed, "timeline": self._timeline.dump()}

    def load(self, state: dict[str, Any]) -> None:
        """Restore the state that another instance dumped; the segments are restored already."""
        self._num_committed = state["num_committed"]
        self._timeline.load(state["timeline"])
        waiting = [segment for segment in self._segments if segment.commit_number]
        for segment in sorted(waiting, key=lambda each: each.commit_number):
            self._committed[segment.segment_id] = segment

    def forget_if_done(self, segment: Segment) -> None:
        """Drop a segment whose finals have all been sent."""
        is_taken = segment.is_committed and segment not in self._revisions
        if is_taken and all(s.is_final_sent for s in self._streams.of(segment)):
            self.forget(segment)

    def forget(self, segment: Segment) -> None:
        """Drop a segment and its translations."""
        self._segments.forget(segment)
        self._streams.forget(segment)
        self._committed.pop(segment.segment_id, None)
        self._revisions.drop(segment)

    def _cues(self, segment: Segment, stream: TargetStream, now_s: float) -> list[Action]:
        """Cut a final into cues, if the client wants them."""
        wanted = self.settings.captions
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
                CaptionCue(
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
        return timing if self.settings.timing else None
