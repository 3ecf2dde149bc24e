"""The weight-times-rows tile that all matrix kernels share.

The weight is the left operand of the tensor core and the rows are the right one: 64 rows of a
weight fill an instruction whatever the width of the step, and quantised weights go from shared
memory through registers straight into it. A row's dot products run over K in ascending order in
one accumulator, by the same kind of instruction at every width, so a row's result does not depend
on the number of rows; those of int4 do not even depend on the instruction, see `int4`. No sum that
could depend on a tile's layout is ever taken in floating point.
Knows matrices; does not know layers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import triton
import triton.language as tl

from tokenspeed.kernels.arithmetic import dot, widen
from tokenspeed.kernels.int4 import multiply_int4
from tokenspeed.kernels.launch import wait_for_inputs
from tokenspeed.kernels.matrix import PANEL, WORDS, prefetch_weight, unpack_int8

# Constants of the kernels have to be constexpr.
_PANEL = tl.constexpr(PANEL)
_WORDS = tl.constexpr(WORDS)


class Tile(NamedTuple):
    """A tile of rows and weights as a kernel is compiled for it: a constant of the kernel."""

    block_m: int  # rows
    block_n: int  # rows of the weight
    block_k: int
    stages: int
    fast_unpack: bool


@dataclass(frozen=True)
class TileConfig:
    """How a matrix kernel walks over its weight; chosen offline, see `tuned`."""

    block_n: int
    block_k: int
    warps: int
    stages: int


def block_rows(num_rows: int) -> int:
    """Return the tile height for a step of so many rows."""
    return 16 if num_rows <= 16 else 32 if num_rows <= 32 else 64


@triton.jit
def start_tile(
    weight,
    count_ptr,
    MATRIX: tl.constexpr,
    TILE: tl.constexpr,
    OVERLAP: tl.constexpr,
    ONE_ROW: tl.constexpr,
):
    """Prefetch the weight, wait for the inputs, and find this program's place.

    Args:
        count_ptr: how many rows exist; not read with ONE_ROW.
    Returns:
        The first column, and how many rows exist: a program without any of them has to end, others
        go on with `tile_rows`.
    """
    col_start = tl.program_id(1) * TILE.block_n
    if OVERLAP.prefetch_bytes:
        prefetch_weight(weight, col_start, MATRIX, TILE.block_n, OVERLAP.prefetch_bytes)
    wait_for_inputs(OVERLAP.pdl)
    count = 1 if ONE_ROW else tl.load(count_ptr)
    return col_start, count


@triton.jit
def tile_rows(count, TILE: tl.constexpr):
    """Return this program's rows [BLOCK_M], and which of them exist."""
    rows = tl.program_id(0) * TILE.block_m + tl.arange(0, TILE.block_m)
    return rows, rows < count


@triton.jit
def multiply(x_ptr, rows, row_mask, weight, col_start, MATRIX: tl.constexpr, TILE: tl.constexpr):
    """Return x[rows] @ weight[col_start : col_start + BLOCK_N].T: [BLOCK_M, BLOCK_N] float32.

    x is [*, K]; rows outside row_mask read as zeros. Columns past N are not meaningful.
    """
    return multiply_part(x_ptr, rows, row_mask, weight, col_start, 0, MATRIX.k, MATRIX, TILE, False)


