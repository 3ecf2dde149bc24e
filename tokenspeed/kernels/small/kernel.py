"""The kernel: its shared memory, and which program does what."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from tokenspeed.kernels.gluon_names import reinterpret
from tokenspeed.kernels.persistent.kernel import begin_step
from tokenspeed.kernels.persistent.tagged import first_tag
from tokenspeed.kernels.small.arguments import SmallMemory, SmallWork
from tokenspeed.kernels.small.attend import BLOCK, BLOCKS, GROUP, HEAD_DIM, SPLIT, attend_layers
from tokenspeed.kernels.small.head import SLOTS, project_head, send_first_panels
from tokenspeed.kernels.small.matrices import down_layers, gate_layers, inner_units
from tokenspeed.kernels.small.products import PANEL, M

PANEL_BLOCK = gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=4)
_COPIED = gl.constexpr(PANEL_BLOCK)
_READ = gl.constexpr(gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=2))
_ROWS = gl.constexpr(gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=2))
_PLAIN = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [2, 1, 0]))
_PLAIN_BLOCKS = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [3, 2, 1, 0]))
_PLAIN_ROWS = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [1, 0]))
_LINE = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [0]))
_CACHE = gl.constexpr(gl.SwizzledSharedLayout(8, 1, 8, [1, 0]))


@gluon.jit
def small_kernel(
    w_head, matrices, tokens_ptr, places, outputs, begin, tables, cache, head, logits_ptr,
    words, layers, PLAN: gl.constexpr,
):  # fmt: skip
    """Launch as a cooperative grid of one program a multiprocessor, WARPS warps.

    w_head: a copy descriptor of panels, [*, units, PANEL, 32] words. The other arguments are groups
    of `arguments`.
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
    sums = gl.allocate_shared_memory(gl.float32, [M], _LINE)
    queries = gl.allocate_shared_memory(dtype, [16, HEAD_DIM], _PLAIN_ROWS)
    keys = gl.allocate_shared_memory(dtype, [2, SPLIT, HEAD_DIM], _CACHE)
    cached = gl.allocate_shared_memory(dtype, [2, SPLIT, HEAD_DIM], _CACHE)
    scores = gl.allocate_shared_memory(gl.float32, [2, 8, SPLIT], _PLAIN_ROWS)
    weights = gl.allocate_shared_memory(dtype, [2, BLOCKS, 16, BLOCK], _PLAIN_BLOCKS)
    stats = gl.allocate_shared_memory(gl.float32, [2, 2 * BLOCKS, 16], _PLAIN)
    attended = gl.allocate_shared_memory(dtype, [16, HEAD_DIM], _PLAIN_ROWS)
    full = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    for slot in gl.static_range(SLOTS):
        mbarrier.init(full.index(slot), count=1)
    memory = SmallMemory(
        x=x,
        x_plain=reinterpret(x, dtype, [1, X_UNITS, 8, 64], _PLAIN).index(0),
        data=data,
        sent=sent,
        full=full,
        sums=sums,
        queries=queries,
        query_rows=reinterpret(queries, dtype, [16, HEAD_DIM], _LINE),
        keys=keys,
        key_rows=reinterpret(keys, dtype, [2 * SPLIT, HEAD_DIM], _LINE),
        cached=cached,
        cached_rows=reinterpret(cached, dtype, [2 * SPLIT, HEAD_DIM], _LINE),
        scores=scores,
        blocks=reinterpret(scores, gl.float32, [2, 8, BLOCKS, BLOCK], _PLAIN_BLOCKS),
        weights=weights,
        weight_blocks=reinterpret(weights, dtype, [2 * BLOCKS, 16, BLOCK], _PLAIN_ROWS),
        stats=stats,
        stat_rows=reinterpret(stats, gl.float32, [4 * BLOCKS, 16], _LINE),
        attended=attended,
        attended_row=reinterpret(attended, dtype, [8, GROUP * HEAD_DIM], _PLAIN_ROWS),
    )
    work = SmallWork(
        matrices, tokens_ptr, places, outputs, tables, cache, head, logits_ptr, words, layers
    )
    first = first_tag(words.step)
    program = gl.program_id(0)
    GATE: gl.constexpr = PLAN.kv_heads
    DOWN: gl.constexpr = GATE + PLAN.gate_programs
    send_first_panels(w_head, memory, PLAN)
    if program < GATE:
        attend_layers(program, work, first, memory, PLAN)
    elif program < DOWN:
        gate_layers(program - GATE, work, first, memory, PLAN)
    else:
        down_layers(program - DOWN, work, first, memory, PLAN)
    project_head(w_head, work, first, memory, PLAN)
