"""The products of few rows with int4: those of integers, with the bits of `kernels.int4`.

The values of a block of 64 activations are integers of up to 2,047 in one unit, a power of two
(`kernels.blocks`), so the sum of a block is exact, whatever instruction makes it. The other kernels
multiply float16. This one multiplies bytes: wgmma of int8 takes twice the columns at once, and a
field of four bits becomes a byte by one or two instructions where float16 takes two and a half.

A byte of a weight's words holds two columns that are 32 apart: its low field is multiplied with one
tile of activations, its high field with another. The two bytes of a word belong to the two blocks
of a pair (128 columns, which share a scale). So a row takes four of a tile: the upper parts of the
first block's integers (multiples of 64) and their lower parts, with zeros where the second block
has its bytes, then the second block's. A tile has eight at least: those of one row come twice.
"""

from typing import Any

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


@gluon.constexpr_function
def tile_rows(rows: int) -> int:
    """Return how many rows a tile of activations has."""
    return max(8, 4 * rows)


@gluon.constexpr_function
def sums_layout(rows: int) -> Any:
    """Return the layout of 64 rows of a weight by those of a tile of activations."""
    return gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, max(8, 4 * rows), 32]
    )


@gluon.constexpr_function
def block_layout(rows: int) -> Any:
    """Return that of the same when the upper and the lower part of each block are added.

    [64, blocks]: two blocks a row, four at least.
    """
    return gl.DistributedLinearLayout(
        reg_bases=[[8, 0], [0, 4]] if rows == 4 else [[8, 0]],
        lane_bases=[[0, 1], [0, 2], [1, 0], [2, 0], [4, 0]],
        warp_bases=[[16, 0], [32, 0]],
        block_bases=[],
        shape=[sizes.HALF, max(4, 2 * rows)],
    )


