"""Texts on their way to the translations of their segments, some pieces at a time.

Knows whose turn it is; does not know translations.
"""

from dataclasses import dataclass

from service.captions.policy import Source
from service.captions.segment import Segment


@dataclass(slots=True)
class Revision:
    """The newest text of a segment.

    Attributes:
        sources: its pieces, None while it is not cut into them yet.
        num_taken: pieces that the translations have taken in.
    """

    segment: Segment
    sources: list[Source] | None = None
    num_taken: int = 0


class Revisions:
    """What waits, in the order in which it came; a newer text takes the place of an older one."""

    def __init__(self) -> None:
        self._waiting: dict[str, Revision] = {}  # by wire id

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, segment: Segment) -> bool:
        return segment.segment_id in self._waiting

    def add(self, segment: Segment) -> None:
        """Let the newest text of a segment have its turn."""
        self._waiting[segment.segment_id] = Revision(segment)

    def first(self) -> Revision | None:
        """Return the one whose turn it is."""
        return next(iter(self._waiting.values()), None)

    def drop(self, segment: Segment) -> None:
        """Take out that of a segment, if any: its translations have it all, or want it no more."""
        self._waiting.pop(segment.segment_id, None)

    def clear(self) -> None:
        """Take out all."""
        self._waiting.clear()
