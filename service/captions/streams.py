"""The translations of a session's segments, by segment and target.

Knows which of them are wanted now; does not know what they say, or when.
"""

from collections.abc import Iterable

from service.captions.job import JobKey
from service.captions.segment import Segment
from service.captions.stream import TargetStream


class Streams:
    """One translation for each segment and each language that was ever wanted for it."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], TargetStream] = {}
        self._targets: dict[str, None] = {}  # every language that has streams, in order
        self._pivots: dict[str, TargetStream] = {}  # first passes, by segment

    @property
    def targets(self) -> tuple[str, ...]:
        """Every language that has had translations."""
        return tuple(self._targets)

    def find(self, key: JobKey) -> TargetStream | None:
        """Return the stream of a job, if it is still wanted."""
        if key.is_pivot:
            return self._pivots.get(key.segment_id)
        return self.get(key.segment_id, key.target)

    def get(self, segment_id: str, target: str) -> TargetStream | None:
        """Return the translation of a segment into a language, if it is wanted now."""
        stream = self._streams.get((segment_id, target))
        return stream if stream is not None and not stream.is_parked else None

    def of(self, segment: Segment) -> list[TargetStream]:
        """Return the translations of a segment that are wanted now."""
        found = (self._streams.get((segment.segment_id, target)) for target in self._targets)
        return [stream for stream in found if stream is not None and not stream.is_parked]

    def pivot_of(self, segment: Segment) -> TargetStream | None:
        """Return the first pass of the translations of a segment that take two."""
        return self._pivots.get(segment.segment_id)

    def running_of(self, segment: Segment) -> list[TargetStream]:
        """Return every stream that may wait for jobs: the first pass, and the wanted ones."""
        pivot = self.pivot_of(segment)
        return [*([] if pivot is None else [pivot]), *self.of(segment)]

    def all_of(self, segment_id: str) -> list[TargetStream]:
        """Return the first pass and all translations of a segment, including parked ones."""
        found = [self._pivots.get(segment_id)]
        found += [self._streams.get((segment_id, target)) for target in self._targets]
        return [stream for stream in found if stream is not None]

    def expect(self, targets: Iterable[str]) -> None:
        """Note that there have been translations into these languages, in this order."""
        self._targets |= dict.fromkeys(targets)

    def resume(self, segment: Segment, target: str) -> bool:
        """Want a language again: it continues from what it appended. False: it was never wanted."""
        stream = self._streams.get((segment.segment_id, target))
        if stream is None:
            return False
        stream.is_parked = False
        return True

    def resume_shown(self, segment: Segment) -> None:
        """Unpark every language that a reader has seen: what was begun is finished."""
        for target in self._targets:
            stream = self._streams.get((segment.segment_id, target))
            if stream is not None and stream.first_shown_s is not None:
                stream.is_parked = False

    def add(self, stream: TargetStream) -> None:
        """Start a translation."""
        if stream.is_pivot:
            self._pivots[stream.segment_id] = stream
            return
        self._targets[stream.target] = None
        self._streams[stream.segment_id, stream.target] = stream

    def remove_pivot(self, segment: Segment) -> None:
        """Drop the first pass of a segment, because another one starts."""
        self._pivots.pop(segment.segment_id, None)

    def forget(self, segment: Segment) -> None:
        """Drop all translations of a segment."""
        self._pivots.pop(segment.segment_id, None)
        for target in self._targets:
            self._streams.pop((segment.segment_id, target), None)