@gluon.constexpr_function
def row_layout(rows: int) -> Any:
    """Return that of sums by row, [64, rows], of more rows than one; moves nothing from blocks."""
    return gl.DistributedLinearLayout(
        reg_bases=[[8, 0], [0, 2]] if rows == 4 else [[8, 0]],
        lane_bases=[[0, 0], [0, 1], [1, 0], [2, 0], [4, 0]],
        warp_bases=[[16, 0], [32, 0]],
        block_bases=[],
        shape=[sizes.HALF, rows],
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
def start_pair(ring, rows, words, x, ROWS: gl.constexpr):
    """Start the products of half a tile with a pair of blocks.

    Returns:
        [64, rows of a tile] int32, which is there after a wait, and two operands that have to live
        until then.
    """
    SUMS: gl.constexpr = sums_layout(ROWS)
    FIELDS: gl.constexpr = gl.DotOperandLayout(0, SUMS, k_width=4)
    low, high = signed_fields(ring.data.index(words).load(FIELDS))
    sums = gl.zeros([HALF, tile_rows(ROWS)], gl.int32, SUMS)
    sums = warpgroup_mma(low, rows.data.index(x).permute((1, 0)), sums, is_async=True)
    sums = warpgroup_mma(high, rows.data.index(x + 1).permute((1, 0)), sums, is_async=True)
    return sums, low, high


@gluon.jit
def finish_pair(sums, units, ROWS: gl.constexpr):
    """Return the sums of a pair of blocks from their exact ones: one rounding.

    Args:
        units: [4] float32 in shared memory for one row, those of the blocks divided by 16, and
            zeros; for more two for each row.
    Returns:
        For one row [64] float32, for more [64, rows].
    """
    BLOCKS: gl.constexpr = tile_rows(ROWS) // 2
    L: gl.constexpr = block_layout(ROWS)
    upper, lower = gl.split(gl.reshape(sums, [HALF, BLOCKS, 2]))
    by_block = gl.convert_layout(upper * 64 + lower, L, assert_trivial=True)
    unit = gl.expand_dims(units.load(gl.SliceLayout(0, L)), 0)
    products = by_block.to(gl.float32) * unit
    if ROWS == 1:
        return gl.sum(products, 1)
    else:
        by_row = gl.sum(gl.reshape(products, [HALF, ROWS, 2]), 2)
        return gl.convert_layout(by_row, row_layout(ROWS), assert_trivial=True)


@gluon.jit
def half_of(word):
    """Return the float16 value in the lower half of a word, as float32."""
    return word.to(gl.int16).to(gl.float16, bitcast=True).to(gl.float32)


@gluon.jit
def pair_scales(scales, ROWS: gl.constexpr):
    """Return the words with the scales of two pairs as sums take them, from shared memory."""
    if ROWS == 1:
        return scales.load(gl.SliceLayout(1, block_layout(ROWS)))
    else:
        L: gl.constexpr = row_layout(ROWS)
        words = scales.load(gl.SliceLayout(1, L))
        return gl.expand_dims(words, 1).broadcast_to(HALF, ROWS)


@gluon.jit
def by_column(acc, PLAN: gl.constexpr):
    """Return sums as other products have them, [64, width]; columns without a row repeat others."""
    ROWS: gl.constexpr = PLAN.word_rows
    WIDTH: gl.constexpr = PLAN.width
    if ROWS == 1:
        acc = gl.convert_layout(acc, gl.SliceLayout(1, FINISH))
        return gl.expand_dims(acc, 1).broadcast_to(HALF, WIDTH)
    else:
        for _ in gl.static_range(1 if ROWS == 4 else 2):
            twice = gl.permute(gl.join(acc, acc), (0, 2, 1))
            acc = gl.reshape(twice, [HALF, 2 * acc.shape[1]])
        return gl.convert_layout(acc, FINISH)


@gluon.jit
def block_product(ring, rows, turn, K: gl.constexpr, PART: gl.constexpr, PLAN: gl.constexpr):
    """Return half of a tile's next K columns in the ring times the rows; see `products.product`."""
    SLOTS: gl.constexpr = PLAN.slots
    ROW_SLOTS: gl.constexpr = PLAN.row_slots
    ROWS: gl.constexpr = PLAN.word_rows
    if ROWS == 1:
        acc = gl.zeros([HALF], gl.float32, gl.SliceLayout(1, block_layout(ROWS)))
    else:
        acc = gl.zeros([HALF, ROWS], gl.float32, row_layout(ROWS))
    for _ in range(K // PLAN.columns):
        slot = turn % SLOTS
        x_slot = turn % ROW_SLOTS
        mbarrier.wait(ring.full.index(slot), turn // SLOTS & 1)
        mbarrier.wait(rows.full.index(x_slot), turn // ROW_SLOTS & 1)
        first, low0, high0 = start_pair(ring, rows, slot * 4 + PART, x_slot * 4, ROWS)
        second, low1, high1 = start_pair(ring, rows, slot * 4 + 2 + PART, x_slot * 4 + 2, ROWS)
        scales = pair_scales(ring.scales.index(slot * 2 + PART), ROWS)
        first, second = warpgroup_mma_wait(0, deps=[first, second])
        keep(low0, high0)
        keep(low1, high1)
        first = finish_pair(first, rows.units.index(x_slot * 2), ROWS)
        second = finish_pair(second, rows.units.index(x_slot * 2 + 1), ROWS)
        mbarrier.arrive(ring.empty.index(slot))
        acc = gl.fma(first, half_of(scales), acc)
        acc = gl.fma(second, half_of(scales >> 16), acc)
        turn += 1
    return by_column(acc, PLAN), turn


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
def store_blocks(ring, group, halves, PIECES: gl.constexpr, ROWS: gl.constexpr):
    """Store the tiles of a group of stages, and the units of its blocks.

    Args:
        ring: data [groups, tiles, rows of a tile, 32] int16, units [groups, pairs, 2 * rows], 4 at
            least.
        halves: [PIECES, ROWS * 64] int32, the bits of float16 values.
    """
    COUNT: gl.constexpr = PIECES // 2
    TILE_ROWS: gl.constexpr = tile_rows(ROWS)
    x, unit = block_integers(gl.reshape(halves, [PIECES, ROWS, 64]))
    # [pair, block, row, tile, word]
    x = gl.reshape(x, [COUNT, 2, ROWS, 2, 32])
    L: gl.constexpr = x.type.layout
    block = gl.arange(
        0, 2, gl.SliceLayout(0, gl.SliceLayout(2, gl.SliceLayout(3, gl.SliceLayout(4, L))))
    )
    block = gl.expand_dims(block, 0)
    for _ in gl.static_range(3):
        block = gl.expand_dims(block, len(block.shape))
    place = block * 8
    parts = gl.join(((x >> 6) & 255) << place, (x & 63) << place)
    unit = gl.reshape(unit * 0.0625, [COUNT, 2, ROWS])
    # [pair, tile, row, block, part, word]. Half of a swizzled tile has no layout: one row comes
    # twice, as its units do as zeros.
    parts = gl.permute(parts, (0, 3, 2, 1, 5, 4))
    unit = gl.permute(unit, (0, 2, 1))
    if ROWS == 1:
        parts = gl.permute(gl.join(parts, parts), (0, 1, 6, 2, 3, 4, 5))
        unit = gl.permute(gl.join(unit, unit * 0.0), (0, 3, 1, 2))
    ring.data.index(group).store(gl.reshape(parts, [PIECES, TILE_ROWS, 32]).to(gl.int16))
    ring.units.index(group).store(gl.reshape(unit, [COUNT, TILE_ROWS // 2]))
