"""The phase of attention: query heads of one row and kv head over the row's slot."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from tokenspeed.kernels import attention
from tokenspeed.kernels.gluon_names import barrier
from tokenspeed.kernels.persistent.grid import arrive, wait
from tokenspeed.kernels.persistent.layouts import ATTENTION, HALF, STRIDE, narrow, tanh
from tokenspeed.kernels.persistent.own_rows import own_rows, rows_of_slot
from tokenspeed.kernels.persistent.tagged import (
    ask_squares,
    leave_halves,
    tag_of,
    total_squares,
)

BLOCK = gl.constexpr(attention.BLOCK)
CACHE_SHARED = gl.constexpr(gl.SwizzledSharedLayout(8, 1, 8, [1, 0]))
_SPLIT = gl.constexpr(attention.SPLIT)
_LOG2E = gl.constexpr(1.4426950408889634)
# 16 query heads (few of them used) by 32 positions, or by the columns of a head.
_mma = gl.NVMMADistributedLayout(version=[2, 0], warps_per_cta=[1, 4], instr_shape=[16, 8])
_ATTEND = gl.constexpr(_mma)
_ATTEND_A = gl.constexpr(gl.DotOperandLayout(0, _mma, k_width=2))
_ATTEND_B = gl.constexpr(gl.DotOperandLayout(1, _mma, k_width=2))


@gluon.jit
def cache_block(k_ptr, v_ptr, tile, at, start, last, wanted):
    """Return the keys and values of a block of positions, up to `last`; zeros if not wanted."""
    inside = (tile * 0 + (start + at) <= last) & wanted
    HEAD_DIM: gl.constexpr = tile.shape[1]
    tile += start * HEAD_DIM
    k = gl.load(k_ptr + tile, mask=inside, other=0.0, cache_modifier=".cg")
    return k, gl.load(v_ptr + tile, mask=inside, other=0.0, cache_modifier=".cg")


@gluon.jit
def prefetch_block(pointer, start, last, HEAD_DIM: gl.constexpr):
    """Ask for a block of keys or values into the L2, up to position `last`."""
    LINES: gl.constexpr = HEAD_DIM // 64  # of 128 bytes, at a position
    L: gl.constexpr = gl.BlockedLayout([1, 1], [32 // LINES, LINES], [4, 1], [1, 0])
    at = gl.expand_dims(start + gl.arange(0, BLOCK, gl.SliceLayout(1, L)), 1)
    line = gl.expand_dims(gl.arange(0, LINES, gl.SliceLayout(0, L)), 0)
    gl.inline_asm_elementwise(
        """{
        .reg .pred p;
        setp.ne.s32 p, $2, 0;
        @p prefetch.global.L2 [$1];
        mov.u32 $0, 0;
        }""",
        "=r,l,r",
        [pointer + at * HEAD_DIM + line * 64, ((at <= last) & (line >= 0)).to(gl.int32)],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )


@gluon.jit
def attend(unit, work, own, layer, cache_shared, done, PLAN: gl.constexpr):
    """Let the query heads of one row and kv head attend; the sums are those of `attention`.

    Waits until qkv is `done`. Keys and values of steps before this one are asked for before that.
    In a step of few rows these come as parts of qkv, and so do the queries (`own_rows`).
    """
    HEADS: gl.constexpr = PLAN.heads
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    HEAD_DIM: gl.constexpr = PLAN.head_dim
    GROUP: gl.constexpr = HEADS // KV_HEADS
    WIDTH: gl.constexpr = PLAN.width
    ROWS: gl.constexpr = PLAN.word_rows
    q_ptr = work.buffers.q
    dtype: gl.constexpr = q_ptr.dtype.element_ty
    LOAD: gl.constexpr = gl.BlockedLayout([1, 8], [256 // HEAD_DIM, HEAD_DIM // 8], [4, 1], [1, 0])
    ROW: gl.constexpr = gl.SliceLayout(1, _ATTEND)
    row = unit // KV_HEADS
    kv_head = unit % KV_HEADS
    last = gl.load(work.places.positions + row)
    slot = gl.load(work.places.slots + row).to(gl.int64) + layer * PLAN.slot_count
    head_at = (slot * KV_HEADS + kv_head) * (PLAN.max_length * HEAD_DIM)
    at = gl.expand_dims(gl.arange(0, BLOCK, gl.SliceLayout(1, LOAD)), 1)
    tile = at * HEAD_DIM + gl.expand_dims(gl.arange(0, HEAD_DIM, gl.SliceLayout(0, LOAD)), 0)
    k_ptr = work.cache.k + head_at
    v_ptr = work.cache.v + head_at
    # Blocks behind the first two take longer from memory than these do to be used.
    for start in range(2 * BLOCK, last, BLOCK):
        prefetch_block(k_ptr, start, last, HEAD_DIM)
        prefetch_block(v_ptr, start, last, HEAD_DIM)
    if ROWS > 0:
        new_at, first_new = rows_of_slot(row, last, work, own, PLAN)
        in_cache = first_new - 1
        k, v = cache_block(k_ptr, v_ptr, tile, at, 0, in_cache, True)
        next_k, next_v = cache_block(k_ptr, v_ptr, tile, at, BLOCK, in_cache, True)
        NEW: gl.constexpr = gl.SliceLayout(0, LOAD)
        memory = cache_shared.index(0)
        q, new_k, new_v = own_rows(row, kv_head, last, k_ptr, v_ptr, memory, work, own, layer,
                                   _ATTEND_A, NEW, PLAN)  # fmt: skip
    else:
        in_cache = last
        # Rows of a slot have positions one after the other, so that a step writes none before
        # last - WIDTH + 1: the blocks before that are there already.
        is_old = last >= BLOCK + WIDTH - 1
        next_is_old = last >= 2 * BLOCK + WIDTH - 1
        k, v = cache_block(k_ptr, v_ptr, tile, at, 0, last, is_old)
        next_k, next_v = cache_block(k_ptr, v_ptr, tile, at, BLOCK, last, next_is_old)
        wait(done, (HEADS + 2 * KV_HEADS) * HEAD_DIM // HALF)
        if not is_old:
            k, v = cache_block(k_ptr, v_ptr, tile, at, 0, last, True)
        if not next_is_old:
            next_k, next_v = cache_block(k_ptr, v_ptr, tile, at, BLOCK, last, True)
        m = gl.expand_dims(gl.arange(0, 16, gl.SliceLayout(1, _ATTEND_A)), 1)
        d = gl.expand_dims(gl.arange(0, HEAD_DIM, gl.SliceLayout(0, _ATTEND_A)), 0)
        q_at = (row * HEADS + kv_head * GROUP + m) * HEAD_DIM + d
        q = gl.load(q_ptr + q_at, mask=(m < GROUP) & (d >= 0), other=0.0, cache_modifier=".cg")
    k_shared = cache_shared.index(0)
    v_shared = cache_shared.index(1)
    column = gl.expand_dims(gl.arange(0, BLOCK, gl.SliceLayout(0, _ATTEND)), 0)
    ones = gl.full([BLOCK, 8], 1.0, dtype, _ATTEND_B)
    CAP: gl.constexpr = PLAN.score_cap
    scale: gl.constexpr = PLAN.scale / CAP if CAP > 0.0 else PLAN.scale * _LOG2E

    maximum = gl.full([16], float("-inf"), gl.float32, ROW)
    total = gl.zeros([16], gl.float32, ROW)
    values = gl.zeros([16, HEAD_DIM], gl.float32, _ATTEND)
    for begin in range(0, last + 1, _SPLIT):
        top = gl.full([16], float("-inf"), gl.float32, ROW)
        sums = gl.zeros([16, 8], gl.float32, _ATTEND)
        out = gl.zeros([16, HEAD_DIM], gl.float32, _ATTEND)
        for start in range(begin, gl.minimum(begin + _SPLIT, last + 1), BLOCK):
            if ROWS > 0:
                if start + BLOCK > first_new:
                    for j in gl.static_range(ROWS):
                        is_new = start + at == new_at[j]
                        k = gl.where(is_new, gl.expand_dims(new_k[j], 0), k)
                        v = gl.where(is_new, gl.expand_dims(new_v[j], 0), v)
            barrier()  # all warps have read the previous block
            k_shared.store(k)
            v_shared.store(v)
            k, v = next_k, next_v
            next_k, next_v = cache_block(k_ptr, v_ptr, tile, at, start + 2 * BLOCK, in_cache, True)
            barrier()
            b = k_shared.permute((1, 0)).load(_ATTEND_B)
            scores = mma_v2(q, b, gl.zeros([16, BLOCK], gl.float32, _ATTEND)) * scale
            if CAP > 0.0:
                scores = tanh(scores) * (CAP * _LOG2E)
            scores = gl.where(start + column <= last, scores, float("-inf"))
            new = gl.maximum(top, gl.max(scores, 1))
            finite = gl.where(new == float("-inf"), 0.0, new)
            weights = narrow(gl.exp2(scores - gl.expand_dims(finite, 1)), dtype)
            shrink = gl.expand_dims(gl.exp2(top - finite), 1)
            a = gl.convert_layout(weights, _ATTEND_A)
            out = mma_v2(a, v_shared.load(_ATTEND_B), out * shrink)
            sums = mma_v2(a, ones, sums * shrink)
            top = new
        more = gl.max(sums, 1)
        new = gl.maximum(maximum, top)
        finite = gl.where(new == float("-inf"), 0.0, new)
        old_share = gl.exp2(maximum - finite)
        new_share = gl.exp2(top - finite)
        total = total * old_share + more * new_share
        values = values * gl.expand_dims(old_share, 1) + out * gl.expand_dims(new_share, 1)
        maximum = new
    y = narrow(values / gl.expand_dims(total, 1), dtype)
    m = gl.expand_dims(gl.arange(0, 16, ROW), 1)
    d = gl.expand_dims(gl.arange(0, HEAD_DIM, gl.SliceLayout(0, _ATTEND)), 0)
    y_at = (row * HEADS + kv_head * GROUP + m) * HEAD_DIM + d
    y_mask = (m < GROUP) & (d >= 0)
    if ROWS > 0:
        leave_halves(work.words.attended + y_at, y, tag_of(own.first_tag, layer, 2), y_mask)
    else:
        gl.store(work.buffers.attended + y_at, y, mask=y_mask)


@gluon.jit
def leave_nothing(unit, work, own, layer, PLAN: gl.constexpr):
    """Leave zeros as what the query heads of a kv head give for a row that the step does not have.

    Needs nothing, but waits for the layer before: somebody may still read what the words held.
    """
    total_squares(ask_squares(work, PLAN), work, own.first_tag + 3 * layer, PLAN)
    GROUP: gl.constexpr = PLAN.heads // PLAN.kv_heads
    HEAD_DIM: gl.constexpr = PLAN.head_dim
    m = gl.expand_dims(gl.arange(0, 16, gl.SliceLayout(1, _ATTEND)), 1)
    d = gl.expand_dims(gl.arange(0, HEAD_DIM, gl.SliceLayout(0, _ATTEND)), 0)
    at = (unit * GROUP + m) * HEAD_DIM + d
    nothing = gl.zeros([16, HEAD_DIM], gl.int16, _ATTEND)
    mask = (m < GROUP) & (d >= 0)
    leave_halves(work.words.attended + at, nothing, tag_of(own.first_tag, layer, 2), mask)


@gluon.jit
def attend_all(work, own, layer, cache_shared, done, offset, PLAN: gl.constexpr):
    """Let this program's rows and kv heads attend."""
    # The programs that have fewer tiles of the next matrix attend first.
    first = (gl.program_id(0) + own.grid - offset) % own.grid
    for unit in range(first, own.num_rows * PLAN.kv_heads, own.grid):
        if PLAN.word_rows > 1:
            if unit < own.count * PLAN.kv_heads:
                attend(unit, work, own, layer, cache_shared, done, PLAN)
            else:
                leave_nothing(unit, work, own, layer, PLAN)
        else:
            attend(unit, work, own, layer, cache_shared, done, PLAN)
            if PLAN.word_rows == 0:
                arrive(done + ATTENTION * STRIDE, 1)
