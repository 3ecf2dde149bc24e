"""A projection back to the hidden size, added to the residual: attention's output and MLP's down.

Also writes what the next kernel needs of the next RMSNorm: the hidden states times its weight, and
the sum of their squares.
"""

import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import narrow
from tokenspeed.kernels.launch import Launch, main_loop_done, wait_for_inputs
from tokenspeed.kernels.matrix import Matrix, prefetch_weight
from tokenspeed.kernels.norm import square_sum, square_sum_ref
from tokenspeed.kernels.split_k import (
    SplitScratch,
    check_split,
    multiply_split,
    split_grid,
    sum_parts,
)
from tokenspeed.kernels.tile import TileConfig, multiply_part


def projection_ref(
    x: Tensor, weight: Tensor, hidden: Tensor, next_norm: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Plain torch; see `projection`. Returns hidden (new), scaled, square_sum."""
    new = hidden + (x @ weight.to(x.dtype).t()).float()
    return new, (new * next_norm.float()).to(x.dtype), square_sum_ref(new)


@triton.jit
def projection_kernel(
    x_ptr, w_ptr, scale_ptr, norm_ptr, num_rows_ptr, hidden_ptr, scaled_ptr, sum_ptr, parts_ptr,
    counters_ptr,
    N: tl.constexpr, K: tl.constexpr, SPLIT_K: tl.constexpr, IS_SHARED: tl.constexpr,
    FORMAT: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, STAGES: tl.constexpr, FAST: tl.constexpr,
    ONE_ROW: tl.constexpr, PDL: tl.constexpr, PREFETCH: tl.constexpr,
):  # fmt: skip
    col_start = tl.program_id(1) * BLOCK_N
    if PREFETCH:
        prefetch_weight(w_ptr, col_start, N, K, FORMAT, BLOCK_N, PREFETCH)
    wait_for_inputs(PDL)
    num_rows = 1 if ONE_ROW else tl.load(num_rows_ptr)
    if tl.program_id(0) * BLOCK_M >= num_rows:
        return
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    row_mask = rows < num_rows
    cols = col_start + tl.arange(0, BLOCK_N)
    mask = row_mask[:, None] & (cols < N)[None, :]
    at = rows[:, None].to(tl.int64) * N + cols[None, :]
    # Asked for before the weights, so that nothing is waited for after them.
    hidden = tl.load(hidden_ptr + at, mask=mask, other=0.0)
    norm = tl.load(norm_ptr + cols, mask=cols < N, other=0.0).to(tl.float32)
    if IS_SHARED:
        part = tl.program_id(2)
        acc = multiply_part(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start,
                            part * (K // SPLIT_K), N, K, K // SPLIT_K, FORMAT, BLOCK_M, BLOCK_N,
                            BLOCK_K, STAGES, FAST)  # fmt: skip
        main_loop_done(PDL)
        tile = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
        acc, last = sum_parts(acc, row_mask, parts_ptr, counters_ptr, tile, part, SPLIT_K, BLOCK_M,
                              BLOCK_N)  # fmt: skip
        if not last:
            return
    else:
        acc = multiply_split(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start, N, K, SPLIT_K,
                             FORMAT, BLOCK_M, BLOCK_N, BLOCK_K, STAGES, FAST)  # fmt: skip
        main_loop_done(PDL)
    hidden += acc
    tl.store(hidden_ptr + at, hidden, mask=mask)
    scaled = narrow(hidden * norm[None, :], scaled_ptr.dtype.element_ty)
    tl.store(scaled_ptr + at, scaled, mask=mask)
    squares = square_sum(tl.where(mask, hidden, 0.0))
    # Integers: the order in which programs add does not matter.
    tl.atomic_add(sum_ptr + rows, squares, mask=row_mask, sem="relaxed")


def projection(
    x: Tensor, weight: Matrix, next_norm: Tensor, num_rows: Tensor, hidden: Tensor,
    scaled: Tensor, square_sum: Tensor, *, block_m: int, config: TileConfig, launch: Launch,
    split_k: int = 1, scratch: SplitScratch | None = None,
) -> None:  # fmt: skip
    """Add x @ weight.T to the hidden states, and prepare the next norm.

    Args:
        x: [rows, k], bf16.
        weight: [hidden_size, k].
        next_norm: [hidden_size], weight of the norm that comes next.
        num_rows: [1] int32, rows that exist.
        hidden: [rows, hidden_size] float32, updated in place.
        scaled: [rows, hidden_size] bf16, written: hidden * next_norm.
        square_sum: [rows] int64, the squares are added to it; zero before.
        split_k: parts that K is cut into, the same at every number of rows.
        scratch: lets the parts of a short step run side by side; None: one after the other, to
            the same bits.
    Raises:
        ValueError: x does not fit the weight, or the weight not the parts.
    """
    if x.shape[1] != weight.k:
        raise ValueError(f"x has {x.shape[1]} columns, expected {weight.k}")
    check_split(weight, split_k)
    grid, parts, counters = split_grid(len(x), weight.n, block_m, config, split_k, scratch)
    launch.start(
        projection_kernel, grid,
        x, weight.data, weight.scale, next_norm, num_rows, hidden, scaled, square_sum,
        square_sum if parts is None else parts, num_rows if counters is None else counters,
        N=weight.n, K=weight.k, SPLIT_K=split_k, IS_SHARED=parts is not None,
        FORMAT=weight.format, BLOCK_M=block_m, BLOCK_N=config.block_n,
        BLOCK_K=config.block_k, STAGES=config.stages, FAST=launch.fast_unpack, ONE_ROW=len(x) == 1,
        PDL=launch.pdl, PREFETCH=launch.prefetch_bytes, num_warps=config.warps,
    )  # fmt: skip
