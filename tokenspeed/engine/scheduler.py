"""Which sequences run and which rows go into the next step. Pure: no clock, no device.

Earliest deadline first. A final counts as due earlier than a partial of the same deadline, but
deadlines are absolute, so a waiting partial still comes up. A partial that took the place of others
before they were done is as old as the first of them. Ties go to the shortest.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np

from tokenspeed.backends import Step
from tokenspeed.engine.kv_cache import MIN_FORK_TOKENS, KVCache, Lease, common_prefix
from tokenspeed.engine.request import Rows, Sequence

FINAL_HEAD_START_S = 0.2  # a whole budget: a final overtakes partials that came up to then
MAX_AGING_S = 0.15  # what waiting gains a partial; less than a head start, so finals stay first


@dataclass(frozen=True)
class Plan:
    """One step: the batch, and which rows of it belong to whom."""

    batch: Step
    parts: list[tuple[Sequence, Rows]]


class Scheduler:
    """The sequences that wait for a slot and those that have one."""

    def __init__(self, cache: KVCache, max_step_tokens: int, max_step_s: float = math.inf) -> None:
        self.cache = cache
        self.max_step_tokens = max_step_tokens
        self.max_step_s = max_step_s
        self.cost = StepCost()
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, whatever its state, and free its slot."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.running:
            self.running.remove(sequence)
            self.cache.release(sequence.slot)

    def admit(self, now_s: float) -> list[Lease]:
        """Give free slots to waiting sequences in order; return the leases taken.

        The caller copies what a lease forks before the next step.
        """
        leases = []
        for sequence in sorted(self.waiting, key=urgency):
            if self._shares_running_prefix(sequence):
                continue
            lease = self.cache.acquire(sequence.tokens, sequence.request.key)
            if lease is None:
                break
            sequence.begin(lease.slot, lease.reused, now_s)
            self.waiting.remove(sequence)
            self.running.append(sequence)
            leases.append(lease)
        return leases

    def plan(self) -> Plan | None:
        """Fill a step with the rows of running sequences, the most urgent first.

        A sequence that would take most of the room leaves half of it to the others, and the room
        itself is what fits `max_step_s`: a long prompt is computed in chunks between which captions
        go on.
        """
        ordered = sorted(self.running, key=urgency)
        room = min(self.max_step_tokens, self.cost.rows_within(self.max_step_s))
        shares = share_rows([s.missing + len(s.draft) for s in ordered], room)
        parts = [(s, s.rows(share)) for s, share in zip(ordered, shares, strict=True) if share]
        return Plan(build_step(parts), parts) if parts else None

    def _shares_running_prefix(self, sequence: Sequence) -> bool:
        """Whether a running sequence is about to compute a beginning that this one could fork.

        Several targets of one source arrive together: the first computes the source, the others
        wait one step and copy it.
        """
        available = max(self.cache.match(i, sequence.tokens) for i in range(len(self.cache.slots)))
        return any(
            common_prefix(other.tokens, sequence.tokens) >= available + MIN_FORK_TOKENS
            for other in self.running
        )


class StepCost:
    """How long a step of so many rows takes: a line fitted to recent steps, old ones fading.

    The fit is least squares over exponentially decayed sums, so it follows a machine that slows
    down within some tens of steps.
    """

    DECAY = 0.98
    MIN_ROWS = 16  # narrower steps would cost throughput without making a caption faster

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """Take a measured step in."""
        new = (1.0, float(rows), seconds, float(rows * rows), rows * seconds)
        old = (self._weight, self._x, self._y, self._xx, self._xy)
        self._weight, self._x, self._y, self._xx, self._xy = (
            a * self.DECAY + b for a, b in zip(old, new, strict=True)
        )

    def predict(self, rows: int) -> float:
        """Return the expected seconds of a step; 0 before anything was measured."""
        base, slope = self.line()
        return base + slope * rows

    def rows_within(self, seconds: float) -> int:
        """Return how many rows fit the time, at least MIN_ROWS."""
        base, slope = self.line()
        if slope <= 0 or math.isinf(seconds):
            return sys.maxsize
        return max(self.MIN_ROWS, int((seconds - base) / slope))

    def line(self) -> tuple[float, float]:
        """Return the seconds of a step, and of each of its rows; zeros before any measurement."""
        if not self._weight:
            return 0.0, 0.0
        spread = self._weight * self._xx - self._x**2
        covariance = self._weight * self._xy - self._x * self._y
        # Steps of one width say nothing about the slope.
        slope = max(covariance / spread, 0.0) if spread > 1e-6 * self._xx else 0.0
        return max((self._y - slope * self._x) / self._weight, 0.0), slope


def share_rows(wanted: list[int], room: int) -> list[int]:
    """Divide the rows of a step among sequences, given in order of urgency.

    Args:
        wanted: rows that each could use.
        room: rows of the step.
    Returns:
        Rows for each, together at most `room`, and all of it where more is wanted.
    """
    cap = room if len(wanted) < 2 else max(1, room // 2)
    shares = []
    for rows in wanted:
        share = min(rows, cap, room)
        shares.append(share)
        room -= share
    for i, rows in enumerate(wanted):
        more = min(rows - shares[i], room)
        shares[i] += more
        room -= more
    return shares


def urgency(sequence: Sequence) -> tuple[float, int, float]:
    """Sort key: due first, then short first, then first come."""
    request = sequence.request
    aging = min(sequence.arrival_s - sequence.waiting_since_s, MAX_AGING_S)
    due = request.deadline_s - (FINAL_HEAD_START_S if request.is_final else aging)
    return (due, sequence.remaining_steps, sequence.arrival_s)


def build_step(parts: list[tuple[Sequence, Rows]]) -> Step:
    """Lay the rows of several sequences side by side."""
    tokens: list[int] = []
    slots: list[int] = []
    positions: list[int] = []
    outputs: list[int] = []
    drafts: list[int] = []
    biases: list[float] = []
    for sequence, rows in parts:
        tokens += rows.tokens
        slots += [sequence.slot] * len(rows.tokens)
        positions += range(rows.start, rows.start + len(rows.tokens))
        outputs += range(len(tokens) - len(rows.drafts), len(tokens))
        drafts += rows.drafts
        biases += [sequence.request.bias] * len(rows.drafts)
    return Step(
        tokens=np.array(tokens, np.int32),
        slots=np.array(slots, np.int32),
        positions=np.array(positions, np.int32),
        outputs=np.array(outputs, np.int32),
        drafts=np.array(drafts, np.int32),
        biases=np.array(biases, np.float32),
    )
