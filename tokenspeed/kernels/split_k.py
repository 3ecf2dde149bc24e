"""A matrix cut along K into parts, summed in order: by one program or by the last of several.

Each part has an accumulator of its own, and how many there are never depends on the number of rows:
side by side or in turn, the parts give the same bits.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.matrix import GROUP_SIZE, Matrix
from tokenspeed.kernels.tile import TileConfig, multiply_part


@dataclass(frozen=True)
class SplitScratch:
    """Where programs that share a tile leave their parts for the last of them.

    Attributes:
        parts: [elements] float32, one block of each program; reused by every kernel of a step.
        counters: [tiles] int32, zero between kernels.
    """

    parts: Tensor
    counters: Tensor

    @property
    def nbytes(self) -> int:
        return self.parts.nbytes + self.counters.nbytes


def split_scratch(elements: int, tiles: int, device: str) -> SplitScratch:
    """Allocate room for `elements` partial sums in `tiles` tiles; its parts hold NaN at first."""
    parts = torch.full((max(elements, 1),), float("nan"), device=device)
    return SplitScratch(parts, torch.zeros(max(tiles, 1), dtype=torch.int32, device=device))


def check_split(weight: Matrix, split_k: int) -> None:
    """Refuse parts that K cannot be cut into.

    Raises:
        ValueError: says what the parts have to be multiples of.
    """
    # Of one tensor-core instruction, of a row's words, or of groups whose scales share a word.
    unit = {"int8": 64, "int4": 2 * GROUP_SIZE}.get(weight.format, 16)
    if split_k > 1 and weight.k % (split_k * unit):
        raise ValueError(f"{weight.k} columns cannot be cut into {split_k} multiples of {unit}")


def split_grid(
    rows: int, n: int, block_m: int, config: TileConfig, split_k: int,
    scratch: SplitScratch | None,
) -> tuple[tuple[int, ...], Tensor | None, Tensor | None]:  # fmt: skip
    """Return the programs of a matrix kernel, and where they share parts: None if they do not.

    Raises:
        ValueError: the scratch is too small.
    """
    tiles = triton.cdiv(rows, block_m), triton.cdiv(n, config.block_n)
    if split_k == 1 or scratch is None:
        return tiles, None, None
    elements, count = split_needs(rows, n, block_m, config, split_k)
    if len(scratch.parts) < elements or len(scratch.counters) < count:
        raise ValueError(
            f"scratch has {len(scratch.parts)} elements, {len(scratch.counters)} counters, "
            f"expected {elements}, {count}"
        )
    return (*tiles, split_k), scratch.parts, scratch.counters


def split_needs(
    rows: int, n: int, block_m: int, config: TileConfig, split_k: int
) -> tuple[int, int]:
    """Return the elements and counters that sharing parts takes of a scratch."""
    if split_k == 1:
        return 0, 0
    tiles = triton.cdiv(rows, block_m) * triton.cdiv(n, config.block_n)
    return tiles * split_k * block_m * config.block_n, tiles


@triton.jit
def multiply_split(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start, N: tl.constexpr,
                   K: tl.constexpr, SPLIT_K: tl.constexpr, FORMAT: tl.constexpr,
                   BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
                   STAGES: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    """Return `multiply` as the sum, in order, of SPLIT_K parts that this program computes alone."""
    PART_K: tl.constexpr = K // SPLIT_K
    acc = multiply_part(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start, 0, N, K, PART_K,
                        FORMAT, BLOCK_M, BLOCK_N, BLOCK_K, STAGES, FAST)  # fmt: skip
    if SPLIT_K > 1:
        for part in tl.range(1, SPLIT_K, num_stages=1):
            acc += multiply_part(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start, part * PART_K,
                                 N, K, PART_K, FORMAT, BLOCK_M, BLOCK_N, BLOCK_K, STAGES,
                                 FAST)  # fmt: skip
    return acc


@triton.jit
def sum_parts(acc, row_mask, parts_ptr, counters_ptr, tile, part, SPLIT_K: tl.constexpr,
              BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):  # fmt: skip
    """Leave a part; the last program of the tile gets the sum of all of them, in order.

    Returns:
        The sum [BLOCK_M, BLOCK_N] and whether this program is the last: only then it is one.
    """
    member = tl.arange(0, BLOCK_M)[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    mask = row_mask[:, None] & (member >= 0)
    at = parts_ptr + tile * (SPLIT_K * BLOCK_M * BLOCK_N) + member
    tl.store(at + part * (BLOCK_M * BLOCK_N), acc, mask=mask)
    tl.debug_barrier()  # all threads have stored before one of them announces it
    last = tl.atomic_add(counters_ptr + tile, 1, sem="acq_rel") == SPLIT_K - 1
    tl.debug_barrier()
    if last:
        tl.store(counters_ptr + tile, 0)  # for the next kernel
        # .cg: other multiprocessors wrote these; this one's L1 may hold older ones.
        acc = tl.load(at, mask=mask, other=0.0, cache_modifier=".cg")
        for i in tl.static_range(1, SPLIT_K):
            acc += tl.load(at + i * (BLOCK_M * BLOCK_N), mask=mask, other=0.0,
                           cache_modifier=".cg")  # fmt: skip
    return acc, last
