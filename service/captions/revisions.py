"""Texts waiting to be handed to the translations of their segments, a few pieces at a time.

Knows whose turn it is; does not know translations.
"""

from dataclasses import dataclass, field

from service.captions.policy import Source
from service.captions.segment import Segment


@dataclass(slots=True)
class Revision:
    """The newest text of a segment.

    Attributes:
        sources: its pieces, None while it is not cut into them yet.
        num_taken: pieces already handed to the translations.
        asked: which of these have the next one as well: targets, and whether it is a first pass.
    """

    segment: Segment
    sources: list[Source] | None = None
    num_taken: int = 0
    asked: set[tuple[str, bool]] = field(default_factory=set)


class Revisions:
    """The waiting texts, in order of arrival; a newer text replaces an older one of its segment."""

    def __init__(self) -> None:
        self._waiting: dict[str, Revision] = {}  # by segment id on the wire

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, segment: Segment) -> bool:
        return segment.segment_id in self._waiting

    def add(self, segment: Segment) -> None:
        """Queue the newest text of a segment."""
        self._waiting[segment.segment_id] = Revision(segment)

    def first(self) -> Revision | None:
        """Return the text whose turn it is."""
        return next(iter(self._waiting.values()), None)

    def drop(self, segment: Segment) -> None:
        """Remove a segment's text, if any: it has been handed over, or is no longer wanted."""
        self._waiting.pop(segment.segment_id, None)

    def clear(self) -> None:
        """Remove all."""
        self._waiting.clear()
