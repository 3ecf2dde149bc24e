"""The MTP layer's first kernel and its last: what it is given, and the step that its guesses make.

The first one joins each row's hidden state to the token after it. A row whose next token was wanted
goes with the one that was chosen, any other with the row behind it, which holds the next token of
its slot. Comes behind the choice of tokens.

The last one makes a step ready to be run once more where it had two rows of each slot, the last
token and a guess behind it: from the last token that holds, and what is guessed behind that.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.blocks import check_blocks, narrow_rows
from tokenspeed.kernels.launch import Launch, wait_for_inputs
from tokenspeed.kernels.norm import HiddenStates, normed, normed_ref


class Following(NamedTuple):
    """From what a row's next token is known.

    Attributes:
        tokens, slots: [rows] int32, of the step. num_rows: [1] int32, how many there are.
        chosen: [rows] int32, at a wanted row the token that was chosen.
        outputs: [outputs] int32, the wanted rows. num_outputs: [1] int32, how many there are.
    """

    tokens: Any
    slots: Any
    num_rows: Any
    chosen: Any
    outputs: Any
    num_outputs: Any


def join_rows_ref(
    states: Tensor, table: Tensor, following: Tensor, norms: tuple[Tensor, Tensor], eps: float
) -> Tensor:
    """Plain torch; see `join_rows`. `following`: [rows], each row's next token."""
    parts = zip((table[following.long()], states), norms, strict=True)
    return torch.cat([normed_ref(part, norm, eps) for part, norm in parts], dim=-1)


