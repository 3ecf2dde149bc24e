"""The rows of a step of few rows, as attention needs them: queries, keys and values.

Attention adds up the parts of qkv itself. A phase between the two, which adds up, rotates and hands
over, would cost two microseconds a layer: it would be the programs that attend who wait. For the
same reason a row does not wait for the keys and values of others of its slot: it makes them itself.
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
def head_words(work, head, source, PLAN: gl.constexpr):
    """Return where the first parts of heads lie: [heads, pairs, 2].

    Args:
        head: [heads], numbered as qkv has them. source: the row of the step of each; of one row 0.
    """
    row = head_rows(head, PLAN)
    tile = row // TILE * (2 * PLAN.qkv_parts) + row // HALF % 2
    if PLAN.word_rows > 1:
        tile = tile * PLAN.word_rows + gl.expand_dims(source, 1)
    which = gl.arange(0, 2, gl.SliceLayout(0, gl.SliceLayout(1, _WORDS)))
    at = gl.expand_dims(tile * HALF + row % HALF, 2)
    return work.words.parts + at + gl.expand_dims(gl.expand_dims(which, 0), 1)


@gluon.jit
def ask_sum(pointers, mask, tag, PLAN: gl.constexpr):
    """Ask for all parts of heads once; return their sum in order, and whether one is missing."""
    NEXT: gl.constexpr = 2 * HALF * PLAN.word_rows
    words = ask(pointers, mask)
    absent = words_absent(words, tag, mask)
    v = floats_of(words)
    PARTS: gl.constexpr = PLAN.qkv_parts
    for i in gl.static_range(1, PARTS):
        words = ask(pointers + i * NEXT, mask)
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
def head_inverses(total, source, PLAN: gl.constexpr):
    """Return 1 / rms of the hidden states of each head's row: [heads, 1], of one row [1, pairs].

    total: of the squares of these.
    """
    if PLAN.word_rows == 1:
        total = gl.full([PLAN.head_dim // 2], total, gl.int64, gl.SliceLayout(0, _PAIRS))
        return gl.expand_dims(inverse_rms(total, PLAN.hidden, PLAN.eps), 0)
    else:
        # [heads, rows], all rows in one thread
        L: gl.constexpr = gl.BlockedLayout([1, PLAN.width], [32, 1], [4, 1], [1, 0])
        inverse = gl.convert_layout(inverse_rms(total, PLAN.hidden, PLAN.eps), gl.SliceLayout(0, L))
        row = gl.expand_dims(gl.arange(0, PLAN.width, gl.SliceLayout(0, L)), 0)
        is_its = gl.expand_dims(gl.convert_layout(source, gl.SliceLayout(1, L)), 1) == row
        picked = gl.sum(gl.where(is_its, gl.expand_dims(inverse, 0), 0.0), 1)
        return gl.expand_dims(gl.convert_layout(picked, gl.SliceLayout(1, _PAIRS)), 1)


@gluon.jit
def turn(v, is_v, position, extras, inverse, work, dtype: gl.constexpr, PLAN: gl.constexpr):
    """Return heads [heads, head_dim], normed, and rotated but for values.

    Args:
        position: of each, [heads, 1], or of all.
        extras: of `head_extras`. inverse: of `head_inverses`.
    """
    HALF_DIM: gl.constexpr = PLAN.head_dim // 2
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
def rows_of_slot(row, last, work, own, PLAN: gl.constexpr):
    """Return the positions of the rows of a step that a row attends to, and the first of them.

    Returns:
        A tuple of as many as the step may have, its own (`last`) among them; -1: it does not.
    """
    ROWS: gl.constexpr = PLAN.word_rows
    if ROWS == 1:
        return (last,), last
    else:
        slot = gl.load(work.places.slots + row)
        first = last
        positions = ()
        for j in gl.static_range(ROWS):
            exists = j < own.count
            at = gl.load(work.places.positions + j, mask=exists, other=0)
            is_its = exists & (gl.load(work.places.slots + j, mask=exists, other=0) == slot)
            is_its = is_its & (at <= last)
            positions += (gl.where(is_its, at, -1),)  # type: ignore[assignment]  # unrolled
            first = gl.where(is_its, gl.minimum(first, at), first)
        return positions, first


@gluon.jit
def needed_heads(kv_head, row, last, work, own, PLAN: gl.constexpr):
    """Return the heads that a row needs for a kv head: its queries, then keys and values.

    Returns:
        [heads] each: the number of a head as qkv has them, its row in the step, the position of
        that (of one row `last`), whether it is a value, and whether it is needed.
    """
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    GROUP: gl.constexpr = PLAN.heads // KV_HEADS
    m = gl.arange(0, PLAN.group_rows, gl.SliceLayout(1, _PAIRS))
    key = PLAN.heads + kv_head
    if PLAN.word_rows == 1:
        head = gl.where(m < GROUP, kv_head * GROUP + m, key + (m - GROUP) * KV_HEADS)
        exists = m < GROUP + 2
        return gl.where(exists, head, 0), 0, last, m == GROUP + 1, exists
    else:
        beyond = gl.maximum(m - GROUP, 0)
        head = gl.where(m < GROUP, kv_head * GROUP + m, key + beyond % 2 * KV_HEADS)
        source = gl.where(m < GROUP, row, beyond // 2)
        in_step = source < own.count
        slot = gl.load(work.places.slots + source, mask=in_step, other=0)
        position = gl.load(work.places.positions + source, mask=in_step, other=0)
        is_its = (slot == gl.load(work.places.slots + row)) & (position <= last)
        exists = (m < GROUP) | (in_step & is_its)
        head = gl.where(exists, head, 0)
        source = gl.where(exists, source, 0)
        is_v = (m >= GROUP) & (beyond % 2 == 1)
        return head, source, gl.expand_dims(gl.where(exists, position, 0), 1), is_v, exists


@gluon.jit
def own_rows(row, kv_head, position, k_ptr, v_ptr, memory, work, own, layer, Q: gl.constexpr,
             NEW: gl.constexpr, PLAN: gl.constexpr):  # fmt: skip
    """Wait for what a row needs of a kv head; write its key and value to the slot.

    Args:
        k_ptr, v_ptr: of the slot's head, from position 0.
        memory: shared memory for 32 heads; all warps have read what it held.
        Q, NEW: layouts of [16, head_dim] and [head_dim].
    Returns:
        The queries, of which those behind the group's mean nothing; keys and values of the rows of
        the step, a tuple each, of which those of other slots mean nothing (`rows_of_slot`).
    """
    GROUP: gl.constexpr = PLAN.heads // PLAN.kv_heads
    HEADS: gl.constexpr = PLAN.group_rows
    ROWS: gl.constexpr = PLAN.word_rows
    HEAD_DIM: gl.constexpr = PLAN.head_dim
    dtype: gl.constexpr = work.buffers.q.dtype.element_ty
    tag = tag_of(own.first_tag, layer, 1)
    squares = ask_squares(work, PLAN)
    head, source, at, is_v, exists = needed_heads(kv_head, row, position, work, own, PLAN)
    words = head_words(work, head, source, PLAN)
    extras = head_extras(head, work, layer, PLAN)
    mask = gl.expand_dims(gl.expand_dims(exists, 1), 2)
    v, missing = ask_sum(words, mask, tag, PLAN)
    polls = gl.to_tensor(0)
    while missing > 0:
        v, missing = ask_sum(words, mask, tag, PLAN)
        polls += 1
        bound(polls)
    total = total_squares(squares, work, own.first_tag + 3 * layer, PLAN)
    inverse = head_inverses(total, source, PLAN)
    heads = turn(v, gl.expand_dims(is_v, 1), at, extras, inverse, work, dtype, PLAN)
    memory.slice(0, HEADS).store(heads)
    d = gl.arange(0, HEAD_DIM, NEW)
    if ROWS == 1:
        k, v = pick(heads, GROUP, NEW), pick(heads, GROUP + 1, NEW)
        gl.store(k_ptr + (position * HEAD_DIM + d), k)
        gl.store(v_ptr + (position * HEAD_DIM + d), v)
        barrier()
        return memory.slice(0, 16).load(Q), (k,), (v,)
    else:
        barrier()
        # All heads of a column in one thread: what picks one moves nothing.
        COLUMNS: gl.constexpr = gl.BlockedLayout(
            [HEADS, 8], [256 // HEAD_DIM, HEAD_DIM // 8], [4, 1], [1, 0]
        )
        heads = memory.slice(0, HEADS).load(COLUMNS)
        keys, values = (), ()
        for j in gl.static_range(ROWS):
            keys += (pick(heads, GROUP + 2 * j, NEW),)  # type: ignore[assignment]  # unrolled
            values += (pick(heads, GROUP + 2 * j + 1, NEW),)  # type: ignore[assignment]
        for j in gl.static_range(ROWS):
            its = (d >= 0) & (row == j)
            gl.store(k_ptr + (position * HEAD_DIM + d), keys[j], mask=its)
            gl.store(v_ptr + (position * HEAD_DIM + d), values[j], mask=its)
        return memory.slice(0, 16).load(Q), keys, values
