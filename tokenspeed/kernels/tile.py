"""The weight-times-rows tile that all matrix kernels share, and the stored forms of a weight.

The weight is the left operand of the tensor core and the rows are the right one: 64 rows of a
weight fill an instruction whatever the width of the step, and quantised weights go from shared
memory through registers straight into it. A row's dot products run over K in ascending order in
one accumulator, by the same kind of instruction at every width, so a row's result does not depend
on the number of rows. A
matrix may be cut along K into fixed parts: each has its accumulator, and they are added in order,
by one program or, in short steps, by the last of several. No sum that could depend on a tile's
layout is ever taken in floating point.
Knows matrices; does not know layers.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

GROUP_SIZE = 128  # input columns that share one int4 scale
SUM_UNIT = 2.0**-32  # squares are summed as int64 in this unit; overflows past 2**31

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

# Constants of the kernels have to be constexpr.
_INTERPRETED = tl.constexpr(INTERPRETED)
_SUM_UNIT = tl.constexpr(SUM_UNIT)
PANEL = 16  # rows of a quantised weight whose units lie side by side: 1 KiB in one piece
WORDS = 32  # of a unit: words of 16 bits that hold neighbouring columns of a row
BITS = {"int8": 8, "int4": 4}  # of a field of a word
_PANEL = tl.constexpr(PANEL)
_WORDS = tl.constexpr(WORDS)


@dataclass(frozen=True)
class Matrix:
    """A weight [n, k] in its stored form.

    Attributes:
        data: bf16 (or float32) or float8 [n, k]; int8 and int4 as int16 words
            [n / 16, k / unit, 16, 32], rounded up, in units of 64 columns (int8) or 128 (int4):
            field i of word j holds column j + 32 * i, plus 128 or 8. So two neighbouring words
            unpack to the pairs of columns that a thread of the tensor core needs.
        scale: [n] float32; int4: [k / 256, n] int32, rounded up, the float16 scales of two groups
            of 128; unused (one element) for floats.
    """

    data: Tensor
    scale: Tensor
    n: int
    k: int
    format: str  # "bf16", "int8", "int4", "fp8"

    @property
    def nbytes(self) -> int:
        return self.data.nbytes + (self.scale.nbytes if self.format != "bf16" else 0)

    def dequantize(self) -> Tensor:
        """Return the weight as the kernels see it: [n, k] float32."""
        if self.format == "bf16":
            return self.data.float()
        if self.format == "fp8":
            return self.data.float() * self.scale[:, None]
        bits = BITS[self.format]
        shifts = torch.arange(0, 16, bits, device=self.data.device, dtype=torch.int16)
        fields = self.data[..., None, :] >> shifts[:, None] & 2**bits - 1
        # [n / 16, k / unit, 16, fields, 32]
        q = (fields - 2 ** (bits - 1)).transpose(1, 2).reshape(len(self.data) * PANEL, -1)
        q = q[: self.n, : self.k].float()
        if bits == 8:
            return q * self.scale[:, None]
        scale = self.scale.t().contiguous().view(torch.float16)[:, : self.k // GROUP_SIZE]
        return (q.view(self.n, -1, GROUP_SIZE) * scale.float()[..., None]).view(self.n, self.k)


def pack_float(weight: Tensor, dtype: torch.dtype = torch.bfloat16) -> Matrix:
    """Store [n, k] as it is."""
    n, k = weight.shape
    unused = torch.zeros(1, device=weight.device)
    return Matrix(weight.to(dtype).contiguous(), unused, n, k, "bf16")


def pack_channels(q: Tensor, scale: Tensor) -> Matrix:
    """Store int8 or float8 q [n, k] with one scale for each row, [n, 1]."""
    n, k = q.shape
    scale = scale.float().reshape(n).contiguous()
    if q.dtype == torch.int8:
        return Matrix(pack_words(q, BITS["int8"]), scale, n, k, "int8")
    return Matrix(q.contiguous(), scale, n, k, "fp8")


def pack_int4(q: Tensor, scale: Tensor) -> Matrix:
    """Store int4 values in groups.

    Args:
        q: [n, k] int8 in -8..7.
        scale: [n, k / 128].
    Raises:
        ValueError: k is not a multiple of 128.
    """
    n, k = q.shape
    if k % GROUP_SIZE:
        raise ValueError(f"int4 needs input columns in groups of {GROUP_SIZE}, got {k}")
    # Two groups to a word: loads of two bytes cannot be asked for ahead.
    pairs = F.pad(scale.half(), (0, k // GROUP_SIZE % 2)).contiguous().view(torch.int32)
    return Matrix(pack_words(q, BITS["int4"]), pairs.t().contiguous(), n, k, "int4")


def pack_words(q: Tensor, bits: int) -> Tensor:
    """Put signed fields, q [n, k] int8, into words as `Matrix` describes."""
    fields = 16 // bits
    q = F.pad(q, (0, -q.shape[1] % (fields * WORDS), 0, -q.shape[0] % PANEL))
    q = q.view(len(q) // PANEL, PANEL, -1, fields, WORDS).transpose(1, 2)
    words = torch.zeros_like(q[..., 0, :], dtype=torch.int16)
    for i in range(fields):
        words |= (q[..., i, :].short() + 2 ** (bits - 1)) << (bits * i)
    return words.contiguous()


@dataclass(frozen=True)
class TileConfig:
    """How a matrix kernel walks over its weight; chosen offline, see `tuned`."""

    block_n: int
    block_k: int
    warps: int
    stages: int


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


@dataclass(frozen=True)
class Launch:
    """How kernels are launched; changes nothing in what they compute.

    Attributes:
        pdl: programmatic dependent launch (sm_90 and later): 0 none; a kernel lets the next one
            start 1 as soon as it runs, 2 when its own inputs are there, 3 after its main loop.
        prefetch_bytes: with pdl, so many first bytes of each weight row are asked for before
            waiting for the kernel before; a multiple of 128, 0 is none.
        fast_unpack: unpack int8 and int4 by PTX (NVIDIA alone).
        recorded: if given, launches are noted here and not made: to compile them beforehand.
    """

    pdl: int = 0
    prefetch_bytes: int = 0
    fast_unpack: bool = not INTERPRETED
    recorded: "list[RecordedLaunch] | None" = None

    def start(self, kernel: Any, grid: tuple[int, ...], *args: Any, **constants: Any) -> None:
        """Launch a kernel. `constants` are its constexpr parameters and num_warps, num_stages."""
        # Without fusion by the compiler, expressions round the same way at every tile height.
        constants["enable_fp_fusion"] = False
        if self.pdl:
            constants["launch_pdl"] = True
        if self.recorded is not None:
            self.recorded.append(RecordedLaunch(kernel, args, constants))
        else:
            kernel[grid](*args, **constants)


@dataclass(frozen=True)
class RecordedLaunch:
    """A launch that was noted and not made."""

    kernel: Any
    args: tuple[Any, ...]
    constants: dict[str, Any]


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


def block_rows(num_rows: int) -> int:
    """Return the tile height for a step of so many rows."""
    return 16 if num_rows <= 16 else 32 if num_rows <= 32 else 64


@triton.jit
def wait_for_inputs(PDL: tl.constexpr):
    """Let the next kernel be scheduled, and wait for everything that the one before wrote.

    Each program of each kernel comes here before it reads or writes anything that changes, also
    one with nothing to do: otherwise a kernel could end before the one before it.
    """
    if PDL == 1:
        gdc_launch_dependents()
    if PDL:
        gdc_wait()
    if PDL == 2:
        gdc_launch_dependents()


@triton.jit
def main_loop_done(PDL: tl.constexpr):
    """Let the next kernel be scheduled while this one writes its results."""
    if PDL == 3:
        gdc_launch_dependents()


@triton.jit
def widen(w, dtype: tl.constexpr):
    """Turn float8 into the dtype of the rows, exactly."""
    return w.to(tl.float32) if _INTERPRETED else w.to(dtype)


@triton.jit
def dot(a, b, acc):
    """tl.dot of bf16 into float32.

    The interpreter's numpy knows no bf16; float64 there also hides in which order BLAS sums.
    """
    if _INTERPRETED:
        wide = tl.dot(a.to(tl.float64), b.to(tl.float64), acc.to(tl.float64), out_dtype=tl.float64)
        return wide.to(tl.float32)
    return tl.dot(a, b, acc)


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """Round float32 to dtype, to the nearest; the interpreter's own cast to bf16 cuts bits off."""
    if _INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.int32, bitcast=True)
        x = (bits + 0x7FFF + ((bits >> 16) & 1)).to(tl.float32, bitcast=True)
    if dtype == tl.float16:
        # What is too large for it becomes the largest; NaN stays NaN.
        x = tl.clamp(x, -65504.0, 65504.0, propagate_nan=tl.PropagateNan.ALL)
    return x.to(dtype)


