"""Products and roundings that come out the same on every GPU and in Triton's interpreter.

Knows numbers; does not know matrices.
"""

import os

import triton
import triton.language as tl

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

# Constants of the kernels have to be constexpr.
_INTERPRETED = tl.constexpr(INTERPRETED)


@triton.jit
def widen(w, dtype: tl.constexpr):
    """Turn float8 into the dtype of the rows, exactly."""
    return w.to(tl.float32) if _INTERPRETED else w.to(dtype)


@triton.jit
def dot(a, b, acc):
    """tl.dot of bf16 into float32.

    The interpreter's numpy has no bf16; float64 there also hides the order in which BLAS sums.
    """
    if _INTERPRETED:
        wide = tl.dot(a.to(tl.float64), b.to(tl.float64), acc.to(tl.float64), out_dtype=tl.float64)
        return wide.to(tl.float32)
    return tl.dot(a, b, acc)


@triton.jit
def fma(a, b, c):
    """a * b + c of float32, rounded once; the interpreter's own rounds the product, too."""
    if _INTERPRETED:
        return (a.to(tl.float64) * b.to(tl.float64) + c.to(tl.float64)).to(tl.float32)
    return tl.fma(a, b, c)


@triton.jit
def tanh(x):
    """Return the hyperbolic tangent of float32, within some 1e-7."""
    small = tl.exp(-2.0 * tl.abs(x))  # at most 1, whatever x is
    size = (1.0 - small) / (1.0 + small)
    return tl.where(x < 0, -size, size)


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """Round float32 to the nearest in dtype; the interpreter's own cast to bf16 truncates."""
    if _INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.int32, bitcast=True)
        x = (bits + 0x7FFF + ((bits >> 16) & 1)).to(tl.float32, bitcast=True)
    if dtype == tl.float16:
        # Values too large for it become the largest; NaN stays NaN.
        x = tl.clamp(x, -65504.0, 65504.0, propagate_nan=tl.PropagateNan.ALL)
    return x.to(dtype)
