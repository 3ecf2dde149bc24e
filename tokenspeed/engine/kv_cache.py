"""Who owns which KV slot and which tokens its keys and values stand for.

Pure bookkeeping: the tensors belong to the backend. A slot is in use by one sequence or free. A
free slot keeps its content until another sequence needs the slot; until then, sequences that begin
with the same tokens reuse it. The cache is only a cache: the text of a session is the truth.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

# Copying a few positions costs about as much as computing them in a step that runs anyway.
MIN_FORK_TOKENS = 8


@dataclass
class Slot:
    """One row of the cache, with keys and values of the first `length` of `tokens`."""

    tokens: list[int] = field(default_factory=list)
    length: int = 0
    key: Hashable = None
    in_use: bool = False
    last_used: int = 0

    def match(self, tokens: list[int]) -> int:
        """Return how many leading tokens it holds."""
        return min(common_prefix(self.tokens, tokens), self.length)


@dataclass(frozen=True)
class Lease:
    """A slot taken into use.

    Attributes:
        slot: its index.
        reused: leading tokens whose keys and values are there, once `fork_from` is copied.
        fork_from: slot whose first `reused` positions must be copied first, or None.
    """

    slot: int
    reused: int
    fork_from: int | None = None


class KVCache:
    """The slots of a backend."""

    def __init__(self, num_slots: int, max_length: int) -> None:
        self.max_length = max_length
        self.slots = [Slot() for _ in range(num_slots)]
        self.num_free = num_slots
        self._clock = 0

    def acquire(
        self, tokens: list[int], key: Hashable = None, best: tuple[int, int] | None = None
    ) -> Lease | None:
        """Take a free slot for a sequence that begins with `tokens`; None if all are in use.

        Prefers the slot that the key had before, else the least recently used one. Where another
        slot, in use or not, holds clearly more of the same beginning, the lease forks it.

        Args:
            best: what `best_match` returns for these tokens, if known already.
        """
        free = [i for i, slot in enumerate(self.slots) if not slot.in_use]
        if not free:
            return None
        own = [i for i in free if key is not None and self.slots[i].key == key]
        # An empty slot was used at time 0, so it is taken before anything is evicted.
        target = own[0] if own else min(free, key=lambda i: self.slots[i].last_used)
        other, available = self.best_match(tokens) if best is None else best
        reused = self.slots[target].match(tokens)
        fork_from = None
        if available >= reused + MIN_FORK_TOKENS:
            fork_from, reused = other, available
        slot = self.slots[target]
        slot.in_use, slot.key = True, key
        self.num_free -= 1
        slot.tokens, slot.length = list(tokens[:reused]), reused
        self._touch(slot)
        return Lease(target, reused, fork_from)

    def best_match(self, tokens: list[int]) -> tuple[int, int]:
        """Return the slot that holds the longest prefix of `tokens`, and that prefix's length."""
        found, available = 0, -1
        for i, slot in enumerate(self.slots):
            if slot.length <= available:
                continue
            length = slot.match(tokens)
            if length > available:
                found, available = i, length
                if available >= len(tokens) - 1:
                    break  # the last token is computed in any case, so no slot can serve better
        return found, available

    def hold(self, index: int, tokens: list[int], length: int) -> None:
        """Note that a slot in use holds the first `length` of these tokens after a step.

        The list is kept, not copied, since this happens in every step: it may grow, but its items
        must not change.
        """
        slot = self.slots[index]
        assert slot.in_use, f"slot {index} is not in use"
        assert length <= self.max_length, f"{length} tokens in slot {index}"
        slot.tokens, slot.length = tokens, length

    def release(self, index: int) -> None:
        """Give a slot back; its content stays until somebody needs the room."""
        slot = self.slots[index]
        assert slot.in_use, f"slot {index} is not in use"
        slot.in_use = False
        self.num_free += 1
        self._touch(slot)

    def forget(self) -> None:
        """Drop all contents, for instance after a step that failed half-way."""
        for slot in self.slots:
            slot.tokens, slot.length, slot.key = [], 0, None

    def _touch(self, slot: Slot) -> None:
        self._clock += 1
        slot.last_used = self._clock


def common_prefix(a: list[int], b: list[int]) -> int:
    """Return how many leading tokens are equal."""
    if not a or not b or a[0] != b[0]:
        return 0  # the usual case
    # Slices compare twenty times as fast as single items, and this runs for each slot and request.
    low, high = 1, min(len(a), len(b))
    step = MIN_FORK_TOKENS
    while low < high:
        middle = min(low + step, high)
        if a[low:middle] == b[low:middle]:
            low, step = middle, 2 * step
        elif middle == low + 1:
            break
        else:
            high, step = middle - 1, max((middle - low) // 2, 1)
    return low