@triton.jit
def prefetch_weight(w_ptr, col_start, N: tl.constexpr, K: tl.constexpr, FORMAT: tl.constexpr,
                    BLOCK_N: tl.constexpr, BYTES: tl.constexpr):  # fmt: skip
    """Ask the L2 for the first BYTES bytes of BLOCK_N rows of the weight."""
    LINES: tl.constexpr = BYTES // 128
    row = tl.arange(0, BLOCK_N)[:, None]
    line = tl.arange(0, LINES)[None, :]
    if FORMAT == "int8" or FORMAT == "int4":
        # Rows of a panel are interleaved, so that its head holds the first bytes of all of them.
        UNIT: tl.constexpr = 64 if FORMAT == "int8" else 128
        PANEL_WORDS: tl.constexpr = (K + UNIT - 1) // UNIT * _PANEL * _WORDS
        at = ((col_start + row) // _PANEL).to(tl.int64) * PANEL_WORDS
        at += ((row % _PANEL) * LINES + line) * 64
    else:
        PER_LINE: tl.constexpr = 64 if FORMAT == "bf16" else 128
        at = (col_start + row).to(tl.int64) * K + line * PER_LINE
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.u32 $0, 0;",
        "=r,l",
        [w_ptr + at],
        dtype=tl.int32,
        is_pure=False,
        pack=1,
    )


