"""Steps that are launched before they are asked for, so that a GPU does not wait for its host.

A step that only decodes is launched once more behind itself: `select` has written its tokens and
positions where the next step reads them. If a token ends that (`Step.stops`), or the host has asked
for it (`hold`), the device does not run what was launched, and what comes instead does not wait.
Knows steps and their order; does not know streams, graphs or kernels.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenspeed.backends import NO_DRAFT, Step
from tokenspeed.kernels.lm_head import MAX_STOPS


class Launches(Protocol):
    """A GPU that runs one step after another; see `CudaBackend`."""

    max_length: int

    def begin(self, batch: Step, written: Any = None) -> None: ...
    def may_follow(self, rows: int) -> bool: ...
    def follow(self, rows: int) -> None: ...
    def finish(self, outputs: int) -> NDArray[np.int32]: ...
    def has_ended(self) -> bool: ...
    def drop(self) -> None: ...


class StepsAhead:
    """Runs the steps of a GPU, or of those that share a model, and launches the next one early.

    Attributes:
        was_ahead: whether the last step had been launched before it was asked for.
    """

    def __init__(self) -> None:
        self.was_ahead = False
        self._ahead: Step | None = None  # launched, but not asked for; its tokens are known

    def forget(self, ranks: Sequence[Launches]) -> None:
        """Do not use what was launched: something else comes, or a slot gets another content."""
        self._ahead = None
        for rank in ranks:
            rank.drop()

    def step(self, ranks: Sequence[Launches], batch: Step) -> NDArray[np.int32]:
        """Run one step on all ranks; see `Backend.step`."""
        ran, order = self._ahead, _order(batch, self._ahead)
        self.was_ahead = order is not None
        if ran is None or order is None:
            self.forget(ranks)  # also what a step that raised has left
            ran, order = batch, np.arange(len(batch.outputs))
            first, *others = ranks
            first.begin(batch)
            for rank in others:
                rank.begin(batch, first)
        self._ahead = None
        follows = decodes_on(batch, ranks[0].max_length) and all(
            rank.may_follow(len(ran.tokens)) for rank in ranks
        )
        if follows:
            for rank in ranks:
                rank.follow(len(ran.tokens))
        # All choose the same tokens, but for one that another did not answer: it has none.
        chosen = np.minimum.reduce([rank.finish(len(ran.outputs)) for rank in ranks])
        if follows:
            self._ahead = replace(ran, positions=ran.positions + 1, tokens=chosen)
            if ranks[0].has_ended():
                self.forget(ranks)
        return chosen[order]


def decodes_on(batch: Step, max_length: int) -> bool:
    """Return whether a step may be followed by the one that decodes each of its rows on."""
    return (
        batch.stops is not None
        and len(batch.stops) <= MAX_STOPS
        and _is_decoding(batch)
        and bool((batch.positions + 1 < max_length).all())
        and len(set(batch.slots.tolist())) == len(batch.slots)
    )


def _is_decoding(batch: Step) -> bool:
    """Return whether all rows are outputs without a draft."""
    return len(batch.tokens) == len(batch.outputs) and bool((batch.drafts == NO_DRAFT).all())


def _order(batch: Step, ahead: Step | None) -> NDArray[np.intp] | None:
    """Return where each row of a step is in the one that was launched; None: it is another one."""
    if ahead is None or len(batch.tokens) != len(ahead.tokens) or not _is_decoding(batch):
        return None
    order = np.argsort(ahead.slots)[np.argsort(np.argsort(batch.slots))]
    names = ("slots", "tokens", "positions")
    is_same = all(np.array_equal(getattr(batch, n), getattr(ahead, n)[order]) for n in names)
    return order if is_same else None
