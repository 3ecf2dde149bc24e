"""The row of a step of one row, as attention needs it: its queries, its key and its value.

Attention adds up the parts of qkv itself. A phase between the two, which adds up, rotates and hands
over, would cost two microseconds a layer: it would be the eight programs that attend who wait.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels.gluon_names import barrier
from tokenspeed.kernels.persistent.arguments import Extras
from tokenspeed.kernels.persistent.grid import bound
from tokenspeed.kernels.persistent.layouts import HALF, TILE, inverse_rms, narrow
from tokenspeed.kernels.persistent.tagged import (
    ask,
    ask_squares,
    floats_of,
    tag_of,
    total_squares,
    words_absent,
)

# [heads, pairs of a head, 2]: neighbouring rows of qkv's weight are rotated together. No two
# threads have the same word: one could find it absent and the other not, and part in a loop.
_WORDS = gl.constexpr(gl.BlockedLayout([1, 1, 2], [1, 32, 1], [4, 1, 1], [2, 1, 0]))
_PAIRS = gl.constexpr(gl.SliceLayout(2, _WORDS))


@gluon.jit
def head_rows(head, PLAN: gl.constexpr):
    """Return the first row of qkv's weight of each pair of heads: [heads, pairs]."""
    pair = gl.arange(0, PLAN.head_dim // 2, gl.SliceLayout(0, _PAIRS))
    return gl.expand_dims(head, 1) * PLAN.head_dim + gl.expand_dims(pair, 0) * 2


@gluon.jit
def head_words(work, head, PLAN: gl.constexpr):
    """Return where the first parts of heads lie: [heads, pairs, 2].

    head: [heads], numbered as qkv has them.
    """
    row = head_rows(head, PLAN)
    tile = row // TILE * (2 * PLAN.qkv_parts) + row // HALF % 2
    which = gl.arange(0, 2, gl.SliceLayout(0, gl.SliceLayout(1, _WORDS)))
    at = gl.expand_dims(tile * HALF + row % HALF, 2)
    return work.words.parts + at + gl.expand_dims(gl.expand_dims(which, 0), 1)


@gluon.jit
def ask_sum(pointers, mask, tag, PARTS: gl.constexpr):
    """Ask for all parts of heads once; return their sum in order, and whether one is missing."""
    words = ask(pointers, mask)
    absent = words_absent(words, tag, mask)
    v = floats_of(words)
    for i in gl.static_range(1, PARTS):
        words = ask(pointers + i * (2 * HALF), mask)
        absent = absent | words_absent(words, tag, mask)
        v += floats_of(words)
    SIZE: gl.constexpr = absent.shape[0] * absent.shape[1] * absent.shape[2]
    return v, gl.max(gl.reshape(absent, [SIZE]), 0)


@gluon.jit
def head_extras(head, work, layer, PLAN: gl.constexpr):
    """Return what other families need besides, loaded while the parts are on their way."""
    first_angle = 0
    if PLAN.ropes > 1:
        first_angle = gl.load(work.family.ropes + layer) * (PLAN.max_length * PLAN.head_dim // 2)
    bias, norm = (0.0, 0.0), (1.0, 1.0)
    if work.family.qkv_bias is not None:
        at = work.family.qkv_bias + (layer * PLAN.qkv + head_rows(head, PLAN))
        bias = (gl.load(at), gl.load(at + 1))
    if PLAN.head_norm != "":
        NORMED: gl.constexpr = PLAN.heads + PLAN.kv_heads
        pair = gl.arange(0, PLAN.head_dim // 2, gl.SliceLayout(0, _PAIRS))
        column = gl.expand_dims(head, 1) * PLAN.head_dim + gl.expand_dims(pair, 0)
        at = work.family.head_norms + (layer * NORMED * PLAN.head_dim + column)
        is_normed = column < NORMED * PLAN.head_dim
        norm = (
            gl.load(at, mask=is_normed, other=1.0),
            gl.load(at + PLAN.head_dim // 2, mask=is_normed, other=1.0),
        )
    return Extras(first_angle, bias, norm)


@gluon.jit
def head_norms(first, second, is_v, norm, PLAN: gl.constexpr):
    """Return what the norm of heads multiplies each pair by; the order of sums is `head_norm`'s."""
    squares = first * first + second * second
    if PLAN.head_dim == 128:  # a thread there has neighbours, and adds these first
        neighbours = gl.reshape(squares, [squares.shape[0], PLAN.head_dim // 4, 2])
        total = gl.convert_layout(gl.sum(gl.sum(neighbours, 2), 1), gl.SliceLayout(1, _PAIRS))
    else:
        total = gl.sum(squares, 1)
    inverse = gl.expand_dims(gl.rsqrt(total / PLAN.head_dim + PLAN.eps), 1)
    inverse = gl.where(is_v, 1.0, inverse)
    return norm[0] * inverse, norm[1] * inverse


@gluon.jit
def turn(v, is_v, position, extras, total, work, dtype: gl.constexpr, PLAN: gl.constexpr):
    """Return heads [heads, head_dim], normed, and rotated but for values.

    extras: of `head_extras`. total: of the squares of the hidden states.
    """
    HALF_DIM: gl.constexpr = PLAN.head_dim // 2
    total = gl.full([HALF_DIM], total, gl.int64, gl.SliceLayout(0, _PAIRS))
    inverse = gl.expand_dims(inverse_rms(total, PLAN.hidden, PLAN.eps), 0)
    first, second = gl.split(v)
    first = gl.convert_layout(first, _PAIRS) * inverse
    second = gl.convert_layout(second, _PAIRS) * inverse
    if work.family.qkv_bias is not None:
        first += extras.bias[0]
        second += extras.bias[1]
    if PLAN.head_norm != "":
        norm, norm_second = head_norms(first, second, is_v, extras.norm, PLAN)
    if PLAN.head_norm == "before":
        first *= norm
        second *= norm_second
    at = position * HALF_DIM + gl.expand_dims(gl.arange(0, HALF_DIM, gl.SliceLayout(0, _PAIRS)), 0)
    if PLAN.ropes > 1:
        at += extras.first_angle
    rotates = (is_v == 0) & (at >= 0)
    cos = gl.load(work.tables.cos + at + is_v.to(gl.int32) * 0, mask=rotates, other=1.0)
    sin = gl.load(work.tables.sin + at + is_v.to(gl.int32) * 0, mask=rotates, other=0.0)
    turned = first * cos - second * sin
    if PLAN.head_norm == "after":
        turned *= norm
    turned = narrow(turned, dtype)
    turned_second = second * cos + first * sin
    if PLAN.head_norm == "after":
        turned_second *= norm_second
    turned_second = narrow(turned_second, dtype)
    halves = gl.permute(gl.join(turned, turned_second), (0, 2, 1))
    return gl.reshape(halves, [v.shape[0], PLAN.head_dim])


@gluon.jit
def pick(heads, number, L: gl.constexpr):
    """Return one of some heads, [head_dim] in layout L."""
    H: gl.constexpr = heads.type.layout
    bits = heads.to(gl.int16, bitcast=True)
    row = gl.expand_dims(gl.arange(0, heads.shape[0], gl.SliceLayout(1, H)), 1)
    picked = gl.sum(gl.where(row == number, bits, 0).to(gl.int32), 0)
    return gl.convert_layout(picked.to(gl.int16), L).to(heads.dtype, bitcast=True)


@gluon.jit
def own_row(kv_head, position, k_ptr, v_ptr, memory, work, own, layer, Q: gl.constexpr,
            NEW: gl.constexpr, PLAN: gl.constexpr):  # fmt: skip
    """Wait for the heads of a kv head; write its key and value to the slot, and return all three.

    Args:
        k_ptr, v_ptr: of the slot's head, from position 0.
        memory: shared memory for 32 heads; all warps have read what it held.
        Q, NEW: layouts of [16, head_dim] and [head_dim].
    Returns:
        The queries, of which those behind the group's mean nothing; the key and the value.
    """
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    GROUP: gl.constexpr = PLAN.heads // KV_HEADS
    ROWS: gl.constexpr = PLAN.group_rows
    dtype: gl.constexpr = work.buffers.q.dtype.element_ty
    tag = tag_of(own.first_tag, layer, 1)
    squares = ask_squares(work, PLAN)
    m = gl.arange(0, ROWS, gl.SliceLayout(1, _PAIRS))
    key = PLAN.heads + kv_head
    head = gl.where(m < GROUP, kv_head * GROUP + m, key + (m - GROUP) * KV_HEADS)
    exists = m < GROUP + 2
    head = gl.where(exists, head, 0)
    words = head_words(work, head, PLAN)
    extras = head_extras(head, work, layer, PLAN)
    mask = gl.expand_dims(gl.expand_dims(exists, 1), 2)
    v, missing = ask_sum(words, mask, tag, PLAN.qkv_parts)
    polls = gl.to_tensor(0)
    while missing > 0:
        v, missing = ask_sum(words, mask, tag, PLAN.qkv_parts)
        polls += 1
        bound(polls)
    total = total_squares(squares, work, own.first_tag + 3 * layer, PLAN)
    is_v = gl.expand_dims(m == GROUP + 1, 1)
    heads = turn(v, is_v, position, extras, total, work, dtype, PLAN)
    memory.slice(0, ROWS).store(heads)
    k = pick(heads, GROUP, NEW)
    v = pick(heads, GROUP + 1, NEW)
    d = gl.arange(0, PLAN.head_dim, NEW)
    gl.store(k_ptr + (position * PLAN.head_dim + d), k)
    gl.store(v_ptr + (position * PLAN.head_dim + d), v)
    barrier()
    return memory.slice(0, 16).load(Q), k, v
