"""What a program does that has a kv head: attention and its part of out, layer by layer."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from tokenspeed.kernels import attention
from tokenspeed.kernels.gluon_names import barrier
from tokenspeed.kernels.persistent.layouts import narrow
from tokenspeed.kernels.persistent.tagged import leave_floats
from tokenspeed.kernels.small.arguments import GROUP as _GROUP
from tokenspeed.kernels.small.arguments import HEAD_DIM as _HEAD_DIM
from tokenspeed.kernels.small.arguments import WARPS as _WARPS
from tokenspeed.kernels.small.products import (
    A_ROWS,
    TALL,
    TALL_ROWS,
    load_unit,
    multiply_unit,
    pick,
)
from tokenspeed.kernels.small.words import tag_of, wait_halves

GROUP, HEAD_DIM = gl.constexpr(_GROUP), gl.constexpr(_HEAD_DIM)
SPLIT, BLOCK = gl.constexpr(attention.SPLIT), gl.constexpr(attention.BLOCK)
BLOCKS = gl.constexpr(attention.SPLIT // attention.BLOCK)
_LOG2E = gl.constexpr(1.4426950408889634)
# 16 query heads, of which two are used, by positions or by columns of a head.
_wide = gl.NVMMADistributedLayout(version=[2, 0], warps_per_cta=[1, _WARPS], instr_shape=[16, 8])
_WIDE = gl.constexpr(_wide)
_WIDE_A = gl.constexpr(gl.DotOperandLayout(0, _wide, k_width=2))
_WIDE_B = gl.constexpr(gl.DotOperandLayout(1, _wide, k_width=2))
_WIDE_ROWS = gl.constexpr(gl.SliceLayout(1, _wide))
_POSITIONS = gl.constexpr(gl.BlockedLayout([1, 8], [4, 8], [_WARPS, 1], [1, 0]))
# Two queries, a key and a value: each thread has the same columns of all.
_HEADS = gl.constexpr(gl.BlockedLayout([4, 4], [1, 32], [1, _WARPS], [1, 0]))


@gluon.jit
def head_words(kv_head, last, PLAN: gl.constexpr):
    """Return which words of `SmallWords.heads` are this program's: [queries, key, value; columns].

    Those of key and value are ordered as they lie in shared memory: swizzled by their position.
    """
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    i = gl.expand_dims(gl.arange(0, GROUP + 2, gl.SliceLayout(1, _HEADS)), 1)
    d = gl.expand_dims(gl.arange(0, HEAD_DIM, gl.SliceLayout(0, _HEADS)), 0)
    key = GROUP * KV_HEADS + (i - GROUP) * KV_HEADS + kv_head
    head = gl.where(i < GROUP, kv_head * GROUP + i, key)
    phase = gl.where(i < GROUP, 0, last % 8)
    at = head * HEAD_DIM + ((d // 8) ^ phase) * 8 + d % 8
    return gl.max_contiguous(gl.multiple_of(at, [1, 4]), [1, 4])


@gluon.jit
def rows_of(heads):
    """Return the four rows of [4, columns]; moves nothing between threads."""
    columns: gl.constexpr = heads.shape[1]
    even, odd = gl.split(gl.reshape(gl.permute(heads, (1, 0)), [columns, 2, 2]))
    q, key = gl.split(even)
    second_q, value = gl.split(odd)
    return q, second_q, key, value


@gluon.jit
def load_split(k_ptr, v_ptr, begin, last, place, memory):
    """Bring keys and values of steps before this one from `begin` on to shared memory.

    place: 0 or 1, of the split. Zeros from position `last` on.
    """
    at = gl.expand_dims(begin + gl.arange(0, SPLIT, gl.SliceLayout(1, _POSITIONS)), 1)
    d = gl.expand_dims(gl.arange(0, HEAD_DIM, gl.SliceLayout(0, _POSITIONS)), 0)
    mask = (at < last) & (d >= 0)
    k = gl.load(k_ptr + (at * HEAD_DIM + d), mask=mask, other=0.0, cache_modifier=".cg")
    v = gl.load(v_ptr + (at * HEAD_DIM + d), mask=mask, other=0.0, cache_modifier=".cg")
    memory.keys.index(place).store(k)
    memory.cached.index(place).store(v)


@gluon.jit
def load_splits(k_ptr, v_ptr, begin, last, memory):
    """Bring the splits at `begin` and behind it to shared memory, as far as the slot goes."""
    load_split(k_ptr, v_ptr, begin, last, 0, memory)
    if last >= begin + SPLIT:
        load_split(k_ptr, v_ptr, begin + SPLIT, last, 1, memory)


@gluon.constexpr_function
def scores_layout(splits: int) -> gl.BlockedLayout:
    """Return that of scores [splits, query heads, blocks, positions]: a split in each warp.

    All blocks of a thread's positions are its own.
    """
    return gl.BlockedLayout(
        [1, 1, 4, 2], [1, 2, 1, 16], [splits, 1, 1, _WARPS // splits], [3, 2, 1, 0]
    )


@gluon.jit
def block_weights(memory, scale, begin, last, SPLITS: gl.constexpr):
    """Turn scores of splits into weights and what shrinks earlier blocks; see `attention`."""
    SCORES: gl.constexpr = scores_layout(SPLITS)
    TOPS: gl.constexpr = gl.SliceLayout(3, SCORES)
    AT: gl.constexpr = gl.SliceLayout(0, gl.SliceLayout(1, gl.SliceLayout(2, SCORES)))
    S: gl.constexpr = gl.SliceLayout(1, gl.SliceLayout(2, TOPS))
    J: gl.constexpr = gl.SliceLayout(0, gl.SliceLayout(1, TOPS))
    dtype: gl.constexpr = memory.queries.dtype
    split = gl.expand_dims(gl.expand_dims(gl.arange(0, SPLITS, S), 1), 2)
    j = gl.expand_dims(gl.expand_dims(gl.arange(0, BLOCKS, J), 0), 1)
    at = gl.expand_dims(gl.expand_dims(gl.expand_dims(gl.arange(0, BLOCK, AT), 0), 1), 2)
    scores = memory.blocks.slice(0, SPLITS, 0).slice(0, GROUP, 1).load(SCORES) * scale
    first = begin + split * SPLIT + j * BLOCK
    scores = gl.where(gl.expand_dims(first, 3) + at <= last, scores, float("-inf"))
    tops = gl.max(scores, 3)  # [SPLITS, GROUP, BLOCKS]
    before = gl.full([SPLITS, GROUP, BLOCKS], float("-inf"), gl.float32, TOPS)
    for i in gl.static_range(BLOCKS - 1):
        top = gl.expand_dims(gl.max(gl.where(j == i, tops, float("-inf")), 2), 2)
        before = gl.where(j > i, gl.maximum(before, top), before)
    maximum = gl.maximum(before, tops)
    weights = narrow(gl.exp2(scores - gl.expand_dims(maximum, 3)), dtype)
    its_weights = memory.weights.slice(0, SPLITS, 0).slice(0, GROUP, 2)
    its_weights.store(gl.permute(weights, (0, 2, 1, 3)))
    stats = memory.stats.slice(0, SPLITS, 0).slice(0, GROUP, 2)
    stats.slice(0, BLOCKS, 1).store(gl.permute(gl.exp2(before - maximum), (0, 2, 1)))
    stats.slice(BLOCKS, BLOCKS, 1).store(gl.permute(maximum, (0, 2, 1)))


@gluon.jit
def attend_splits(
    begin, last, maximum, total, values, memory, SPLITS: gl.constexpr, PLAN: gl.constexpr
):
    """Let the query heads attend to splits from `begin` on, side by side: their chains are long.

    maximum, total, values: of the splits before; returned with these, in order.
    """
    dtype: gl.constexpr = memory.queries.dtype
    scale: gl.constexpr = PLAN.scale * _LOG2E
    ones = gl.full([BLOCK, 8], 1.0, dtype, _WIDE_B)
    q = memory.queries.load(_WIDE_A)
    for s in gl.static_range(SPLITS):
        b = memory.keys.index(s).permute((1, 0)).load(_WIDE_B)
        scores = mma_v2(q, b, gl.zeros([16, SPLIT], gl.float32, _WIDE))
        # Of rows that the instruction has too many, half need not be moved.
        lower, _ = gl.split(gl.permute(gl.reshape(scores, [2, 8, SPLIT]), (1, 2, 0)))
        memory.scores.index(s).store(lower)
    barrier()
    block_weights(memory, scale, begin, last, SPLITS)
    barrier()
    tops, mores, outs = (), (), ()
    for s in gl.static_range(SPLITS):
        out = gl.zeros([16, HEAD_DIM], gl.float32, _WIDE)
        sums = gl.zeros([16, 8], gl.float32, _WIDE)
        for i in gl.static_range(BLOCKS):
            shrink = memory.stat_rows.index(s * 2 * BLOCKS + i).load(_WIDE_ROWS)
            a = memory.weight_blocks.index(s * BLOCKS + i).load(_WIDE_A)
            v = memory.cached.index(s).slice(i * BLOCK, BLOCK).load(_WIDE_B)
            out = mma_v2(a, v, out * gl.expand_dims(shrink, 1))
            sums = mma_v2(a, ones, sums * gl.expand_dims(shrink, 1))
        top = memory.stat_rows.index(s * 2 * BLOCKS + 2 * BLOCKS - 1).load(_WIDE_ROWS)
        tops += (top,)  # type: ignore[assignment]  # unrolled
        mores += (gl.max(sums, 1),)  # type: ignore[assignment]
        outs += (out,)  # type: ignore[assignment]
    for s in gl.static_range(SPLITS):
        new = gl.maximum(maximum, tops[s])
        finite = gl.where(new == float("-inf"), 0.0, new)
        old_share = gl.exp2(maximum - finite)
        new_share = gl.exp2(tops[s] - finite)
        total = total * old_share + mores[s] * new_share
        values = values * gl.expand_dims(old_share, 1) + outs[s] * gl.expand_dims(new_share, 1)
        maximum = new
    return maximum, total, values


@gluon.jit
def attend(k_ptr, v_ptr, key, value, last, memory, PLAN: gl.constexpr):
    """Let the query heads attend, and write what they get to shared memory.

    The sums are those of `attention`. The slot's first two splits and the queries are in shared
    memory. key, value: of this step, swizzled.
    """
    dtype: gl.constexpr = memory.queries.dtype
    maximum = gl.full([16], float("-inf"), gl.float32, _WIDE_ROWS)
    total = gl.zeros([16], gl.float32, _WIDE_ROWS)
    values = gl.zeros([16, HEAD_DIM], gl.float32, _WIDE)
    for begin in range(0, last + 1, 2 * SPLIT):
        if last < begin + 2 * SPLIT:
            memory.key_rows.index(last - begin).store(key)
            memory.cached_rows.index(last - begin).store(value)
        barrier()
        if last < begin + SPLIT:
            maximum, total, values = attend_splits(
                begin, last, maximum, total, values, memory, 1, PLAN
            )
        else:
            maximum, total, values = attend_splits(
                begin, last, maximum, total, values, memory, 2, PLAN
            )
        if last >= begin + 2 * SPLIT:
            barrier()
            load_splits(k_ptr, v_ptr, begin + 2 * SPLIT, last, memory)
            barrier()
    memory.attended.store(narrow(values / gl.expand_dims(total, 1), dtype))
    barrier()


@gluon.jit
def attend_layers(kv_head, work, first, memory, PLAN: gl.constexpr):
    """Run this program's part of every layer."""
    HIDDEN: gl.constexpr = PLAN.hidden
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    ATTENDED: gl.constexpr = KV_HEADS * GROUP * HEAD_DIM
    OUT_UNITS: gl.constexpr = GROUP * HEAD_DIM // 64
    dtype: gl.constexpr = memory.queries.dtype
    last = gl.load(work.places.positions)
    slot = gl.load(work.places.slots).to(gl.int64)
    words = head_words(kv_head, last, PLAN)
    row = gl.arange(0, HIDDEN, TALL_ROWS)
    a_row = gl.arange(0, HIDDEN, A_ROWS)
    for layer in range(work.layers):
        # All that does not depend on the row comes before the row.
        w_out = work.matrices.out + layer * (HIDDEN * ATTENDED // 2)
        scale = gl.load(work.matrices.out_scale + (layer * HIDDEN + row))
        out = ()
        for u in gl.static_range(OUT_UNITS):
            unit = a_row * 0 + (kv_head * OUT_UNITS + u)
            out += (load_unit(w_out, a_row, unit, ATTENDED),)  # type: ignore[assignment]
        head = (slot + layer * PLAN.slot_count) * KV_HEADS + kv_head
        k_ptr = work.cache.k + head * (PLAN.max_length * HEAD_DIM)
        v_ptr = work.cache.v + head * (PLAN.max_length * HEAD_DIM)
        load_splits(k_ptr, v_ptr, 0, last, memory)
        barrier()
        tag = words * 0 + tag_of(first, layer, 1)
        heads = wait_halves(work.words.heads + words, tag, dtype, 4)
        q, second_q, key, value = rows_of(heads)
        memory.query_rows.index(0).store(q)
        memory.query_rows.index(1).store(second_q)
        attend(k_ptr, v_ptr, key, value, last, memory, PLAN)
        acc = gl.zeros([HIDDEN, 8], gl.float32, TALL)
        for u in gl.static_range(OUT_UNITS):
            acc = multiply_unit(out[u], memory.attended_row.slice(u * 64, 64, 1), acc)
        part = work.words.parts + (kv_head * HIDDEN + row)
        leave_floats(part, pick(acc, 0) * scale, tag_of(first, layer, 2), row >= 0)
