"""Rows whose values share an exponent in blocks of 64 columns, so that sums with int4 are exact.

In such a block all values are integers up to 2,047 times one power of two. Its products with int4
are integers times that power, and so are their sums, below 2**21: exact in float32, in any order
and by any instruction. Whoever writes rows that an int4 matrix reads puts them on these grids.
Knows rows; does not know matrices.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import narrow
from tokenspeed.kernels.launch import Launch, wait_for_inputs

BLOCK = 64  # columns that share an exponent
_BITS = 10  # below the highest bit of the largest value: as many as float16 has
_SMALLEST = 2.0**-24  # unit of the subnormal numbers of float16

# Constants of the kernels have to be constexpr.
_BLOCK = tl.constexpr(BLOCK)
_PART = tl.constexpr(2.0**-_BITS)
_LEAST_UNIT = tl.constexpr(_SMALLEST)
_TO_INTEGERS = tl.constexpr(1.5 * 2.0**23)  # float32 has no fraction from here on, up or down


def share_exponent_ref(x: Tensor) -> Tensor:
    """Plain torch; see `share_exponent`. x is [..., columns], float16."""
    wide = x.double().unflatten(-1, (-1, BLOCK))
    _, exponent = torch.frexp(wide.abs().amax(-1, keepdim=True))  # of a mantissa from 1/2 on
    unit = torch.ldexp(torch.ones_like(wide[..., :1]), exponent - 1 - _BITS).clamp(min=_SMALLEST)
    return ((wide / unit).round() * unit).flatten(-2).to(x.dtype)


def check_blocks(columns: int, what: str) -> None:
    """Refuse columns that blocks do not fill.

    Raises:
        ValueError: says how many there are.
    """
    if columns % BLOCK:
        raise ValueError(f"{what} has {columns} columns, expected whole blocks of {BLOCK}")


@triton.jit
def share_exponent(x):
    """Round float16 [..., N] to the grids of its blocks; N is a multiple of 64.

    The grid is that of the largest value, which stays as it is, so that doing this again changes
    nothing. Ties go to the even neighbour.
    """
    wide = tl.reshape(x.to(tl.float32), (x.numel // _BLOCK, _BLOCK))
    largest = tl.max(tl.abs(wide), axis=1)
    power = (largest.to(tl.int32, bitcast=True) & 0x7F800000).to(tl.float32, bitcast=True)
    unit = tl.maximum(power * _PART, _LEAST_UNIT)
    # A sum with this has no bits below the unit: float32 itself rounds.
    offset = (unit * _TO_INTEGERS)[:, None]
    return tl.reshape((wide + offset) - offset, x.shape).to(x.dtype)


@triton.jit
def narrow_rows(x, dtype: tl.constexpr, IN_BLOCKS: tl.constexpr):
    """Round float32 [..., N] to dtype, and to the grids of its blocks where int4 reads it."""
    x = narrow(x, dtype)
    if IN_BLOCKS:
        x = share_exponent(x)
    return x


@triton.jit
def share_rows_kernel(x_ptr, SIZE: tl.constexpr, PIECE: tl.constexpr, PDL: tl.constexpr):
    wait_for_inputs(PDL)
    row = tl.program_id(0)
    at = tl.program_id(1) * PIECE + tl.arange(0, PIECE)
    x_ptrs = x_ptr + row * SIZE + at
    x = tl.load(x_ptrs, mask=at < SIZE, other=0.0)
    tl.store(x_ptrs, share_exponent(x), mask=at < SIZE)


def share_rows(x: Tensor, *, launch: Launch) -> None:
    """Put rows on the grids of their blocks, in place; what is no row yet may change, too.

    Args:
        x: [rows, columns], float16.
    Raises:
        ValueError: columns is no multiple of a block.
    """
    check_blocks(x.shape[1], "x")
    piece = 1024
    launch.start(
        share_rows_kernel,
        (len(x), triton.cdiv(x.shape[1], piece)),
        x,
        SIZE=x.shape[1],
        PIECE=piece,
        PDL=launch.pdl,
        num_warps=4,
    )
