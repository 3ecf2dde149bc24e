"""A projection back to the hidden size, added to the residual: attention's output and MLP's down.

Also writes what the next kernel needs of the next RMSNorm: the hidden states times its weight, and
the sum of their squares. Where GPUs share a model, each has some columns of the weight, and their
products are summed here. Where a branch's output is normed, which needs whole rows, only the
product is written: `branch_norm` does the rest.
"""

import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.blocks import check_blocks, narrow_rows
from tokenspeed.kernels.exchange import ALONE, Group, Peers, exchange_number, rank_sum
from tokenspeed.kernels.matrix import Matrix, add_bias
from tokenspeed.kernels.norm import HiddenStates, square_sum, square_sum_ref
from tokenspeed.kernels.plan import Plan
from tokenspeed.kernels.split_k import SplitScratch, multiply_split
from tokenspeed.kernels.tile import start_tile, tile_rows


def projection_ref(
    x: Tensor, weight: Tensor, hidden: Tensor, next_norm: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Plain torch; see `projection`. Returns hidden (new), scaled, square_sum."""
    new = hidden + (x @ weight.to(x.dtype).t()).float()
    new = new if bias is None else new + bias
    return new, (new * next_norm.float()).to(x.dtype), square_sum_ref(new)


@triton.jit
def projection_kernel(
    x_ptr,
    weight,
    norm_ptr,
    num_rows_ptr,
    hidden,
    peers,
    scratch,
    MATRIX: tl.constexpr,
    TILE: tl.constexpr,
    SPLIT: tl.constexpr,
    OVERLAP: tl.constexpr,
    ONE_ROW: tl.constexpr,
    GROUP: tl.constexpr,
    IN_BLOCKS: tl.constexpr,
):
    col_start, num_rows = start_tile(weight, num_rows_ptr, MATRIX, TILE, OVERLAP, ONE_ROW)
    if tl.program_id(0) * TILE.block_m >= num_rows:
        return
    rows, row_mask = tile_rows(num_rows, TILE)
    cols = col_start + tl.arange(0, TILE.block_n)
    mask = row_mask[:, None] & (cols < MATRIX.n)[None, :]
    at = rows[:, None].to(tl.int64) * MATRIX.n + cols[None, :]
    if norm_ptr is not None:
        # Loaded before the weights, so that nothing is left to wait for after them.
        states = tl.load(hidden.states + at, mask=mask, other=0.0)
        norm = tl.load(norm_ptr + cols, mask=cols < MATRIX.n, other=0.0).to(tl.float32)
    if GROUP.ranks > 1:
        number = exchange_number(peers, GROUP)
    acc, has_sum = multiply_split(
        x_ptr, rows, row_mask, weight, col_start, scratch, MATRIX, TILE, SPLIT, OVERLAP.pdl
    )
    if SPLIT.is_shared:
        if not has_sum:
            return
    if GROUP.ranks > 1:
        acc = rank_sum(acc, rows, cols, mask, peers, number, GROUP)
    acc = add_bias(acc, weight, cols, MATRIX)
    if norm_ptr is None:
        tl.store(hidden.states + at, acc, mask=mask)
    else:
        states += acc
        tl.store(hidden.states + at, states, mask=mask)
        scaled = states * norm[None, :]
        scaled = narrow_rows(scaled, hidden.scaled.dtype.element_ty, IN_BLOCKS)
        tl.store(hidden.scaled + at, scaled, mask=mask)
        squares = square_sum(tl.where(mask, states, 0.0))
        # Integers: the order in which programs add does not matter.
        tl.atomic_add(hidden.square_sum + rows, squares, mask=row_mask, sem="relaxed")


def projection(
    x: Tensor,
    weight: Matrix,
    next_norm: Tensor | None,
    num_rows: Tensor,
    hidden: HiddenStates,
    *,
    plan: Plan,
    peers: Peers | None = None,
    group: Group = ALONE,
    in_blocks: bool = False,
) -> None:
    """Add x @ weight.T to the hidden states, and prepare the next norm.

    Args:
        x: [rows, k], bf16 or float16.
        weight: [hidden_size, k].
        next_norm: [hidden_size], weight of the norm that comes next; None: the product is written
            to hidden.states, nothing is added, and nothing else is written.
        num_rows: [1] int32, rows that exist.
        hidden: states are updated, scaled is written, the squares are added to square_sum, which
            is zero before.
        peers, group: other GPUs whose products are added; all of them run this.
        in_blocks: an int4 matrix reads what is scaled; see `blocks`.
    Raises:
        ValueError: x does not fit the weight, K cannot be cut into the plan's parts, or blocks do
            not fill its tiles.
    """
    if x.shape[1] != weight.k:
        raise ValueError(f"x has {x.shape[1]} columns, expected {weight.k}")
    if in_blocks:
        check_blocks(plan.config.block_n, "a tile")
        check_blocks(weight.n, "hidden")
    nobody = Peers(hidden.square_sum, num_rows, num_rows, num_rows)  # not read
    plan.start_split(
        projection_kernel,
        weight,
        len(x),
        *(x, weight.arrays, next_norm, num_rows, hidden, peers or nobody),
        unused=SplitScratch(hidden.square_sum, num_rows),
        # A step without rows, which only loads kernels, must not wait for others.
        ONE_ROW=len(x) == 1 and group.ranks == 1,
        GROUP=group,
        IN_BLOCKS=in_blocks and next_norm is not None,
    )
