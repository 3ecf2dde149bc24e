"""The weight-times-rows tile that all matrix kernels share, and the stored forms of a weight.

A row's dot products run over K in ascending order in one accumulator, by the same tensor-core
instruction whatever the tile's width, so a row's result does not depend on the number of rows. A
matrix may be cut along K into fixed parts: each has its accumulator, and they are added in order,
by one program or, in short steps, by the last of several. No sum that could depend on a tile's
layout is ever taken in floating point.
Knows matrices; does not know layers.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
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
_HALF_GROUP = tl.constexpr(GROUP_SIZE // 2)
_GROUP = tl.constexpr(GROUP_SIZE)
_ROWS_PER_PANEL = 16  # rows whose int4 groups lie side by side: 1 KiB read in one piece
_PANEL = tl.constexpr(_ROWS_PER_PANEL)


@dataclass(frozen=True)
class Matrix:
    """A weight [n, k] in its stored form.

    Attributes:
        data: bf16 (or float32) [n, k]; int8 or float8 [n, k]; int4 as uint8
            [n / 16, k / 128, 16, 64], where byte j of a group holds columns j (low nibble) and
            j + 64, each plus 8.
        scale: [n] float32; int4: [k / 128, n] float16; unused (one element) for floats.
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
        if self.format != "int4":
            return self.data.float() * self.scale[:, None]
        low, high = (self.data & 15).short() - 8, (self.data >> 4).short() - 8
        q = torch.cat((low, high), dim=-1)  # [n / 16, k / 128, 16, 128]
        q = q.transpose(1, 2).reshape(-1, self.k // GROUP_SIZE, GROUP_SIZE)[: self.n]
        return (q.float() * self.scale.float().t()[:, :, None]).reshape(self.n, self.k)


def pack_float(weight: Tensor, dtype: torch.dtype = torch.bfloat16) -> Matrix:
    """Store [n, k] as it is."""
    n, k = weight.shape
    unused = torch.zeros(1, device=weight.device)
    return Matrix(weight.to(dtype).contiguous(), unused, n, k, "bf16")


def pack_channels(q: Tensor, scale: Tensor) -> Matrix:
    """Store int8 or float8 q [n, k] with one scale for each row, [n, 1]."""
    n, k = q.shape
    form = "int8" if q.dtype == torch.int8 else "fp8"
    return Matrix(q.contiguous(), scale.float().reshape(n).contiguous(), n, k, form)


def pack_int4(q: Tensor, scale: Tensor) -> Matrix:
    """Shuffle int4 values so that a kernel unpacks them by shift and mask.

    Args:
        q: [n, k] int8 in -8..7.
        scale: [n, k / 128].
    Raises:
        ValueError: k is not a multiple of 128.
    """
    n, k = q.shape
    if k % GROUP_SIZE:
        raise ValueError(f"int4 needs input columns in groups of {GROUP_SIZE}, got {k}")
    panels = -(-n // _ROWS_PER_PANEL)
    padded = q.new_zeros(panels * _ROWS_PER_PANEL, k)
    padded[:n] = q
    groups = padded.view(panels, _ROWS_PER_PANEL, k // GROUP_SIZE, GROUP_SIZE).transpose(1, 2)
    nibbles = (groups + 8).to(torch.uint8)  # [panels, k / 128, 16, 128]
    half = GROUP_SIZE // 2
    data = nibbles[..., :half] | (nibbles[..., half:] << 4)
    return Matrix(data.contiguous(), scale.half().t().contiguous(), n, k, "int4")


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
        fast_unpack: unpack int4 by PTX (NVIDIA alone).
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
    unit = GROUP_SIZE if weight.format == "int4" else 16  # of one tensor-core instruction
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
def widen(w, dtype: tl.constexpr, FAST: tl.constexpr):
    """Turn int8 or float8 into the dtype of the rows, exactly.

    Fast: 0x4300 + 7 low bits is 128 + those, 0x4300 + the sign bit is 128 or 256; their difference
    is the value. The GPU's own conversion of integers, 16 a cycle, is slower than its memory.
    """
    if _INTERPRETED:
        return w.to(tl.float32)
    if FAST and w.dtype == tl.int8 and dtype == tl.bfloat16:
        return tl.inline_asm_elementwise(
            """
            {
            .reg .b32 a, b, c, d, one;
            mov.b32 one, 0x3F803F80;
            prmt.b32 a, $2, 0, 0x4140;
            prmt.b32 b, $2, 0, 0x4342;
            lop3.b32 c, a, 0x00800080, 0xC300C300, 0xEA;
            lop3.b32 d, b, 0x00800080, 0xC300C300, 0xEA;
            lop3.b32 a, a, 0x007F007F, 0x43004300, 0xEA;
            lop3.b32 b, b, 0x007F007F, 0x43004300, 0xEA;
            fma.rn.bf16x2 $0, a, one, c;
            fma.rn.bf16x2 $1, b, one, d;
            }
            """,
            "=r,=r,r",
            [w],
            dtype=tl.bfloat16,
            is_pure=True,
            pack=4,
        )
    return w.to(dtype)


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
    return x.to(dtype)


@triton.jit
def prefetch_weight(w_ptr, col_start, N: tl.constexpr, K: tl.constexpr, FORMAT: tl.constexpr,
                    BLOCK_N: tl.constexpr, BYTES: tl.constexpr):  # fmt: skip
    """Ask the L2 for the first BYTES bytes of BLOCK_N rows of the weight."""
    LINES: tl.constexpr = BYTES // 128
    row = tl.arange(0, BLOCK_N)[:, None]
    line = tl.arange(0, LINES)[None, :]
    # Elements of a line of 128 bytes; rows of an int4 panel are interleaved, so that its head
    # holds the first bytes of all of them.
    PER_LINE: tl.constexpr = 64 if FORMAT == "bf16" else 128
    PANEL_BYTES: tl.constexpr = K // _GROUP * _PANEL * _HALF_GROUP
    if FORMAT == "int4":
        at = (col_start + row) // _PANEL * PANEL_BYTES + ((row % _PANEL) * LINES + line) * PER_LINE
    else:
        at = (col_start + row).to(tl.int64) * K + line * PER_LINE
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.u32 $0, 0;",
        "=r,l",
        [w_ptr + at + tl.zeros((BLOCK_N, LINES), tl.int32)],
        dtype=tl.int32,
        is_pure=False,
        pack=1,
    )


@triton.jit
def unpack_int4(packed, FAST: tl.constexpr):
    """Turn bytes into the bf16 values of their low and their high nibbles, -8..7.

    Fast: 0x43nn is 128 + nn in bf16, so an `and` and a subtraction make a pair of values.
    """
    if FAST:
        low, high = tl.inline_asm_elementwise(
            """
            {
            .reg .b32 a, b, c, d, one, minus;
            mov.b32 one, 0x3F803F80;
            mov.b32 minus, 0xC308C308;
            prmt.b32 a, $4, 0, 0x4140;
            prmt.b32 b, $4, 0, 0x4342;
            shr.u32 c, a, 4;
            shr.u32 d, b, 4;
            lop3.b32 a, a, 0x000F000F, 0x43004300, 0xEA;
            lop3.b32 b, b, 0x000F000F, 0x43004300, 0xEA;
            lop3.b32 c, c, 0x000F000F, 0x43004300, 0xEA;
            lop3.b32 d, d, 0x000F000F, 0x43004300, 0xEA;
            fma.rn.bf16x2 $0, a, one, minus;
            fma.rn.bf16x2 $1, b, one, minus;
            fma.rn.bf16x2 $2, c, one, minus;
            fma.rn.bf16x2 $3, d, one, minus;
            }
            """,
            "=r,=r,=r,=r,r",
            [packed],
            dtype=(tl.bfloat16, tl.bfloat16),
            is_pure=True,
            pack=4,
        )
    else:
        low = ((packed & 15).to(tl.float32) - 8.0).to(tl.bfloat16)
        high = ((packed >> 4).to(tl.float32) - 8.0).to(tl.bfloat16)
    return low, high


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
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    cols = col_start + tl.arange(0, BLOCK_N)
    col_mask = cols < N
    x_rows = x_ptr + rows[:, None].to(tl.int64) * K
    if FORMAT == "int4":
        half = tl.arange(0, _HALF_GROUP)
        w_rows = w_ptr + (cols // _PANEL).to(tl.int64)[:, None] * (K * _PANEL // 2)
        w_rows += (cols % _PANEL)[:, None] * _HALF_GROUP + half[None, :]
        x_low = x_rows + half[None, :]
        for start in tl.range(begin, begin + PART_K, BLOCK_K, num_stages=STAGES):
            for at in tl.static_range(0, BLOCK_K, _GROUP):
                group = start + at
                # BLOCK_K may reach past the part by whole groups.
                x_mask = row_mask[:, None] & (group + half < begin + PART_K)[None, :]
                a_low = tl.load(x_low + group, mask=x_mask, other=0.0)
                a_high = tl.load(x_low + group + _HALF_GROUP, mask=x_mask, other=0.0)
                # A group of a panel holds _PANEL * _HALF_GROUP bytes for _GROUP columns.
                w_mask = col_mask[:, None] & (group + half < begin + PART_K)[None, :]
                packed = tl.load(w_rows + group * (_PANEL // 2), mask=w_mask, other=0)
                number = tl.minimum(group, K - _GROUP) // _GROUP
                scale = tl.load(scale_ptr + number * N + cols, mask=col_mask, other=0.0)
                low, high = unpack_int4(packed, FAST)
                part = dot(a_low, low.T, tl.zeros((BLOCK_M, BLOCK_N), tl.float32))
                part = dot(a_high, high.T, part)
                acc = tl.fma(part, tl.broadcast_to(scale.to(tl.float32)[None, :], part.shape), acc)
    else:
        k = tl.arange(0, BLOCK_K)
        x_ptrs = x_rows + k[None, :]
        w_ptrs = w_ptr + cols.to(tl.int64)[:, None] * K + k[None, :]
        for start in tl.range(begin, begin + PART_K, BLOCK_K, num_stages=STAGES):
            if PART_K % BLOCK_K == 0:
                x_mask = row_mask[:, None]
                w_mask = col_mask[:, None]
            else:
                x_mask = row_mask[:, None] & (start + k < begin + PART_K)[None, :]
                w_mask = col_mask[:, None] & (start + k < begin + PART_K)[None, :]
            a = tl.load(x_ptrs + start, mask=x_mask, other=0.0)
            if N % BLOCK_N == 0 and PART_K % BLOCK_K == 0:
                w = tl.load(w_ptrs + start)
            else:
                w = tl.load(w_ptrs + start, mask=w_mask, other=0.0)
            acc = dot(a, widen(w, a.dtype, FAST).T, acc)
        if FORMAT != "bf16":
            scale = tl.load(scale_ptr + cols, mask=col_mask, other=0.0)
            acc = acc * scale[None, :]
    return acc


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
