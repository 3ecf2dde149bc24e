"""Which sequences run and which rows go into the next step. Pure: no clock, no device.

Clients that have had more than their share of the machine come after all others. In either group
the earliest deadline goes first. A final counts as due earlier than a partial of the same deadline,
but deadlines are absolute, so a waiting partial still gets its turn. A partial that superseded
others before they were done gains from their waiting too. Ties go to the shortest.

Work whose deadline is far off, or whose client is over its share, is background work: it fills the
room that live work leaves in a step, and gives up its slot to live work. Who gave one up keeps the
next for longer, so that everything ends, however many take slots from each other.
"""

import heapq
import itertools
import math
import sys
from collections.abc import Generator, Hashable, Iterator, KeysView
from contextlib import closing
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenspeed.backends import Step
from tokenspeed.engine.fairness import ALLOWANCE_S, FairShares
from tokenspeed.engine.kv_cache import MIN_FORK_TOKENS, KVCache, Lease
from tokenspeed.engine.request import Rows, Sequence

FINAL_HEAD_START_S: Final = 0.5  # a final overtakes partials due up to this much earlier
MAX_AGING_S: Final = 0.15  # the most a partial gains by waiting; less than a final's head start
MAX_DEFERRED: Final = 8  # beginnings to wait for in one `admit`; at more it stops looking
LIVE_S: Final = 0.5  # somebody may be waiting for what is due this soon
# What background work may take of `max_step_s`. A caption that arrives during a background step
# waits for it to end; so the step is shorter while somebody speaks.
BACKGROUND_STEP: Final = 1 / 3
ATTENDED_STEP: Final = 1 / 6
ATTENDED_S: Final = 0.5  # somebody speaks for so long after the last live rows
# A caption takes a step for each word that it decodes, and background work beside it delays each of
# them: by this part of what the step takes without it.
BESIDE_LIVE: Final = 1 / 3
# Tokens that are copied from slot to slot for background work before a step; the last copy may go
# beyond. On a CPU each takes 20 us in a slot that is written for the first time.
MAX_COPIED: Final = 128


class Plan(NamedTuple):
    """One step: the batch, which rows of it belong to whom, and how many of them are live work."""

    batch: Step
    parts: list[tuple[Sequence, Rows]]
    num_live_rows: int = 0


