"""A matrix cut along K into parts, summed in order: by one program or by the last of several.

Each part has an accumulator of its own, and how many there are never depends on the number of rows:
side by side or in turn, the parts give the same bits.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from tokenspeed.kernels.launch import main_loop_done
from tokenspeed.kernels.matrix import GROUP_SIZE, Matrix
from tokenspeed.kernels.tile import TileConfig, multiply_part


class SplitK(NamedTuple):
    """How K is cut: a constant of the kernel."""

    parts: int
    is_shared: bool  # between programs, else each takes all parts of its tile in turn


class SplitScratch(NamedTuple):
    """Where programs that share a tile leave their parts for the last of them.

    Attributes:
        parts: [elements] float32, one block of each program; reused by every kernel of a step.
        counters: [tiles] int32, zero between kernels.
    """

    parts: Any
    counters: Any

    @property
    def nbytes(self) -> int:
        return int(self.parts.nbytes + self.counters.nbytes)


def split_scratch(elements: int, tiles: int, device: str) -> SplitScratch:
    """Allocate room for `elements` partial sums in `tiles` tiles; its parts hold NaN at first."""
    parts = torch.full((max(elements, 1),), float("nan"), device=device)
    return SplitScratch(parts, torch.zeros(max(tiles, 1), dtype=torch.int32, device=device))


def check_split(weight: Matrix, split_k: int) -> None:
    """Refuse parts that K cannot be cut into.

    Raises:
        ValueError: says what the parts have to be multiples of.
    """
    # Columns of a tensor-core instruction, of a unit of words, or of two groups (one scale word).
    unit = {"int8": 64, "int4": 2 * GROUP_SIZE}.get(weight.format, 16)
    if split_k > 1 and weight.k % (split_k * unit):
        raise ValueError(f"{weight.k} columns cannot be cut into {split_k} multiples of {unit}")


def check_scratch(scratch: SplitScratch, elements: int, tiles: int) -> None:
    """Refuse a scratch that is too small.

    Raises:
        ValueError: says what it has and what is needed.
    """
    if len(scratch.parts) < elements or len(scratch.counters) < tiles:
        raise ValueError(
            f"scratch has {len(scratch.parts)} elements, {len(scratch.counters)} counters, "
            f"expected {elements}, {tiles}"
        )


def split_needs(
    rows: int, n: int, block_m: int, config: TileConfig, split_k: int
) -> tuple[int, int]:
    """Return how many elements and counters of a scratch it takes to share parts."""
    if split_k == 1:
        return 0, 0
    tiles = triton.cdiv(rows, block_m) * triton.cdiv(n, config.block_n)
    return tiles * split_k * block_m * config.block_n, tiles


@triton.jit
def multiply_split(
    x_ptr,
    rows,
    row_mask,
    weight,
    col_start,
    scratch,
    MATRIX: tl.constexpr,
    TILE: tl.constexpr,
    SPLIT: tl.constexpr,
    PDL: tl.constexpr,
):
    """Return `multiply` as the sum, in order, of its parts; let the next kernel be scheduled.

    Returns:
        The sum [BLOCK_M, BLOCK_N], and whether this program has it: where parts are shared, only
        the last program of a tile does, and the others have to end.
    """
    PART_K: tl.constexpr = MATRIX.k // SPLIT.parts
    if SPLIT.is_shared:
        part = tl.program_id(2)
        acc = multiply_part(
            x_ptr, rows, row_mask, weight, col_start, part * PART_K, PART_K, MATRIX, TILE, False
        )
        main_loop_done(PDL)
        tile = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
        acc, has_sum = sum_parts(acc, row_mask, scratch, tile, part, TILE, SPLIT)
    elif SPLIT.parts > 1 and PART_K == TILE.block_k and MATRIX.format != "int4":
        acc = multiply_part(
            x_ptr, rows, row_mask, weight, col_start, 0, MATRIX.k, MATRIX, TILE, True
        )
        main_loop_done(PDL)
        has_sum = True
    else:
        acc = multiply_part(
            x_ptr, rows, row_mask, weight, col_start, 0, PART_K, MATRIX, TILE, False
        )
        if SPLIT.parts > 1:
            for part in tl.range(1, SPLIT.parts, num_stages=1):
                acc += multiply_part(
                    *(x_ptr, rows, row_mask, weight, col_start),
                    *(part * PART_K, PART_K, MATRIX, TILE, False),
                )
        main_loop_done(PDL)
        has_sum = True
    return acc, has_sum


@triton.jit
def sum_parts(acc, row_mask, scratch, tile, part, TILE: tl.constexpr, SPLIT: tl.constexpr):
    """Store a part; the last program of the tile gets the sum of all of them, in order.

    Returns:
        The sum [BLOCK_M, BLOCK_N], valid only in the last program, and whether this is the last.
    """
    PARTS: tl.constexpr = SPLIT.parts
    ELEMENTS: tl.constexpr = TILE.block_m * TILE.block_n
    member = tl.arange(0, TILE.block_m)[:, None] * TILE.block_n
    member += tl.arange(0, TILE.block_n)[None, :]
    mask = row_mask[:, None] & (member >= 0)
    at = scratch.parts + tile * (PARTS * ELEMENTS) + member
    tl.store(at + part * ELEMENTS, acc, mask=mask)
    tl.debug_barrier()  # all threads have stored before one of them announces it
    last = tl.atomic_add(scratch.counters + tile, 1, sem="acq_rel") == PARTS - 1
    tl.debug_barrier()
    if last:
        tl.store(scratch.counters + tile, 0)  # for the next kernel
        # .cg: other multiprocessors wrote these; this one's L1 may be stale.
        acc = tl.load(at, mask=mask, other=0.0, cache_modifier=".cg")
        for i in tl.static_range(1, PARTS):
            acc += tl.load(at + i * ELEMENTS, mask=mask, other=0.0, cache_modifier=".cg")
    return acc, last
