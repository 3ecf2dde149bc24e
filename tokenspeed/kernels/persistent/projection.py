"""The phases of out and down: a product added to the hidden states, and the next norm prepared."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels.persistent.grid import arrive, share
from tokenspeed.kernels.persistent.layouts import FINISH, HALF, OUT, STRIDE, SUM_UNIT, TILE, narrow
from tokenspeed.kernels.persistent.parts import add_parts, rows_to_finish
from tokenspeed.kernels.persistent.products import first_rows, product, row_scale
from tokenspeed.kernels.persistent.ranks import collect_ranks, exchange_of, push_part
from tokenspeed.kernels.persistent.tagged import (
    ask,
    floats_of,
    leave_floats,
    leave_halves,
    leave_long,
    settle_words,
    tag_of,
)


@gluon.jit
def projection_operands(half, work, bias_ptr, layer, norm, num_rows, PLAN: gl.constexpr):
    """Return the hidden states of half a tile, the next norm's weight, and the matrix' bias."""
    column = half * HALF + gl.arange(0, HALF, gl.SliceLayout(1, FINISH))
    n = gl.arange(0, PLAN.width, gl.SliceLayout(0, FINISH))
    weight = gl.load(work.tables.norms + norm * PLAN.hidden + column).to(gl.float32)
    at = gl.expand_dims(n, 0) * PLAN.hidden + gl.expand_dims(column, 1)
    mask = gl.expand_dims(n < num_rows, 0) & (at >= 0)
    if PLAN.word_rows > 0:
        hidden = ask(work.words.hidden + at, mask)
    else:
        hidden = gl.load(work.residual.hidden + at, mask=mask, other=0.0, cache_modifier=".cg")
    bias = 0.0
    if bias_ptr is not None:
        bias = gl.load(bias_ptr + layer * PLAN.hidden + column)
    return hidden, weight, bias


@gluon.jit
def finish_projection(v, operands, half, work, own, layer, PHASE: gl.constexpr, PLAN: gl.constexpr):
    """Add to the hidden states and prepare the next norm; see `kernels.projection`."""
    hidden, weight, bias = operands
    scaled_ptr = work.residual.scaled
    column = half * HALF + gl.arange(0, HALF, gl.SliceLayout(1, FINISH))
    n = gl.arange(0, PLAN.width, gl.SliceLayout(0, FINISH))
    row_mask = n < own.num_rows
    at = gl.expand_dims(n, 0) * PLAN.hidden + gl.expand_dims(column, 1)
    mask = gl.expand_dims(row_mask, 0) & (at >= 0)
    if PLAN.word_rows > 0:
        # What the phase two before left: out needs the hidden states of the layer before.
        before = own.first_tag + 3 * layer + (0 if PHASE == OUT else 2)
        hidden = floats_of(settle_words(hidden, work.words.hidden + at, before, mask))
    if (work.family.out_bias if PHASE == OUT else work.family.down_bias) is not None:
        v += gl.expand_dims(bias, 1)
    hidden += v
    scaled = narrow(hidden * gl.expand_dims(weight, 1), scaled_ptr.dtype.element_ty)
    kept = gl.where(mask, hidden, 0.0)
    squares = gl.sum((kept * kept * (1.0 / SUM_UNIT)).to(gl.int64), 0)
    if PLAN.word_rows > 0:
        tag = tag_of(own.first_tag, layer, 2 if PHASE == OUT else 3)
        leave_halves(work.words.scaled + at, scaled, tag, mask)
        squares_at = work.words.squares + 2 * (n * (PLAN.hidden // HALF) + half)
        leave_long(squares_at, squares, tag, row_mask)
        leave_floats(work.words.hidden + at, hidden, tag, mask)
    else:
        gl.store(work.residual.hidden + at, hidden, mask=mask)
        gl.store(scaled_ptr + at, scaled, mask=mask)
        norm = 2 * layer + (1 if PHASE == OUT else 2)
        sums_at = work.residual.sums + norm * work.max_rows + n
        gl.atomic_add(sums_at, squares, mask=row_mask, sem="relaxed")


@gluon.jit
def project(
    ring, rows, scale_ptr, work, own, layer, done, turn, offset, K: gl.constexpr,
    PARTS: gl.constexpr, PHASE: gl.constexpr, PART: gl.constexpr, PLAN: gl.constexpr,
):  # fmt: skip
    """Multiply and finish this program's tiles; return `turn` and `offset` behind them."""
    NORM: gl.constexpr = 1 if PHASE == OUT else 2  # the norms before and in this layer
    BEFORE: gl.constexpr = 0 if PHASE == OUT else PLAN.hidden * PLAN.out_parts
    REGION: gl.constexpr = (PLAN.qkv * PLAN.qkv_parts + BEFORE) * PLAN.word_rows
    WIDTH: gl.constexpr = PLAN.width
    units = PLAN.hidden // TILE * PARTS
    first, offset = share(units, offset)
    for unit in range(first, units, own.grid):
        half = unit // PARTS * 2 + PART
        scale = row_scale(scale_ptr, layer, half, PLAN.hidden, PLAN)
        if PLAN.ranks > 1:
            exchange = exchange_of(work, layer, PHASE, PLAN)
        first_rows(rows, turn, PLAN)
        mine = rows_to_finish(unit, own.num_rows, PARTS)
        bias_ptr = work.family.out_bias if PHASE == OUT else work.family.down_bias
        operands = projection_operands(half, work, bias_ptr, layer, 2 * layer + NORM, mine, PLAN)
        acc, turn = product(ring, rows, scale, turn, K // PARTS, PART, PLAN)
        tag = tag_of(own.first_tag, layer, 2 if PHASE == OUT else 3)
        if PLAN.ranks > 1:
            push_part(acc, unit % PARTS, half, work, exchange, PLAN)
            v = gl.zeros([HALF, WIDTH], gl.float32, FINISH)
            has_sum = unit % PARTS == PARTS - 1
            if has_sum:
                v = collect_ranks(half, work, exchange, PARTS, PLAN)
        else:
            v, has_sum = add_parts(acc, unit, work, own, tag, REGION, PARTS, PART, PLAN)
        if has_sum:
            finish_projection(v, operands, half, work, own, layer, PHASE, PLAN)
            if PLAN.word_rows == 0:
                arrive(done + PHASE * STRIDE, 1)
    return turn, offset