@triton.jit
def multiply_part(
    x_ptr,
    rows,
    row_mask,
    weight,
    col_start,
    begin,
    PART_K: tl.constexpr,
    MATRIX: tl.constexpr,
    TILE: tl.constexpr,
    EACH: tl.constexpr,
):
    """`multiply` over only the inputs begin .. begin + PART_K - 1.

    EACH: every BLOCK_K is a part of its own, added to those before it.
    """
    N: tl.constexpr = MATRIX.n
    K: tl.constexpr = MATRIX.k
    BLOCK_M: tl.constexpr = TILE.block_m
    BLOCK_N: tl.constexpr = TILE.block_n
    BLOCK_K: tl.constexpr = TILE.block_k
    # The weight is the left operand: its rows fill the tensor core's 64, whatever the step's width.
    acc = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
    cols = col_start + tl.arange(0, BLOCK_N)
    col_mask = cols < N
    x_rows = x_ptr + rows[:, None].to(tl.int64) * K
    SCALED: tl.constexpr = MATRIX.format == "int8" or MATRIX.format == "fp8"
    if SCALED and EACH:
        scale = tl.load(weight.scale + cols, mask=col_mask, other=0.0)[:, None]
    EXACT: tl.constexpr = PART_K % BLOCK_K == 0  # else BLOCK_K may reach past the part
    if MATRIX.format == "int4":
        acc = multiply_int4(x_ptr, rows, row_mask, weight, col_start, begin, PART_K, MATRIX, TILE)
    elif MATRIX.format == "int8":
        UNIT: tl.constexpr = 64
        UNITS: tl.constexpr = BLOCK_K // UNIT
        word = tl.arange(0, UNITS * _WORDS)
        PANEL_WORDS: tl.constexpr = (K + UNIT - 1) // UNIT * _PANEL * _WORDS
        w_rows = weight.data + (cols // _PANEL).to(tl.int64)[:, None] * PANEL_WORDS
        w_rows += (cols % _PANEL)[:, None] * _WORDS
        w_rows += (word // _WORDS * (_PANEL * _WORDS) + word % _WORDS)[None, :]
        k = tl.arange(0, BLOCK_K)
        x_ptrs = x_rows + k[None, :]
        for start in tl.range(begin, begin + PART_K, BLOCK_K, num_stages=TILE.stages):
            x_mask = row_mask[:, None]
            w_mask = col_mask[:, None]
            if not EXACT:
                left = begin + PART_K - start
                x_mask = x_mask & (k < left)[None, :]
                w_mask = w_mask & (word // _WORDS * UNIT < left)[None, :]
            a = tl.load(x_ptrs + start, mask=x_mask, other=0.0)
            w_ptrs = w_rows + start // UNIT * (_PANEL * _WORDS)
            if EXACT and N % BLOCK_N == 0:
                words = tl.load(w_ptrs)
            else:
                words = tl.load(w_ptrs, mask=w_mask, other=0)
            w = unpack_int8(words, a.dtype, BLOCK_N, UNITS, TILE.fast_unpack)
            if EACH:
                acc += dot(w, a.T, tl.zeros((BLOCK_N, BLOCK_M), tl.float32)) * scale
            else:
                acc = dot(w, a.T, acc)
    else:
        k = tl.arange(0, BLOCK_K)
        x_ptrs = x_rows + k[None, :]
        # How many elements of the weight its pointers advance for each column of K.
        STEP: tl.constexpr = 128 if MATRIX.format == "tiled" else 1
        if MATRIX.format == "tiled":  # BLOCK_K is a multiple of 64 that divides PART_K
            w_ptrs = weight.data + (cols // 128).to(tl.int64)[:, None] * (K * 128)
            w_ptrs += (cols % 128)[:, None] * 64 + (k // 64 * 8192 + k % 64)[None, :]
        else:
            w_ptrs = weight.data + cols.to(tl.int64)[:, None] * K + k[None, :]
        for start in tl.range(begin, begin + PART_K, BLOCK_K, num_stages=TILE.stages):
            x_mask = row_mask[:, None]
            w_mask = col_mask[:, None]
            if not EXACT:
                x_mask = x_mask & (start + k < begin + PART_K)[None, :]
                w_mask = w_mask & (start + k < begin + PART_K)[None, :]
            a = tl.load(x_ptrs + start, mask=x_mask, other=0.0)
            if EXACT and N % BLOCK_N == 0:
                w = tl.load(w_ptrs + start * STEP)
            else:
                w = tl.load(w_ptrs + start * STEP, mask=w_mask, other=0.0)
            w = widen(w, a.dtype)
            if EACH:
                part = dot(w, a.T, tl.zeros((BLOCK_N, BLOCK_M), tl.float32))
                acc += part * scale if SCALED else part
            else:
                acc = dot(w, a.T, acc)
    if SCALED and not EACH:
        scale = tl.load(weight.scale + cols, mask=col_mask, other=0.0)
        acc = acc * scale[:, None]
    return acc.T
