"""Steps that are launched before they are asked for, so that a GPU does not wait for its host.

A step that only decodes is launched once more behind itself: `select` has written its tokens and
positions where the next step reads them. Behind one that verifies a draft comes the step that goes
on from what held (`kernels.draft`). If a token ends that (`Step.stops`), or the host has asked for
it (`hold`), the device does not run what was launched, and what comes instead does not wait. Behind
a draft, the host looks that up as the device does, and does not have to ask.
Knows steps and their order; does not know streams, graphs or kernels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenspeed.backends import ANY_TOKEN, NO_DRAFT, Step
from tokenspeed.kernels.draft import MAX_OUTPUTS
from tokenspeed.kernels.lm_head import MAX_STOPS

_COMPARED = ("slots", "tokens", "positions", "drafts", "biases")  # of two steps
_AS_IT_IS = slice(None)  # an order


class Launches(Protocol):
    """A GPU that runs one step after another; see `CudaBackend`."""

    max_length: int

    @property
    def guesses(self) -> bool: ...
    def begin(self, batch: Step, written: Any = None) -> None: ...
    def may_follow(self, rows: int) -> bool: ...
    def follow(self, rows: int, *, is_behind_draft: bool = False) -> None: ...
    def finish(self, outputs: int) -> NDArray[np.int32]: ...
    def finish_guesses(self, outputs: int) -> NDArray[np.int32]: ...
    def has_ended(self) -> bool: ...
    def drop(self) -> None: ...


@dataclass
class Finished:
    """The step that was finished last.

    Attributes:
        ran: as it was launched. chosen: its tokens. order: of its results, as they are asked for.
        guessed: behind these tokens; None: not read yet.
        is_followed: whether the next one was launched behind it.
        draft_end: the output behind which that goes on; None: all rows do.
    """

    ran: Step
    chosen: NDArray[np.int32]
    order: NDArray[np.intp] | slice
    guessed: NDArray[np.int32] | None = None
    is_followed: bool = False
    draft_end: int | None = None


class StepsAhead:
    """Runs the steps of a GPU, or of those that share a model, and launches the next one early.

    Attributes:
        was_ahead: whether the last step had been launched before it was asked for.
    """

    def __init__(self) -> None:
        self.was_ahead = False
        self._last: Finished | None = None

    def forget(self, ranks: Sequence[Launches]) -> None:
        """Do not use what was launched: something else comes, or a slot gets another content."""
        if self._last is not None:
            self._last.is_followed = False
        for rank in ranks:
            rank.drop()

    def guessed(self, ranks: Sequence[Launches]) -> NDArray[np.int32] | None:
        """Return what is guessed behind each token of the last step; see `Backend.guessed`."""
        last = self._last
        if last is None or not ranks[0].guesses:
            return None
        return self._guesses(ranks, last)[last.order]

    def step(self, ranks: Sequence[Launches], batch: Step) -> NDArray[np.int32]:
        """Run one step on all ranks; see `Backend.step`."""
        ran = self._launched(ranks)
        order = _order(batch, ran)
        self.was_ahead = order is not None
        first, *others = ranks
        if ran is None or order is None:
            self.forget(ranks)  # also what a step that raised has left
            ran, order = batch, _AS_IT_IS
            first.begin(batch)
            for rank in others:
                rank.begin(batch, first)
        self._last = None
        guesses, max_length = first.guesses, first.max_length
        rows, is_ahead = len(ran.tokens), self.was_ahead
        follows = decodes_on(batch, max_length, guesses=guesses, is_ahead=is_ahead)
        # A step that was launched ahead was not uploaded: the device has no stops behind its draft.
        verifies = not is_ahead and ends_draft(batch, max_length, guesses=guesses)
        if verifies:
            follows, rows = True, 2 if guesses else 1
        follows = follows and all([rank.may_follow(rows) for rank in ranks])
        if follows:
            for rank in ranks:
                rank.follow(rows, is_behind_draft=verifies)
        # All choose the same tokens, but for one that another did not answer: it has none.
        chosen = first.finish(len(ran.outputs))
        for rank in others:
            chosen = np.minimum(chosen, rank.finish(len(ran.outputs)))
        draft_end = draft_end_of(batch, chosen) if verifies else None
        self._last = Finished(ran, chosen, order, is_followed=follows, draft_end=draft_end)
        if follows and (first.has_ended() or (verifies and draft_end is None)):
            self.forget(ranks)
        return chosen[order]

    def _launched(self, ranks: Sequence[Launches]) -> Step | None:
        """Return the step that was launched behind the last one; None: none was."""
        last = self._last
        if last is None or not last.is_followed:
            return None
        if last.draft_end is not None:
            guessed = self._guesses(ranks, last) if ranks[0].guesses else None
            return behind_draft(last.ran, last.chosen, guessed, last.draft_end)
        if not ranks[0].guesses:
            return _going_on(last.ran, last.chosen, last.ran.positions + 1, last.ran.drafts)
        return next_pairs(last.ran, last.chosen, self._guesses(ranks, last))

    @staticmethod
    def _guesses(ranks: Sequence[Launches], last: Finished) -> NDArray[np.int32]:
        if last.guessed is None:
            last.guessed = ranks[0].finish_guesses(len(last.ran.outputs))
        return last.guessed


def next_pairs(ran: Step, chosen: NDArray[np.int32], guessed: NDArray[np.int32]) -> Step:
    """Return the step that goes on from one of a token and a guess in each slot.

    Args:
        chosen: behind each row. guessed: behind these.
    """
    pairs = np.arange(len(ran.tokens) // 2)
    held = (chosen[0::2] == ran.drafts[0::2]).astype(np.int32)
    last = 2 * pairs + held  # the row behind which the step goes on
    first = ran.positions[0::2] + 1 + held
    tokens, positions, drafts = (np.empty_like(part) for part in (ran.tokens,) * 3)
    tokens[0::2], tokens[1::2] = chosen[last], guessed[last]
    positions[0::2], positions[1::2] = first, first + 1
    drafts[0::2], drafts[1::2] = guessed[last], NO_DRAFT
    return _going_on(ran, tokens, positions, drafts)


def _going_on(
    ran: Step, tokens: NDArray[np.int32], positions: NDArray[np.int32], drafts: NDArray[np.int32]
) -> Step:
    # `replace` takes more than twice as long.
    return Step(tokens, ran.slots, positions, ran.outputs, drafts, ran.biases, ran.stops)


def behind_draft(
    ran: Step, chosen: NDArray[np.int32], guessed: NDArray[np.int32] | None, end: int
) -> Step:
    """Return the step that goes on behind what held of a draft.

    Args:
        chosen: behind each output. guessed: behind these; None: nothing is.
        end: the last output that counts, see `draft_end_of`.
    """
    row = ran.outputs[end]
    tokens, drafts, biases = [chosen[end]], [NO_DRAFT], ran.biases[end : end + 1]
    if guessed is not None:
        tokens, drafts = [chosen[end], guessed[end]], [guessed[end], NO_DRAFT]
        biases = np.zeros(2, np.float32)  # a guess is never favoured
    outputs = np.arange(len(tokens), dtype=np.int32)
    return Step(
        tokens=np.array(tokens, np.int32),
        slots=np.full(len(tokens), ran.slots[row]),
        positions=ran.positions[row] + 1 + outputs,
        outputs=outputs,
        drafts=np.array(drafts, np.int32),
        biases=biases,
    )


def draft_end_of(batch: Step, chosen: NDArray[np.int32]) -> int | None:
    """Return the output behind which a step goes on that verified a draft; None: behind none.

    What `follow_draft` finds on the device.
    """
    assert batch.stops is not None
    assert batch.num_ends is not None
    differs = chosen != batch.drafts
    if not differs.any():
        return None
    end = int(differs.argmax())
    before = batch.tokens[batch.outputs[end]]
    # Of the places in the draft, those that were refuted.
    stops = batch.stops[: batch.num_ends], batch.stops[batch.num_ends + end :]
    for previous, tokens in (part.T for part in stops):
        if ((tokens == chosen[end]) & ((previous == before) | (previous == ANY_TOKEN))).any():
            return None
    return end


def ends_draft(batch: Step, max_length: int, *, guesses: bool = False) -> bool:
    """Return whether a step may be followed by the one that goes on from what held of its draft.

    Args:
        guesses: whether that has a row more, for what is guessed.
    """
    return (
        batch.num_ends is not None
        and batch.stops is not None
        and len(batch.stops) <= MAX_STOPS
        and 0 < len(batch.outputs) <= MAX_OUTPUTS
        and bool((batch.slots == batch.slots[0]).all())
        and int(batch.positions[-1]) + (2 if guesses else 1) < max_length
    )


def decodes_on(
    batch: Step, max_length: int, *, guesses: bool = False, is_ahead: bool = False
) -> bool:
    """Return whether a step may be followed by the one that decodes each of its rows on.

    Args:
        guesses: whether tokens are guessed: then it has two rows of each slot, and so has the next.
        is_ahead: whether it is itself such a follower, whose rows are known to be of that kind.
    """
    rows = 2 if guesses else 1
    return (
        batch.stops is not None
        and batch.num_ends is None
        and len(batch.stops) <= MAX_STOPS
        and max(batch.positions.tolist(), default=0) + rows < max_length
        and (is_ahead or (_is_pairs(batch) if guesses else _is_decoding(batch)))
        and (is_ahead or len(set(batch.slots.tolist())) == len(batch.slots) // rows)
    )


def _is_decoding(batch: Step) -> bool:
    """Return whether all rows are outputs without a draft."""
    return len(batch.tokens) == len(batch.outputs) and bool((batch.drafts == NO_DRAFT).all())


def _is_pairs(batch: Step) -> bool:
    """Return whether rows come in pairs of a slot's last token and a guess behind it."""
    return (
        len(batch.tokens) == len(batch.outputs)
        and len(batch.tokens) % 2 == 0
        and bool((batch.slots[0::2] == batch.slots[1::2]).all())
        and bool((batch.drafts[0::2] == batch.tokens[1::2]).all())
        and bool((batch.drafts[1::2] == NO_DRAFT).all())
        and not batch.biases.any()
    )


def _order(batch: Step, ahead: Step | None) -> NDArray[np.intp] | slice | None:
    """Return where each row of a step is in the one that was launched; None: it is another one."""
    if ahead is None or len(batch.tokens) != len(ahead.tokens):
        return None
    if len(batch.outputs) != len(batch.tokens):
        return None
    parts = [(getattr(batch, name), getattr(ahead, name)) for name in _COMPARED]
    # As nearly always; most are even the very same arrays.
    if all([own is other or own.tobytes() == other.tobytes() for own, other in parts]):
        return _AS_IT_IS
    order = _in_order(ahead)[np.argsort(_in_order(batch))]
    return order if all(np.array_equal(own, other[order]) for own, other in parts) else None


def _in_order(batch: Step) -> NDArray[np.intp]:
    return np.lexsort((batch.positions, batch.slots))
