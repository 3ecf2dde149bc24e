"""Who is admitted, and how often partials are translated: decided from measurements.

Rows fill steps: with `u` the share of time that rows alone take (rows a second times seconds a
row), a step of everybody's rows lasts as long as `1 / (1 - u)`, and so does every update in
proportion; in simulation the end comes at 0.8 rather than at 1. The event loop fills up in the same
way. One more speaker adds a speaker's share to `u`, which says what p95 will be. A new session is
refused while that is over the budget; where the running ones are late all the same, partials come
less often, and finals as ever.

A crowd that comes within a second is not seen in any measurement yet. So each newcomer counts with
what speakers were measured to cost, or with a guess that fades as they speak; and at most as many
are let in unheard as are heard already, or as half of what the guess says.

Knows numbers; reads no clock, knows no sockets or engines.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 10.0  # length of the measuring window
RECENT_S: Final = 2.0  # window for adjusting the pace of partials
ADAPT_S: Final = 0.5  # between changes of the pace
MIN_UPDATES: Final = 20  # in the window, before a p95 means anything
MAX_LOAD: Final = 0.8  # of rows: above it queues only grow, by simulation
MIN_LOAD: Final = 0.25  # of rows: below it lateness has other causes, and refusing helps nothing
MAX_INTERVAL_S: Final = 1.0  # between a session's partials while finals are on time
LATE_FINAL_S: Final = 1.0  # a final that takes longer leaves no time for partials
FINALS_ALONE_S: Final = 60.0  # between a session's partials then: next to none
RECOVERY: Final = (
    0.75  # of a pause for finals alone is left after each change, once they are in time
)
MIN_INTERVAL_S: Final = 0.1  # a shorter pause is no pause at all

# A speaker of whom nothing was measured yet: three updates a second, each a prompt's new words, a
# draft and some decoding.
GUESSED_ROWS_PER_S: Final = 40.0
GUESSED_LOOP_S: Final = 0.01  # of the event loop, per second
GUESSED_STEPS: Final = 10.0  # in an update, at the 95th percentile
GUESS_S: Final = 5.0  # of one speaker's talk weigh as much as the guess
DEAR_S: Final = 0.25  # likewise, of speakers who cost more than that
HEARD_S: Final = 3.0  # of speech, until a speaker's cost shows in the measurements
MIN_CROWD: Final = 4  # may come at once, however slow the machine is


@dataclass(frozen=True, slots=True)
class Work:
    """Work done for everybody since the start.

    Attributes:
        rows: that the engine computed while somebody may have waited for them.
        base_s, row_s: of a step, and of each of its rows, by recent steps.
        loop_s: processor time of the event loop.
    """

    rows: int
    base_s: float
    row_s: float
    loop_s: float = 0.0


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
        self._updates: deque[tuple[float, float, str]] = deque()  # when, how long, which session
        self._finals: deque[tuple[float, float]] = deque()  # when, how long
        self._works: deque[tuple[float, Work]] = deque()
        self._opened: dict[str, float] = {}
        self._began: dict[str, float] = {}  # when each speaker got the first answer
        self._departed: dict[str, float] = {}  # when each former speaker left
        self._adapted = now_s

    def open(self, session: str, now_s: float) -> None:
        """Note that a session begins."""
        self._opened[session] = now_s
        self._departed.pop(session, None)  # it is back on another connection

    def close(self, session: str, now_s: float) -> None:
        """Note that a session ends."""
        self._opened.pop(session, None)
        self._departed[session] = now_s

    def measure(self, work: Work, now_s: float) -> None:
        """Take the counters; call it about once a second."""
        self._works.append((now_s, work))
        # The last sample before the window marks its beginning.
        while len(self._works) > 2 and self._works[1][0] <= now_s - WINDOW_S:
            self._works.popleft()

    def observe(
        self, session: str, seconds: float, now_s: float, *, is_final: bool = False
    ) -> None:
        """Take an update that was answered."""
        self._updates.append((now_s, seconds, session))
        if is_final:
            self._finals.append((now_s, seconds))
        self._began.setdefault(session, now_s)
        self.refresh(now_s)

    def refresh(self, now_s: float) -> None:
        """Let time pass: load measured long ago is gone, even if nobody spoke since."""
        while self._updates and self._updates[0][0] < now_s - WINDOW_S:
            self._updates.popleft()
        while self._finals and self._finals[0][0] < now_s - RECENT_S:
            self._finals.popleft()
        self._adapted = max(self._adapted, now_s - 10 * WINDOW_S)  # by then every pause has ended
        while now_s - self._adapted >= ADAPT_S:
            self._adapted += ADAPT_S
            self._adapt(self._adapted)
            self._forget(now_s)

    def admits(self, now_s: float) -> bool:
        """Whether one more session keeps everybody within budget; a lone one is always admitted."""
        speakers = self._speakers(now_s)
        if not speakers:
            return True
        unheard = sum(self._began.get(who, now_s) > now_s - HEARD_S for who in speakers)
        loads = self._loads(now_s, len(speakers) + 1)
        fitting = MAX_LOAD / max(max(loads), 1e-9) * (len(speakers) + 1)
        if unheard + 1 > max(MIN_CROWD, len(speakers) - unheard, fitting / 2):
            return False
        late_s = self._p95(now_s, RECENT_S)
        if max(loads) <= MIN_LOAD:
            return True
        return (late_s or 0.0) <= self._budget_s and self.predict(now_s) <= self._budget_s

    def predict(self, now_s: float, more: int = 1) -> float:
        """Return the p95 of an update, in seconds, with so many more speakers; inf: no end."""
        speakers = len(self._speakers(now_s))
        wanted = self._loads(now_s, speakers + more)
        if max(wanted) >= MAX_LOAD:
            return math.inf
        measured = self._p95(now_s, WINDOW_S)
        if measured is None:
            work = self._works[-1][1] if self._works else Work(0, 0.0, 0.0)
            return GUESSED_STEPS * work.base_s / (1 - max(wanted) / MAX_LOAD)
        return measured * max(
            1.0,
            *((MAX_LOAD - min(was, will)) / (MAX_LOAD - will)
              for was, will in zip(self._measured_loads(), wanted, strict=True)),
        )  # fmt: skip

    def busy(self, now_s: float) -> float:
        """Return the present speakers' share of the load that can be borne."""
        return max(self._loads(now_s, len(self._speakers(now_s)))) / MAX_LOAD

    def _forget(self, now_s: float) -> None:
        """Drop those who have neither spoken nor left within the window."""
        begin_s = now_s - WINDOW_S
        self._departed = {who: at for who, at in self._departed.items() if at >= begin_s}
        active = {who for _, _, who in tuple(self._updates)}
        self._began = {who: at for who, at in self._began.items() if who in active}

    def _speakers(self, now_s: float) -> set[str]:
        """Return the sessions that speak, and the new ones that will."""
        begin_s = now_s - WINDOW_S
        # Copies: another thread may read what is exported as metrics.
        active = {who for at, _, who in tuple(self._updates) if at >= begin_s}
        fresh = {who for who, at in tuple(self._opened.items()) if at >= begin_s}
        return (active - self._departed.keys()) | fresh

    def _loads(self, now_s: float, speakers: int) -> tuple[float, float]:
        """Return the shares of the engine's and the event loop's time that so many will take."""
        if not self._works or not speakers:
            return 0.0, 0.0
        (begin_s, first), (end_s, last) = self._works[0], self._works[-1]
        spoken_s = sum(
            max(min(self._departed.get(who, end_s), end_s) - max(at, begin_s), 0.0)
            for who, at in tuple(self._began.items())
        )
        rows_per_s = _per_second(GUESSED_ROWS_PER_S, last.rows - first.rows, spoken_s)
        loop_share = _per_second(GUESSED_LOOP_S, last.loop_s - first.loop_s, spoken_s)
        return rows_per_s * last.row_s * speakers, loop_share * speakers

    def _measured_loads(self) -> tuple[float, float]:
        """Return the shares of time taken by the engine's rows and by the event loop."""
        if len(self._works) < 2:
            return 0.0, 0.0
        (begin_s, first), (end_s, last) = self._works[0], self._works[-1]
        seconds = end_s - begin_s
        return (
            (last.rows - first.rows) / seconds * last.row_s,
            (last.loop_s - first.loop_s) / seconds,
        )

    def _p95(self, now_s: float, window_s: float) -> float | None:
        times = sorted(seconds for at, seconds, _ in tuple(self._updates) if at >= now_s - window_s)
        if len(times) < MIN_UPDATES:
            return None
        return times[math.ceil(0.95 * len(times)) - 1]

    def _adapt(self, now_s: float) -> None:
        """Make partials rarer while updates are late, and more frequent again afterwards."""
        late_s = self._p95(now_s, RECENT_S)
        finals = tuple(self._finals)
        late_finals = sum(seconds > LATE_FINAL_S for _, seconds in finals)
        if late_finals > len(finals) / 20:
            self.interval_s = min(max(2 * self.interval_s, MAX_INTERVAL_S), FINALS_ALONE_S)
        elif late_s is not None and late_s > 0.9 * self._budget_s:
            most_s = max(MAX_INTERVAL_S, RECOVERY * self.interval_s)
            self.interval_s = min(max(1.5 * self.interval_s, 0.2), most_s)
        elif late_s is None or late_s < 0.6 * self._budget_s:
            self.interval_s *= RECOVERY if self.interval_s > MAX_INTERVAL_S else 0.85
            if self.interval_s < MIN_INTERVAL_S:
                self.interval_s = 0.0


def _per_second(guess: float, measured: float, spoken_s: float) -> float:
    """Return what a second of speech costs.

    The more speech was measured, the less the guess counts: soon for what is dearer than that, as
    one speaker too many harms everybody, and later for what is cheaper.
    """
    return max((guess * each_s + measured) / (each_s + spoken_s) for each_s in (GUESS_S, DEAR_S))