@triton.jit
def unpack_int8(words, dtype: tl.constexpr, BLOCK_N: tl.constexpr, UNITS: tl.constexpr,
                FAST: tl.constexpr):  # fmt: skip
    """Turn words [BLOCK_N, UNITS * 32] into weights [BLOCK_N, UNITS * 64], exactly.

    Fast: 0x64nn is 1024 + nn in float16, so one instruction puts two bytes in place and another
    subtracts. (bf16 has a bit too few for that, and its way would take the GPU longer than its
    memory does.)
    """
    if FAST and dtype == tl.float16:
        low, high = tl.inline_asm_elementwise(
            """
            {
            .reg .b32 a, b, hundreds, offset;
            mov.b32 hundreds, 0x64646464;
            mov.b32 offset, 0x64806480;
            prmt.b32 a, $2, hundreds, 0x4240;
            prmt.b32 b, $2, hundreds, 0x4341;
            sub.rn.f16x2 $0, a, offset;
            sub.rn.f16x2 $1, b, offset;
            }
            """,
            "=r,=r,r",
            [words],
            dtype=(tl.float16, tl.float16),
            is_pure=True,
            pack=2,
        )
    else:
        wide = tl.float32 if _INTERPRETED else dtype
        low = ((words & 255).to(tl.float32) - 128.0).to(wide)
        high = (((words >> 8) & 255).to(tl.float32) - 128.0).to(wide)
    q = tl.reshape(tl.join(low, high), (BLOCK_N, UNITS, _WORDS, 2))
    return tl.reshape(tl.permute(q, (0, 1, 3, 2)), (BLOCK_N, UNITS * 2 * _WORDS))


