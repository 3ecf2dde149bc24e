"""When a revision is translated, and when a reader gets to it.

So many revisions a second at most, and fewer while the machine is busy; what came at once is due
one after another, as it is read.

Knows numbers; reads no clock (times are arguments, in seconds).
"""

from typing import Final

from service.load.limits import Bucket
from service.wire.protocol import SessionNotice

NOTICE_INTERVAL_S: Final = 1.0
READING_CHARS_PER_S: Final = 50.0  # of source text; three times what captions are made for


class Pacing:
    """The pace of one session's partials.

    Args:
        updates_per_s: revisions that are translated at most.
        now_s: when the session begins.

    Attributes:
        interval_s: between partials at least, by how busy the machine is.
    """

    def __init__(self, updates_per_s: int, now_s: float) -> None:
        self.interval_s = 0.0
        self._updates_per_s = updates_per_s
        self._bucket = Bucket(updates_per_s, now_s)
        self._partial_s = float("-inf")  # when the last one began
        self._noticed_s = float("-inf")

    def is_thinned(self, now_s: float) -> bool:
        """Whether it is too soon for another partial because the machine is busy."""
        return now_s < self._partial_s + self.interval_s

    def admit(self, now_s: float) -> bool:
        """Return whether a revision is to be translated now; if so, it is counted."""
        return not self.is_thinned(now_s) and self.take(now_s)

    def take(self, now_s: float) -> bool:
        """Count a revision against the updates of this second, where there is room."""
        return self._bucket.take(now_s)

    def partial_started(self, now_s: float) -> None:
        """Begin the pause before the next partial."""
        self._partial_s = now_s

    def ready_s(self) -> float:
        """Return when the next revision can be translated."""
        return max(self._bucket.ready_s(), self._partial_s + self.interval_s)

    def notice(self, now_s: float) -> SessionNotice | None:
        """Return what a client is told of a revision that waits, not too often."""
        if now_s - self._noticed_s < NOTICE_INTERVAL_S:
            return None
        self._noticed_s = now_s
        if self.is_thinned(now_s):
            seldom = f"the machine is busy: a translation every {self.interval_s:.1f} s"
            return SessionNotice("degraded", seldom)
        limit = f"more than {self._updates_per_s} updates in a second"
        return SessionNotice("coalescing", limit)


class Reader:
    """Where somebody who reads one language has got to: is through with all until then."""

    def __init__(self, until_s: float = 0.0) -> None:
        self.until_s = until_s

    def reaches_s(self, now_s: float, final_chars: int = 0) -> float:
        """Return when the reader is through with all that came before.

        Args:
            now_s: when the text came.
            final_chars: source characters that are added to what is to be read.
        """
        reached_s = max(self.until_s, now_s)
        self.until_s = reached_s + final_chars / READING_CHARS_PER_S
        return reached_s
