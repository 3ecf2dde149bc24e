"""The kernel: its memory and barriers, its partitions of warps, and the phases of a step."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from tokenspeed.kernels.gluon_names import reinterpret
from tokenspeed.kernels.persistent.arguments import Loaded, Ring, RowRing, Shared, Work
from tokenspeed.kernels.persistent.attention import BLOCK, CACHE_SHARED, attend_all
from tokenspeed.kernels.persistent.gate_up import project_gate_up
from tokenspeed.kernels.persistent.head import project_head
from tokenspeed.kernels.persistent.int4 import BYTES, GROUP_UNITS, TILE_WORDS, UNITS, tile_rows
from tokenspeed.kernels.persistent.layouts import (
    DOWN,
    FINISH_SHARED,
    FLOATS,
    HALF,
    HALF_SCALES,
    HALF_WORDS,
    OUT,
    PAIRS,
    PANEL,
    PANELS,
    PHASES,
    SCALES,
    STRIDE,
    TILE,
)
from tokenspeed.kernels.persistent.producers import produce_rows, produce_weights
from tokenspeed.kernels.persistent.projection import project
from tokenspeed.kernels.persistent.qkv import project_qkv
from tokenspeed.kernels.persistent.tagged import first_tag, leave_first
from tokenspeed.kernels.persistent.word_producer import FIRST_ROWS, produce_words


@gluon.constexpr_function
def registers(form: str, word_rows: int) -> list[int]:
    """Return the registers of a thread of each partition of the kernel but the first.

    That half of the consumers attends and gets what the others leave, up to all that a thread can
    have; with fewer it spills. The other half needs no more than 144, and is not faster with more.
    Producers of words hold as many words as they ask for at once, twice.
    """
    second, words = (144, 112) if form == "int8" and word_rows == 1 else (160, 96)
    return [second, 40, words, words]


@gluon.jit
def begin_step(begin):
    """Do for a step of few rows what `embedding` does for others; return whether it is run."""
    is_void = gl.load(begin.void) != 0
    turn = gl.load(begin.before) + 1
    if gl.program_id(0) == 0:
        gl.store(begin.turn, turn)
        if is_void:
            gl.store(begin.rows, 0)
            gl.store(begin.outputs, 0)
            gl.store(begin.tiles, 0)
    return is_void == 0


@gluon.jit
def load_once(work, PLAN: gl.constexpr):
    """Return what a partition of consumers needs in every phase."""
    # A step of one row takes it for granted, as the kernels do that this one replaces.
    count = gl.to_tensor(1) if PLAN.word_rows == 1 else gl.load(work.num_rows)
    num_rows = gl.to_tensor(PLAN.word_rows) if PLAN.word_rows > 0 else count
    first = first_tag(work.words.step) if PLAN.word_rows > 0 else 0
    WIDTH: gl.constexpr = PLAN.width
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, PAIRS))
    slots = gl.load(work.places.slots + n, mask=n < count, other=0).to(gl.int64)
    positions = gl.load(work.places.positions + n, mask=n < count, other=0)
    return Loaded(num_rows, count, slots, positions, gl.num_programs(0), first)


@gluon.jit
def consume(ring, rows, scales, work, shared, PART: gl.constexpr, PLAN: gl.constexpr):
    """Multiply and finish half of each tile: the lower 64 rows (PART 0) or the upper."""
    own = load_once(work, PLAN)
    if PLAN.word_rows > 0 and PART == 0:
        leave_first(work, own, PLAN)
    turn = 0
    offset = 0
    for layer in range(work.layers):
        done = work.counters + layer * (PHASES * STRIDE)
        turn, offset = project_qkv(ring, rows, scales[0], work, own, layer, done, turn, offset,
                                   PART, PLAN)  # fmt: skip
        if PART == 0:
            attend_all(work, own, layer, shared.cache, done, offset, PLAN)
        turn, offset = project(ring, rows, scales[1], work, own, layer, done, turn, offset,
                               PLAN.attended, PLAN.out_parts, OUT, PART, PLAN)  # fmt: skip
        turn, offset = project_gate_up(ring, rows, scales[2], work, own, layer, done, turn, offset,
                                       PART, PLAN)  # fmt: skip
        turn, offset = project(ring, rows, scales[3], work, own, layer, done, turn, offset,
                               PLAN.inner, PLAN.down_parts, DOWN, PART, PLAN)  # fmt: skip
    project_head(ring, rows, scales[4], work, own, shared, turn, offset, PART, PLAN)


@gluon.jit(
    do_not_specialize=[
        "rank", "first_token", "layers", "in_flight", "in_flight_down", "in_flight_head",
    ]
)  # fmt: skip
def persistent_kernel(
    w_qkv, w_out, w_gate_up, w_down, w_head, s_qkv, s_out, s_gate_up, s_down, s_head,
    x_scaled, x_values, x_inner,
    tokens_ptr, places, outputs, begin, tables, family, residual, buffers, cache, head, logits_ptr,
    parts_ptr, counters_ptr, words, peers, rank, first_token, layers, max_rows, in_flight,
    in_flight_down, in_flight_head, PLAN: gl.constexpr,
):  # fmt: skip
    """Launch as a cooperative grid of one program a multiprocessor, four warps.

    w, x: copy descriptors. s: too for int4, else scales. The groups are those of `arguments`.
    """
    # A step that is void, or only loads the kernel, has no rows.
    is_run = gl.load(begin.rows) > 0
    if PLAN.word_rows > 0:
        is_run = is_run & begin_step(begin)
    if is_run == 0:
        return
    SLOTS: gl.constexpr = PLAN.slots
    ROW_SLOTS: gl.constexpr = PLAN.row_slots
    PIECES: gl.constexpr = PLAN.columns // 64
    WIDTH: gl.constexpr = PLAN.width
    dtype: gl.constexpr = buffers.q.dtype.element_ty
    # Each piece of memory as producers write it and as each half of the consumers reads it.
    if PLAN.form == "bf16":
        data = gl.allocate_shared_memory(gl.bfloat16, [2 * SLOTS, HALF, 64], FLOATS)
        tiles = reinterpret(data, gl.bfloat16, [SLOTS, TILE, 64], FLOATS)
    else:
        data = gl.allocate_shared_memory(gl.int16, [4 * SLOTS, HALF, 32], HALF_WORDS)
        tiles = reinterpret(data, gl.int16, [2 * SLOTS, TILE // PANEL, PANEL, 32], PANELS)
    SCALE_SLOTS: gl.constexpr = SLOTS if PLAN.form == "int4" else 1
    half_scales = gl.allocate_shared_memory(gl.int32, [2 * SCALE_SLOTS, HALF], HALF_SCALES)
    group_scales = reinterpret(half_scales, gl.int32, [SCALE_SLOTS, 1, TILE], SCALES)
    if PLAN.exact:
        TILE_ROWS: gl.constexpr = tile_rows(PLAN.word_rows)
        x = gl.allocate_shared_memory(gl.int8, [ROW_SLOTS * PIECES, TILE_ROWS, 64], BYTES)
        weights_read = reinterpret(data, gl.int8, [4 * SLOTS, HALF, 64], BYTES)
    else:
        x = gl.allocate_shared_memory(dtype, [ROW_SLOTS * PIECES, WIDTH, 64], FLOATS)
        weights_read = data
    UNIT_SLOTS: gl.constexpr = ROW_SLOTS * PIECES // 2 if PLAN.exact else 1
    BLOCKS: gl.constexpr = tile_rows(PLAN.word_rows) // 2
    units = gl.allocate_shared_memory(gl.float32, [UNIT_SLOTS, BLOCKS], UNITS)
    cache_shared = gl.allocate_shared_memory(dtype, [2, BLOCK, PLAN.head_dim], CACHE_SHARED)
    full = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    x_full = gl.allocate_shared_memory(gl.int64, [ROW_SLOTS, 1], mbarrier.MBarrierLayout())
    logits_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    logits_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    # The head comes after all attention.
    LOGITS: gl.constexpr = PLAN.head_dim // (2 * WIDTH)
    logits_shared = reinterpret(
        cache_shared, gl.float32, [LOGITS, HALF, WIDTH], FINISH_SHARED
    ).index(0)
    for i in gl.static_range(SLOTS):
        mbarrier.init(full.index(i), count=1)
        mbarrier.init(empty.index(i), count=2)
    for i in gl.static_range(ROW_SLOTS):
        mbarrier.init(x_full.index(i), count=1)
    mbarrier.init(logits_full, count=1)
    mbarrier.init(logits_empty, count=1)
    ring = Ring(weights_read, half_scales, full, empty)
    rows = RowRing(x, units, x_full)
    shared = Shared(cache_shared, logits_shared, logits_full, logits_empty)
    weights = (w_qkv, w_out, w_gate_up, w_down, w_head)
    scales = (s_qkv, s_out, s_gate_up, s_down, s_head)
    work = Work(
        places, tables, family, residual, max_rows, buffers, cache, outputs, head, logits_ptr,
        parts_ptr, counters_ptr, begin.rows, layers, tokens_ptr, words, peers, rank, first_token,
    )  # fmt: skip
    sent = Ring(tiles, group_scales, full, empty)
    under_way = (in_flight, in_flight_down, in_flight_head)
    if PLAN.word_rows > 0:
        GROUPS: gl.constexpr = ROW_SLOTS // PLAN.group
        PIECES_AT_ONCE: gl.constexpr = PLAN.group * PIECES
        if PLAN.exact:
            groups = reinterpret(x, gl.int16, [GROUPS, PIECES_AT_ONCE, TILE_ROWS, 32], TILE_WORDS)
            UNITS_AT_ONCE: gl.constexpr = PIECES_AT_ONCE // 2
            group_units = reinterpret(
                units, gl.float32, [GROUPS, UNITS_AT_ONCE, BLOCKS], GROUP_UNITS
            )
            row = RowRing(groups, group_units, x_full)
        else:
            groups = reinterpret(x, dtype, [GROUPS, PIECES_AT_ONCE, WIDTH * 64], FIRST_ROWS)
            row = RowRing(groups, units, x_full)
        gl.warp_specialize(
            [
                (consume, (ring, rows, scales, work, shared, 0, PLAN)),
                (consume, (ring, rows, scales, work, shared, 1, PLAN)),
                (produce_weights, (sent, weights, scales, layers, under_way, PLAN)),
                (produce_words, (row, empty, words, layers, 0, PLAN)),
                (produce_words, (row, empty, words, layers, 1, PLAN)),
            ],
            [4, 1, 1, 1],
            registers(PLAN.form, PLAN.word_rows),
        )
    else:
        gl.warp_specialize(
            [
                (consume, (ring, rows, scales, work, shared, 0, PLAN)),
                (consume, (ring, rows, scales, work, shared, 1, PLAN)),
                (produce_weights, (sent, weights, scales, layers, under_way, PLAN)),
                (produce_rows, (rows, empty, (x_scaled, x_values, x_inner), counters_ptr,
                                begin.rows, layers, PLAN)),
            ],
            [4, 1, 1],
            [224, 40, 40],
        )  # fmt: skip