@triton.jit
def join_rows_kernel(
    following,
    table_ptr,
    states_ptr,
    token_norm_ptr,
    state_norm_ptr,
    joined_ptr,
    hidden,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
    OUTPUTS: tl.constexpr,
    NUM_SUMS: tl.constexpr,
    MAX_ROWS: tl.constexpr,
    EPS: tl.constexpr,
    IS_WORDS: tl.constexpr,
    IN_BLOCKS: tl.constexpr,
    PDL: tl.constexpr,
):
    wait_for_inputs(PDL)
    row = tl.program_id(0)
    num_rows = tl.load(following.num_rows)
    if row >= num_rows:
        return
    for number in tl.static_range(NUM_SUMS):  # the sums that the layer will add to
        tl.store(hidden.square_sum + number * MAX_ROWS + row, 0)
    out = tl.arange(0, OUTPUTS)
    outputs = tl.load(following.outputs + out, mask=out < tl.load(following.num_outputs), other=-1)
    is_wanted = tl.max((outputs == row).to(tl.int32), 0) > 0
    behind = tl.minimum(row + 1, num_rows - 1)
    is_same = tl.load(following.slots + behind) == tl.load(following.slots + row)
    behind = tl.where(is_same, behind, row)  # of a part of a prompt: its next token is not here
    token = tl.load(following.tokens + behind)
    token = tl.where(is_wanted, tl.load(following.chosen + row), token)
    # Another GPU may not have answered: its token is none.
    token = tl.maximum(token, 0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    mask = at < SIZE
    embedded = tl.load(table_ptr + token * SIZE + at, mask=mask, other=0.0).to(tl.float32)
    states = tl.load(states_ptr + row * SIZE + at, mask=mask, other=0)
    if IS_WORDS:  # a value below the tag that says when it was written; see `persistent.tagged`
        states = states.to(tl.int32).to(tl.float32, bitcast=True)
    token_norm = tl.load(token_norm_ptr + at, mask=mask, other=0.0).to(tl.float32)
    state_norm = tl.load(state_norm_ptr + at, mask=mask, other=0.0).to(tl.float32)
    dtype: tl.constexpr = joined_ptr.dtype.element_ty
    place = joined_ptr + row * (2 * SIZE) + at
    tl.store(place, narrow_rows(normed(embedded, SIZE, EPS) * token_norm, dtype, IN_BLOCKS), mask)
    place += SIZE
    tl.store(place, narrow_rows(normed(states, SIZE, EPS) * state_norm, dtype, IN_BLOCKS), mask)
    tl.store(hidden.states + row * SIZE + at, tl.zeros((BLOCK,), tl.float32), mask=mask)


def join_rows(
    following: Following,
    table: Tensor,
    states: Tensor,
    norms: tuple[Tensor, Tensor],
    joined: Tensor,
    hidden: HiddenStates,
    *,
    eps: float,
    launch: Launch,
    in_blocks: bool = False,
) -> None:
    """Norm each row's next token and its hidden state, side by side.

    Args:
        table: [vocab_size, hidden_size], the embedding.
        states: [rows, hidden_size], behind the model's last layer: float32, or int64 words that a
            step of few rows left (`persistent.tagged`).
        norms: [hidden_size] each, of tokens and of states.
        joined: [rows, 2 * hidden_size], written.
        hidden: of the layer. Its states are zeroed, and all of its square_sum, [norms, max_rows].
        in_blocks: an int4 matrix reads them; see `blocks`.
    Raises:
        ValueError: blocks do not fill the rows.
    """
    if in_blocks:
        check_blocks(table.shape[1], "table")
    launch.start(
        join_rows_kernel,
        (len(joined),),
        *(following, table, states, *norms, joined, hidden),
        SIZE=table.shape[1],
        BLOCK=triton.next_power_of_2(table.shape[1]),
        OUTPUTS=triton.next_power_of_2(len(following.outputs)),
        NUM_SUMS=hidden.square_sum.shape[0],
        MAX_ROWS=hidden.square_sum.shape[1],
        EPS=eps,
        IS_WORDS=not states.dtype.is_floating_point,
        IN_BLOCKS=in_blocks,
        PDL=launch.pdl,
        num_warps=4,
    )


class Pairs(NamedTuple):
    """A step of two rows for each slot, all of which are wanted.

    Attributes:
        num_rows, num_outputs: [1] int32, how many there are.
        verifies: [1] int32, not 0: these are no pairs, but rows that `follow_draft` goes on from.
        tokens, positions, drafts: [rows] int32; where all rows are wanted, those of the next step
            are written.
        parity: [rows] int32, which half of the results is written; flipped.
        chosen: [rows] int32, the token behind each row.
        guesses: [rows] int32, what is guessed behind that: a place in `names`.
        names: [guessed tokens] int32.
    """

    num_rows: Any
    num_outputs: Any
    verifies: Any
    tokens: Any
    positions: Any
    drafts: Any
    parity: Any
    chosen: Any
    guesses: Any
    names: Any


def follow_pairs_ref(
    tokens: Tensor, positions: Tensor, chosen: Tensor, guessed: Tensor
) -> tuple[Tensor, Tensor]:
    """Plain torch; see `follow_pairs`. Returns tokens and positions; all are [pairs, 2]."""
    held = (chosen[:, 0] == tokens[:, 1]).long()
    rows = torch.arange(len(tokens))
    after = torch.stack((chosen[rows, held], guessed[rows, held]), 1)
    first = positions[:, 0] + 1 + held
    return after.int(), torch.stack((first, first + 1), 1).int()


@triton.jit
def follow_pairs_kernel(pairs, PDL: tl.constexpr):
    wait_for_inputs(PDL)
    pair = tl.program_id(0)
    tl.store(pairs.parity + pair, 1 - tl.load(pairs.parity + pair))  # a program for each row
    num_rows, verifies = tl.load(pairs.num_rows), tl.load(pairs.verifies)
    if (2 * pair + 1 >= num_rows) | (tl.load(pairs.num_outputs) != num_rows) | (verifies != 0):
        return
    row = 2 * pair
    held = (tl.load(pairs.chosen + row) == tl.load(pairs.drafts + row)).to(tl.int32)
    token = tl.load(pairs.chosen + row + held)
    # Where another GPU did not answer, there is no guess, and the next step fails.
    guess = tl.load(pairs.names + tl.maximum(tl.load(pairs.guesses + row + held), 0))
    position = tl.load(pairs.positions + row) + 1 + held
    tl.store(pairs.tokens + row, token)
    tl.store(pairs.tokens + row + 1, guess)
    tl.store(pairs.positions + row, position)
    tl.store(pairs.positions + row + 1, position + 1)
    tl.store(pairs.drafts + row, guess)


def follow_pairs(pairs: Pairs, *, rows: int, launch: Launch) -> None:
    """Make a step of a token and a guess in each slot ready to be run once more.

    Other steps change, too, where all rows are wanted: they are not run again.

    Args:
        rows: how many programs are started for.
    """
    launch.start(follow_pairs_kernel, (rows,), pairs, PDL=launch.pdl, num_warps=1)
