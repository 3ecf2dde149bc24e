"""The kernel: its shared memory, and which program does what."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from tokenspeed.kernels.gluon_names import reinterpret
from tokenspeed.kernels.persistent.kernel import begin_step
from tokenspeed.kernels.persistent.tagged import first_tag
from tokenspeed.kernels.small.arguments import SmallMemory, SmallWork
from tokenspeed.kernels.small.attend import BLOCK, BLOCKS, HEAD_DIM, SPLIT, attend_layers
from tokenspeed.kernels.small.head import SLOTS, project_head, send_first_panels
from tokenspeed.kernels.small.mlp import down_layers, gate_layers, inner_units
from tokenspeed.kernels.small.products import PANEL

PANEL_BLOCK = gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=4)
_COPIED = gl.constexpr(PANEL_BLOCK)
_READ = gl.constexpr(gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=2))
_ROWS = gl.constexpr(gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=2))
_PLAIN = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [2, 1, 0]))
_PLAIN_ROWS = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [1, 0]))
_LINE = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [0]))
_CACHE = gl.constexpr(gl.SwizzledSharedLayout(8, 1, 8, [1, 0]))


@gluon.jit
def small_kernel(
    w_qkv, w_head, matrices, tokens_ptr, places, outputs, begin, tables, cache, head, logits_ptr,
    words, layers, PLAN: gl.constexpr,
):  # fmt: skip
    """Launch as a cooperative grid of one program a multiprocessor, WARPS warps.

    w_qkv, w_head: copy descriptors of panels, [*, units, PANEL, 32] words. Rows of qkv are those of
    a kv head one behind the other: its queries, its key and its value.
    The other arguments are groups of `arguments`.
    """
    # A step that is void, or only loads the kernel, has no rows.
    is_run = gl.load(begin.rows) > 0
    is_run = is_run & begin_step(begin)
    if is_run == 0:
        return
    UNITS: gl.constexpr = PLAN.hidden // 64
    dtype: gl.constexpr = cache.k.dtype.element_ty
    ASKED: gl.constexpr = inner_units(PLAN.inner, PLAN.down_parts)
    X_UNITS: gl.constexpr = ASKED if ASKED > UNITS else UNITS
    x = gl.allocate_shared_memory(dtype, [X_UNITS, 8, 64], _ROWS)
    data = gl.allocate_shared_memory(gl.int16, [SLOTS * UNITS, PANEL, 32], _READ)
    sent = reinterpret(data, gl.int16, [SLOTS, 1, UNITS, PANEL, 32], _COPIED)
    sums = gl.allocate_shared_memory(gl.float32, [128], _LINE)
    heads = gl.allocate_shared_memory(dtype, [16, HEAD_DIM], _PLAIN_ROWS)
    keys = gl.allocate_shared_memory(dtype, [SPLIT, HEAD_DIM], _CACHE)
    cached = gl.allocate_shared_memory(dtype, [SPLIT, HEAD_DIM], _CACHE)
    scores = gl.allocate_shared_memory(gl.float32, [16, SPLIT], _PLAIN_ROWS)
    weights = gl.allocate_shared_memory(dtype, [BLOCKS, 16, BLOCK], _PLAIN)
    stats = gl.allocate_shared_memory(gl.float32, [2 * BLOCKS, 16], _PLAIN_ROWS)
    attended = gl.allocate_shared_memory(dtype, [16, HEAD_DIM], _PLAIN_ROWS)
    qkv_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    head_full = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    mbarrier.init(qkv_full, count=1)
    for slot in gl.static_range(SLOTS):
        mbarrier.init(head_full.index(slot), count=1)
    memory = SmallMemory(
        x=x,
        x_plain=reinterpret(x, dtype, [1, X_UNITS, 8, 64], _PLAIN).index(0),
        data=data,
        sent=sent,
        qkv_full=qkv_full,
        head_full=head_full,
        sums=sums,
        heads=heads,
        heads_plain=reinterpret(heads, dtype, [16, HEAD_DIM], _LINE),
        keys=keys,
        cached=cached,
        scores=scores,
        blocks=reinterpret(scores, gl.float32, [16, BLOCKS, BLOCK], _PLAIN),
        weights=weights,
        weights_plain=reinterpret(weights, dtype, [BLOCKS, 16, BLOCK], _PLAIN_ROWS),
        stats=stats,
        stats_plain=reinterpret(stats, gl.float32, [2 * BLOCKS, 16], _LINE),
        attended=attended,
        attended_rows=reinterpret(attended, dtype, [8, 2 * HEAD_DIM], _PLAIN_ROWS),
    )
    work = SmallWork(
        matrices, tokens_ptr, places, outputs, tables, cache, head, logits_ptr, words, layers
    )
    first = first_tag(words.step)
    # The programs that attend come last: these have no room for a second panel of the head.
    program = gl.program_id(0)
    DOWN: gl.constexpr = PLAN.down_programs
    GATE: gl.constexpr = PLAN.gate_programs
    if program < DOWN:
        send_first_panels(w_head, memory, PLAN)
        down_layers(program, work, first, memory, PLAN)
    elif program < DOWN + GATE:
        send_first_panels(w_head, memory, PLAN)
        gate_layers(program - DOWN, work, first, memory, PLAN)
    else:
        if program < DOWN + GATE + PLAN.kv_heads:
            attend_layers(w_qkv, program - DOWN - GATE, work, first, memory, PLAN)
        send_first_panels(w_head, memory, PLAN)
    project_head(w_head, work, first, memory, PLAN)
