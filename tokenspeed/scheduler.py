"""Which sequences run and which rows go into the next step. Pure: no clock, no device.

Earliest deadline first. A final counts as due earlier than a partial of the same deadline, but
deadlines are absolute, so a waiting partial still comes up. Ties go to the shortest.
"""

from dataclasses import dataclass

import numpy as np

from tokenspeed.backends import Step
from tokenspeed.kv_cache import MIN_FORK_TOKENS, KVCache, Lease
from tokenspeed.request import Rows, Sequence

FINAL_HEAD_START_S = 0.2  # a whole budget: a final overtakes partials that came up to then


@dataclass(frozen=True)
class Plan:
    """One step: the batch, and which rows of it belong to whom."""

    batch: Step
    parts: list[tuple[Sequence, Rows]]


class Scheduler:
    """The sequences that wait for a slot and those that have one."""

    def __init__(self, cache: KVCache, max_step_tokens: int) -> None:
        self.cache = cache
        self.max_step_tokens = max_step_tokens
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

    def admit(self, now: float) -> list[Lease]:
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
            sequence.begin(lease.slot, lease.reused, now)
            self.waiting.remove(sequence)
            self.running.append(sequence)
            leases.append(lease)
        return leases

    def plan(self) -> Plan | None:
        """Fill a step with the rows of running sequences, the most urgent first."""
        parts: list[tuple[Sequence, Rows]] = []
        room = self.max_step_tokens
        for sequence in sorted(self.running, key=urgency):
            if room < 1:
                break
            rows = sequence.rows(room)
            parts.append((sequence, rows))
            room -= len(rows.tokens)
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


def urgency(sequence: Sequence) -> tuple[float, int, float]:
    """Sort key: due first, then short first, then first come."""
    request = sequence.request
    due = request.deadline - (FINAL_HEAD_START_S if request.is_final else 0.0)
    return (due, sequence.remaining_steps, sequence.arrival)


def common_prefix(a: list[int], b: list[int]) -> int:
    """Return how many leading tokens are equal."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


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
