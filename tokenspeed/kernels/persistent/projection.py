"""The phases of out and down: a product added to the hidden states, and the next norm prepared."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels.persistent.grid import arrive, share
from tokenspeed.kernels.persistent.layouts import FINISH, HALF, OUT, STRIDE, SUM_UNIT, TILE, narrow
from tokenspeed.kernels.persistent.parts import add_parts, rows_to_finish
from tokenspeed.kernels.persistent.products import first_rows, product, row_scale


@gluon.jit
def projection_operands(half, work, norm, num_rows, PLAN: gl.constexpr):
    """Return the hidden states of half a tile and the next norm's weight."""
    column = half * HALF + gl.arange(0, HALF, gl.SliceLayout(1, FINISH))
    n = gl.arange(0, PLAN.width, gl.SliceLayout(0, FINISH))
    weight = gl.load(work.tables.norms + norm * PLAN.hidden + column).to(gl.float32)
    at = gl.expand_dims(n, 0) * PLAN.hidden + gl.expand_dims(column, 1)
    mask = gl.expand_dims(n < num_rows, 0) & (at >= 0)
    return gl.load(work.residual.hidden + at, mask=mask, other=0.0, cache_modifier=".cg"), weight


@gluon.jit
def finish_projection(v, operands, half, work, norm, num_rows, PLAN: gl.constexpr):
    """Add to the hidden states and prepare norm number `norm`; see `kernels.projection`."""
    hidden, weight = operands
    scaled_ptr = work.residual.scaled
    column = half * HALF + gl.arange(0, HALF, gl.SliceLayout(1, FINISH))
    n = gl.arange(0, PLAN.width, gl.SliceLayout(0, FINISH))
    row_mask = n < num_rows
    at = gl.expand_dims(n, 0) * PLAN.hidden + gl.expand_dims(column, 1)
    mask = gl.expand_dims(row_mask, 0) & (at >= 0)
    hidden += v
    gl.store(work.residual.hidden + at, hidden, mask=mask)
    scaled = narrow(hidden * gl.expand_dims(weight, 1), scaled_ptr.dtype.element_ty)
    gl.store(scaled_ptr + at, scaled, mask=mask)
    kept = gl.where(mask, hidden, 0.0)
    squares = gl.sum((kept * kept * (1.0 / SUM_UNIT)).to(gl.int64), 0)
    sums_at = work.residual.sums + norm * work.max_rows + n
    gl.atomic_add(sums_at, squares, mask=row_mask, sem="relaxed")


@gluon.jit
def project(
    ring, rows, scale_ptr, work, own, layer, done, turn, offset, K: gl.constexpr,
    PARTS: gl.constexpr, PHASE: gl.constexpr, PART: gl.constexpr, PLAN: gl.constexpr,
):  # fmt: skip
    """Multiply and finish this program's tiles; return `turn` and `offset` behind them."""
    NORM: gl.constexpr = 1 if PHASE == OUT else 2  # the norms before and in this layer
    units = PLAN.hidden // TILE * PARTS
    first, offset = share(units, offset)
    for unit in range(first, units, own.grid):
        half = unit // PARTS * 2 + PART
        scale = row_scale(scale_ptr, layer, half, PLAN.hidden, PLAN)
        first_rows(rows, turn, PLAN)
        mine = rows_to_finish(unit, own.num_rows, PARTS)
        operands = projection_operands(half, work, 2 * layer + NORM, mine, PLAN)
        acc, turn = product(ring, rows, scale, turn, K // PARTS, PART, PLAN)
        v, has_sum = add_parts(acc, unit, work.parts, own.num_rows, PARTS, PLAN.width, PART)
        if has_sum:
            finish_projection(v, operands, half, work, 2 * layer + NORM, own.num_rows, PLAN)
            arrive(done + PHASE * STRIDE, 1)
    return turn, offset
