"""The products of one row with int4: those of integers, with the bits of `kernels.int4`.

The values of a block of 64 activations are integers of up to 2,047 in one unit, a power of two
(`kernels.blocks`), so the sum of a block is exact, whatever instruction makes it. The other kernels
multiply float16. This one multiplies bytes: wgmma of int8 takes twice the columns at once, and a
field of four bits becomes a byte by one or two instructions where float16 takes two and a half.

A byte of a weight's words holds two columns that are 32 apart: its low field is multiplied with one
tile of activations, its high field with another. The two bytes of a word belong to the two blocks
of a pair (128 columns, which share a scale). So a tile has four rows: the upper parts of the first
block's integers (multiples of 64) and their lower parts, with zeros where the second block has its
bytes, then the second block's.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from tokenspeed.kernels.persistent import sizes
from tokenspeed.kernels.persistent.layouts import FINISH, HALF

# Bytes as products read them, and the tiles among them as a producer writes the row's.
BYTES = gl.constexpr(gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=8, rank=2))
TILE_WORDS = gl.constexpr(gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=3))
UNITS = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [0]))
GROUP_UNITS = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [1, 0]))
# 64 rows of a weight by the 8 rows of a tile of activations.
_SUMS = gl.constexpr(
    gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, 8, 32])
)
_FIELDS = gl.constexpr(gl.DotOperandLayout(0, _SUMS, k_width=4))
# The same sums when the upper and the lower part of each block are added: [64, 4].
_BY_BLOCK = gl.constexpr(
    gl.DistributedLinearLayout(
        reg_bases=[[8, 0]],
        lane_bases=[[0, 1], [0, 2], [1, 0], [2, 0], [4, 0]],
        warp_bases=[[16, 0], [32, 0]],
        block_bases=[],
        shape=[sizes.HALF, 4],
    )
)


@gluon.jit
def signed_fields(both):
    """Return the low and the high field of each byte, as int8 times 16.

    A field is offset by 8. In the upper half of a byte, with its first bit turned over, it is 16
    times the signed value.
    """
    return gl.inline_asm_elementwise(
        """{
        .reg .b32 up;
        shl.b32 up, $2, 4;
        lop3.b32 $0, up, 0xF0F0F0F0, 0x80808080, 0x6A;
        lop3.b32 $1, $2, 0xF0F0F0F0, 0x80808080, 0x6A;
        }""",
        "=&r,=r,r",
        [both],
        dtype=(gl.int8, gl.int8),
        is_pure=True,
        pack=4,
    )


@gluon.jit
def keep(first, second):
    """Let the registers of two operands live on up to here. No instruction.

    (A wait can do so too, but not for bytes.)
    """
    gl.inline_asm_elementwise(
        "// $0 $1 $2", "=r,r,r", [first, second], dtype=gl.int8, is_pure=False, pack=4
    )


@gluon.jit
def start_pair(ring, rows, words, x):
    """Start the products of half a tile with a pair of blocks.

    Returns:
        [64, 8] int32, which is there after a wait, and two operands that have to live until then.
    """
    low, high = signed_fields(ring.data.index(words).load(_FIELDS))
    sums = gl.zeros([HALF, 8], gl.int32, _SUMS)
    sums = warpgroup_mma(low, rows.data.index(x).permute((1, 0)), sums, is_async=True)
    sums = warpgroup_mma(high, rows.data.index(x + 1).permute((1, 0)), sums, is_async=True)
    return sums, low, high


@gluon.jit
def finish_pair(sums, units):
    """Return the sum of a pair of blocks, [64] float32, from their exact ones: one rounding.

    units: [4] float32 in shared memory, those of the blocks divided by 16, and zeros.
    """
    upper, lower = gl.split(gl.reshape(sums, [HALF, 4, 2]))
    by_block = gl.convert_layout(upper * 64 + lower, _BY_BLOCK, assert_trivial=True)
    unit = gl.expand_dims(units.load(gl.SliceLayout(0, _BY_BLOCK)), 0)
    return gl.sum(by_block.to(gl.float32) * unit, 1)


@gluon.jit
def half_of(word):
    """Return the float16 value in the lower half of a word, as float32."""
    return word.to(gl.int16).to(gl.float16, bitcast=True).to(gl.float32)


@gluon.jit
def block_product(ring, rows, turn, K: gl.constexpr, PART: gl.constexpr, PLAN: gl.constexpr):
    """Return half of a tile's next K columns in the ring times the row; see `products.product`."""
    SLOTS: gl.constexpr = PLAN.slots
    ROW_SLOTS: gl.constexpr = PLAN.row_slots
    ROWS: gl.constexpr = gl.SliceLayout(1, _BY_BLOCK)
    acc = gl.zeros([HALF], gl.float32, ROWS)
    for _ in range(K // PLAN.columns):
        slot = turn % SLOTS
        x_slot = turn % ROW_SLOTS
        mbarrier.wait(ring.full.index(slot), turn // SLOTS & 1)
        mbarrier.wait(rows.full.index(x_slot), turn // ROW_SLOTS & 1)
        first, low0, high0 = start_pair(ring, rows, slot * 4 + PART, x_slot * 4)
        second, low1, high1 = start_pair(ring, rows, slot * 4 + 2 + PART, x_slot * 4 + 2)
        scales = ring.scales.index(slot * 2 + PART).load(ROWS)
        first, second = warpgroup_mma_wait(0, deps=[first, second])
        keep(low0, high0)
        keep(low1, high1)
        first = finish_pair(first, rows.units.index(x_slot * 2))
        second = finish_pair(second, rows.units.index(x_slot * 2 + 1))
        mbarrier.arrive(ring.empty.index(slot))
        acc = gl.fma(first, half_of(scales), acc)
        acc = gl.fma(second, half_of(scales >> 16), acc)
        turn += 1
    acc = gl.convert_layout(acc, gl.SliceLayout(1, FINISH))
    return gl.expand_dims(acc, 1).broadcast_to(HALF, PLAN.width), turn


@gluon.jit
def block_integers(halves):
    """Return the integers of blocks of activations and the blocks' units.

    Args:
        halves: [..., 64] int32, the bits of float16 values in the lower half.
    Returns:
        [..., 64] int32 of up to 2047; [...] float32, powers of two.
    """
    # Bits of positive floats have the order of the floats.
    largest = gl.max(halves & 0x7FFF, len(halves.shape) - 1)
    exponent = (half_of(largest).to(gl.int32, bitcast=True) >> 23) - 10
    exponent = gl.maximum(exponent, 127 - 24)
    unit = (exponent << 23).to(gl.float32, bitcast=True)
    inverse = ((254 - exponent) << 23).to(gl.float32, bitcast=True)
    x = half_of(halves)
    # In 1.5 * 2**23 + x the last bit is one: the sum rounds to an integer, to the nearest even.
    rounded = x * gl.expand_dims(inverse, len(halves.shape) - 1) + 12582912.0
    return rounded.to(gl.int32, bitcast=True) - 0x4B400000, unit


@gluon.jit
def store_blocks(ring, group, halves, PIECES: gl.constexpr):
    """Store the tiles of a group of stages, and the units of its blocks.

    Args:
        ring: data [groups, tiles, 8, 32] int16, units [groups, pairs, 4].
        halves: [PIECES, 64] int32, the bits of float16 values.
    """
    COUNT: gl.constexpr = PIECES // 2
    x, unit = block_integers(halves)
    # [pair, block, tile, word]
    x = gl.reshape(x, [COUNT, 2, 2, 32])
    block = gl.arange(0, 2, gl.SliceLayout(0, gl.SliceLayout(2, gl.SliceLayout(3, x.type.layout))))
    place = gl.expand_dims(gl.expand_dims(gl.expand_dims(block, 0), 2), 3) * 8
    parts = gl.join(((x >> 6) & 255) << place, (x & 63) << place)
    # [pair, tile, the four rows twice, block, part, word]: half of a swizzled tile has no layout.
    parts = gl.permute(gl.join(parts, parts), (0, 2, 5, 1, 4, 3))
    ring.data.index(group).store(gl.reshape(parts, [PIECES, 8, 32]).to(gl.int16))
    unit = gl.reshape(unit * 0.0625, [COUNT, 2])
    units = gl.permute(gl.join(unit, unit * 0.0), (0, 2, 1))
    ring.units.index(group).store(gl.reshape(units, [COUNT, 4]))
