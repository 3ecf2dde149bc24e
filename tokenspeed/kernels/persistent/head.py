"""The phase of the head: what `select` needs of each block of logits."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from tokenspeed.kernels.persistent.grid import share
from tokenspeed.kernels.persistent.layouts import FINISH, HALF, TILE, inverse_rms, tanh
from tokenspeed.kernels.persistent.products import first_rows, product, row_scale
from tokenspeed.kernels.persistent.tagged import ask_squares, row_squares

_EXP_UNIT = gl.constexpr(2.0**-30)  # as in lm_head
_LOG2E = gl.constexpr(1.4426950408889634)


@gluon.jit
def last_sums(work, own, wanted, PLAN: gl.constexpr):
    """Return the sums of squares that the last norm needs."""
    if PLAN.word_rows > 0:
        tag = own.first_tag + 3 * work.layers
        return row_squares(ask_squares(work, PLAN), work, tag, FINISH, PLAN)
    else:
        n = gl.arange(0, PLAN.width, gl.SliceLayout(0, FINISH))
        at = work.residual.sums + 2 * work.layers * work.max_rows + n
        return gl.load(at, mask=wanted, other=0, cache_modifier=".cg")


@gluon.jit
def wanted_rows(outputs, WIDTH: gl.constexpr):
    """Return each row's number among the outputs, whether it is one, and its draft."""
    L: gl.constexpr = gl.BlockedLayout([1, 1], [8, 4], [4, 1], [1, 0])
    N: gl.constexpr = gl.SliceLayout(0, FINISH)
    i = gl.arange(0, WIDTH, gl.SliceLayout(1, L))
    exists = i < gl.load(outputs.num)
    row = gl.load(outputs.rows + i, mask=exists, other=2147483647)
    n = gl.expand_dims(gl.arange(0, WIDTH, gl.SliceLayout(0, L)), 0)
    row = gl.expand_dims(row, 1)
    outs = gl.convert_layout(gl.sum((row < n).to(gl.int32), 0), N)
    wanted = gl.convert_layout(gl.sum((row == n).to(gl.int32), 0), N) > 0
    return outs, wanted, gl.load(outputs.drafts + outs, mask=wanted, other=-1)


@gluon.jit
def finish_head(lower, upper, inverse, tile, outs, wanted, drafts, work, PLAN: gl.constexpr):
    """Store what `select` needs of a block of logits, given in halves; see `lm_head`."""
    VOCAB: gl.constexpr = PLAN.vocab
    BLOCKS: gl.constexpr = (VOCAB + TILE - 1) // TILE
    column = gl.expand_dims(tile * TILE + gl.arange(0, HALF, gl.SliceLayout(1, FINISH)), 1)
    above = column + HALF
    lower = lower * gl.expand_dims(inverse, 0)
    upper = upper * gl.expand_dims(inverse, 0)
    CAP: gl.constexpr = PLAN.logit_cap
    if CAP > 0.0:
        lower = tanh(lower * (1.0 / CAP)) * CAP
        upper = tanh(upper * (1.0 / CAP)) * CAP
    if PLAN.store_logits:
        at = gl.expand_dims(outs.to(gl.int64) * VOCAB, 0)
        mask = gl.expand_dims(wanted, 0)
        gl.store(work.logits + (at + column), lower, mask=mask & (column < VOCAB))
        gl.store(work.logits + (at + above), upper, mask=mask & (above < VOCAB))
    lower = gl.where(column < VOCAB, lower, float("-inf"))
    upper = gl.where(above < VOCAB, upper, float("-inf"))
    best = gl.max(gl.maximum(lower, upper), 0)
    top = gl.expand_dims(best, 0)
    first = gl.where(lower == top, column, gl.where(upper == top, above, VOCAB))
    index = gl.min(first, 0)
    exps = (gl.exp2((lower - top) * _LOG2E) * (1.0 / _EXP_UNIT)).to(gl.int64)
    exps += (gl.exp2((upper - top) * _LOG2E) * (1.0 / _EXP_UNIT)).to(gl.int64)
    total = gl.sum(exps, 0)
    at = outs * BLOCKS + tile
    gl.store(work.head.best + at, best, mask=wanted)
    gl.store(work.head.index + at, index + work.first_token, mask=wanted)
    gl.store(work.head.exps + at, total.to(gl.float32) * _EXP_UNIT, mask=wanted)
    mine = wanted & (drafts >= tile * TILE) & (drafts < (tile + 1) * TILE)
    drafted = gl.expand_dims(drafts, 0)
    lower = gl.where(column == drafted, lower, float("-inf"))
    upper = gl.where(above == drafted, upper, float("-inf"))
    gl.store(work.head.draft_logit + outs, gl.max(gl.maximum(lower, upper), 0), mask=mine)


@gluon.jit
def project_head(
    ring, rows, scale_ptr, work, own, shared, turn, offset, PART: gl.constexpr, PLAN: gl.constexpr
):
    """Multiply this program's tiles and reduce their logits."""
    WIDTH: gl.constexpr = PLAN.width
    outs, wanted, drafts = wanted_rows(work.outputs, WIDTH)
    drafts -= work.first_token  # the head may have some tokens only
    units = (PLAN.vocab + TILE - 1) // TILE
    first, offset = share(units, offset)
    count = 0
    inverse = gl.zeros([WIDTH], gl.float32, gl.SliceLayout(0, FINISH))
    if first < units:
        first_rows(rows, turn, PLAN)
        inverse = inverse_rms(last_sums(work, own, wanted, PLAN), PLAN.hidden, PLAN.eps)
    for unit in range(first, units, own.grid):
        scale = row_scale(scale_ptr, 0, unit * 2 + PART, PLAN.vocab, PLAN)
        acc, turn = product(ring, rows, scale, turn, PLAN.hidden, PART, PLAN)
        v = gl.convert_layout(acc, FINISH)
        # A block of logits is a whole tile: its upper half goes to the partition of the lower.
        if PART == 0:
            mbarrier.wait(shared.logits_full, count & 1)
            upper = shared.logits.load(FINISH)
            mbarrier.arrive(shared.logits_empty)
            finish_head(v, upper, inverse, unit, outs, wanted, drafts, work, PLAN)
        else:
            mbarrier.wait(shared.logits_empty, (count & 1) ^ 1)
            shared.logits.store(v)
            mbarrier.arrive(shared.logits_full)
        count += 1