class Scheduler:
    """The sequences that wait for a slot and those that have one.

    Args:
        cache: who holds which slot.
        max_step_tokens: rows of a step at most.
        max_step_s: a step gets only as many rows as fit this time, judging by earlier steps.
    """

    def __init__(self, cache: KVCache, max_step_tokens: int, max_step_s: float = math.inf) -> None:
        self.cache = cache
        self.max_step_tokens = max_step_tokens
        self.max_step_s = max_step_s
        self.cost = StepCost()
        self.shares = FairShares()
        self.waiting = WaitingSequences(self.shares)
        self.running: list[Sequence] = []
        self._last: Plan | None = None  # of these running sequences
        self._last_live_s = -math.inf
        self.alone: set[Sequence] = set()  # suspected of making steps fail: each runs alone once

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for a slot."""
        self.waiting.add(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, whatever its state, and free its slot."""
        self.alone.discard(sequence)
        if sequence.slot >= 0:
            self.running.remove(sequence)
            self._last = None
            self.cache.release(sequence.slot)
            sequence.slot = -1
        else:
            self.waiting.discard(sequence)

    def admit(self, now_s: float) -> list[Lease]:
        """Give slots to waiting sequences in order; return the leases taken.

        Before the next step the caller must copy what a lease forks. When all slots are in use,
        live work takes a slot of background work, which waits again and goes on from its tokens.
        Background work waits for the next step once enough is to be copied before this one.
        """
        if not self.waiting:
            return []
        leases: list[Lease] = []
        num_copied = 0
        deferred: list[list[int]] = []  # beginnings that a running sequence will soon hold
        with closing(self.waiting.ordered()) as ordered:
            for num_seen, sequence in enumerate(ordered):
                if num_seen > 2 * len(self.cache.slots) or len(deferred) > MAX_DEFERRED:
                    break  # what is left is looked at after the next step
                if num_copied >= MAX_COPIED and not self.is_live(sequence, now_s):
                    break  # live work came before it
                preempted = None if self.cache.num_free else self._background(sequence, now_s)
                if not self.cache.num_free and preempted is None:
                    break
                # What begins like a deferred sequence would find no more in a slot: it waits too.
                if any(sequence.tokens[: len(begin)] == begin for begin in deferred):
                    continue
                best = self.cache.best_match(sequence.tokens)
                needed = best[1] + MIN_FORK_TOKENS
                if self._is_about_to_hold(sequence.tokens, needed):
                    deferred.append(sequence.tokens[:needed])
                    continue
                if preempted is not None:
                    preempted.lost = preempted.computed
                    self._restart(preempted)
                lease = self._begin(sequence, now_s, best)
                num_copied += lease.reused if lease.fork_from is not None else 0
                leases.append(lease)
        return leases

    def plan(self, now_s: float) -> Plan | None:
        """Fill a step with the rows of running sequences, live ones and the most urgent first.

        While others want rows, no sequence takes more than half of the room, and the room is what
        fits `max_step_s`: a long prompt is computed in chunks, between which captions go on.
        """
        last = self._last
        if last is None or last.batch.stops is None or self.alone:
            self._last = self._fill(now_s)
        else:
            self._last = self._decode_on(last, now_s) or self._fill(now_s)
        return self._last

    def _decode_on(self, last: Plan, now_s: float) -> Plan | None:
        """Return the step that goes on from one that decodes; None: it is another, or may be.

        What `_fill` would choose, but for the order, in less than half the time: where all get
        their rows it does not matter who comes first, and most of the step is as it was.
        """
        parts: list[tuple[Sequence, Rows]] = []
        live = num_live_rows = 0
        for sequence, before in last.parts:
            if not sequence.decodes_on(before):
                return None
            rows = sequence.rows(len(before.tokens))
            parts.append((sequence, rows))
            if self.is_live(sequence, now_s):
                live, num_live_rows = live + 1, num_live_rows + len(rows.tokens)
        total, room = len(last.batch.tokens), self._background_room(live, now_s)
        if num_live_rows > self._room(1.0) or total - num_live_rows > room:
            return None
        is_next = all([sequence.stops(rows) is not None for sequence, rows in parts])
        stops = last.batch.stops if is_next and not self._may_admit() else None
        return Plan(build_next(last.batch, parts, stops), parts, num_live_rows)

    def _fill(self, now_s: float) -> Plan | None:
        """Choose the rows of a step, whatever the last one was; see `plan`."""
        ordered = sorted(self.running, key=self._rank)
        suspect = next((s for s in ordered if s in self.alone), None)
        if suspect is not None:
            ordered = [suspect]
        live = [s for s in ordered if self.is_live(s, now_s)]
        rest = [s for s in ordered if not self.is_live(s, now_s)]
        live_room = self._room(1.0)
        parts = self._rows_of(live, live_room)
        taken = num_rows(parts)
        room = self._background_room(taken, now_s)
        beside = self._rows_of(rest, room)
        # A guess takes no row that anybody needs.
        needed = taken + num_rows(beside)
        parts = with_guesses(parts, min(live_room - taken, self.max_step_tokens - needed))
        taken = num_rows(parts)
        room = min(room, self.max_step_tokens - taken)
        parts += with_guesses(beside, room - num_rows(beside))
        return Plan(build_step(parts, *self._stops(parts)), parts, taken) if parts else None

    def observe(self, plan: Plan, seconds: float) -> None:
        """Record how long a step took: this predicts later ones, and is charged to its clients."""
        if self.alone:
            self.alone.difference_update(sequence for sequence, _ in plan.parts)
        total = len(plan.batch.tokens)
        self.cost.observe(total, seconds)
        used_s: dict[Hashable, float] = {}
        for sequence, rows in plan.parts:
            client = sequence.request.client
            used_s[client] = used_s.get(client, 0.0) + seconds * len(rows.tokens) / total
        running = {sequence.request.client for sequence in self.running}
        waiting = self.waiting.clients
        num_active = len(waiting) + len([None for client in running if client not in waiting])
        self.shares.charge(used_s, num_active)

    def restart_running(self) -> None:
        """Make all running sequences wait for a slot again; they go on from their tokens."""
        for sequence in list(self.running):
            self._restart(sequence)

    def _restart(self, sequence: Sequence) -> None:
        is_alone = sequence in self.alone
        self.remove(sequence)
        self.add(sequence)
        if is_alone:
            self.alone.add(sequence)

    def is_live(self, sequence: Sequence, now_s: float) -> bool:
        """Whether somebody may be waiting for the output, and the client is within its share."""
        request = sequence.request
        return request.deadline_s - now_s <= LIVE_S and not self.shares.is_over(request.client)

    def _stops(
        self, parts: list[tuple[Sequence, Rows]]
    ) -> tuple[NDArray[np.int32] | None, int | None]:
        """Return when the step behind these rows will be another one than theirs, decoded on.

        Returns:
            `Step.stops` and `Step.num_ends`.
        """
        if self._may_admit() or self.alone or len(parts) < len(self.running):
            return None, None
        if len(parts) == 1:
            sequence, rows = parts[0]
            return sequence.stops_behind_draft(rows) or (sequence.stops(rows), None)
        stops = [sequence.stops(rows) for sequence, rows in parts]
        known = [pairs for pairs in stops if pairs is not None]
        if len(known) < len(stops):
            return None, None
        pairs = np.ascontiguousarray(np.concatenate(known))
        # Each pair as one number: `unique` sorts pairs ten times as slowly.
        return np.unique(pairs.view(np.int64)).view(np.int32).reshape(-1, 2), None

    def _may_admit(self) -> bool:
        return len(self.waiting) > 0 and self.cache.num_free > 0

    def _rank(self, sequence: Sequence) -> tuple[bool, float, int, float]:
        return (self.shares.is_over(sequence.request.client), *urgency(sequence))

    def _room(self, share: float) -> int:
        return min(self.max_step_tokens, self.cost.rows_within(self.max_step_s * share))

    def _background_room(self, num_live_rows: int, now_s: float) -> int:
        """Return the rows of background work in a step, beside live rows or without any."""
        if num_live_rows:
            self._last_live_s = now_s
            return self._room_beside(num_live_rows)
        is_attended = now_s - self._last_live_s <= ATTENDED_S
        return self._room(ATTENDED_STEP if is_attended else BACKGROUND_STEP)

    def _room_beside(self, num_live_rows: int) -> int:
        """Return the rows of background work in a step with live rows."""
        room = self.max_step_tokens - num_live_rows
        return min(room, self.cost.more_rows(self.cost.predict(num_live_rows) * BESIDE_LIVE))

    def _rows_of(self, sequences: list[Sequence], room: int) -> list[tuple[Sequence, Rows]]:
        if room <= 0:
            return []
        shares = share_rows([s.missing + len(s.draft) for s in sequences], room)
        return [(s, s.rows(share)) for s, share in zip(sequences, shares, strict=True) if share]

    def _begin(self, sequence: Sequence, now_s: float, best: tuple[int, int]) -> Lease:
        """Give a waiting sequence one of the free slots."""
        lease = self.cache.acquire(sequence.tokens, sequence.request.key, best)
        assert lease is not None
        self.waiting.discard(sequence)
        sequence.begin(lease.slot, lease.reused, now_s)
        self.running.append(sequence)
        self._last = None
        return lease

    def _background(self, sequence: Sequence, now_s: float) -> Sequence | None:
        """Return the least urgent background work, whose slot `sequence` may take if it is live."""
        if not self.is_live(sequence, now_s):
            return None
        background = [s for s in self.running if s.may_lose_slot and not self.is_live(s, now_s)]
        return max(background, key=self._rank, default=None)

    def _is_about_to_hold(self, tokens: list[int], count: int) -> bool:
        """Whether a running sequence begins with the first `count` tokens, computed or not.

        Several targets of one source arrive together: the first computes the source, the others
        wait one step and copy it.
        """
        begin = tokens[:count]
        return len(begin) == count and any(s.tokens[:count] == begin for s in self.running)


