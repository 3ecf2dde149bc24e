"""The phase of gate and up: activation(gate) * up, whose rows alternate in the weight."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels import gate_up
from tokenspeed.kernels.persistent.grid import arrive, share
from tokenspeed.kernels.persistent.layouts import (
    FINISH,
    GATE_UP,
    HALF,
    PAIRS,
    STRIDE,
    TILE,
    inverse_rms,
    narrow,
    pair_bias,
    pairs,
)
from tokenspeed.kernels.persistent.products import first_rows, product, row_scale
from tokenspeed.kernels.persistent.tagged import ask_squares, leave_halves, row_squares, tag_of

gated = gluon.jit(gate_up.gated.fn)


@gluon.jit
def gate_up_operands(half, work, layer, num_rows, PLAN: gl.constexpr):
    """Return the rows' sums of squares, and biases."""
    bias = pair_bias(work.family.gate_up_bias, layer, half, 2 * PLAN.inner)
    if PLAN.word_rows > 0:
        return ask_squares(work, PLAN), bias
    else:
        n = gl.arange(0, PLAN.width, gl.SliceLayout(0, PAIRS))
        at = work.residual.sums + (2 * layer + 1) * work.max_rows + n
        return gl.load(at, mask=n < num_rows, other=0, cache_modifier=".cg"), bias


@gluon.jit
def finish_gate_up(v, operands, half, work, own, layer, PLAN: gl.constexpr):
    """Write activation(gate) * up."""
    sums, bias = operands
    inner_ptr = work.buffers.inner
    dtype: gl.constexpr = inner_ptr.dtype.element_ty
    if PLAN.word_rows > 0:
        sums = row_squares(sums, work, tag_of(own.first_tag, layer, 2), PAIRS, PLAN)
    inverse = inverse_rms(sums, PLAN.hidden, PLAN.eps)
    gate, up = pairs(v, PLAN.width)
    column = half * (HALF // 2) + gl.arange(0, HALF // 2, gl.SliceLayout(1, PAIRS))
    n = gl.arange(0, PLAN.width, gl.SliceLayout(0, PAIRS))
    row_mask = n < own.num_rows
    gate = gate * gl.expand_dims(inverse, 0)
    up = up * gl.expand_dims(inverse, 0)
    if work.family.gate_up_bias is not None:
        gate += bias[0]
        up += bias[1]
    ACTIVATION: gl.constexpr = PLAN.activation
    out = gated(gate, up, ACTIVATION)
    at = gl.expand_dims(n, 0) * PLAN.inner + gl.expand_dims(column, 1)
    mask = gl.expand_dims(row_mask, 0) & (at >= 0)
    if PLAN.word_rows > 0:
        tag = tag_of(own.first_tag, layer, 3)
        leave_halves(work.words.inner + at, narrow(out, dtype), tag, mask)
    else:
        gl.store(inner_ptr + at, narrow(out, dtype), mask=mask)


@gluon.jit
def project_gate_up(
    ring, rows, scale_ptr, work, own, layer, done, turn, offset, PART: gl.constexpr,
    PLAN: gl.constexpr,
):  # fmt: skip
    """Multiply and finish this program's tiles; return `turn` and `offset` behind them."""
    units = 2 * PLAN.inner // TILE
    first, offset = share(units, offset)
    for unit in range(first, units, own.grid):
        half = unit * 2 + PART
        scale = row_scale(scale_ptr, layer, half, 2 * PLAN.inner, PLAN)
        first_rows(rows, turn, PLAN)
        operands = gate_up_operands(half, work, layer, own.num_rows, PLAN)
        acc, turn = product(ring, rows, scale, turn, PLAN.hidden, PART, PLAN)
        v = gl.convert_layout(acc, FINISH)
        finish_gate_up(v, operands, half, work, own, layer, PLAN)
        if PLAN.word_rows == 0:
            arrive(done + GATE_UP * STRIDE, 1)
    return turn, offset