@triton.jit
def unpack_int4(words, scales, dtype: tl.constexpr, BLOCK_N: tl.constexpr, UNITS: tl.constexpr,
                FAST: tl.constexpr):  # fmt: skip
    """Turn words [BLOCK_N, UNITS * 32] into weights [BLOCK_N, UNITS * 128], rounded to dtype.

    scales [BLOCK_N, UNITS / 2] holds those of two units each. Fast: the bytes 0x64, 0x0n and
    0x64, 0xn0 are 1024 + n and 1024 + 16 * n in float16.
    """
    scale = tl.reshape(tl.join(scales, scales >> 16), (BLOCK_N, UNITS, 1)).to(tl.int16)
    scale = tl.broadcast_to(scale.to(tl.float16, bitcast=True), (BLOCK_N, UNITS, _WORDS))
    scale = tl.reshape(scale, (BLOCK_N, UNITS * _WORDS))
    if FAST and dtype == tl.float16:
        q0, q1, q2, q3 = tl.inline_asm_elementwise(
            """
            {
            .reg .b32 a, b, c, d, h, offset, sixteenth, small;
            mov.b32 offset, 0x64086408;
            mov.b32 sixteenth, 0x2C002C00;
            mov.b32 small, 0xD480D480;
            shr.u32 h, $4, 8;
            lop3.b32 a, $4, 0x000F000F, 0x64006400, 0xEA;
            lop3.b32 b, $4, 0x00F000F0, 0x64006400, 0xEA;
            lop3.b32 c, h, 0x000F000F, 0x64006400, 0xEA;
            lop3.b32 d, h, 0x00F000F0, 0x64006400, 0xEA;
            sub.rn.f16x2 a, a, offset;
            fma.rn.f16x2 b, b, sixteenth, small;
            sub.rn.f16x2 c, c, offset;
            fma.rn.f16x2 d, d, sixteenth, small;
            mul.rn.f16x2 $0, a, $5;
            mul.rn.f16x2 $1, b, $5;
            mul.rn.f16x2 $2, c, $5;
            mul.rn.f16x2 $3, d, $5;
            }
            """,
            "=&r,=&r,=&r,=r,r,r",
            [words, scale],
            dtype=(tl.float16, tl.float16, tl.float16, tl.float16),
            is_pure=True,
            pack=2,
        )
    else:
        wide = tl.float32 if _INTERPRETED else dtype
        by = scale.to(tl.float32)
        q0 = (((words & 15).to(tl.float32) - 8.0) * by).to(wide)
        q1 = ((((words >> 4) & 15).to(tl.float32) - 8.0) * by).to(wide)
        q2 = ((((words >> 8) & 15).to(tl.float32) - 8.0) * by).to(wide)
        q3 = ((((words >> 12) & 15).to(tl.float32) - 8.0) * by).to(wide)
    q = tl.join(tl.join(q0, q2), tl.join(q1, q3))
    q = tl.permute(tl.reshape(q, (BLOCK_N, UNITS, _WORDS, 2, 2)), (0, 1, 3, 4, 2))
    return tl.reshape(q, (BLOCK_N, UNITS * 4 * _WORDS))