Entry = tuple[tuple[float, int, float], int, Sequence]
"""(urgency, number, sequence): in the heap of a client."""
Head = tuple[tuple[float, int, float], int, Hashable]
"""(urgency, number, client): the most urgent entry of a client, in a heap of all clients."""


class WaitingSequences:
    """Sequences without a slot, in order: clients within their share first, then by urgency.

    Each client has a heap, and two more heaps hold the most urgent entry of each client: one for
    clients within their share, one for those over it. A step does not touch entries that only
    wait, however many there are: an outdated one stays where it is and is dropped when it comes up.

    Args:
        shares: says which clients are over their share.
    """

    def __init__(self, shares: FairShares) -> None:
        self._shares = shares
        self._heaps: dict[Hashable, list[Entry]] = {}
        self._places: dict[Sequence, int] = {}  # number of its only valid entry
        self._numbers = itertools.count()
        self._within: list[Head] = []
        self._over: list[Head] = []
        self._owing: set[Hashable] = set()  # clients whose head is in `_over`
        self._debts: list[tuple[float, int, Hashable]] = []  # a heap: (paid at, number, client)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, sequence: Sequence) -> bool:
        return sequence in self._places

    def __iter__(self) -> Iterator[Sequence]:
        for heap in list(self._heaps.values()):
            for _, number, sequence in list(heap):
                if self._places.get(sequence) == number:
                    yield sequence

    @property
    def clients(self) -> KeysView[Hashable]:
        """The clients that have sequences here."""
        return self._heaps.keys()

    def add(self, sequence: Sequence) -> None:
        """Put a sequence in; its urgency must not change while it is here."""
        number = next(self._numbers)
        client = sequence.request.client
        self._places[sequence] = number
        entry = (urgency(sequence), number, sequence)
        heap = self._heaps.setdefault(client, [])
        heapq.heappush(heap, entry)
        if heap[0] is entry:
            self._show_head(client)

    def discard(self, sequence: Sequence) -> None:
        """Take a sequence out, if it is here; its entry is dropped when it comes up."""
        if self._places.pop(sequence, None) is None:
            return
        client = sequence.request.client
        heap = self._heaps.get(client)
        if heap and heap[0][2] is sequence:
            self._show_head(client)

    def ordered(self) -> Generator[Sequence]:
        """Yield sequences in order.

        What is yielded may be discarded meanwhile; what is added meanwhile may be yielded or not.
        """
        self._let_back()
        passed: list[Entry] = []
        within: list[Head] = []  # further heads of clients that were yielded from already
        over: list[Head] = []
        try:
            while (head := self._next_head(within, over)) is not None:
                client = head[2]
                entry = heapq.heappop(self._heaps[client])
                passed.append(entry)
                yield entry[2]
                if (following := self._head(client)) is not None:
                    heapq.heappush(over if client in self._owing else within, following)
        finally:
            for entry in passed:
                if self._places.get(entry[2]) == entry[1]:
                    heapq.heappush(self._heaps.setdefault(entry[2].request.client, []), entry)
            for client in {entry[2].request.client for entry in passed}:
                self._show_head(client)

    def _next_head(self, within: list[Head], over: list[Head]) -> Head | None:
        """Take the head of the client whose turn it is; None where nobody waits.

        Args:
            within, over: further heads, beside those in `_within` and `_over`.
        """
        while self._within or within:
            head = heapq.heappop(_sooner(self._within, within))
            client = head[2]
            if client in self._owing or not self._is_head(head):
                continue
            if not self._shares.is_over(client):
                return head
            self._owing.add(client)
            self._note_debt(client)
            heapq.heappush(self._over, head)
        while self._over or over:
            head = heapq.heappop(_sooner(self._over, over))
            if head[2] in self._owing and self._is_head(head):
                return head
        return None

    def _let_back(self) -> None:
        """Move clients that have paid their debts back to those within their share."""
        due = []
        while self._debts and self._debts[0][0] <= self._shares.clock_s:
            due.append(heapq.heappop(self._debts)[2])
        for client in due:
            if client in self._heaps and self._shares.is_over(client):
                self._note_debt(client)  # it was charged again
            else:
                self._owing.discard(client)
                self._show_head(client)

    def _note_debt(self, client: Hashable) -> None:
        paid_s = self._shares.clock_s + self._shares.debt_s(client) - ALLOWANCE_S
        heapq.heappush(self._debts, (paid_s, next(self._numbers), client))

    def _show_head(self, client: Hashable) -> None:
        """Put the most urgent entry of a client among the heads of all clients."""
        head = self._head(client)
        if head is not None:
            heapq.heappush(self._over if client in self._owing else self._within, head)

    def _head(self, client: Hashable) -> Head | None:
        """Return a client's most urgent entry; drop outdated ones before it, and an empty heap."""
        heap = self._heaps.get(client, [])
        while heap and self._places.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        if heap:
            return heap[0][0], heap[0][1], client
        self._heaps.pop(client, None)
        return None

    def _is_head(self, head: Head) -> bool:
        heap = self._heaps.get(head[2])
        return heap is not None and len(heap) > 0 and heap[0][1] == head[1]


