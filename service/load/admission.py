"""Who is let in, and how often partials are translated: decided from what was measured.

Rows fill steps: with `u` the share of time that rows alone take (rows a second times seconds a
row), a step of everybody's rows lasts as long as `1 / (1 - u)`, and so does every update in
proportion; in simulation the end comes at 0.8 rather than at 1. One more speaker adds a speaker's
share to `u`, which says what p95 will be. A new session is refused
while that is over the budget; where the running ones are late all the same, partials come less
often, and finals as ever. Knows numbers; reads no clock, knows no sockets or engines.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 10.0  # that is looked back
RECENT_S: Final = 2.0  # that the pace of partials looks back
ADAPT_S: Final = 0.5  # between changes of the pace
MIN_UPDATES: Final = 20  # in the window, for a p95 to say anything
MAX_LOAD: Final = 0.8  # of rows: from here on a queue only grows, by simulation
MIN_LOAD: Final = 0.25  # of rows: below, lateness comes from elsewhere, and refusing cures nothing
MAX_INTERVAL_S: Final = 1.0  # between partials of a session, however busy it is
MIN_INTERVAL_S: Final = 0.1  # less is no pause at all

# A speaker of whom nothing was measured yet: three updates a second, each a prompt's new words, a
# draft and some decoding.
GUESSED_ROWS_PER_S: Final = 75.0
GUESSED_STEPS: Final = 10.0  # of an update, at the 95th percentile


@dataclass(frozen=True, slots=True)
class EngineWork:
    """What the engine says of itself.

    Attributes:
        rows: computed since it started.
        base_s, row_s: of a step, and of each of its rows, by recent steps.
    """

    rows: int
    base_s: float
    row_s: float


class Admission:
    """The newest measurements, and what follows from them.

    Args:
        budget_s: of an update, from its arrival to its whole translation.
        now_s: on the clock of the later calls.

    Attributes:
        interval_s: the least time between partials of a session; 0 while there is no need.
    """

    def __init__(self, budget_s: float, now_s: float) -> None:
        self.interval_s = 0.0
        self._budget_s = budget_s
        self._updates: deque[tuple[float, float, str]] = deque()  # when, how long, whose
        self._works: deque[tuple[float, EngineWork]] = deque()
        self._opened: dict[str, float] = {}
        self._departed: dict[str, float] = {}  # when, of those that speak no more
        self._adapted = now_s

    def open(self, session: str, now_s: float) -> None:
        """Take note of a session that begins."""
        self._opened[session] = now_s

    def close(self, session: str, now_s: float) -> None:
        """Take note of a session that ends."""
        self._opened.pop(session, None)
        self._departed = {w: at for w, at in self._departed.items() if at >= now_s - WINDOW_S}
        self._departed[session] = now_s

    def measure(self, work: EngineWork, now_s: float) -> None:
        """Take in the engine's counters; call it about every second."""
        self._works.append((now_s, work))
        # The last one outside of the window is its beginning.
        while len(self._works) > 2 and self._works[1][0] <= now_s - WINDOW_S:
            self._works.popleft()

    def observe(self, session: str, seconds: float, now_s: float) -> None:
        """Take in an update that was answered."""
        self._updates.append((now_s, seconds, session))
        self.refresh(now_s)

    def refresh(self, now_s: float) -> None:
        """Let time pass: what was busy long ago is not busy now, though nobody spoke since."""
        while self._updates and self._updates[0][0] < now_s - WINDOW_S:
            self._updates.popleft()
        self._adapted = max(self._adapted, now_s - 10 * WINDOW_S)  # by then nothing is left
        while now_s - self._adapted >= ADAPT_S:
            self._adapted += ADAPT_S
            self._adapt(self._adapted)

    def admits(self, now_s: float) -> bool:
        """Whether one more session leaves all within the budget; who is alone is let in."""
        speakers = self._speakers(now_s)
        if not speakers:
            return True
        load = self._load(now_s, speakers + 1)
        return load <= MIN_LOAD or self.predict(now_s) <= self._budget_s

    def predict(self, now_s: float, more: int = 1) -> float:
        """Return the p95 of an update, in seconds, with so many more speakers; inf: no end."""
        speakers = self._speakers(now_s)
        wanted = self._load(now_s, speakers + more)
        if wanted >= MAX_LOAD:
            return math.inf
        measured = self._p95(now_s, WINDOW_S)
        if measured is None:
            work = self._works[-1][1] if self._works else EngineWork(0, 0.0, 0.0)
            return GUESSED_STEPS * work.base_s / (1 - wanted / MAX_LOAD)
        present = self._load(now_s, self._active(now_s))
        return measured * max((MAX_LOAD - present) / (MAX_LOAD - wanted), 1.0)

    def _active(self, now_s: float) -> int:
        return len({who for at, _, who in self._updates if at >= now_s - WINDOW_S})

    def _speakers(self, now_s: float) -> int:
        """Sessions that speak, and new ones that will begin to."""
        active = {who for at, _, who in self._updates if at >= now_s - WINDOW_S}
        fresh = {who for who, at in self._opened.items() if at >= now_s - WINDOW_S}
        return len((active - self._departed.keys()) | fresh)

    def _load(self, now_s: float, speakers: int) -> float:
        """Return the share of time that the rows of so many speakers take."""
        if not self._works or not speakers:
            return 0.0
        (begin, first), (end, last) = self._works[0], self._works[-1]
        active = self._active(now_s)
        share = GUESSED_ROWS_PER_S
        if active and end > begin and len(self._updates) >= MIN_UPDATES:
            share = (last.rows - first.rows) / (end - begin) / active
        return share * speakers * last.row_s

    def _p95(self, now_s: float, window_s: float) -> float | None:
        times = sorted(seconds for at, seconds, _ in self._updates if at >= now_s - window_s)
        if len(times) < MIN_UPDATES:
            return None
        return times[math.ceil(0.95 * len(times)) - 1]

    def _adapt(self, now_s: float) -> None:
        """Let partials come less often while updates are late, and more often again."""
        late = self._p95(now_s, RECENT_S)
        if late is not None and late > 0.9 * self._budget_s:
            self.interval_s = min(max(1.5 * self.interval_s, 0.2), MAX_INTERVAL_S)
        elif late is None or late < 0.6 * self._budget_s:
            self.interval_s *= 0.85
            if self.interval_s < MIN_INTERVAL_S:
                self.interval_s = 0.0