@triton.jit
def multiply(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start, N: tl.constexpr, K: tl.constexpr,
             FORMAT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
             BLOCK_K: tl.constexpr, STAGES: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    """Return x[rows] @ weight[col_start : col_start + BLOCK_N].T: [BLOCK_M, BLOCK_N] float32.

    x is [*, K]; rows outside row_mask read as zeros. Columns past N are not meaningful.
    """
    return multiply_part(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start, 0, N, K, K, FORMAT,
                         BLOCK_M, BLOCK_N, BLOCK_K, STAGES, FAST)  # fmt: skip


@triton.jit
def multiply_part(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start, begin, N: tl.constexpr,
                  K: tl.constexpr, PART_K: tl.constexpr, FORMAT: tl.constexpr,
                  BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
                  STAGES: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    """`multiply` over the inputs begin .. begin + PART_K - 1 alone."""
    # The weight is the left operand: its rows fill the tensor core's 64, whatever the step's width.
    acc = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
    cols = col_start + tl.arange(0, BLOCK_N)
    col_mask = cols < N
    x_rows = x_ptr + rows[:, None].to(tl.int64) * K
    EXACT: tl.constexpr = PART_K % BLOCK_K == 0  # else BLOCK_K may reach past the part
    if FORMAT == "int8" or FORMAT == "int4":
        UNIT: tl.constexpr = 64 if FORMAT == "int8" else 128
        UNITS: tl.constexpr = BLOCK_K // UNIT
        word = tl.arange(0, UNITS * _WORDS)
        PANEL_WORDS: tl.constexpr = (K + UNIT - 1) // UNIT * _PANEL * _WORDS
        w_rows = w_ptr + (cols // _PANEL).to(tl.int64)[:, None] * PANEL_WORDS
        w_rows += (cols % _PANEL)[:, None] * _WORDS
        w_rows += (word // _WORDS * (_PANEL * _WORDS) + word % _WORDS)[None, :]
        k = tl.arange(0, BLOCK_K)
        x_ptrs = x_rows + k[None, :]
        for start in tl.range(begin, begin + PART_K, BLOCK_K, num_stages=STAGES):
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
            if FORMAT == "int8":
                w = unpack_int8(words, a.dtype, BLOCK_N, UNITS, FAST)
            else:
                pair = start // (2 * UNIT) + tl.arange(0, UNITS // 2)
                pair_mask = col_mask[:, None] & (pair * (2 * UNIT) < K)[None, :]
                scales = tl.load(scale_ptr + pair[None, :] * N + cols[:, None], mask=pair_mask,
                                 other=0)  # fmt: skip
                w = unpack_int4(words, scales, a.dtype, BLOCK_N, UNITS, FAST)
            acc = dot(w, a.T, acc)
    else:
        k = tl.arange(0, BLOCK_K)
        x_ptrs = x_rows + k[None, :]
        w_ptrs = w_ptr + cols.to(tl.int64)[:, None] * K + k[None, :]
        for start in tl.range(begin, begin + PART_K, BLOCK_K, num_stages=STAGES):
            x_mask = row_mask[:, None]
            w_mask = col_mask[:, None]
            if not EXACT:
                x_mask = x_mask & (start + k < begin + PART_K)[None, :]
                w_mask = w_mask & (start + k < begin + PART_K)[None, :]
            a = tl.load(x_ptrs + start, mask=x_mask, other=0.0)
            if EXACT and N % BLOCK_N == 0:
                w = tl.load(w_ptrs + start)
            else:
                w = tl.load(w_ptrs + start, mask=w_mask, other=0.0)
            acc = dot(widen(w, a.dtype), a.T, acc)
    if FORMAT == "int8" or FORMAT == "fp8":
        scale = tl.load(scale_ptr + cols, mask=col_mask, other=0.0)
        acc = acc * scale[:, None]
    return acc.T


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


@triton.jit
def square_sum(x):
    """Return the sum of squares of each row of [M, N] float32 in units of SUM_UNIT: [M] int64."""
    return tl.sum((x * x * (1.0 / _SUM_UNIT)).to(tl.int64), axis=1)


@triton.jit
def inverse_rms(sum_ptr, rows, row_mask, K: tl.constexpr, EPS: tl.constexpr):
    """Return 1 / sqrt(mean of squares + EPS) of each row: [M] float32."""
    total = tl.load(sum_ptr + rows, mask=row_mask, other=0).to(tl.float32)
    return tl.rsqrt(tl.fma(total, _SUM_UNIT / K, EPS))


def square_sum_ref(x: Tensor) -> Tensor:
    """Return the sum of squares of each row of [rows, size] as the kernels keep it: int64."""
    return (x.float().square() / SUM_UNIT).to(torch.int64).sum(-1)


def inverse_rms_ref(square_sum: Tensor, size: int, eps: float) -> Tensor:
    """Return 1 / rms from `square_sum_ref`: [rows, 1] float32."""
    return torch.rsqrt(square_sum.double() * SUM_UNIT / size + eps).float()[:, None]