def _sooner(a: list[Head], b: list[Head]) -> list[Head]:
    """Return the heap whose first is more urgent; one of them may be empty."""
    return b if not a or (b and b[0] < a[0]) else a


class StepCost:
    """How long a step takes by its number of rows: a line fitted to recent steps.

    The fit is least squares over exponentially decayed sums, so it follows a machine that slows
    down within some tens of steps.
    """

    DECAY = 0.98
    MIN_ROWS = 8  # also where rows are all that costs: planning and delivering a step cost too

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self._line = (0.0, 0.0)

    def observe(self, rows: int, seconds: float) -> None:
        """Record a measured step."""
        decay = self.DECAY
        self._weight = self._weight * decay + 1
        self._x = self._x * decay + rows
        self._y = self._y * decay + seconds
        self._xx = self._xx * decay + rows * rows
        self._xy = self._xy * decay + rows * seconds
        self._line = self._fit()

    def predict(self, rows: int) -> float:
        """Return the expected seconds of a step; 0 before anything was measured."""
        base, slope = self.line()
        return base + slope * rows

    def rows_within(self, seconds: float) -> int:
        """Return how many rows fit the time, at least as many as cost what a step costs anyway.

        Narrower steps would cost throughput, and not make a caption much faster.
        """
        base, _ = self.line()
        return max(self.MIN_ROWS, self.more_rows(max(seconds - base, base)))

    def more_rows(self, seconds: float) -> int:
        """Return how many rows lengthen a step by the time, at least one."""
        _, slope = self.line()
        return max(1, int(min(seconds / slope, sys.maxsize))) if slope else sys.maxsize

    def line(self) -> tuple[float, float]:
        """Return a step's fixed seconds, and those of each row; zeros before any measurement."""
        return self._line

    def _fit(self) -> tuple[float, float]:
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
        Rows for each, together at most `room`, and exactly `room` where as much is wanted.
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


