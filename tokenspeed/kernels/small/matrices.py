"""What programs do that have rows of qkv, of gate and up, or of down, layer by layer."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels import gate_up
from tokenspeed.kernels.gluon_names import barrier
from tokenspeed.kernels.persistent.layouts import narrow
from tokenspeed.kernels.persistent.tagged import leave_floats, leave_halves
from tokenspeed.kernels.small.arguments import GROUP as _GROUP
from tokenspeed.kernels.small.arguments import HEAD_DIM as _HEAD_DIM
from tokenspeed.kernels.small.arguments import WARPS as _WARPS
from tokenspeed.kernels.small.products import (
    LINE,
    PAIR,
    ROWS,
    M,
    add_out,
    halves_of,
    hidden_before,
    inverse_of,
    load_scales,
    load_tiles,
    multiply_tiles,
    places,
    put_row,
    square_sum,
)
from tokenspeed.kernels.small.words import tag_of, wait_halves

GROUP, HEAD_DIM = gl.constexpr(_GROUP), gl.constexpr(_HEAD_DIM)
HALF_DIM = gl.constexpr(_HEAD_DIM // 2)

gated = gluon.jit(gate_up.gated.fn)


@gluon.jit
def pair_places(unit, PAIRS: gl.constexpr):
    """Return the head of each pair of rows of qkv, and its place in a half of that: [PAIRS]."""
    pair = unit * PAIRS + gl.arange(0, PAIRS, PAIR)
    return pair // HALF_DIM, pair % HALF_DIM


@gluon.jit
def leave_heads(v, unit, work, first, layer, PLAN: gl.constexpr):
    """Rotate rows of qkv, hand them over, and write keys and values to the slot; see `qkv`.

    v: [rows] of this unit, over the rms.
    """
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    ROTATED: gl.constexpr = (GROUP + 1) * KV_HEADS
    dtype: gl.constexpr = work.cache.k.dtype.element_ty
    PAIRS: gl.constexpr = v.shape[0] // 2
    head, at = pair_places(unit, PAIRS)
    position = gl.load(work.places.positions)
    slot = gl.load(work.places.slots).to(gl.int64) + layer * PLAN.slot_count
    angle = position * HALF_DIM + at
    cos = gl.load(work.tables.cos + angle, mask=head < ROTATED, other=1.0)
    sin = gl.load(work.tables.sin + angle, mask=head < ROTATED, other=0.0)
    first_half, second_half = halves_of(v)
    turned = narrow(first_half * cos - second_half * sin, dtype)
    turned_second = narrow(second_half * cos + first_half * sin, dtype)
    place = work.words.heads + (head * HEAD_DIM + at)
    tag = tag_of(first, layer, 1)
    leave_halves(place, turned, tag, at >= 0)
    leave_halves(place + HALF_DIM, turned_second, tag, at >= 0)
    kv_head = (head - GROUP * KV_HEADS) % KV_HEADS
    cache_at = (slot * KV_HEADS + kv_head) * (PLAN.max_length * HEAD_DIM) + position * HEAD_DIM + at
    is_k = (head >= GROUP * KV_HEADS) & (head < ROTATED)
    gl.store(work.cache.k + cache_at, turned, mask=is_k)
    gl.store(work.cache.k + cache_at + HALF_DIM, turned_second, mask=is_k)
    gl.store(work.cache.v + cache_at, turned, mask=head >= ROTATED)
    gl.store(work.cache.v + cache_at + HALF_DIM, turned_second, mask=head >= ROTATED)


@gluon.jit
def gate_layers(program, work, first, memory, PLAN: gl.constexpr):
    """Run this program's tiles of qkv, and of gate and up, of every layer."""
    HIDDEN: gl.constexpr = PLAN.hidden
    INNER: gl.constexpr = PLAN.inner
    QKV: gl.constexpr = (GROUP + 2) * PLAN.kv_heads * HEAD_DIM
    QKV_PARTS: gl.constexpr = PLAN.qkv_parts
    QKV_TILES: gl.constexpr = M // ROWS // QKV_PARTS
    QKV_UNITS: gl.constexpr = HIDDEN // QKV_PARTS // 64
    qkv_units: gl.constexpr = QKV // (QKV_TILES * ROWS)
    PARTS: gl.constexpr = PLAN.gate_parts
    TILES: gl.constexpr = M // ROWS // PARTS
    UNITS: gl.constexpr = HIDDEN // PARTS // 64
    units: gl.constexpr = 2 * INNER // (TILES * ROWS)
    dtype: gl.constexpr = memory.x.dtype
    ACTIVATION: gl.constexpr = PLAN.activation
    channel = places(UNITS, PARTS)
    column = gl.arange(0, TILES * ROWS // 2, PAIR)
    if program < units:
        for layer in range(work.layers):
            # All that does not depend on the row comes before the row.
            qkv = work.matrices.qkv + layer * (QKV * HIDDEN // 2)
            qkv_scales = work.matrices.qkv_scale + layer * QKV
            matrix = work.matrices.gate_up + layer * (INNER * HIDDEN)
            scales = work.matrices.gate_up_scale + layer * (2 * INNER)
            norms = work.tables.norms + (2 * layer * HIDDEN + channel)
            norm = gl.load(norms).to(gl.float32)
            post_norm = gl.load(norms + HIDDEN).to(gl.float32)
            tiles = load_tiles(matrix, program * TILES, HIDDEN, TILES, PARTS)
            scale = load_scales(scales, program * TILES, TILES)
            if program < qkv_units:
                qkv_tiles = load_tiles(qkv, program * QKV_TILES, HIDDEN, QKV_TILES, QKV_PARTS)
                qkv_scale = load_scales(qkv_scales, program * QKV_TILES, QKV_TILES)
                hidden = hidden_before(channel, work, first, layer, PLAN)
                barrier()
                put_row(hidden, norm, memory.x_plain)
                barrier()
                for unit in range(program, qkv_units, PLAN.gate_programs):
                    if unit > program:
                        begin = unit * QKV_TILES
                        qkv_tiles = load_tiles(qkv, begin, HIDDEN, QKV_TILES, QKV_PARTS)
                        qkv_scale = load_scales(qkv_scales, begin, QKV_TILES)
                    v = multiply_tiles(
                        qkv_tiles, qkv_scale, memory, QKV_TILES, QKV_PARTS, QKV_UNITS
                    )
                    v *= inverse_of(square_sum(hidden), QKV_TILES * ROWS, LINE, PLAN)
                    leave_heads(v, unit, work, first, layer, PLAN)
            else:
                hidden = hidden_before(channel, work, first, layer, PLAN)
            hidden = add_out(hidden, channel, work, first, layer, PLAN)
            barrier()
            put_row(hidden, post_norm, memory.x_plain)
            barrier()
            for unit in range(program, units, PLAN.gate_programs):
                if unit > program:
                    tiles = load_tiles(matrix, unit * TILES, HIDDEN, TILES, PARTS)
                    scale = load_scales(scales, unit * TILES, TILES)
                v = multiply_tiles(tiles, scale, memory, TILES, PARTS, UNITS)
                v *= inverse_of(square_sum(hidden), TILES * ROWS, LINE, PLAN)
                gate, up = halves_of(v)
                out = narrow(gated(gate, up, ACTIVATION), dtype)
                at = unit * (TILES * ROWS // 2) + column
                leave_halves(work.words.inner + at, out, tag_of(first, layer, 3), at >= 0)


@gluon.constexpr_function
def inner_units(inner: int, parts: int) -> int:
    """Return how many units of each part of down's row a program asks for.

    Rounded up, so that each thread has eight words or more.
    """
    units = inner // parts // 64
    return max(1 << (units - 1).bit_length(), 32 // parts)


@gluon.constexpr_function
def fours(parts: int) -> gl.BlockedLayout:
    """Return a layout of [units, parts, 64] in which a thread has four neighbours."""
    lanes = min(2, parts)
    warps = parts // lanes
    return gl.BlockedLayout(
        [1, 1, 4], [2 // lanes, lanes, 16], [_WARPS // warps, warps, 1], [2, 1, 0]
    )


@gluon.jit
def inner_places(INNER: gl.constexpr, PARTS: gl.constexpr):
    """Return which column of the MLP belongs to which place of `x_plain`: [units, parts, 64].

    As in `places`. The last unit of a part may come several times.
    """
    FOURS: gl.constexpr = fours(PARTS)
    UNITS: gl.constexpr = INNER // PARTS // 64
    ASKED: gl.constexpr = inner_units(INNER, PARTS)
    u = gl.arange(0, ASKED, gl.SliceLayout(1, gl.SliceLayout(2, FOURS)))
    n = gl.arange(0, PARTS, gl.SliceLayout(0, gl.SliceLayout(2, FOURS)))
    k = gl.arange(0, 64, gl.SliceLayout(0, gl.SliceLayout(1, FOURS)))
    u = gl.minimum(gl.expand_dims(gl.expand_dims(u, 1), 2), UNITS - 1)
    n = gl.expand_dims(gl.expand_dims(n, 0), 2)
    k = gl.expand_dims(gl.expand_dims(k, 0), 1)
    at = (n * UNITS + u) * 64 + ((k // 8) ^ n) * 8 + k % 8
    return gl.max_contiguous(gl.multiple_of(at, [1, 1, 4]), [1, 1, 4])


@gluon.jit
def down_layers(program, work, first, memory, PLAN: gl.constexpr):
    """Run this program's tiles of down of every layer, and leave the hidden states behind it."""
    HIDDEN: gl.constexpr = PLAN.hidden
    INNER: gl.constexpr = PLAN.inner
    PARTS: gl.constexpr = PLAN.down_parts
    TILES: gl.constexpr = M // ROWS // PARTS
    UNITS: gl.constexpr = INNER // PARTS // 64
    ASKED: gl.constexpr = inner_units(INNER, PARTS)
    units: gl.constexpr = HIDDEN // (TILES * ROWS)
    dtype: gl.constexpr = memory.x.dtype
    place = inner_places(INNER, PARTS)
    own = gl.arange(0, TILES * ROWS, LINE)
    if program < units:
        for layer in range(work.layers):
            matrix = work.matrices.down + layer * (HIDDEN * INNER // 2)
            scales = work.matrices.down_scale + layer * HIDDEN
            tiles = load_tiles(matrix, program * TILES, INNER, TILES, PARTS)
            scale = load_scales(scales, program * TILES, TILES)
            tag = place * 0 + tag_of(first, layer, 3)
            for unit in range(program, units, PLAN.down_programs):
                if unit > program:
                    tiles = load_tiles(matrix, unit * TILES, INNER, TILES, PARTS)
                    scale = load_scales(scales, unit * TILES, TILES)
                channel = unit * (TILES * ROWS) + own
                hidden = hidden_before(channel, work, first, layer, PLAN)
                hidden = add_out(hidden, channel, work, first, layer, PLAN)
                if unit == program:
                    inner = wait_halves(work.words.inner + place, tag, dtype, 2)
                    barrier()
                    memory.x_plain.slice(0, ASKED, 0).slice(0, PARTS, 1).store(inner)
                    barrier()
                hidden += multiply_tiles(tiles, scale, memory, TILES, PARTS, UNITS)
                leave_floats(work.words.hidden + channel, hidden, tag_of(first, layer, 4), own >= 0)
