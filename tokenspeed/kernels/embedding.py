"""Token embedding: the hidden states that the first layer starts from. First kernel of a step.

A step of few rows that is one kernel (`persistent`) looks them up itself, and settles the same.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.blocks import check_blocks, narrow_rows
from tokenspeed.kernels.launch import Launch, wait_for_inputs
from tokenspeed.kernels.norm import HiddenStates, normed, square_sum, square_sum_ref


class Begin(NamedTuple):
    """What the first kernel of a step settles for all that follow, [1] int32 each.

    Attributes:
        rows, outputs, tiles: how many the step has; written, to 0, if it is void.
        void: 1 if the step is not to be run: it was launched ahead, and is not wanted.
        before: the number of the step before. turn: written, the number of this one.
    """

    rows: Any
    outputs: Any
    tiles: Any
    void: Any
    before: Any
    turn: Any


def embedding_ref(tokens: Tensor, table: Tensor, norm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Plain torch; see `embedding`. Returns hidden, scaled, square_sum of the rows."""
    hidden = table[tokens].float()
    return hidden, (hidden * norm.float()).to(table.dtype), square_sum_ref(hidden)


@triton.jit
def embedding_kernel(
    tokens_ptr,
    table_ptr,
    norm_ptr,
    begin,
    hidden,
    NUM_SUMS: tl.constexpr,
    MAX_ROWS: tl.constexpr,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
    SCALE: tl.constexpr,
    ROW_EPS: tl.constexpr,
    IN_BLOCKS: tl.constexpr,
    PDL: tl.constexpr,
):
    wait_for_inputs(PDL)
    row = tl.program_id(0)
    num_rows = tl.load(begin.rows)
    void = tl.load(begin.void)
    if row == 0:
        tl.store(begin.turn, tl.load(begin.before) + 1)
        if void != 0:
            tl.store(begin.rows, 0)
            tl.store(begin.outputs, 0)
            tl.store(begin.tiles, 0)
    if (row >= num_rows) | (void != 0):
        return
    sums_ptr = hidden.square_sum
    for start in tl.static_range(0, NUM_SUMS, 32):  # the sums that the layers will add to
        number = start + tl.arange(0, 32)
        zeros = tl.zeros((32,), tl.int64)
        tl.store(sums_ptr + number * MAX_ROWS + row, zeros, mask=(number > 0) & (number < NUM_SUMS))
    token = tl.load(tokens_ptr + row).to(tl.int64)
    at = tl.arange(0, BLOCK)
    mask = at < SIZE
    states = tl.load(table_ptr + token * SIZE + at, mask=mask, other=0.0).to(tl.float32)
    if SCALE != 1.0:
        states *= SCALE
    scaled = states
    if norm_ptr is not None:
        norm = tl.load(norm_ptr + at, mask=mask, other=0.0).to(tl.float32)
        if ROW_EPS is not None:
            scaled = normed(states, SIZE, ROW_EPS)
    tl.store(hidden.states + row * SIZE + at, states, mask=mask)
    if norm_ptr is not None:
        scaled *= norm
    scaled_ptrs = hidden.scaled + row * SIZE + at
    tl.store(scaled_ptrs, narrow_rows(scaled, hidden.scaled.dtype.element_ty, IN_BLOCKS), mask)
    squares = square_sum(tl.reshape(states, (1, BLOCK)))
    tl.store(sums_ptr + row + tl.arange(0, 1), squares)


def embedding(
    tokens: Tensor,
    table: Tensor,
    norm: Tensor | None,
    begin: Begin,
    hidden: HiddenStates,
    *,
    launch: Launch,
    scale: float = 1.0,
    row_eps: float | None = None,
    in_blocks: bool = False,
) -> None:
    """Look up the rows of the table and prepare the first norm.

    Args:
        tokens: [rows] int32. begin: how many there are, and whether the step is run at all.
        table: [vocab_size, hidden_size], bf16 or float16. norm: [hidden_size], of the first layer;
            None: it has none.
        hidden: written. Its square_sum is that of all norms, [norms, max_rows]: row 0 is written,
            the others are zeroed.
        scale: of the rows of the table.
        row_eps: epsilon of the norm that rows get here; None: their readers norm them.
        in_blocks: an int4 matrix reads them; see `blocks`.
    Raises:
        ValueError: blocks do not fill the rows.
    """
    if in_blocks:
        check_blocks(table.shape[1], "table")
    launch.start(
        embedding_kernel,
        (len(tokens),),
        tokens,
        table,
        norm,
        begin,
        hidden,
        NUM_SUMS=hidden.square_sum.shape[0],
        MAX_ROWS=hidden.square_sum.shape[1],
        SIZE=table.shape[1],
        BLOCK=triton.next_power_of_2(table.shape[1]),
        SCALE=scale,
        ROW_EPS=row_eps,
        IN_BLOCKS=in_blocks,
        PDL=launch.pdl,
        num_warps=4,
    )
