"""Half of a tile times the rows: consumers take weights and activations from the rings."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from tokenspeed.kernels.matrix import UNPACK_INT8
from tokenspeed.kernels.persistent.int4 import block_product
from tokenspeed.kernels.persistent.layouts import HALF


@gluon.jit
def unpack_int8(words):
    """Turn words into the columns of their two fields, float16; see `matrix.unpack_int8`."""
    return gl.inline_asm_elementwise(
        UNPACK_INT8,
        "=r,=r,r",
        [words],
        dtype=(gl.float16, gl.float16),
        is_pure=True,
        pack=2,
    )


@gluon.jit
def side_by_side(left, right, OPERAND: gl.constexpr):
    """Return [64, 64] from two [64, 32]; moves nothing between threads."""
    both = gl.permute(gl.join(left, right), (0, 2, 1))  # [64, 2, 32]
    return gl.convert_layout(gl.reshape(both, [64, 64]), OPERAND)


@gluon.jit
def fields_int8(words, OPERAND: gl.constexpr):
    """Return the 64 columns of a unit, [64, 64] float16."""
    low, high = unpack_int8(words)
    return side_by_side(low, high, OPERAND)


@gluon.jit
def row_scale(scale, layer, half, N: gl.constexpr, PLAN: gl.constexpr):
    """Return int8's scale of each row of half a tile; for other forms, a value that is not used."""
    ACC: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, PLAN.width, 16]
    )
    row = half * HALF + gl.arange(0, HALF, gl.SliceLayout(1, ACC))
    if PLAN.form == "int8":
        return gl.load(scale + layer * N + row, mask=row < N, other=0.0)
    else:
        return row


@gluon.jit
def first_rows(rows, turn, PLAN: gl.constexpr):
    """Wait until the next product has activations: then all matrices before it are finished.

    What finishing a tile needs is loaded after this wait, and arrives during the product.
    """
    mbarrier.wait(rows.full.index(turn % PLAN.row_slots), turn // PLAN.row_slots & 1)


@gluon.jit
def multiply(a, rows, piece, acc):
    """Start to add [64, 64] of a weight times 64 columns of the rows."""
    return warpgroup_mma(a, rows.data.index(piece).permute((1, 0)), acc, is_async=True)


@gluon.jit
def product(ring, rows, scale, turn, K: gl.constexpr, PART: gl.constexpr, PLAN: gl.constexpr):
    """Return half of a tile's next K columns in the ring times the rows, and turn.

    Args:
        scale: of `row_scale`. PART: 0, the lower 64 rows of the tile, or 1.
    Returns:
        [64, width] float32, and the stages since the start.
    """
    if PLAN.exact:
        return block_product(ring, rows, turn, K, PART, PLAN)
    else:
        return float_product(ring, rows, scale, turn, K, PART, PLAN)


@gluon.jit
def float_product(ring, rows, scale, turn, K: gl.constexpr, PART: gl.constexpr, PLAN: gl.constexpr):
    """Return what `product` does, of bf16 or int8."""
    SLOTS: gl.constexpr = PLAN.slots
    ROW_SLOTS: gl.constexpr = PLAN.row_slots
    WIDTH: gl.constexpr = PLAN.width
    ACC: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, WIDTH, 16]
    )
    OPERAND: gl.constexpr = gl.DotOperandLayout(0, ACC, k_width=2)
    acc = gl.zeros([HALF, WIDTH], gl.float32, ACC)
    for s in range(K // PLAN.columns):
        slot = turn % SLOTS
        x_slot = turn % ROW_SLOTS
        mbarrier.wait(ring.full.index(slot), turn // SLOTS & 1)
        mbarrier.wait(rows.full.index(x_slot), turn // ROW_SLOTS & 1)
        if PLAN.form == "bf16":
            b = rows.data.index(x_slot).permute((1, 0))
            acc = warpgroup_mma(ring.data.index(slot * 2 + PART), b, acc, is_async=True)
            # The product before this one has read its stage.
            acc = warpgroup_mma_wait(1, deps=[acc])
            mbarrier.arrive(ring.empty.index(gl.maximum(turn - 1, 0) % SLOTS), pred=s > 0)
        else:
            words0 = ring.data.index(slot * 4 + PART).load(OPERAND)
            words1 = ring.data.index(slot * 4 + 2 + PART).load(OPERAND)
            a0 = fields_int8(words0, OPERAND)
            acc = multiply(a0, rows, x_slot * 2, acc)
            a1 = fields_int8(words1, OPERAND)
            acc = multiply(a1, rows, x_slot * 2 + 1, acc)
            acc = warpgroup_mma_wait(0, deps=[acc, a0, a1])[0]
            mbarrier.arrive(ring.empty.index(slot))
        turn += 1
    if PLAN.form == "bf16":
        acc = warpgroup_mma_wait(0, deps=[acc])
        mbarrier.arrive(ring.empty.index((turn - 1) % SLOTS))
    if PLAN.form == "int8":
        acc = acc * gl.expand_dims(scale, 1)
    return acc, turn
