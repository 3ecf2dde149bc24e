"""The stored forms of a weight: how each is packed, and how a kernel unpacks it.

Knows one matrix; does not know what it is multiplied with.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import INTERPRETED

GROUP_SIZE = 128  # input columns that share one int4 scale
PANEL = 128  # rows of a quantised weight whose units lie side by side: 8 KiB in one piece
WORDS = 32  # of a unit: words of 16 bits that hold neighbouring columns of a row
BITS = {"int8": 8, "int4": 4}  # of a field of a word

# Constants of the kernels have to be constexpr.
_INTERPRETED = tl.constexpr(INTERPRETED)
_PANEL = tl.constexpr(PANEL)
_WORDS = tl.constexpr(WORDS)
# Instructions for two words at a time; the persistent kernel has the first ones too.
UNPACK_INT8 = tl.constexpr("""{
.reg .b32 a, b, hundreds, offset;
mov.b32 hundreds, 0x64646464;
mov.b32 offset, 0x64806480;
prmt.b32 a, $2, hundreds, 0x4240;
prmt.b32 b, $2, hundreds, 0x4341;
sub.rn.f16x2 $0, a, offset;
sub.rn.f16x2 $1, b, offset;
}
""")
# int4, without scales: the columns of fields 0 and 1, then those of 2 and 3.
UNPACK_FIRST = tl.constexpr("""{
.reg .b32 a, b, offset, sixteenth, small;
mov.b32 offset, 0x64086408;
mov.b32 sixteenth, 0x2C002C00;
mov.b32 small, 0xD480D480;
lop3.b32 a, $2, 0x000F000F, 0x64006400, 0xEA;
lop3.b32 b, $2, 0x00F000F0, 0x64006400, 0xEA;
sub.rn.f16x2 $0, a, offset;
fma.rn.f16x2 $1, b, sixteenth, small;
}
""")
UNPACK_SECOND = tl.constexpr("""{
.reg .b32 a, b, h, offset, sixteenth, small;
mov.b32 offset, 0x64086408;
mov.b32 sixteenth, 0x2C002C00;
mov.b32 small, 0xD480D480;
shr.u32 h, $2, 8;
lop3.b32 a, h, 0x000F000F, 0x64006400, 0xEA;
lop3.b32 b, h, 0x00F000F0, 0x64006400, 0xEA;
sub.rn.f16x2 $0, a, offset;
fma.rn.f16x2 $1, b, sixteenth, small;
}
""")


class MatrixType(NamedTuple):
    """The properties of a matrix that a kernel is compiled for: a constant of the kernel."""

    n: int
    k: int
    format: str  # its layout: "bf16", "tiled", "int8", "int4", "fp8"


class MatrixData(NamedTuple):
    """What a kernel reads of a matrix; see `Matrix`."""

    data: Any
    scale: Any
    bias: Any = None


@dataclass(frozen=True)
class Matrix:
    """A weight [n, k] in its stored form.

    Attributes:
        data: bf16 (or float32) or float8 [n, k]; bf16 also in tiles, [n / 128, k / 64, 128, 64],
            each 16 KiB in one piece; int8 and int4 as int16 words
            [n / 128, k / unit, 128, 32], rounded up, in units of 64 columns (int8) or 128 (int4):
            field i of word j holds column j + 32 * i, plus 128 or 8. So two neighbouring words
            unpack to the pairs of columns that a thread of the tensor core needs.
        scale: [n] float32; int4: [k / 256, n] int32, rounded up, the float16 scales of two groups
            of 128; unused (one element) for floats.
        bias: [n] float32, added to products; None: there is none.
    """

    data: Tensor
    scale: Tensor
    n: int
    k: int
    format: str  # "bf16", "int8", "int4", "fp8"
    bias: Tensor | None = None

    @property
    def type(self) -> MatrixType:
        return MatrixType(self.n, self.k, self.layout)

    @property
    def arrays(self) -> MatrixData:
        return MatrixData(self.data, self.scale, self.bias)

    @property
    def nbytes(self) -> int:
        scale = self.scale.nbytes if self.format != "bf16" else 0
        return self.data.nbytes + scale + (0 if self.bias is None else self.bias.nbytes)

    @property
    def reads_blocks(self) -> bool:
        """Whether its rows have to share exponents; see `blocks`."""
        return self.format == "int4"

    @property
    def layout(self) -> str:
        """How the kernels read it: its format, or "tiled"."""
        return "tiled" if self.format == "bf16" and self.data.dim() == 4 else self.format

    def rows(self, index: Tensor) -> "Matrix":
        """Return the matrix of some rows, in this order.

        Args:
            index: [rows], integer.
        """
        count = len(index)
        assert self.layout != "tiled"
        if self.format in BITS:
            panels, units, _, words = self.data.shape
            rows = self.data.transpose(1, 2).reshape(panels * PANEL, units, words)[index]
            rows = F.pad(rows, (0, 0, 0, 0, 0, -count % PANEL))
            data = rows.view(-1, PANEL, units, words).transpose(1, 2).contiguous()
        else:
            data = self.data[index]
        scale = self.scale[:, index] if self.format == "int4" else self.scale
        scale = self.scale[index] if self.format in ("int8", "fp8") else scale
        bias = None if self.bias is None else self.bias[index]
        return replace(self, data=data, scale=scale.contiguous(), n=count, bias=bias)

    def dequantize(self) -> Tensor:
        """Return the weight as the kernels see it: [n, k] float32."""
        if self.layout == "tiled":
            return self.data.transpose(1, 2).reshape(self.n, self.k).float()
        if self.format == "bf16":
            return self.data.float()
        if self.format == "fp8":
            return self.data.float() * self.scale[:, None]
        bits = BITS[self.format]
        shifts = torch.arange(0, 16, bits, device=self.data.device, dtype=torch.int16)
        fields = self.data[..., None, :] >> shifts[:, None] & 2**bits - 1
        # [n / 128, k / unit, 128, fields, 32]
        q = (fields - 2 ** (bits - 1)).transpose(1, 2).reshape(len(self.data) * PANEL, -1)
        q = q[: self.n, : self.k].float()
        if bits == 8:
            return q * self.scale[:, None]
        # `contiguous` would keep the stride of a dimension of one word.
        words = self.scale.t().clone(memory_format=torch.contiguous_format)
        scale = words.view(torch.float16)[:, : self.k // GROUP_SIZE]
        return (q.view(self.n, -1, GROUP_SIZE) * scale.float()[..., None]).view(self.n, self.k)


def pack_float(weight: Tensor, dtype: torch.dtype = torch.bfloat16) -> Matrix:
    """Store [n, k] as it is."""
    n, k = weight.shape
    unused = torch.zeros(1, device=weight.device)
    return Matrix(weight.to(dtype).contiguous(), unused, n, k, "bf16")


def pack_tiles(weight: Tensor) -> Tensor:
    """Return [n, k] in tiles of 128 by 64: [n / 128, k / 64, 128, 64].

    Raises:
        ValueError: n or k is no multiple.
    """
    n, k = weight.shape
    if n % 128 or k % 64:
        raise ValueError(f"[{n}, {k}] cannot be cut into tiles of 128 by 64")
    return weight.view(n // 128, 128, k // 64, 64).transpose(1, 2).contiguous()


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
    # Two groups to a word, as loads of two bytes cannot be issued ahead.
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


@triton.jit
def add_bias(acc, weight, cols, MATRIX: tl.constexpr):
    """Add the bias of a matrix, where it has one, to products [BLOCK_M, BLOCK_N] of its rows."""
    if weight.bias is not None:
        acc += tl.load(weight.bias + cols, mask=cols < MATRIX.n, other=0.0)[None, :]
    return acc


@triton.jit
def prefetch_weight(
    weight, col_start, MATRIX: tl.constexpr, BLOCK_N: tl.constexpr, BYTES: tl.constexpr
):
    """Prefetch the first BYTES bytes of BLOCK_N rows of the weight into the L2."""
    LINES: tl.constexpr = BYTES // 128
    row = tl.arange(0, BLOCK_N)[:, None]
    line = tl.arange(0, LINES)[None, :]
    if MATRIX.format == "int8" or MATRIX.format == "int4":
        # Rows of a panel are interleaved, so that its head holds the first bytes of all of them.
        UNIT: tl.constexpr = 64 if MATRIX.format == "int8" else 128
        PANEL_WORDS: tl.constexpr = (MATRIX.k + UNIT - 1) // UNIT * _PANEL * _WORDS
        at = ((col_start + row) // _PANEL).to(tl.int64) * PANEL_WORDS
        at += ((row % _PANEL) * LINES + line) * 64
    else:
        PER_LINE: tl.constexpr = 64 if MATRIX.format == "bf16" else 128
        at = (col_start + row).to(tl.int64) * MATRIX.k + line * PER_LINE
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.u32 $0, 0;",
        "=r,l",
        [weight.data + at],
        dtype=tl.int32,
        is_pure=False,
        pack=1,
    )


@triton.jit
def unpack_int8(
    words, dtype: tl.constexpr, BLOCK_N: tl.constexpr, UNITS: tl.constexpr, FAST: tl.constexpr
):
    """Turn words [BLOCK_N, UNITS * 32] into weights [BLOCK_N, UNITS * 64], exactly.

    Fast: 0x64nn is 1024 + nn in float16, so one instruction puts two bytes in place and another
    subtracts. (bf16 has a bit too few for that, and unpacking to it otherwise would take the GPU
    longer than reading the weights.)
    """
    if FAST and dtype == tl.float16:
        low, high = tl.inline_asm_elementwise(
            UNPACK_INT8,
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
def unpack_int4(words, SECOND: tl.constexpr, dtype: tl.constexpr, FAST: tl.constexpr):
    """Turn half of the fields of words [BLOCK_N, 32] into integers [BLOCK_N, 64], without scales.

    SECOND: the unit's columns 64 to 127, else those before them. Fast: the bytes 0x64, 0x0n and
    0x64, 0xn0 are 1024 + n and 1024 + 16 * n in float16.
    """
    if FAST and dtype == tl.float16:
        a, b = tl.inline_asm_elementwise(
            UNPACK_SECOND if SECOND else UNPACK_FIRST,
            "=&r,=r,r",
            [words],
            dtype=(tl.float16, tl.float16),
            is_pure=True,
            pack=2,
        )
    else:
        wide = tl.float32 if _INTERPRETED else dtype
        SHIFT: tl.constexpr = 8 if SECOND else 0
        a = (((words >> SHIFT) & 15).to(tl.float32) - 8.0).to(wide)
        b = (((words >> SHIFT + 4) & 15).to(tl.float32) - 8.0).to(wide)
    return tl.reshape(tl.permute(tl.join(a, b), (0, 2, 1)), (words.shape[0], 2 * _WORDS))
