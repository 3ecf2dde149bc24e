"""The step behind one that verified a draft, made ready before the host has read which part held.

The rows of such a step are a slot's last sure tokens and the draft; each of its outputs is compared
with what was expected there. The next step goes on behind the first one that differs: it is a row
of the token that was chosen there, and where tokens are guessed, one of the guess. A step that only
decodes does the like itself (`lm_head`, `mtp`).
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.launch import Launch, wait_for_inputs
from tokenspeed.kernels.lm_head import MAX_STOPS, NO_TOKEN

MAX_OUTPUTS = 128  # of a step that this may come behind
_MAX_OUTPUTS = tl.constexpr(MAX_OUTPUTS)
_MAX_STOPS = tl.constexpr(MAX_STOPS)
_NO_DRAFT = tl.constexpr(-1)


class Drafted(NamedTuple):
    """A step of one slot that verified a draft; what the next one reads is written.

    Attributes:
        tokens, slots, positions: [rows] int32.
        outputs, drafts: [outputs] int32. biases: [outputs] float32. parity: [outputs] int32, which
            half of the results comes next.
        chosen: [rows] int32, at a wanted row the token that was chosen; may be `tokens` itself.
        num_rows, num_outputs, num_tiles: [1] int32, how many there are.
        verifies: [1] int32, set to 0: the next step does not.
        stop_previous, stop_tokens: [2 * MAX_STOPS] int32; the second half are the stops of this
            step, see `Step.num_ends`, and those that hold for the next ones go to the first half.
        ends: [1] int32, how many of these hold behind any output.
        previous: [1] int32, the token of the first wanted row.
        void: [1] int32, set to 1 if the next step is not to be run.
    """

    tokens: Any
    slots: Any
    positions: Any
    outputs: Any
    drafts: Any
    biases: Any
    parity: Any
    chosen: Any
    num_rows: Any
    num_outputs: Any
    num_tiles: Any
    verifies: Any
    stop_previous: Any
    stop_tokens: Any
    ends: Any
    previous: Any
    void: Any


class Guessed(NamedTuple):
    """What is guessed behind a step.

    Attributes:
        guesses: [rows] int32, at a wanted row a place in `names`. names: [guessed tokens] int32.
    """

    guesses: Any
    names: Any


def follow_draft_ref(
    tokens: Tensor, drafts: Tensor, chosen: Tensor, stops: Tensor, num_ends: int
) -> tuple[int, bool, Tensor]:
    """Plain torch; see `follow_draft`.

    Args:
        tokens, drafts, chosen: [outputs], of each wanted row.
        stops: [stops, 2].
    Returns:
        Behind which output the next step goes on, whether it is void, and which stops stay.
    """
    differs = (chosen != drafts).nonzero()[:, 0].tolist()
    at = differs[0] if differs else len(drafts) - 1
    number = torch.arange(len(stops))
    stays = (number < num_ends) | (number >= num_ends + at)
    is_previous = (stops[:, 0] == tokens[at]) | (stops[:, 0] < 0)
    is_stop = stays & is_previous & (stops[:, 1] == chosen[at])
    return at, not differs or bool(is_stop.any()), stays


@triton.jit
def follow_draft_kernel(step, guessed, HAS_GUESSES: tl.constexpr, PDL: tl.constexpr):
    wait_for_inputs(PDL)
    num_outputs = tl.load(step.num_outputs)
    if num_outputs == 0:  # as graphs are captured
        return
    out = tl.arange(0, _MAX_OUTPUTS)
    mask = out < num_outputs
    rows = tl.load(step.outputs + out, mask=mask, other=0)
    drafts = tl.load(step.drafts + out, mask=mask, other=_NO_DRAFT)
    chosen = tl.load(step.chosen + rows, mask=mask, other=0)
    first = tl.min(tl.where(mask & (chosen != drafts), out, num_outputs), 0)
    at = tl.minimum(first, num_outputs - 1)
    row = tl.sum(tl.where(out == at, rows, 0), 0)
    token = tl.sum(tl.where(out == at, chosen, 0), 0)
    # A row behind an accepted token is that token's.
    before = tl.sum(tl.where(out == at - 1, drafts, 0), 0)
    before = tl.where(at > 0, before, tl.load(step.previous))
    slot, bias = tl.load(step.slots + row), tl.load(step.biases + at)
    # Where nothing is guessed, `select` has moved the wanted rows on already.
    position = tl.load(step.positions + row) + HAS_GUESSES

    stop, ends = tl.arange(0, _MAX_STOPS), tl.load(step.ends)
    previous = tl.load(step.stop_previous + _MAX_STOPS + stop)
    stop_tokens = tl.load(step.stop_tokens + _MAX_STOPS + stop)
    # What is before the first difference is no part of a draft that was refuted there.
    stays = (stop < ends) | (stop - ends >= at)
    stop_tokens = tl.where(stays, stop_tokens, NO_TOKEN)
    tl.store(step.stop_previous + stop, previous)
    tl.store(step.stop_tokens + stop, stop_tokens)
    stops = (stop_tokens == token) & ((previous == before) | (previous < 0))
    # If all of the draft held, either more of it comes, or nothing.
    if (tl.max(stops.to(tl.int32), 0) > 0) | (first == num_outputs):
        tl.store(step.void, 1)

    tl.store(step.verifies, 0)
    count: tl.constexpr = 2 if HAS_GUESSES else 1
    tl.store(step.num_rows, count)
    tl.store(step.num_outputs, count)
    tl.store(step.num_tiles, count)  # in a step of so few rows each attends for itself
    if HAS_GUESSES:
        # Where another GPU did not answer, there is no guess, and the next step fails.
        guess = tl.load(guessed.names + tl.maximum(tl.load(guessed.guesses + row), 0))
        parity = tl.load(step.parity)  # of a step of one row the second was not flipped
        tl.store(step.parity + 1, parity)
        tl.store(step.tokens + 1, guess)
        tl.store(step.slots + 1, slot)
        tl.store(step.positions + 1, position + 1)
        tl.store(step.outputs + 1, 1)
        tl.store(step.drafts + 1, _NO_DRAFT)
        tl.store(step.biases + 1, 0.0)
        tl.store(step.drafts, guess)
        tl.store(step.biases, 0.0)
    else:
        tl.store(step.drafts, _NO_DRAFT)
        tl.store(step.biases, bias)
    tl.store(step.tokens, token)
    tl.store(step.slots, slot)
    tl.store(step.positions, position)
    tl.store(step.outputs, 0)


def follow_draft(step: Drafted, guessed: Guessed | None, *, launch: Launch) -> None:
    """Make the step behind one that verified a draft ready to be run, or void.

    Args:
        step: of one slot, with MAX_OUTPUTS at most; its last rows are wanted.
        guessed: None: nothing is.
    """
    launch.start(
        follow_draft_kernel,
        (1,),
        step,
        guessed or Guessed(step.outputs, step.outputs),  # not read
        HAS_GUESSES=guessed is not None,
        PDL=launch.pdl,
        num_warps=1,  # so that nothing is written before all of it has been read
    )