def num_rows(parts: list[tuple[Sequence, Rows]]) -> int:
    """Return how many rows of a step these are."""
    return sum(len(rows.tokens) for _, rows in parts)


def with_guesses(parts: list[tuple[Sequence, Rows]], left: int) -> list[tuple[Sequence, Rows]]:
    """Return these parts of a step, the first of them with a row more for a guess.

    Args:
        left: rows that nobody needs.
    """
    found = []
    for sequence, rows in parts:
        if left > 0 and rows.drafts and sequence.may_guess:
            rows, left = sequence.rows(len(rows.tokens) + 1), left - 1
        found.append((sequence, rows))
    return found


def urgency(sequence: Sequence) -> tuple[float, int, float]:
    """Sort key: earliest due, then shortest, then first come."""
    request = sequence.request
    aging = min(sequence.arrival_s - sequence.waiting_since_s, MAX_AGING_S)
    due = request.deadline_s - (FINAL_HEAD_START_S if request.is_final else aging)
    return (due, sequence.remaining_steps, sequence.arrival_s)


def build_step(
    parts: list[tuple[Sequence, Rows]],
    stops: NDArray[np.int32] | None = None,
    num_ends: int | None = None,
) -> Step:
    """Lay the rows of several sequences side by side; for `stops` and `num_ends` see `Step`."""
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
        # A guess of the backend must not change what is said.
        biases += [0.0 if rows.is_guess else sequence.request.bias] * len(rows.drafts)
    return Step(
        tokens=np.array(tokens, np.int32),
        slots=np.array(slots, np.int32),
        positions=np.array(positions, np.int32),
        outputs=np.array(outputs, np.int32),
        drafts=np.array(drafts, np.int32),
        biases=np.array(biases, np.float32),
        stops=stops,
        num_ends=num_ends,
    )


def build_next(
    last: Step, parts: list[tuple[Sequence, Rows]], stops: NDArray[np.int32] | None
) -> Step:
    """Lay out rows of the same sequences, as many and of the same kinds as those of a step.

    What has not changed is the very same array: whoever compares the two steps sees it at once.
    """
    tokens: list[int] = []
    positions: list[int] = []
    drafts: list[int] = []
    for _, rows in parts:
        tokens += rows.tokens
        positions += range(rows.start, rows.start + len(rows.tokens))
        drafts += rows.drafts
    has_guess = len(tokens) > len(parts)
    return Step(
        tokens=np.array(tokens, np.int32),
        slots=last.slots,
        positions=np.array(positions, np.int32),
        outputs=last.outputs,
        drafts=np.array(drafts, np.int32) if has_guess else last.drafts,
        biases=last.biases,
        stops=stops,
    )
