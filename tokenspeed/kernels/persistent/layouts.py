"""Sizes and layouts as the kernel's functions take them: blocks in shared memory, and registers.

`narrow` and `pairs` are here because every phase ends with them.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels import arithmetic, matrix, norm
from tokenspeed.kernels.persistent import sizes

TILE, HALF = gl.constexpr(sizes.TILE), gl.constexpr(sizes.HALF)
STAGE_BYTES = gl.constexpr(sizes.STAGE_BYTES)
STRIDE, PHASES = gl.constexpr(sizes.COUNTER_STRIDE), gl.constexpr(sizes.PHASES)
ATTENTION, OUT = gl.constexpr(sizes.ATTENTION), gl.constexpr(sizes.OUT)
GATE_UP, DOWN = gl.constexpr(sizes.GATE_UP), gl.constexpr(sizes.DOWN)
EMPTY = gl.constexpr(sizes.EMPTY)
MAX_PEER_POLLS = gl.constexpr(sizes.MAX_PEER_POLLS)
PANEL, SUM_UNIT = gl.constexpr(matrix.PANEL), gl.constexpr(norm.SUM_UNIT)

# Blocks as TMA copies them: a tile's columns of one unit.
FLOAT_BLOCK = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=2)
WORD_BLOCK = gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=3)
SCALE_BLOCK = gl.NVMMASharedLayout(swizzle_byte_width=0, element_bitwidth=32, rank=2)
WORD_BLOCK_SHAPE = [sizes.TILE // matrix.PANEL, matrix.PANEL, 32]
FLOATS, PANELS, SCALES = (gl.constexpr(x) for x in (FLOAT_BLOCK, WORD_BLOCK, SCALE_BLOCK))
# The same memory as a half of the consumers reads it.
HALF_WORDS = gl.constexpr(gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=2))
HALF_SCALES = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [0]))
# How consumers hold the sums of half a tile when they finish it: neighbouring rows of a weight,
# which are rotated or gated together, in one thread.
FINISH = gl.constexpr(gl.BlockedLayout([2, 1], [32, 1], [1, 4], [0, 1]))
PAIRS = gl.constexpr(gl.BlockedLayout([1, 1], [32, 1], [1, 4], [0, 1]))
FINISH_SHARED = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [0, 1]))

tanh = gluon.jit(arithmetic.tanh.fn)  # Gluon compiles the lines of a Triton function as well


@gluon.jit
def pairs(v, WIDTH: gl.constexpr):
    """Return the even and the odd rows of [64, WIDTH]; moves nothing between threads."""
    even, odd = gl.split(gl.permute(gl.reshape(v, [HALF // 2, 2, WIDTH]), (0, 2, 1)))
    return gl.convert_layout(even, PAIRS), gl.convert_layout(odd, PAIRS)


@gluon.jit
def pair_bias(bias, layer, half, N: gl.constexpr):
    """Return the biases of the even and the odd rows of half a tile, [32, 1] each; 0: none.

    bias: [layers, N], or None.
    """
    if bias is None:
        return 0.0, 0.0
    else:
        pair = half * (HALF // 2) + gl.arange(0, HALF // 2, gl.SliceLayout(1, PAIRS))
        at = bias + (layer * N + gl.expand_dims(pair, 1) * 2)
        return gl.load(at), gl.load(at + 1)


@gluon.jit
def narrow(x, dtype: gl.constexpr):
    """Round float32 to dtype, to the nearest; too large for float16 becomes its largest."""
    if dtype == gl.float16:
        # Comparisons keep NaN.
        x = gl.where(x > 65504.0, 65504.0, x)
        x = gl.where(x < -65504.0, -65504.0, x)
    return x.to(dtype)


@gluon.jit
def inverse_rms(total, K: gl.constexpr, EPS: gl.constexpr):
    """Return 1 / rms of each row, float32, from its sum of squares; see `norm.inverse_rms`.

    Apart from the load of the sum: products do not wait for it.
    """
    total = total.to(gl.float32)
    return gl.rsqrt(gl.fma(total, gl.full_like(total, SUM_UNIT / K), gl.full_like(total, EPS)))
