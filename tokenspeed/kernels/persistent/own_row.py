"""The row of a step of one row, as attention needs it: its queries, its key and its value.

Attention adds up the parts of qkv itself. A phase between the two, which adds up, rotates and hands
over, would cost two microseconds a layer: it would be the eight programs that attend who wait.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels.gluon_names import barrier
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

# [heads, pairs of a head, 2]: neighbouring rows of qkv's weight are rotated together. Each warp has
# query heads of its own; the key and the value, which are parted later, are in one thread.
_QUERIES = gl.constexpr(gl.BlockedLayout([1, 1, 2], [1, 32, 1], [4, 1, 1], [2, 1, 0]))
_KEY_VALUE = gl.constexpr(gl.BlockedLayout([2, 1, 2], [1, 32, 1], [1, 4, 1], [2, 1, 0]))


@gluon.jit
def head_words(work, head, L: gl.constexpr, PLAN: gl.constexpr):
    """Return where the first parts of heads lie: [heads, pairs, 2], in layout L.

    head: [heads], numbered as qkv has them.
    """
    pair = gl.arange(0, PLAN.head_dim // 2, gl.SliceLayout(0, gl.SliceLayout(2, L)))
    row = gl.expand_dims(head, 1) * PLAN.head_dim + gl.expand_dims(pair, 0) * 2
    tile = row // TILE * (2 * PLAN.qkv_parts) + row // HALF % 2
    which = gl.arange(0, 2, gl.SliceLayout(0, gl.SliceLayout(1, L)))
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
def angles(position, work, L: gl.constexpr, PLAN: gl.constexpr):
    """Return the cosines and sines of a position, [1, pairs]."""
    HALF_DIM: gl.constexpr = PLAN.head_dim // 2
    at = position * HALF_DIM + gl.expand_dims(gl.arange(0, HALF_DIM, gl.SliceLayout(0, L)), 0)
    return gl.load(work.tables.cos + at), gl.load(work.tables.sin + at)


@gluon.jit
def turn(first, second, total, cos, sin, dtype: gl.constexpr, PLAN: gl.constexpr):
    """Return the halves of heads, [heads, pairs], normed and rotated.

    total: of the squares of the hidden states.
    """
    L: gl.constexpr = first.type.layout
    total = gl.full([PLAN.head_dim // 2], total, gl.int64, gl.SliceLayout(0, L))
    inverse = gl.expand_dims(inverse_rms(total, PLAN.hidden, PLAN.eps), 0)
    first = first * inverse
    second = second * inverse
    return narrow(first * cos - second * sin, dtype), narrow(second * cos + first * sin, dtype)


@gluon.jit
def own_row(kv_head, position, k_ptr, v_ptr, memory, work, own, layer, Q: gl.constexpr,
            NEW: gl.constexpr, PLAN: gl.constexpr):  # fmt: skip
    """Wait for the heads of a kv head; write its key and value to the slot, and return all three.

    Args:
        k_ptr, v_ptr: of the slot's head, from position 0.
        memory: shared memory for the queries, [16, head_dim]; all warps have read what it held.
        Q, NEW: layouts of [16, head_dim] and [head_dim].
    Returns:
        The queries, of which those behind the group's are copies; the key and the value.
    """
    HEADS: gl.constexpr = PLAN.heads
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    HEAD_DIM: gl.constexpr = PLAN.head_dim
    GROUP: gl.constexpr = HEADS // KV_HEADS
    ROWS: gl.constexpr = PLAN.query_rows
    PARTS: gl.constexpr = PLAN.qkv_parts
    Q_PAIRS: gl.constexpr = gl.SliceLayout(2, _QUERIES)
    KV_PAIRS: gl.constexpr = gl.SliceLayout(2, _KEY_VALUE)
    dtype: gl.constexpr = work.buffers.q.dtype.element_ty
    tag = tag_of(own.first_tag, layer, 1)
    squares = ask_squares(work, PLAN)
    cos, sin = angles(position, work, Q_PAIRS, PLAN)
    k_cos, k_sin = angles(position, work, KV_PAIRS, PLAN)
    m = gl.arange(0, ROWS, gl.SliceLayout(1, Q_PAIRS))
    q_words = head_words(work, kv_head * GROUP + m, _QUERIES, PLAN)
    q_mask = gl.expand_dims(gl.expand_dims(m < GROUP, 1), 2)
    which = gl.arange(0, 2, gl.SliceLayout(1, KV_PAIRS))
    kv_words = head_words(work, HEADS + which * KV_HEADS + kv_head, _KEY_VALUE, PLAN)
    everywhere = gl.expand_dims(gl.expand_dims(which >= 0, 1), 2)
    q, missing = ask_sum(q_words, q_mask, tag, PARTS)
    kv, more = ask_sum(kv_words, everywhere, tag, PARTS)
    missing = missing | more
    polls = gl.to_tensor(0)
    while missing > 0:
        q, missing = ask_sum(q_words, q_mask, tag, PARTS)
        kv, more = ask_sum(kv_words, everywhere, tag, PARTS)
        missing = missing | more
        polls += 1
        bound(polls)
    total = total_squares(squares, work, own.first_tag + 3 * layer, PLAN)
    first, second = gl.split(q)
    first = gl.convert_layout(first, Q_PAIRS)
    second = gl.convert_layout(second, Q_PAIRS)
    first, second = turn(first, second, total, cos, sin, dtype, PLAN)
    q = gl.reshape(gl.permute(gl.join(first, second), (0, 2, 1)), [ROWS, HEAD_DIM])
    for _ in gl.static_range(4):
        if q.shape[0] < 16:
            q = gl.reshape(gl.permute(gl.join(q, q), (2, 0, 1)), [2 * q.shape[0], HEAD_DIM])
    first, second = gl.split(kv)
    first = gl.convert_layout(first, KV_PAIRS)
    second = gl.convert_layout(second, KV_PAIRS)
    is_k = gl.expand_dims(which, 1) == 0
    k_cos = gl.where(is_k, k_cos, 1.0)
    k_sin = gl.where(is_k, k_sin, 0.0)
    first, second = turn(first, second, total, k_cos, k_sin, dtype, PLAN)
    both = gl.reshape(gl.permute(gl.join(first, second), (2, 1, 0)), [HEAD_DIM, 2])
    k, v = gl.split(both)
    k = gl.convert_layout(k, NEW)
    v = gl.convert_layout(v, NEW)
    d = gl.arange(0, HEAD_DIM, NEW)
    gl.store(k_ptr + (position * HEAD_DIM + d), k)
    gl.store(v_ptr + (position * HEAD_DIM + d), v)
    memory.store(q)
    barrier()
    return memory.load(Q), k, v
