"""When to translate a revision, and when a reader will get to it.

Limits how many revisions are translated in a second, and more strictly while the machine is busy.
Text that arrives all at once is due piece by piece, at reading speed.

Knows numbers; reads no clock (times are arguments, in seconds).
"""

from typing import Final

from service.load.admission import MAX_INTERVAL_S
from service.load.limits import Bucket
from service.wire.protocol import SessionNotice

NOTICE_INTERVAL_S: Final = 1.0
READING_CHARS_PER_S: Final = 50.0  # of source text; three times as fast as captions are meant for


class Pacing:
    """The pace of one session's partials.

    Args:
        updates_per_s: most revisions that are translated in a second.
        now_s: when the session begins.

    Attributes:
        interval_s: least time between partials; grows while the machine is busy.
    """

    def __init__(self, updates_per_s: int, now_s: float) -> None:
        self.interval_s = 0.0
        self._updates_per_s = updates_per_s
        self._bucket = Bucket(updates_per_s, now_s)
        self._partial_s = float("-inf")  # start of the newest partial
        self._noticed_s = float("-inf")

    @property
    def is_for_finals(self) -> bool:
        """Whether the machine is so late that all of its time should go to finals."""
        return self.interval_s > MAX_INTERVAL_S

    def is_thinned(self, now_s: float) -> bool:
        """Whether another partial would come too soon for a busy machine."""
        return now_s < self._partial_s + self.interval_s

    def admit(self, now_s: float) -> bool:
        """Return whether to translate a revision now; if so, count it."""
        return not self.is_thinned(now_s) and self.take(now_s)

    def take(self, now_s: float) -> bool:
        """Count a revision against this second's budget, if there is any left."""
        return self._bucket.take(now_s)

    def partial_started(self, now_s: float) -> None:
        """Start the pause before the next partial."""
        self._partial_s = now_s

    def ready_s(self) -> float:
        """Return the earliest time at which the next revision can be translated."""
        return max(self._bucket.ready_s(), self._partial_s + self.interval_s)

    def notice(self, now_s: float) -> SessionNotice | None:
        """Return a notice to the client that revisions are waiting, unless it was told recently."""
        if now_s - self._noticed_s < NOTICE_INTERVAL_S:
            return None
        self._noticed_s = now_s
        if self.is_thinned(now_s):
            seldom = f"the machine is busy: a translation every {self.interval_s:.1f} s"
            return SessionNotice("degraded", seldom)
        limit = f"more than {self._updates_per_s} updates in a second"
        return SessionNotice("coalescing", limit)


class Reader:
    """A reader of one language; `until_s` is when all text so far will have been read."""

    def __init__(self, until_s: float = 0.0) -> None:
        self.until_s = until_s

    def reaches_s(self, now_s: float, final_chars: int = 0) -> float:
        """Return when the reader will have finished everything that came before this text.

        Args:
            now_s: when the text came.
            final_chars: source characters that this text adds.
        """
        reached_s = max(self.until_s, now_s)
        self.until_s = reached_s + final_chars / READING_CHARS_PER_S
        return reached_s
