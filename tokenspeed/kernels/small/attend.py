"""What a program does that has a kv head: qkv, attention and its part of out, layer by layer."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier

from tokenspeed.kernels import attention
from tokenspeed.kernels.gluon_names import barrier, tma_load
from tokenspeed.kernels.persistent.layouts import narrow
from tokenspeed.kernels.persistent.tagged import leave_floats, tag_of
from tokenspeed.kernels.matrix import PANEL as _PANEL
from tokenspeed.kernels.small.arguments import GROUP as _GROUP
from tokenspeed.kernels.small.arguments import HEAD_DIM as _HEAD_DIM
from tokenspeed.kernels.small.products import (
    A_ROWS,
    PANEL,
    TALL,
    TALL_A,
    TALL_ROWS,
    WORDS,
    first_hidden,
    inverse_of,
    multiply_unit,
    pick,
    places,
    put_row,
    square_sum,
    unit_words,
    wait_hidden,
)

GROUP, HEAD_DIM = gl.constexpr(_GROUP), gl.constexpr(_HEAD_DIM)
HEADS = gl.constexpr(_GROUP + 2)  # of a program: queries, key, value
HALF_DIM = gl.constexpr(_HEAD_DIM // 2)
PANELS = gl.constexpr((_GROUP + 2) * _HEAD_DIM // _PANEL)  # of a program's rows of qkv
SPLIT, BLOCK = gl.constexpr(attention.SPLIT), gl.constexpr(attention.BLOCK)
BLOCKS = gl.constexpr(attention.SPLIT // attention.BLOCK)
_LOG2E = gl.constexpr(1.4426950408889634)
# 16 query heads, of which two are used, by positions or by columns of a head.
_wide = gl.NVMMADistributedLayout(version=[2, 0], warps_per_cta=[1, 8], instr_shape=[16, 8])
_WIDE = gl.constexpr(_wide)
_WIDE_A = gl.constexpr(gl.DotOperandLayout(0, _wide, k_width=2))
_WIDE_B = gl.constexpr(gl.DotOperandLayout(1, _wide, k_width=2))
_WIDE_ROWS = gl.constexpr(gl.SliceLayout(1, _wide))
_POSITIONS = gl.constexpr(gl.BlockedLayout([1, 8], [4, 8], [8, 1], [1, 0]))
_COLUMNS = gl.constexpr(gl.SliceLayout(0, _POSITIONS))
_LINES = gl.constexpr(gl.BlockedLayout([1], [32], [8], [0]))
_PAIRS = gl.constexpr(gl.BlockedLayout([1, 2], [32, 1], [8, 1], [1, 0]))
_PAIR = gl.constexpr(gl.SliceLayout(1, _PAIRS))
# [query heads, blocks, positions]: a row's in one warp, all of its blocks in each thread.
_SCORES = gl.constexpr(gl.BlockedLayout([1, 4, 2], [2, 1, 16], [1, 1, 8], [2, 1, 0]))
_TOPS = gl.constexpr(gl.SliceLayout(2, _SCORES))


@gluon.jit
def send_qkv(desc, kv_head, layer, memory, PLAN: gl.constexpr):
    """Ask for a layer's rows of qkv; nobody reads the last ones any more."""
    mbarrier.expect(memory.qkv_full, PANELS * PANEL * WORDS * 2 * (PLAN.hidden // 64))
    for i in gl.static_range(PANELS):
        panel = (layer * PLAN.kv_heads + kv_head) * PANELS + i
        tma_load(desc, [panel, 0, 0, 0], memory.qkv_full, memory.sent.index(i))


@gluon.jit
def multiply_qkv(memory, PLAN: gl.constexpr):
    """Return the products of this program's rows of qkv with the row: a tuple of [PANEL]."""
    UNITS: gl.constexpr = PLAN.hidden // 64
    lower = gl.zeros([PANEL, 8], gl.float32, TALL)
    upper = gl.zeros([PANEL, 8], gl.float32, TALL)
    for u in gl.static_range(UNITS):
        x = memory.x.index(u)
        lower = multiply_unit(memory.data.index(u).load(TALL_A), x, lower)
        upper = multiply_unit(memory.data.index(UNITS + u).load(TALL_A), x, upper)
    return pick(lower, 0), pick(upper, 0)


@gluon.jit
def load_angles(first_head, position, work):
    """Load cosine and sine of each pair of two heads, [PANEL / 2] each; values do not turn."""
    pair = gl.arange(0, PANEL // 2, _PAIR)
    rotates = first_head * HALF_DIM + pair < (GROUP + 1) * HALF_DIM
    at = position * HALF_DIM + pair % HALF_DIM
    cos = gl.load(work.tables.cos + at, mask=rotates, other=1.0)
    return cos, gl.load(work.tables.sin + at, mask=rotates, other=0.0)


@gluon.jit
def put_heads(v, first_head, angles, inverse, memory):
    """Rotate two heads [PANEL] and write them to shared memory.

    first_head: of the program's. angles: of `load_angles`. inverse: 1 / rms.
    """
    dtype: gl.constexpr = memory.heads.dtype
    cos, sin = angles
    pairs = gl.convert_layout(gl.reshape(v * inverse, [PANEL // 2, 2]), _PAIRS)
    first, second = gl.split(pairs)
    one = narrow(first * cos - second * sin, dtype)
    other = narrow(second * cos + first * sin, dtype)
    both = gl.reshape(gl.join(one, other), [PANEL // HEAD_DIM, HALF_DIM, 2])
    heads = gl.reshape(gl.permute(both, (0, 2, 1)), [PANEL // HEAD_DIM, HEAD_DIM])
    memory.heads.slice(first_head, PANEL // HEAD_DIM).store(heads)


@gluon.jit
def block_weights(scores_at, memory, scale, begin, last):
    """Turn the scores of a split into weights and what shrinks earlier blocks; see `attention`."""
    dtype: gl.constexpr = memory.heads.dtype
    j = gl.expand_dims(gl.arange(0, BLOCKS, gl.SliceLayout(0, _TOPS)), 0)
    scores = memory.blocks.slice(0, GROUP).load(_SCORES) * scale
    at = gl.expand_dims(gl.expand_dims(gl.arange(0, BLOCK, gl.SliceLayout(0, gl.SliceLayout(1, _SCORES))), 0), 1)
    position = begin + gl.expand_dims(j, 2) * BLOCK + at
    scores = gl.where(position <= last, scores, float("-inf"))
    tops = gl.max(scores, 2)  # [GROUP, BLOCKS]
    before = gl.full([GROUP, BLOCKS], float("-inf"), gl.float32, _TOPS)
    for i in gl.static_range(BLOCKS - 1):
        top = gl.expand_dims(gl.max(gl.where(j == i, tops, float("-inf")), 1), 1)
        before = gl.where(j > i, gl.maximum(before, top), before)
    maximum = gl.maximum(before, tops)
    weights = narrow(gl.exp2(scores - gl.expand_dims(maximum, 2)), dtype)
    memory.weights.slice(0, GROUP, 1).store(gl.permute(weights, (1, 0, 2)))
    stats = memory.stats.slice(0, GROUP, 1)
    stats.slice(0, BLOCKS, 0).store(gl.permute(gl.exp2(before - maximum), (1, 0)))
    stats.slice(BLOCKS, BLOCKS, 0).store(gl.permute(maximum, (1, 0)))


@gluon.jit
def cached(pointer, begin, last, cache_tile, cache_at):
    """Load a split of keys or values of steps before this one; zeros from position `last` on."""
    inside = (begin + cache_at < last) & (cache_tile >= 0)
    return gl.load(pointer + (begin * HEAD_DIM + cache_tile), mask=inside, other=0.0, cache_modifier=".cg")


@gluon.jit
def attend_head(k_ptr, v_ptr, k, v, last, memory, PLAN: gl.constexpr):
    """Let the query heads attend, and write what they get to shared memory.

    k, v: the first split of the slot. The sums are those of `attention`.
    """
    dtype: gl.constexpr = memory.heads.dtype
    at = gl.expand_dims(gl.arange(0, SPLIT, gl.SliceLayout(1, _POSITIONS)), 1)
    d = gl.arange(0, HEAD_DIM, _COLUMNS)
    tile = at * HEAD_DIM + gl.expand_dims(d, 0)
    new_k = memory.heads_plain.index(GROUP).load(_COLUMNS)
    new_v = memory.heads_plain.index(GROUP + 1).load(_COLUMNS)
    gl.store(k_ptr + (last * HEAD_DIM + d), new_k)
    gl.store(v_ptr + (last * HEAD_DIM + d), new_v)
    q = memory.heads.load(_WIDE_A)
    ones = gl.full([BLOCK, 8], 1.0, dtype, _WIDE_B)
    scale: gl.constexpr = PLAN.scale * _LOG2E
    maximum = gl.full([16], float("-inf"), gl.float32, _WIDE_ROWS)
    total = gl.zeros([16], gl.float32, _WIDE_ROWS)
    values = gl.zeros([16, HEAD_DIM], gl.float32, _WIDE)
    for begin in range(0, last + 1, SPLIT):
        is_new = begin + at == last
        memory.keys.store(gl.where(is_new, gl.expand_dims(new_k, 0), k))
        memory.cached.store(gl.where(is_new, gl.expand_dims(new_v, 0), v))
        k = cached(k_ptr, begin + SPLIT, last, tile, at)
        v = cached(v_ptr, begin + SPLIT, last, tile, at)
        barrier()
        b = memory.keys.permute((1, 0)).load(_WIDE_B)
        memory.scores.store(mma_v2(q, b, gl.zeros([16, SPLIT], gl.float32, _WIDE)))
        barrier()
        block_weights(memory.scores, memory, scale, begin, last)
        barrier()
        out = gl.zeros([16, HEAD_DIM], gl.float32, _WIDE)
        sums = gl.zeros([16, 8], gl.float32, _WIDE)
        for i in gl.static_range(BLOCKS):
            shrink = gl.expand_dims(memory.stats_plain.index(i).load(_WIDE_ROWS), 1)
            a = memory.weights_plain.index(i).load(_WIDE_A)
            own = memory.cached.slice(i * BLOCK, BLOCK).load(_WIDE_B)
            out = mma_v2(a, own, out * shrink)
            sums = mma_v2(a, ones, sums * shrink)
        top = memory.stats_plain.index(2 * BLOCKS - 1).load(_WIDE_ROWS)
        more = gl.max(sums, 1)
        new = gl.maximum(maximum, top)
        finite = gl.where(new == float("-inf"), 0.0, new)
        old_share = gl.exp2(maximum - finite)
        new_share = gl.exp2(top - finite)
        total = total * old_share + more * new_share
        values = values * gl.expand_dims(old_share, 1) + out * gl.expand_dims(new_share, 1)
        maximum = new
    memory.attended.store(narrow(values / gl.expand_dims(total, 1), dtype))
    barrier()


@gluon.jit
def prefetch_part(w_out, kv_head, K: gl.constexpr, PLAN: gl.constexpr):
    """Ask for this program's columns of a layer's out into the L2: later they are waited for."""
    UNITS: gl.constexpr = GROUP * HEAD_DIM // 64
    UNIT_LINES: gl.constexpr = PANEL * WORDS * 2 // 128  # of a panel
    LINES: gl.constexpr = PLAN.hidden // PANEL * UNITS * UNIT_LINES
    i = gl.arange(0, LINES, _LINES)
    unit = kv_head * UNITS + i // UNIT_LINES % UNITS
    block = i // (UNIT_LINES * UNITS) * (K // 64) + unit
    at = w_out + (block * (PANEL * WORDS) + i % UNIT_LINES * 64)
    gl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.u32 $0, 0;",
        "=r,l",
        [at],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )


@gluon.jit
def attend_layers(w_qkv, kv_head, work, first, memory, PLAN: gl.constexpr):
    """Run this program's part of every layer."""
    HIDDEN: gl.constexpr = PLAN.hidden
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    UNITS: gl.constexpr = HIDDEN // 64
    ATTENDED: gl.constexpr = KV_HEADS * GROUP * HEAD_DIM
    OUT_UNITS: gl.constexpr = GROUP * HEAD_DIM // 64
    send_qkv(w_qkv, kv_head, 0, memory, PLAN)
    last = gl.load(work.places.positions)
    slot = gl.load(work.places.slots).to(gl.int64)
    angles, upper_angles = load_angles(0, last, work), load_angles(GROUP, last, work)
    row = gl.arange(0, PANEL, TALL_ROWS)
    out_row = gl.arange(0, HIDDEN, TALL_ROWS)
    channel = places(UNITS, 1)
    at = gl.expand_dims(gl.arange(0, SPLIT, gl.SliceLayout(1, _POSITIONS)), 1)
    tile = at * HEAD_DIM + gl.expand_dims(gl.arange(0, HEAD_DIM, _COLUMNS), 0)
    for layer in range(work.layers):
        # All that does not depend on the row is asked for before it comes.
        norm = gl.load(work.tables.norms + (2 * layer * HIDDEN + channel)).to(gl.float32)
        scales = work.matrices.qkv_scale + (layer * KV_HEADS + kv_head) * (PANELS * PANEL)
        scale = gl.load(scales + row)
        upper_scale = gl.load(scales + (PANEL + row))
        w_out = work.matrices.out + layer.to(gl.int64) * (HIDDEN * ATTENDED // 2)
        out_scale = gl.load(work.matrices.out_scale + (layer * HIDDEN + out_row))
        prefetch_part(w_out, kv_head, ATTENDED, PLAN)
        head_at = ((slot + layer * PLAN.slot_count) * KV_HEADS + kv_head) * (PLAN.max_length * HEAD_DIM)
        k_ptr = work.cache.k + head_at
        v_ptr = work.cache.v + head_at
        k = cached(k_ptr, 0, last, tile, at)
        v = cached(v_ptr, 0, last, tile, at)
        mbarrier.wait(memory.qkv_full, layer & 1)
        if layer == 0:
            hidden = first_hidden(channel, work, PLAN)
        else:
            hidden = wait_hidden(channel, work, first + 3 * layer)
        put_row(hidden, norm, memory.x_plain)
        barrier()
        lower, upper = multiply_qkv(memory, PLAN)
        barrier()
        if layer + 1 < work.layers:
            send_qkv(w_qkv, kv_head, layer + 1, memory, PLAN)
        out_words = ()
        for u in gl.static_range(OUT_UNITS):
            own = gl.arange(0, HIDDEN, A_ROWS)
            unit = own * 0 + (kv_head * OUT_UNITS + u)
            out_words += (unit_words(w_out, own, unit, ATTENDED),)  # type: ignore[assignment]
        inverse = inverse_of(square_sum(hidden), PANEL, TALL_ROWS, PLAN)
        put_heads(lower * scale, 0, angles, inverse, memory)
        put_heads(upper * upper_scale, GROUP, upper_angles, inverse, memory)
        barrier()
        attend_head(k_ptr, v_ptr, k, v, last, memory, PLAN)
        acc = gl.zeros([HIDDEN, 8], gl.float32, TALL)
        for u in gl.static_range(OUT_UNITS):
            piece = memory.attended_rows.slice(u * 64, 64, 1)
            acc = multiply_unit(out_words[u], piece, acc)
        part = work.words.parts + (kv_head * HIDDEN + out_row)
        leave_floats(part, pick(acc, 0) * out_scale, tag_of(first, layer, 1), out_row >= 0)
