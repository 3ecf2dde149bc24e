"""What all programs do at the end: their blocks of logits, and what `select` needs of each."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from tokenspeed.kernels.gluon_names import barrier, tma_load
from tokenspeed.kernels.small.arguments import WARPS as _WARPS
from tokenspeed.kernels.small.products import (
    PANEL,
    WORDS,
    fields,
    inverse_of,
    places,
    put_row,
    square_sum,
    wait_hidden,
)

_EXP_UNIT = gl.constexpr(2.0**-30)  # as in lm_head
_LOG2E = gl.constexpr(1.4426950408889634)
HEAD_BLOCK = gl.constexpr(64)  # logits of a block, `tuned.head_block_n`
_head = gl.NVMMADistributedLayout(
    version=[3, 0], warps_per_cta=[_WARPS, 1], instr_shape=[16, 8, 16]
)
_HEAD = gl.constexpr(_head)
_HEAD_A = gl.constexpr(gl.DotOperandLayout(0, _head, k_width=2))
_HEAD_ROWS = gl.constexpr(gl.SliceLayout(1, _head))
_BLOCKS = gl.constexpr(gl.BlockedLayout([1, 2], [1, 32], [2, _WARPS // 2], [1, 0]))
_BESTS = gl.constexpr(gl.SliceLayout(1, _BLOCKS))
SLOTS = gl.constexpr(2)  # panels in shared memory


@gluon.jit
def send_panel(desc, panel, slot, memory, PLAN: gl.constexpr):
    """Ask for 128 rows of the head's weight."""
    bar = memory.full.index(slot)
    mbarrier.expect(bar, PANEL * WORDS * 2 * (PLAN.hidden // 64))
    tma_load(desc, [panel, 0, 0, 0], bar, memory.sent.index(slot))


@gluon.jit
def send_first_panels(desc, memory, PLAN: gl.constexpr):
    """Ask for this program's first panels, as many as there is room for."""
    PANELS: gl.constexpr = (PLAN.vocab + PANEL - 1) // PANEL
    for slot in gl.static_range(SLOTS):
        panel = gl.program_id(0) + slot * gl.num_programs(0)
        if panel < PANELS:
            send_panel(desc, panel, slot, memory, PLAN)


@gluon.jit
def finish_panel(v, panel, out, exists, draft, work, PLAN: gl.constexpr):
    """Store what `select` needs of the two blocks of a panel's logits [128]; see `lm_head`."""
    VOCAB: gl.constexpr = PLAN.vocab
    TOTAL: gl.constexpr = (VOCAB + HEAD_BLOCK - 1) // HEAD_BLOCK
    logits = gl.convert_layout(gl.reshape(v, [PANEL // HEAD_BLOCK, HEAD_BLOCK]), _BLOCKS)
    block = panel * (PANEL // HEAD_BLOCK) + gl.arange(0, PANEL // HEAD_BLOCK, _BESTS)
    at = gl.expand_dims(gl.arange(0, HEAD_BLOCK, gl.SliceLayout(0, _BLOCKS)), 0)
    column = gl.expand_dims(block, 1) * HEAD_BLOCK + at
    if PLAN.store_logits:
        gl.store(work.logits + column, logits, mask=(column < VOCAB) & exists)
    logits = gl.where(column < VOCAB, logits, float("-inf"))
    best = gl.max(logits, 1)
    top = gl.expand_dims(best, 1)
    index = gl.min(gl.where(logits == top, column, VOCAB), 1)
    exps = (gl.exp2((logits - top) * _LOG2E) * (1.0 / _EXP_UNIT)).to(gl.int64)
    total = gl.sum(exps, 1)
    mask = (block < TOTAL) & exists
    gl.store(work.head.best + block, best, mask=mask)
    gl.store(work.head.index + block, index, mask=mask)
    gl.store(work.head.exps + block, total.to(gl.float32) * _EXP_UNIT, mask=mask)
    mine = mask & (draft >= block * HEAD_BLOCK) & (draft < (block + 1) * HEAD_BLOCK)
    of_draft = gl.max(gl.where(column == draft, logits, float("-inf")), 1)
    gl.store(work.head.draft_logit + block * 0, of_draft, mask=mine)


@gluon.jit
def project_head(desc, work, first, memory, PLAN: gl.constexpr):
    """Multiply this program's panels, which are under way, and reduce their logits."""
    HIDDEN: gl.constexpr = PLAN.hidden
    UNITS: gl.constexpr = HIDDEN // 64
    PANELS: gl.constexpr = (PLAN.vocab + PANEL - 1) // PANEL
    exists = gl.load(work.outputs.num) > 0
    draft = gl.load(work.outputs.drafts)
    channel = places(UNITS, 1)
    norm = gl.load(work.tables.norms + (2 * work.layers * HIDDEN + channel)).to(gl.float32)
    hidden = wait_hidden(channel, work, first + 4 * work.layers)
    barrier()
    put_row(hidden, norm, memory.x_plain)
    fence_async_shared()
    barrier()
    inverse = inverse_of(square_sum(hidden), PANEL, _HEAD_ROWS, PLAN)
    row = gl.arange(0, PANEL, _HEAD_ROWS)
    count = 0
    for panel in range(gl.program_id(0), PANELS, gl.num_programs(0)):
        slot = count % SLOTS
        at = panel * PANEL + row
        scale = gl.load(work.matrices.head_scale + at, mask=at < PLAN.vocab, other=0.0)
        mbarrier.wait(memory.full.index(slot), count // SLOTS & 1)
        acc = gl.zeros([PANEL, 8], gl.float32, _HEAD)
        for u in gl.static_range(UNITS):
            words = memory.data.index(slot * UNITS + u).load(_HEAD_A)
            a = fields(words, _HEAD_A)
            acc = warpgroup_mma(a, memory.x.index(u).permute((1, 0)), acc, is_async=True)
            acc = warpgroup_mma_wait(0, deps=[acc, a])[0]
        following = panel + SLOTS * gl.num_programs(0)
        if following < PANELS:
            barrier()
            send_panel(desc, following, slot, memory, PLAN)
        n = gl.expand_dims(gl.arange(0, 8, gl.SliceLayout(0, _HEAD)), 0)
        v = gl.sum(gl.where(n == 0, acc, 0.0), 1)
        finish_panel(v * scale * inverse, panel, 0, exists, draft, work, PLAN)
        count += 1
