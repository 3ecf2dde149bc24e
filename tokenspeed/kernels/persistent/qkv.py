"""The phase of qkv: rotated queries, and keys and values in their slots.

In a step of few rows it ends with its parts: attention adds them up (`own_rows`).
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels.persistent.grid import arrive, share
from tokenspeed.kernels.persistent.layouts import (
    HALF,
    PAIRS,
    TILE,
    inverse_rms,
    narrow,
    pair_bias,
    pairs,
)
from tokenspeed.kernels.persistent.parts import add_parts, leave_part, rows_to_finish
from tokenspeed.kernels.persistent.products import first_rows, product, row_scale
from tokenspeed.kernels.persistent.tagged import tag_of


@gluon.jit
def qkv_operands(half, work, own, layer, num_rows, PLAN: gl.constexpr):
    """Return the rows' sums of squares, the cosines and sines of each pair, and biases."""
    HALF_DIM: gl.constexpr = PLAN.head_dim // 2
    pair = half * (HALF // 2) + gl.arange(0, HALF // 2, gl.SliceLayout(1, PAIRS))
    n = gl.arange(0, PLAN.width, gl.SliceLayout(0, PAIRS))
    row_mask = n < num_rows
    at = work.residual.sums + 2 * layer * work.max_rows + n
    sums = gl.load(at, mask=row_mask, other=0, cache_modifier=".cg")
    head = gl.expand_dims(pair // HALF_DIM, 1)
    angle = gl.expand_dims(own.positions, 0) * HALF_DIM + gl.expand_dims(pair % HALF_DIM, 1)
    if PLAN.ropes > 1:
        angle += gl.load(work.family.ropes + layer) * (PLAN.max_length * HALF_DIM)
    rotates = gl.expand_dims(row_mask, 0) & (head < PLAN.heads + PLAN.kv_heads)
    cos = gl.load(work.tables.cos + angle, mask=rotates, other=1.0)
    sin = gl.load(work.tables.sin + angle, mask=rotates, other=0.0)
    return sums, cos, sin, pair_bias(work.family.qkv_bias, layer, half, PLAN.qkv)


@gluon.jit
def finish_qkv(v, operands, half, work, own, layer, PLAN: gl.constexpr):
    """Rotate q and k, keep q, write k and v to their slots."""
    sums, cos, sin, bias = operands
    HEADS: gl.constexpr = PLAN.heads
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    HEAD_DIM: gl.constexpr = PLAN.head_dim
    HALF_DIM: gl.constexpr = HEAD_DIM // 2
    first, second = pairs(v, PLAN.width)
    inverse = inverse_rms(sums, PLAN.hidden, PLAN.eps)
    pair = half * (HALF // 2) + gl.arange(0, HALF // 2, gl.SliceLayout(1, PAIRS))
    n = gl.arange(0, PLAN.width, gl.SliceLayout(0, PAIRS))
    row_mask = n < own.num_rows
    head = gl.expand_dims(pair // HALF_DIM, 1)
    at = gl.expand_dims(pair % HALF_DIM, 1)
    mask = gl.expand_dims(row_mask, 0) & (head >= 0)
    rotates = mask & (head < HEADS + KV_HEADS)
    first = first * gl.expand_dims(inverse, 0)
    second = second * gl.expand_dims(inverse, 0)
    if work.family.qkv_bias is not None:
        first += bias[0]
        second += bias[1]
    q_ptr = work.buffers.q
    dtype: gl.constexpr = q_ptr.dtype.element_ty
    turned = narrow(first * cos - second * sin, dtype)
    turned_second = narrow(second * cos + first * sin, dtype)
    is_q = mask & (head < HEADS)
    q_at = gl.expand_dims(n, 0) * (HEADS * HEAD_DIM) + (head * HEAD_DIM + at)
    gl.store(q_ptr + q_at, turned, mask=is_q)
    gl.store(q_ptr + q_at + HALF_DIM, turned_second, mask=is_q)
    is_k = rotates & (head >= HEADS)
    is_v = mask & (head >= HEADS + KV_HEADS)
    kv_head = (head + (2 * KV_HEADS - HEADS % KV_HEADS)) % KV_HEADS
    # int64: a cache of many long slots holds more than 2**31 elements.
    slot_at = (own.slots + gl.to_tensor(layer).to(gl.int64) * PLAN.slot_count) * (
        KV_HEADS * PLAN.max_length * HEAD_DIM
    ) + own.positions * HEAD_DIM
    cache_at = gl.expand_dims(slot_at, 0) + (kv_head * (PLAN.max_length * HEAD_DIM) + at)
    k_ptr, v_ptr = work.cache
    gl.store(k_ptr + cache_at, turned, mask=is_k)
    gl.store(k_ptr + cache_at + HALF_DIM, turned_second, mask=is_k)
    gl.store(v_ptr + cache_at, turned, mask=is_v)
    gl.store(v_ptr + cache_at + HALF_DIM, turned_second, mask=is_v)


@gluon.jit
def project_qkv(
    ring, rows, scale_ptr, work, own, layer, done, turn, offset, PART: gl.constexpr,
    PLAN: gl.constexpr,
):  # fmt: skip
    """Multiply and finish this program's tiles; return `turn` and `offset` behind them."""
    PARTS: gl.constexpr = PLAN.qkv_parts
    units = PLAN.qkv // TILE * PARTS
    first, offset = share(units, offset)
    for unit in range(first, units, own.grid):
        half = unit // PARTS * 2 + PART
        scale = row_scale(scale_ptr, layer, half, PLAN.qkv, PLAN)
        if PLAN.word_rows > 0:
            acc, turn = product(ring, rows, scale, turn, PLAN.hidden // PARTS, PART, PLAN)
            tag = tag_of(own.first_tag, layer, 1)
            leave_part(acc, unit * 2 + PART, work.words.parts, tag, PLAN)
        else:
            first_rows(rows, turn, PLAN)
            mine = rows_to_finish(unit, own.num_rows, PARTS)
            operands = qkv_operands(half, work, own, layer, mine, PLAN)
            acc, turn = product(ring, rows, scale, turn, PLAN.hidden // PARTS, PART, PLAN)
            v, has_sum = add_parts(acc, unit, work, own, 0, 0, PARTS, PART, PLAN)
            if has_sum:
                finish_qkv(v, operands, half, work, own, layer, PLAN)
                arrive(done, 1)
    return turn, offset
