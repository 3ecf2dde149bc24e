"""All layers and the head of a step as one persistent kernel, for Hopper (sm_90a), in Gluon.

Each multiprocessor runs one program of eight consumer warps and two producer warps. One producer
streams this program's share of all matrices of all layers, in the order of use, through a ring in
shared memory: it needs no activations and waits only for the consumers, so the weights of the next
matrix arrive while the grid synchronises between two matrices. The other producer waits for the
grid, then streams the rows' activations beside them. The consumers multiply (wgmma: 128 rows of a
weight on the left, the rows of the step on the right, 8 to 64 wide), and finish a tile as the other
kernels of this package do: same instruction, same order of sums, same rounding. A step has the same
bits whether it runs through this kernel or through those, and reads the same weights in memory.

Grid barriers are counters of finished tiles, one for each matrix, so a program without a tile of a
matrix does not take part in its barrier. They are zeroed before each launch, not by the kernel: a
step that was aborted leaves nothing behind.

Knows a whole step between the embedding and the choice of tokens; does not know requests.
"""

from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource
from triton.experimental.gluon.language.nvidia.ampere import mma_v2
from triton.experimental.gluon.language.nvidia.hopper import (
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from tokenspeed.kernels.gluon_names import barrier, reinterpret, tma_load
from tokenspeed.kernels.matrix import PANEL
from tokenspeed.kernels.norm import SUM_UNIT

TILE = 128  # rows of a weight that a program takes at once: a half for each partition of consumers
HALF = 64
COLUMNS = {"bf16": 64, "int8": 128, "int4": 256}  # of a stage of the ring: 16 KiB
STAGE_BYTES = 16384
COUNTER_STRIDE = 32  # int32 between two counters: a line of the L2 each
PHASES = 5  # counters of a layer: qkv, attention, out, gate_up, down
MAX_POLLS = 1 << 22  # of a grid barrier, some seconds: then the kernel traps
EMPTY = -0x3F2153  # a word of a part that has not arrived: a NaN that no arithmetic makes

_TILE, _STAGE, _STRIDE = gl.constexpr(TILE), gl.constexpr(STAGE_BYTES), gl.constexpr(COUNTER_STRIDE)
_PHASES = gl.constexpr(PHASES)
_HALF, _PANEL = gl.constexpr(HALF), gl.constexpr(PANEL)
_EMPTY = gl.constexpr(EMPTY)
_SUM_UNIT = gl.constexpr(SUM_UNIT)
_EXP_UNIT = gl.constexpr(2.0**-30)  # as in lm_head
_LOG2E = gl.constexpr(1.4426950408889634)
_SPLIT, _BLOCK = gl.constexpr(128), gl.constexpr(32)  # positions, as in attention

# Blocks as TMA copies them: a tile's columns of one unit.
FLOAT_LAYOUT = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=2)
WORD_LAYOUT = gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=3)
SCALE_LAYOUT = gl.NVMMASharedLayout(swizzle_byte_width=0, element_bitwidth=32, rank=2)
_FLOAT, _WORD, _SCALE = (gl.constexpr(x) for x in (FLOAT_LAYOUT, WORD_LAYOUT, SCALE_LAYOUT))
WORD_BLOCK = [TILE // PANEL, PANEL, 32]
_HALF_SCALES = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [0]))
# The same memory as a half of the consumers reads it.
_WORDS_2D = gl.constexpr(gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=2))
# How consumers hold the sums of half a tile when they finish it: neighbouring rows of a weight,
# which are rotated or gated together, in one thread.
_FINISH = gl.constexpr(gl.BlockedLayout([2, 1], [32, 1], [1, 4], [0, 1]))
_PAIRS = gl.constexpr(gl.BlockedLayout([1, 1], [32, 1], [1, 4], [0, 1]))
_FINISH_SHARED = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [0, 1]))
# Attention: 16 query heads (few of them used) by 32 positions, or by the columns of a head.
_mma = gl.NVMMADistributedLayout(version=[2, 0], warps_per_cta=[1, 4], instr_shape=[16, 8])
_ATTEND = gl.constexpr(_mma)
_ATTEND_A = gl.constexpr(gl.DotOperandLayout(0, _mma, k_width=2))
_ATTEND_B = gl.constexpr(gl.DotOperandLayout(1, _mma, k_width=2))
_CACHE_SHARED = gl.constexpr(gl.SwizzledSharedLayout(8, 1, 8, [1, 0]))


@gluon.jit
def share(units, offset):
    """Return the first unit of this program, and the offset of the next matrix.

    Units are dealt out over all matrices in turn, so that programs have equal shares in the end.
    """
    grid = gl.num_programs(0)
    return (gl.program_id(0) + grid - offset) % grid, (offset + units) % grid


@gluon.jit
def narrow(x, dtype: gl.constexpr):
    """Round float32 to dtype, to the nearest; too large for float16 becomes its largest."""
    if dtype == gl.float16:
        # Comparisons keep NaN.
        x = gl.where(x > 65504.0, 65504.0, x)
        x = gl.where(x < -65504.0, -65504.0, x)
    return x.to(dtype)


# Grid barriers.


@gluon.jit
def arrive(counter, count):
    """Announce what this program wrote, and make it visible to TMA copies too."""
    gl.inline_asm_elementwise(
        "fence.proxy.async.global; mov.u32 $0, 0;",
        "=r,~{memory}",
        [],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )
    barrier()
    gl.atomic_add(counter, count, sem="release", scope="gpu")


@gluon.jit
def wait(counter, target):
    """Wait until a counter has reached target. One lane of each warp polls."""
    gl.inline_asm_elementwise(
        """{
        .reg .pred p; .reg .u32 v, n;
        mov.u32 v, %laneid;
        setp.ne.u32 p, v, 0;
        @p bra DONE;
        mov.u32 n, 0;
        LOOP: ld.acquire.gpu.global.u32 v, [$1];
        setp.ge.s32 p, v, $2;
        @p bra DONE;
        add.u32 n, n, 1;
        setp.lt.u32 p, n, 4194304;
        @p bra LOOP;
        trap;
        DONE: bar.warp.sync 0xffffffff;
        fence.proxy.async.global;
        mov.u32 $0, 0;
        }""",
        "=r,l,r,~{memory}",
        [counter, target],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )
    barrier()


# The producer of weights.


@gluon.jit
def stream_weights(
    ring, weight, scale, turn, offset, in_flight, layer, N: gl.constexpr, K: gl.constexpr,
    PARTS: gl.constexpr, FORM: gl.constexpr, SLOTS: gl.constexpr, TILED: gl.constexpr,
):  # fmt: skip
    """Send this program's share of one matrix. turn counts stages since the start.

    At most `in_flight` stages are under way: more would only delay activations and counters. The
    rest of the ring has arrived and waits for the consumers.
    """
    data, scales, full, empty = ring
    COLUMNS: gl.constexpr = 64 if FORM == "bf16" else 128 if FORM == "int8" else 256
    STAGES: gl.constexpr = K // PARTS // COLUMNS
    units: gl.constexpr = (N + _TILE - 1) // _TILE * PARTS
    first, offset = share(units, offset)
    for unit in range(first, units, gl.num_programs(0)):
        tile = unit // PARTS
        begin = unit % PARTS * STAGES
        row = layer * N + tile * _TILE
        for s in range(STAGES):
            slot = turn % SLOTS
            bar = full.index(slot)
            mbarrier.wait(empty.index(slot), (turn // SLOTS & 1) ^ 1)
            before = gl.maximum(turn - in_flight, 0)
            mbarrier.wait(full.index(before % SLOTS), before // SLOTS & 1, pred=turn >= in_flight)
            mbarrier.expect(bar, _STAGE + (512 if FORM == "int4" else 0))
            if FORM == "bf16":
                if TILED:
                    at = (tile + layer * (N // _TILE)) * (K // 64) + begin + s
                    tma_load(weight, [at * _TILE, 0], bar, data.index(slot))
                else:
                    tma_load(weight, [row, (begin + s) * 64], bar, data.index(slot))
            else:
                at = (begin + s) * 2
                panel = row // _PANEL
                tma_load(weight, [panel, at * _PANEL, 0], bar, data.index(slot * 2))
                tma_load(weight, [panel, (at + 1) * _PANEL, 0], bar, data.index(slot * 2 + 1))
            if FORM == "int4":
                pair = layer * (K // 256) + begin + s
                tma_load(scale, [pair, tile * _TILE], bar, scales.index(slot))
            turn += 1
    return turn, offset


@gluon.jit
def produce_weights(
    ring,
    weights,
    scales,
    layers,
    in_flight,
    SHAPE: gl.constexpr,
    PARTS: gl.constexpr,
    FORM: gl.constexpr,
    SLOTS: gl.constexpr,
):
    HIDDEN: gl.constexpr = SHAPE[0]
    INNER: gl.constexpr = SHAPE[1]
    WIDTH: gl.constexpr = SHAPE[2] * SHAPE[4]
    QKV: gl.constexpr = (SHAPE[2] + 2 * SHAPE[3]) * SHAPE[4]
    TILED: gl.constexpr = FORM == "bf16"
    turn = 0
    offset = 0
    for layer in range(layers):
        turn, offset = stream_weights(ring, weights[0], scales[0], turn, offset, in_flight, layer,
                                      QKV, HIDDEN, PARTS[0], FORM, SLOTS, TILED)  # fmt: skip
        turn, offset = stream_weights(ring, weights[1], scales[1], turn, offset, in_flight, layer,
                                      HIDDEN, WIDTH, PARTS[1], FORM, SLOTS, TILED)  # fmt: skip
        turn, offset = stream_weights(ring, weights[2], scales[2], turn, offset, in_flight, layer,
                                      2 * INNER, HIDDEN, 1, FORM, SLOTS, TILED)  # fmt: skip
        turn, offset = stream_weights(ring, weights[3], scales[3], turn, offset, in_flight, layer,
                                      HIDDEN, INNER, PARTS[2], FORM, SLOTS, TILED)  # fmt: skip
    # The head may be the embedding's own memory, which is not tiled.
    stream_weights(ring, weights[4], scales[4], turn, offset, in_flight, 0, SHAPE[5], HIDDEN, 1,
                   FORM, SLOTS, False)  # fmt: skip


# The producer of activations.


@gluon.jit
def stream_rows(
    ring,
    x,
    turn,
    offset,
    N: gl.constexpr,
    K: gl.constexpr,
    PARTS: gl.constexpr,
    FORM: gl.constexpr,
    SLOTS: gl.constexpr,
    ROW_SLOTS: gl.constexpr,
    BYTES: gl.constexpr,
):
    """Send the rows' columns for each stage of `stream_weights`.

    Consumers leave a stage of weights and its activations together: a slot is free when `empty` of
    the stage says so that used it before.
    """
    data, full, empty = ring
    PIECES: gl.constexpr = 1 if FORM == "bf16" else 2 if FORM == "int8" else 4
    STAGES: gl.constexpr = K // PARTS // (64 * PIECES)
    units: gl.constexpr = (N + _TILE - 1) // _TILE * PARTS
    first, offset = share(units, offset)
    for unit in range(first, units, gl.num_programs(0)):
        begin = unit % PARTS * STAGES
        for s in range(STAGES):
            slot = turn % ROW_SLOTS
            bar = full.index(slot)
            before = gl.maximum(turn - ROW_SLOTS, 0)
            mbarrier.wait(empty.index(before % SLOTS), before // SLOTS & 1, pred=turn >= ROW_SLOTS)
            mbarrier.expect(bar, BYTES)
            for i in gl.static_range(PIECES):
                column = ((begin + s) * PIECES + i) * 64
                tma_load(x, [0, column], bar, data.index(slot * PIECES + i))
            turn += 1
    return turn, offset


@gluon.jit
def produce_rows(
    ring,
    rows,
    counters,
    num_rows_ptr,
    layers,
    SHAPE: gl.constexpr,
    PARTS: gl.constexpr,
    FORM: gl.constexpr,
    SLOTS: gl.constexpr,
    ROW_SLOTS: gl.constexpr,
    BYTES: gl.constexpr,
):
    scaled, values, inner = rows
    HIDDEN: gl.constexpr = SHAPE[0]
    INNER: gl.constexpr = SHAPE[1]
    WIDTH: gl.constexpr = SHAPE[2] * SHAPE[4]
    QKV: gl.constexpr = (SHAPE[2] + 2 * SHAPE[3]) * SHAPE[4]
    attended = gl.load(num_rows_ptr) * SHAPE[3]
    turn = 0
    offset = 0
    for layer in range(layers):
        done = counters + layer * (_PHASES * _STRIDE)
        if layer > 0:
            wait(done - _STRIDE, HIDDEN // _HALF)
        turn, offset = stream_rows(
            ring, scaled, turn, offset, QKV, HIDDEN, PARTS[0], FORM, SLOTS, ROW_SLOTS, BYTES
        )
        if attended > 0:
            wait(done + _STRIDE, attended)
        else:  # no rows: parts of the next matrix must not meet those of this one
            wait(done, QKV // _HALF)
        turn, offset = stream_rows(
            ring, values, turn, offset, HIDDEN, WIDTH, PARTS[1], FORM, SLOTS, ROW_SLOTS, BYTES
        )
        wait(done + 2 * _STRIDE, HIDDEN // _HALF)
        turn, offset = stream_rows(
            ring, scaled, turn, offset, 2 * INNER, HIDDEN, 1, FORM, SLOTS, ROW_SLOTS, BYTES
        )
        wait(done + 3 * _STRIDE, 2 * INNER // _HALF)
        turn, offset = stream_rows(
            ring, inner, turn, offset, HIDDEN, INNER, PARTS[2], FORM, SLOTS, ROW_SLOTS, BYTES
        )
    wait(counters + (layers * _PHASES - 1) * _STRIDE, HIDDEN // _HALF)
    stream_rows(ring, scaled, turn, offset, SHAPE[5], HIDDEN, 1, FORM, SLOTS, ROW_SLOTS, BYTES)


# Consumers: products.


@gluon.jit
def unpack_int8(words):
    """Turn words into the columns of their two fields, float16; see `matrix.unpack_int8`."""
    return gl.inline_asm_elementwise(
        """{
        .reg .b32 a, b, hundreds, offset;
        mov.b32 hundreds, 0x64646464;
        mov.b32 offset, 0x64806480;
        prmt.b32 a, $2, hundreds, 0x4240;
        prmt.b32 b, $2, hundreds, 0x4341;
        sub.rn.f16x2 $0, a, offset;
        sub.rn.f16x2 $1, b, offset;
        }""",
        "=r,=r,r",
        [words],
        dtype=(gl.float16, gl.float16),
        is_pure=True,
        pack=2,
    )


@gluon.jit
def unpack_int4(words, scale):
    """Turn words into the columns of their four fields, float16; see `matrix.unpack_int4`."""
    return gl.inline_asm_elementwise(
        """{
        .reg .b32 a, b, c, d, h, offset, sixteenth, small;
        mov.b32 offset, 0x64086408;
        mov.b32 sixteenth, 0x2C002C00;
        mov.b32 small, 0xD480D480;
        shr.u32 h, $4, 8;
        lop3.b32 a, $4, 0x000F000F, 0x64006400, 0xEA;
        lop3.b32 b, $4, 0x00F000F0, 0x64006400, 0xEA;
        lop3.b32 c, h, 0x000F000F, 0x64006400, 0xEA;
        lop3.b32 d, h, 0x00F000F0, 0x64006400, 0xEA;
        sub.rn.f16x2 a, a, offset;
        fma.rn.f16x2 b, b, sixteenth, small;
        sub.rn.f16x2 c, c, offset;
        fma.rn.f16x2 d, d, sixteenth, small;
        mul.rn.f16x2 $0, a, $5;
        mul.rn.f16x2 $1, b, $5;
        mul.rn.f16x2 $2, c, $5;
        mul.rn.f16x2 $3, d, $5;
        }""",
        "=&r,=&r,=&r,=r,r,r",
        [words, scale],
        dtype=(gl.float16, gl.float16, gl.float16, gl.float16),
        is_pure=True,
        pack=2,
    )


@gluon.jit
def side_by_side(left, right, OPERAND: gl.constexpr):
    """Return [64, 64] from two [64, 32]; moves nothing between threads."""
    both = gl.permute(gl.join(left, right), (0, 2, 1))  # [64, 2, 32]
    return gl.convert_layout(gl.reshape(both, [64, 64]), OPERAND)


@gluon.jit
def fields_int8(words, OPERAND: gl.constexpr):
    """Return the 64 columns of a unit, [64, 64] float16."""
    low, high = unpack_int8(words)
    return side_by_side(low, high, OPERAND)


@gluon.jit
def fields_int4(words, pair, OPERAND: gl.constexpr):
    """Return the two halves of the 128 columns of a unit, scaled by the low half of `pair`."""
    scale = pair.to(gl.int16).to(gl.float16, bitcast=True)
    a, b, c, d = unpack_int4(words, gl.expand_dims(scale, 1).broadcast_to(_HALF, 32))
    return side_by_side(a, b, OPERAND), side_by_side(c, d, OPERAND)


@gluon.jit
def product(
    ring,
    rows,
    turn,
    STAGES: gl.constexpr,
    FORM: gl.constexpr,
    WIDTH: gl.constexpr,
    SLOTS: gl.constexpr,
    ROW_SLOTS: gl.constexpr,
    PART: gl.constexpr,
):
    """Return half of the next STAGES of the ring times the rows, [64, WIDTH] float32, and turn."""
    data, scales, full, empty = ring
    x, x_full = rows
    ACC: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, WIDTH, 16]
    )
    OPERAND: gl.constexpr = gl.DotOperandLayout(0, ACC, k_width=2)
    acc = gl.zeros([_HALF, WIDTH], gl.float32, ACC)
    for s in range(STAGES):
        slot = turn % SLOTS
        x_slot = turn % ROW_SLOTS
        mbarrier.wait(full.index(slot), turn // SLOTS & 1)
        mbarrier.wait(x_full.index(x_slot), turn // ROW_SLOTS & 1)
        if FORM == "bf16":
            b = x.index(x_slot).permute((1, 0))
            acc = warpgroup_mma(data.index(slot * 2 + PART), b, acc, is_async=True)
            # The product before this one has read its stage.
            acc = warpgroup_mma_wait(1, deps=[acc])
            mbarrier.arrive(empty.index(gl.maximum(turn - 1, 0) % SLOTS), pred=s > 0)
        else:
            words0 = data.index(slot * 4 + PART).load(OPERAND)
            words1 = data.index(slot * 4 + 2 + PART).load(OPERAND)
            if FORM == "int8":
                a0 = fields_int8(words0, OPERAND)
                acc = warpgroup_mma(a0, x.index(x_slot * 2).permute((1, 0)), acc, is_async=True)
                a1 = fields_int8(words1, OPERAND)
                acc = warpgroup_mma(a1, x.index(x_slot * 2 + 1).permute((1, 0)), acc, is_async=True)
                acc = warpgroup_mma_wait(0, deps=[acc, a0, a1])[0]
            else:
                pair = scales.index(slot * 2 + PART).load(gl.SliceLayout(1, OPERAND))
                a0, a1 = fields_int4(words0, pair, OPERAND)
                acc = warpgroup_mma(a0, x.index(x_slot * 4).permute((1, 0)), acc, is_async=True)
                acc = warpgroup_mma(a1, x.index(x_slot * 4 + 1).permute((1, 0)), acc, is_async=True)
                a2, a3 = fields_int4(words1, pair >> 16, OPERAND)
                acc = warpgroup_mma(a2, x.index(x_slot * 4 + 2).permute((1, 0)), acc, is_async=True)
                acc = warpgroup_mma(a3, x.index(x_slot * 4 + 3).permute((1, 0)), acc, is_async=True)
                acc = warpgroup_mma_wait(0, deps=[acc, a0, a1, a2, a3])[0]
            mbarrier.arrive(empty.index(slot))
        turn += 1
    if FORM == "bf16":
        acc = warpgroup_mma_wait(0, deps=[acc])
        mbarrier.arrive(empty.index((turn - 1) % SLOTS))
    return acc, turn


@gluon.jit
def inverse_rms(total, K: gl.constexpr, EPS: gl.constexpr):
    """Return 1 / rms of each row, float32, from its sum of squares; see `norm.inverse_rms`.

    Apart from the load of the sum: products do not wait for it.
    """
    total = total.to(gl.float32)
    return gl.rsqrt(gl.fma(total, gl.full_like(total, _SUM_UNIT / K), gl.full_like(total, EPS)))


@gluon.jit
def pairs(v, WIDTH: gl.constexpr):
    """Return the even and the odd rows of [64, WIDTH]; moves nothing between threads."""
    even, odd = gl.split(gl.permute(gl.reshape(v, [_HALF // 2, 2, WIDTH]), (0, 2, 1)))
    return gl.convert_layout(even, _PAIRS), gl.convert_layout(odd, _PAIRS)


@gluon.jit
def first_rows(rows, turn, ROW_SLOTS: gl.constexpr):
    """Wait until the next product has activations: then all matrices before it are finished.

    What finishing a tile needs is loaded after this wait, and arrives during the product.
    """
    x, x_full = rows
    mbarrier.wait(x_full.index(turn % ROW_SLOTS), turn // ROW_SLOTS & 1)


@gluon.jit
def row_places(work, num_rows, WIDTH: gl.constexpr):
    """Return the slots and positions of the rows: loaded once, as the chains of loads are long."""
    fields, tables, buffers = work
    slots_ptr, positions_ptr = fields
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, _PAIRS))
    slots = gl.load(slots_ptr + n, mask=n < num_rows, other=0).to(gl.int64)
    return slots, gl.load(positions_ptr + n, mask=n < num_rows, other=0)


@gluon.jit
def qkv_operands(half, work, places, layer, num_rows, SHAPE: gl.constexpr, WIDTH: gl.constexpr):
    """Return the rows' sums of squares, and the cosines and sines of each pair."""
    fields, tables, buffers = work
    slots, positions = places
    cos_ptr, sin_ptr, norms_ptr = tables
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    HALF: gl.constexpr = SHAPE[4] // 2
    L: gl.constexpr = _PAIRS
    pair = half * (_HALF // 2) + gl.arange(0, _HALF // 2, gl.SliceLayout(1, L))
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, L))
    row_mask = n < num_rows
    at = sums_ptr + 2 * layer * max_rows + n
    sums = gl.load(at, mask=row_mask, other=0, cache_modifier=".cg")
    head = gl.expand_dims(pair // HALF, 1)
    angle = gl.expand_dims(positions, 0) * HALF + gl.expand_dims(pair % HALF, 1)
    rotates = gl.expand_dims(row_mask, 0) & (head < SHAPE[2] + SHAPE[3])
    cos = gl.load(cos_ptr + angle, mask=rotates, other=1.0)
    sin = gl.load(sin_ptr + angle, mask=rotates, other=0.0)
    return sums, cos, sin


@gluon.jit
def finish_qkv(v, operands, half, work, places, layer, num_rows, SHAPE: gl.constexpr,
               MAX_LENGTH: gl.constexpr, SLOT_COUNT: gl.constexpr, EPS: gl.constexpr,
               WIDTH: gl.constexpr):  # fmt: skip
    """Rotate q and k, keep q, write k and v to their slots."""
    sums, cos, sin = operands
    slots, positions = places
    fields, tables, buffers = work
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    HEADS: gl.constexpr = SHAPE[2]
    KV_HEADS: gl.constexpr = SHAPE[3]
    HEAD_DIM: gl.constexpr = SHAPE[4]
    HALF: gl.constexpr = HEAD_DIM // 2
    first, second = pairs(v, WIDTH)
    inverse = inverse_rms(sums, SHAPE[0], EPS)
    L: gl.constexpr = _PAIRS
    pair = half * (_HALF // 2) + gl.arange(0, _HALF // 2, gl.SliceLayout(1, L))
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, L))
    row_mask = n < num_rows
    head = gl.expand_dims(pair // HALF, 1)
    at = gl.expand_dims(pair % HALF, 1)
    mask = gl.expand_dims(row_mask, 0) & (head >= 0)
    rotates = mask & (head < HEADS + KV_HEADS)
    first = first * gl.expand_dims(inverse, 0)
    second = second * gl.expand_dims(inverse, 0)
    dtype: gl.constexpr = q_ptr.dtype.element_ty
    turned = narrow(first * cos - second * sin, dtype)
    turned_second = narrow(second * cos + first * sin, dtype)
    is_q = mask & (head < HEADS)
    q_at = gl.expand_dims(n, 0) * (HEADS * HEAD_DIM) + (head * HEAD_DIM + at)
    gl.store(q_ptr + q_at, turned, mask=is_q)
    gl.store(q_ptr + q_at + HALF, turned_second, mask=is_q)
    is_k = rotates & (head >= HEADS)
    is_v = mask & (head >= HEADS + KV_HEADS)
    kv_head = (head + (2 * KV_HEADS - HEADS % KV_HEADS)) % KV_HEADS
    # int64: a cache of many long slots holds more than 2**31 elements.
    slot_at = (slots + gl.to_tensor(layer).to(gl.int64) * SLOT_COUNT) * (
        KV_HEADS * MAX_LENGTH * HEAD_DIM
    ) + positions * HEAD_DIM
    cache_at = gl.expand_dims(slot_at, 0) + (kv_head * (MAX_LENGTH * HEAD_DIM) + at)
    gl.store(k_ptr + cache_at, turned, mask=is_k)
    gl.store(k_ptr + cache_at + HALF, turned_second, mask=is_k)
    gl.store(v_ptr + cache_at, turned, mask=is_v)
    gl.store(v_ptr + cache_at + HALF, turned_second, mask=is_v)


@gluon.jit
def projection_operands(half, work, norm, num_rows, SHAPE: gl.constexpr, WIDTH: gl.constexpr):
    """Return the hidden states of half a tile and the next norm's weight."""
    fields, tables, buffers = work
    cos_ptr, sin_ptr, norms_ptr = tables
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    column = half * _HALF + gl.arange(0, _HALF, gl.SliceLayout(1, _FINISH))
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, _FINISH))
    weight = gl.load(norms_ptr + norm * SHAPE[0] + column).to(gl.float32)
    at = gl.expand_dims(n, 0) * SHAPE[0] + gl.expand_dims(column, 1)
    mask = gl.expand_dims(n < num_rows, 0) & (at >= 0)
    return gl.load(hidden_ptr + at, mask=mask, other=0.0, cache_modifier=".cg"), weight


@gluon.jit
def finish_projection(
    v, operands, half, work, norm, num_rows, SHAPE: gl.constexpr, WIDTH: gl.constexpr
):
    """Add to the hidden states and prepare norm number `norm`; see `projection`."""
    hidden, weight = operands
    fields, tables, buffers = work
    cos_ptr, sin_ptr, norms_ptr = tables
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    HIDDEN: gl.constexpr = SHAPE[0]
    L: gl.constexpr = _FINISH
    column = half * _HALF + gl.arange(0, _HALF, gl.SliceLayout(1, L))
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, L))
    row_mask = n < num_rows
    at = gl.expand_dims(n, 0) * HIDDEN + gl.expand_dims(column, 1)
    mask = gl.expand_dims(row_mask, 0) & (at >= 0)
    hidden += v
    gl.store(hidden_ptr + at, hidden, mask=mask)
    scaled = narrow(hidden * gl.expand_dims(weight, 1), scaled_ptr.dtype.element_ty)
    gl.store(scaled_ptr + at, scaled, mask=mask)
    kept = gl.where(mask, hidden, 0.0)
    squares = gl.sum((kept * kept * (1.0 / _SUM_UNIT)).to(gl.int64), 0)
    gl.atomic_add(sums_ptr + norm * max_rows + n, squares, mask=row_mask, sem="relaxed")


@gluon.jit
def gate_up_operands(work, layer, num_rows, SHAPE: gl.constexpr, WIDTH: gl.constexpr):
    """Return the rows' sums of squares."""
    fields, tables, buffers = work
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, _PAIRS))
    at = sums_ptr + (2 * layer + 1) * max_rows + n
    return gl.load(at, mask=n < num_rows, other=0, cache_modifier=".cg")


@gluon.jit
def finish_gate_up(
    v, sums, half, work, num_rows, SHAPE: gl.constexpr, EPS: gl.constexpr, WIDTH: gl.constexpr
):
    """Write silu(gate) * up."""
    fields, tables, buffers = work
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    INNER: gl.constexpr = SHAPE[1]
    inverse = inverse_rms(sums, SHAPE[0], EPS)
    gate, up = pairs(v, WIDTH)
    L: gl.constexpr = _PAIRS
    column = half * (_HALF // 2) + gl.arange(0, _HALF // 2, gl.SliceLayout(1, L))
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, L))
    row_mask = n < num_rows
    gate = gate * gl.expand_dims(inverse, 0)
    up = up * gl.expand_dims(inverse, 0)
    out = gate / (1.0 + gl.exp(-gate)) * up
    at = gl.expand_dims(n, 0) * INNER + gl.expand_dims(column, 1)
    mask = gl.expand_dims(row_mask, 0) & (at >= 0)
    gl.store(inner_ptr + at, narrow(out, inner_ptr.dtype.element_ty), mask=mask)


@gluon.jit
def last_sums(work, wanted, layers, WIDTH: gl.constexpr):
    """Return the sums of squares that the last norm needs."""
    fields, tables, buffers = work
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, _FINISH))
    at = sums_ptr + 2 * layers * max_rows + n
    return gl.load(at, mask=wanted, other=0, cache_modifier=".cg")


@gluon.jit
def finish_head(lower, upper, inverse, tile, outs, wanted, drafts, head, SHAPE: gl.constexpr,
                WIDTH: gl.constexpr, STORE_LOGITS: gl.constexpr):  # fmt: skip
    """Store what `select` needs of a block of logits, given in halves; see `lm_head`."""
    best_ptr, index_ptr, exps_ptr, draft_logit_ptr, logits_ptr = head
    VOCAB: gl.constexpr = SHAPE[5]
    BLOCKS: gl.constexpr = (VOCAB + _TILE - 1) // _TILE
    L: gl.constexpr = _FINISH
    column = gl.expand_dims(tile * _TILE + gl.arange(0, _HALF, gl.SliceLayout(1, L)), 1)
    above = column + _HALF
    lower = lower * gl.expand_dims(inverse, 0)
    upper = upper * gl.expand_dims(inverse, 0)
    if STORE_LOGITS:
        at = gl.expand_dims(outs.to(gl.int64) * VOCAB, 0)
        mask = gl.expand_dims(wanted, 0)
        gl.store(logits_ptr + (at + column), lower, mask=mask & (column < VOCAB))
        gl.store(logits_ptr + (at + above), upper, mask=mask & (above < VOCAB))
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
    gl.store(best_ptr + at, best, mask=wanted)
    gl.store(index_ptr + at, index, mask=wanted)
    gl.store(exps_ptr + at, total.to(gl.float32) * _EXP_UNIT, mask=wanted)
    mine = wanted & (drafts >= tile * _TILE) & (drafts < (tile + 1) * _TILE)
    drafted = gl.expand_dims(drafts, 0)
    lower = gl.where(column == drafted, lower, float("-inf"))
    upper = gl.where(above == drafted, upper, float("-inf"))
    gl.store(draft_logit_ptr + outs, gl.max(gl.maximum(lower, upper), 0), mask=mine)


# Parts of a sum along K.


@gluon.jit
def part_words(part, L: gl.constexpr, WIDTH: gl.constexpr):
    """Return where the words of a part lie: [64, WIDTH]."""
    at = gl.expand_dims(gl.arange(0, _HALF, gl.SliceLayout(1, L)), 1)
    return at + gl.expand_dims(part * WIDTH + gl.arange(0, WIDTH, gl.SliceLayout(0, L)), 0) * _HALF


@gluon.jit
def send_part(acc, part, parts_ptr, num_rows, WIDTH: gl.constexpr):
    """Leave a part for the program that adds up; its words say by themselves that they are here."""
    L: gl.constexpr = acc.type.layout
    exists = gl.expand_dims(gl.arange(0, WIDTH, gl.SliceLayout(0, L)) < num_rows, 0)
    at = part_words(part, L, WIDTH)
    gl.store(parts_ptr + at, acc, mask=exists & (at >= 0), cache_modifier=".cg")


@gluon.jit
def receive_parts(acc, part, parts_ptr, num_rows, PARTS: gl.constexpr, WIDTH: gl.constexpr):
    """Wait for the parts before the last, `acc`, and return the sum of all, in order."""
    L: gl.constexpr = _FINISH
    last = gl.convert_layout(acc, L)
    exists = gl.expand_dims(gl.arange(0, WIDTH, gl.SliceLayout(0, L)) < num_rows, 0)
    at = part_words(part, L, WIDTH)
    exists = exists & (at >= 0)
    words = parts_ptr.to(gl.pointer_type(gl.int32), bitcast=True) + at
    v = last
    missing = gl.to_tensor(1)
    polls = gl.to_tensor(0)
    while missing > 0:
        word = gl.load(words, mask=exists, other=0, volatile=True)
        absent = (word == _EMPTY).to(gl.int32)
        v = word.to(gl.float32, bitcast=True)
        for i in gl.static_range(1, PARTS - 1):
            word = gl.load(words + i * (2 * _HALF * WIDTH), mask=exists, other=0, volatile=True)
            absent = absent | (word == _EMPTY).to(gl.int32)
            v += word.to(gl.float32, bitcast=True)
        missing = gl.max(gl.max(absent, 0), 0)
        polls += 1
        bound(polls)
    nothing = gl.full([_HALF, WIDTH], _EMPTY, gl.int32, L)
    for i in gl.static_range(0, PARTS - 1):
        gl.store(words + i * (2 * _HALF * WIDTH), nothing, mask=exists)
    return v + last


@gluon.jit
def bound(polls):
    """End the kernel with an error if something that it waits for does not come."""
    gl.inline_asm_elementwise(
        "{ .reg .pred p; setp.gt.s32 p, $1, 4194304; @p trap; mov.u32 $0, 0; }",
        "=r,r",
        [polls],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )


@gluon.jit
def row_scale(scale, layer, half, N: gl.constexpr, FORM: gl.constexpr, WIDTH: gl.constexpr):
    """Return int8's scale of each row of half a tile; for other forms, a value that is not used."""
    ACC: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, WIDTH, 16]
    )
    row = half * _HALF + gl.arange(0, _HALF, gl.SliceLayout(1, ACC))
    if FORM == "int8":
        return gl.load(scale + layer * N + row, mask=row < N, other=0.0)
    else:
        return row


# Consumers: attention.


@gluon.jit
def cache_block(k_ptr, v_ptr, tile, at, start, last, wanted):
    """Return the keys and values of a block of positions, up to `last`; zeros if not wanted."""
    inside = (tile * 0 + (start + at) <= last) & wanted
    HEAD_DIM: gl.constexpr = tile.shape[1]
    tile += start * HEAD_DIM
    k = gl.load(k_ptr + tile, mask=inside, other=0.0, cache_modifier=".cg")
    return k, gl.load(v_ptr + tile, mask=inside, other=0.0, cache_modifier=".cg")


@gluon.jit
def attend(
    unit,
    work,
    layer,
    cache_shared,
    SHAPE: gl.constexpr,
    done,
    MAX_LENGTH: gl.constexpr,
    SLOT_COUNT: gl.constexpr,
    WIDTH: gl.constexpr,
):
    """Let the query heads of one row and kv head attend; the sums are those of `attention`.

    Waits until qkv is `done`. Keys and values of steps before this one are asked for before that.
    """
    fields, tables, buffers = work
    slots_ptr, positions_ptr = fields
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    HEADS: gl.constexpr = SHAPE[2]
    KV_HEADS: gl.constexpr = SHAPE[3]
    HEAD_DIM: gl.constexpr = SHAPE[4]
    GROUP: gl.constexpr = HEADS // KV_HEADS
    dtype: gl.constexpr = q_ptr.dtype.element_ty
    LOAD: gl.constexpr = gl.BlockedLayout([1, 8], [256 // HEAD_DIM, HEAD_DIM // 8], [4, 1], [1, 0])
    ROW: gl.constexpr = gl.SliceLayout(1, _ATTEND)
    row = unit // KV_HEADS
    kv_head = unit % KV_HEADS
    last = gl.load(positions_ptr + row)
    slot = gl.load(slots_ptr + row).to(gl.int64) + layer * SLOT_COUNT
    head_at = (slot * KV_HEADS + kv_head) * (MAX_LENGTH * HEAD_DIM)
    at = gl.expand_dims(gl.arange(0, _BLOCK, gl.SliceLayout(1, LOAD)), 1)
    tile = at * HEAD_DIM + gl.expand_dims(gl.arange(0, HEAD_DIM, gl.SliceLayout(0, LOAD)), 0)
    # Rows of a slot have positions one after the other, so that a step writes none before
    # last - WIDTH + 1: the blocks before that are there already.
    k_ptr += head_at
    v_ptr += head_at
    is_old = last >= _BLOCK + WIDTH - 1
    next_is_old = last >= 2 * _BLOCK + WIDTH - 1
    k, v = cache_block(k_ptr, v_ptr, tile, at, 0, last, is_old)
    next_k, next_v = cache_block(k_ptr, v_ptr, tile, at, _BLOCK, last, next_is_old)
    wait(done, (HEADS + 2 * KV_HEADS) * HEAD_DIM // _HALF)
    if not is_old:
        k, v = cache_block(k_ptr, v_ptr, tile, at, 0, last, True)
    if not next_is_old:
        next_k, next_v = cache_block(k_ptr, v_ptr, tile, at, _BLOCK, last, True)
    m = gl.expand_dims(gl.arange(0, 16, gl.SliceLayout(1, _ATTEND_A)), 1)
    d = gl.expand_dims(gl.arange(0, HEAD_DIM, gl.SliceLayout(0, _ATTEND_A)), 0)
    q_at = (row * HEADS + kv_head * GROUP + m) * HEAD_DIM + d
    q = gl.load(q_ptr + q_at, mask=(m < GROUP) & (d >= 0), other=0.0, cache_modifier=".cg")
    k_shared = cache_shared.index(0)
    v_shared = cache_shared.index(1)
    column = gl.expand_dims(gl.arange(0, _BLOCK, gl.SliceLayout(0, _ATTEND)), 0)
    ones = gl.full([_BLOCK, 8], 1.0, dtype, _ATTEND_B)
    scale: gl.constexpr = HEAD_DIM**-0.5 * 1.4426950408889634

    maximum = gl.full([16], float("-inf"), gl.float32, ROW)
    total = gl.zeros([16], gl.float32, ROW)
    values = gl.zeros([16, HEAD_DIM], gl.float32, _ATTEND)
    for begin in range(0, last + 1, _SPLIT):
        top = gl.full([16], float("-inf"), gl.float32, ROW)
        sums = gl.zeros([16, 8], gl.float32, _ATTEND)
        out = gl.zeros([16, HEAD_DIM], gl.float32, _ATTEND)
        for start in range(begin, gl.minimum(begin + _SPLIT, last + 1), _BLOCK):
            barrier()  # all warps have read the previous block
            k_shared.store(k)
            v_shared.store(v)
            k, v = next_k, next_v
            next_k, next_v = cache_block(k_ptr, v_ptr, tile, at, start + 2 * _BLOCK, last, True)
            barrier()
            b = k_shared.permute((1, 0)).load(_ATTEND_B)
            scores = mma_v2(q, b, gl.zeros([16, _BLOCK], gl.float32, _ATTEND)) * scale
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
    gl.store(values_ptr + y_at, y, mask=(m < GROUP) & (d >= 0))


# The whole step.


@gluon.jit
def rows_to_finish(unit, num_rows, PARTS: gl.constexpr):
    """Return how many rows need what finishes a tile: none where another program finishes it."""
    if PARTS > 1:
        return gl.where(unit % PARTS == PARTS - 1, num_rows, 0)
    else:
        return num_rows


@gluon.jit
def add_parts(acc, unit, parts_ptr, num_rows, PARTS: gl.constexpr, WIDTH: gl.constexpr,
              PART: gl.constexpr):  # fmt: skip
    """Add up the parts of half a tile; return the sum, and whether this partition has it.

    The program of the last part waits for the others. It cannot do so for ever: they are units
    before its own, and every program takes its units in order.
    """
    has_sum = unit % PARTS == PARTS - 1
    if PARTS == 1:
        v = gl.convert_layout(acc, _FINISH)
    else:
        v = gl.zeros([_HALF, WIDTH], gl.float32, _FINISH)
        if has_sum:
            first = (unit - (PARTS - 1)) * 2 + PART
            v = receive_parts(acc, first, parts_ptr, num_rows, PARTS, WIDTH)
        else:
            send_part(acc, unit * 2 + PART, parts_ptr, num_rows, WIDTH)
    return v, has_sum


@gluon.jit
def consume(
    ring, rows, scales, work, outputs, head, parts_ptr, counters, num_rows_ptr, layers, shared,
    SHAPE: gl.constexpr, PARTS: gl.constexpr, FORM: gl.constexpr, WIDTH: gl.constexpr,
    MAX_LENGTH: gl.constexpr, SLOT_COUNT: gl.constexpr, EPS: gl.constexpr, SLOTS: gl.constexpr,
    ROW_SLOTS: gl.constexpr, STORE_LOGITS: gl.constexpr, PART: gl.constexpr,
):  # fmt: skip
    """Multiply and finish half of each tile: the lower 64 rows (PART 0) or the upper."""
    cache_shared, logits_shared, logits_full, logits_empty = shared
    HIDDEN: gl.constexpr = SHAPE[0]
    INNER: gl.constexpr = SHAPE[1]
    KV_HEADS: gl.constexpr = SHAPE[3]
    QKV: gl.constexpr = (SHAPE[2] + 2 * KV_HEADS) * SHAPE[4]
    VOCAB: gl.constexpr = SHAPE[5]
    COLUMNS: gl.constexpr = 64 if FORM == "bf16" else 128 if FORM == "int8" else 256
    QKV_PARTS: gl.constexpr = PARTS[0]
    OUT_PARTS: gl.constexpr = PARTS[1]
    DOWN_PARTS: gl.constexpr = PARTS[2]
    QKV_STAGES: gl.constexpr = HIDDEN // QKV_PARTS // COLUMNS
    OUT_STAGES: gl.constexpr = SHAPE[2] * SHAPE[4] // OUT_PARTS // COLUMNS
    DOWN_STAGES: gl.constexpr = INNER // DOWN_PARTS // COLUMNS
    GATE_UP_STAGES: gl.constexpr = HIDDEN // COLUMNS
    num_rows = gl.load(num_rows_ptr)
    places = row_places(work, num_rows, WIDTH)
    grid = gl.num_programs(0)
    turn = 0
    offset = 0
    for layer in range(layers):
        done = counters + layer * (_PHASES * _STRIDE)

        units = QKV // _TILE * QKV_PARTS
        first, offset = share(units, offset)
        for unit in range(first, units, grid):
            half = unit // QKV_PARTS * 2 + PART
            scale = row_scale(scales[0], layer, half, QKV, FORM, WIDTH)
            first_rows(rows, turn, ROW_SLOTS)
            mine = rows_to_finish(unit, num_rows, QKV_PARTS)
            operands = qkv_operands(half, work, places, layer, mine, SHAPE, WIDTH)
            acc, turn = product(ring, rows, turn, QKV_STAGES, FORM, WIDTH, SLOTS, ROW_SLOTS, PART)
            if FORM == "int8":
                acc = acc * gl.expand_dims(scale, 1)
            v, has_sum = add_parts(acc, unit, parts_ptr, num_rows, QKV_PARTS, WIDTH, PART)
            if has_sum:
                finish_qkv(v, operands, half, work, places, layer, num_rows, SHAPE, MAX_LENGTH,
                           SLOT_COUNT, EPS, WIDTH)  # fmt: skip
                arrive(done, 1)

        if PART == 0:
            # The programs that have fewer tiles of the next matrix attend first.
            first = (gl.program_id(0) + grid - offset) % grid
            for unit in range(first, num_rows * KV_HEADS, grid):
                attend(unit, work, layer, cache_shared, SHAPE, done, MAX_LENGTH, SLOT_COUNT, WIDTH)
                arrive(done + _STRIDE, 1)

        units = HIDDEN // _TILE * OUT_PARTS
        first, offset = share(units, offset)
        for unit in range(first, units, grid):
            half = unit // OUT_PARTS * 2 + PART
            scale = row_scale(scales[1], layer, half, HIDDEN, FORM, WIDTH)
            first_rows(rows, turn, ROW_SLOTS)
            mine = rows_to_finish(unit, num_rows, OUT_PARTS)
            operands = projection_operands(half, work, 2 * layer + 1, mine, SHAPE, WIDTH)
            acc, turn = product(ring, rows, turn, OUT_STAGES, FORM, WIDTH, SLOTS, ROW_SLOTS, PART)
            if FORM == "int8":
                acc = acc * gl.expand_dims(scale, 1)
            v, has_sum = add_parts(acc, unit, parts_ptr, num_rows, OUT_PARTS, WIDTH, PART)
            if has_sum:
                finish_projection(v, operands, half, work, 2 * layer + 1, num_rows, SHAPE, WIDTH)
                arrive(done + 2 * _STRIDE, 1)

        units = 2 * INNER // _TILE
        first, offset = share(units, offset)
        for unit in range(first, units, grid):
            half = unit * 2 + PART
            scale = row_scale(scales[2], layer, half, 2 * INNER, FORM, WIDTH)
            first_rows(rows, turn, ROW_SLOTS)
            operands = gate_up_operands(work, layer, num_rows, SHAPE, WIDTH)
            acc, turn = product(
                ring, rows, turn, GATE_UP_STAGES, FORM, WIDTH, SLOTS, ROW_SLOTS, PART
            )
            if FORM == "int8":
                acc = acc * gl.expand_dims(scale, 1)
            v = gl.convert_layout(acc, _FINISH)
            finish_gate_up(v, operands, half, work, num_rows, SHAPE, EPS, WIDTH)
            arrive(done + 3 * _STRIDE, 1)

        units = HIDDEN // _TILE * DOWN_PARTS
        first, offset = share(units, offset)
        for unit in range(first, units, grid):
            half = unit // DOWN_PARTS * 2 + PART
            scale = row_scale(scales[3], layer, half, HIDDEN, FORM, WIDTH)
            first_rows(rows, turn, ROW_SLOTS)
            mine = rows_to_finish(unit, num_rows, DOWN_PARTS)
            operands = projection_operands(half, work, 2 * layer + 2, mine, SHAPE, WIDTH)
            acc, turn = product(ring, rows, turn, DOWN_STAGES, FORM, WIDTH, SLOTS, ROW_SLOTS, PART)
            if FORM == "int8":
                acc = acc * gl.expand_dims(scale, 1)
            v, has_sum = add_parts(acc, unit, parts_ptr, num_rows, DOWN_PARTS, WIDTH, PART)
            if has_sum:
                finish_projection(v, operands, half, work, 2 * layer + 2, num_rows, SHAPE, WIDTH)
                arrive(done + 4 * _STRIDE, 1)

    outs, wanted, drafts = wanted_rows(outputs, WIDTH)
    units = (VOCAB + _TILE - 1) // _TILE
    first, offset = share(units, offset)
    count = 0
    inverse = gl.zeros([WIDTH], gl.float32, gl.SliceLayout(0, _FINISH))
    if first < units:
        first_rows(rows, turn, ROW_SLOTS)
        inverse = inverse_rms(last_sums(work, wanted, layers, WIDTH), HIDDEN, EPS)
    for unit in range(first, units, grid):
        scale = row_scale(scales[4], 0, unit * 2 + PART, VOCAB, FORM, WIDTH)
        acc, turn = product(ring, rows, turn, GATE_UP_STAGES, FORM, WIDTH, SLOTS, ROW_SLOTS, PART)
        if FORM == "int8":
            acc = acc * gl.expand_dims(scale, 1)
        v = gl.convert_layout(acc, _FINISH)
        # A block of logits is a whole tile: its upper half goes to the partition of the lower.
        if PART == 0:
            mbarrier.wait(logits_full, count & 1)
            upper = logits_shared.load(_FINISH)
            mbarrier.arrive(logits_empty)
            finish_head(
                v, upper, inverse, unit, outs, wanted, drafts, head, SHAPE, WIDTH, STORE_LOGITS
            )
        else:
            mbarrier.wait(logits_empty, (count & 1) ^ 1)
            logits_shared.store(v)
            mbarrier.arrive(logits_full)
        count += 1


@gluon.jit
def wanted_rows(outputs, WIDTH: gl.constexpr):
    """Return each row's number among the outputs, whether it is one, and its draft."""
    outputs_ptr, num_outputs_ptr, drafts_ptr = outputs
    L: gl.constexpr = gl.BlockedLayout([1, 1], [8, 4], [4, 1], [1, 0])
    N: gl.constexpr = gl.SliceLayout(0, _FINISH)
    i = gl.arange(0, WIDTH, gl.SliceLayout(1, L))
    exists = i < gl.load(num_outputs_ptr)
    row = gl.load(outputs_ptr + i, mask=exists, other=2147483647)
    n = gl.expand_dims(gl.arange(0, WIDTH, gl.SliceLayout(0, L)), 0)
    row = gl.expand_dims(row, 1)
    outs = gl.convert_layout(gl.sum((row < n).to(gl.int32), 0), N)
    wanted = gl.convert_layout(gl.sum((row == n).to(gl.int32), 0), N) > 0
    return outs, wanted, gl.load(drafts_ptr + outs, mask=wanted, other=-1)


@gluon.jit(do_not_specialize=["layers", "in_flight"])
def persistent_kernel(
    w_qkv, w_out, w_gate_up, w_down, w_head, s_qkv, s_out, s_gate_up, s_down, s_head,
    x_scaled, x_values, x_inner,
    slots_ptr, positions_ptr, outputs_ptr, num_outputs_ptr, drafts_ptr, num_rows_ptr,
    cos_ptr, sin_ptr, norms_ptr,
    hidden_ptr, scaled_ptr, sums_ptr, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr,
    best_ptr, index_ptr, exps_ptr, draft_logit_ptr, logits_ptr,
    parts_ptr, counters_ptr, layers, max_rows, in_flight,
    SHAPE: gl.constexpr, PARTS: gl.constexpr, FORM: gl.constexpr, WIDTH: gl.constexpr,
    MAX_LENGTH: gl.constexpr, SLOT_COUNT: gl.constexpr, EPS: gl.constexpr, SLOTS: gl.constexpr,
    ROW_SLOTS: gl.constexpr, STORE_LOGITS: gl.constexpr,
):  # fmt: skip
    """Launch as a cooperative grid of one program a multiprocessor, four warps.

    SHAPE: hidden, inner, heads, kv_heads, head_dim, vocab. PARTS: of qkv, out, down along K.
    """
    PIECES: gl.constexpr = 1 if FORM == "bf16" else 2 if FORM == "int8" else 4
    dtype: gl.constexpr = q_ptr.dtype.element_ty
    # Each piece of memory as producers write it and as each half of the consumers reads it.
    if FORM == "bf16":
        data = gl.allocate_shared_memory(gl.bfloat16, [2 * SLOTS, _HALF, 64], _FLOAT)
        tiles = reinterpret(data, gl.bfloat16, [SLOTS, _TILE, 64], _FLOAT)
    else:
        data = gl.allocate_shared_memory(gl.int16, [4 * SLOTS, _HALF, 32], _WORDS_2D)
        tiles = reinterpret(data, gl.int16, [2 * SLOTS, _TILE // _PANEL, _PANEL, 32], _WORD)
    SCALES: gl.constexpr = SLOTS if FORM == "int4" else 1
    half_scales = gl.allocate_shared_memory(gl.int32, [2 * SCALES, _HALF], _HALF_SCALES)
    group_scales = reinterpret(half_scales, gl.int32, [SCALES, 1, _TILE], _SCALE)
    x = gl.allocate_shared_memory(dtype, [ROW_SLOTS * PIECES, WIDTH, 64], _FLOAT)
    cache_shared = gl.allocate_shared_memory(dtype, [2, _BLOCK, SHAPE[4]], _CACHE_SHARED)
    full = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    x_full = gl.allocate_shared_memory(gl.int64, [ROW_SLOTS, 1], mbarrier.MBarrierLayout())
    logits_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    logits_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    # The head comes after all attention.
    LOGITS: gl.constexpr = SHAPE[4] // (2 * WIDTH)
    logits_shared = reinterpret(
        cache_shared, gl.float32, [LOGITS, _HALF, WIDTH], _FINISH_SHARED
    ).index(0)
    for i in gl.static_range(SLOTS):
        mbarrier.init(full.index(i), count=1)
        mbarrier.init(empty.index(i), count=2)
    for i in gl.static_range(ROW_SLOTS):
        mbarrier.init(x_full.index(i), count=1)
    mbarrier.init(logits_full, count=1)
    mbarrier.init(logits_empty, count=1)
    ring = (data, half_scales, full, empty)
    rows = (x, x_full)
    shared = (cache_shared, logits_shared, logits_full, logits_empty)
    scales = (s_qkv, s_out, s_gate_up, s_down, s_head)
    work = (
        (slots_ptr, positions_ptr),
        (cos_ptr, sin_ptr, norms_ptr),
        (hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr),
    )
    outputs = (outputs_ptr, num_outputs_ptr, drafts_ptr)
    head = (best_ptr, index_ptr, exps_ptr, draft_logit_ptr, logits_ptr)
    weights = (w_qkv, w_out, w_gate_up, w_down, w_head)
    gl.warp_specialize(
        [
            (consume, (ring, rows, scales, work, outputs, head, parts_ptr, counters_ptr,
                       num_rows_ptr, layers, shared, SHAPE, PARTS, FORM, WIDTH,
                       MAX_LENGTH, SLOT_COUNT, EPS, SLOTS, ROW_SLOTS, STORE_LOGITS, 0)),
            (consume, (ring, rows, scales, work, outputs, head, parts_ptr, counters_ptr,
                       num_rows_ptr, layers, shared, SHAPE, PARTS, FORM, WIDTH,
                       MAX_LENGTH, SLOT_COUNT, EPS, SLOTS, ROW_SLOTS, STORE_LOGITS, 1)),
            (produce_weights, ((tiles, group_scales, full, empty), weights, scales, layers,
                               in_flight, SHAPE, PARTS, FORM, SLOTS)),
            (produce_rows, ((x, x_full, empty), (x_scaled, x_values, x_inner), counters_ptr,
                            num_rows_ptr, layers, SHAPE, PARTS, FORM, SLOTS, ROW_SLOTS,
                            PIECES * WIDTH * 128)),
        ],
        [4, 1, 1],
        [224, 40, 40],
    )  # fmt: skip


def compile_step(
    shape: tuple[int, ...],
    parts: tuple[int, ...],
    form: str,
    width: int,
    slots: int,
    row_slots: int,
) -> Any:
    """Compile the kernel for sm_90 without a GPU; returns Triton's compiled kernel.

    Args:
        shape, parts: SHAPE and PARTS of `persistent_kernel`. width: 8, 16, 32 or 64.
    """
    half, panel = ("bf16", FLOAT_LAYOUT) if form == "bf16" else ("fp16", WORD_LAYOUT)
    block = f"bf16[{TILE}, 64]" if form == "bf16" else f"i16{WORD_BLOCK}"
    scales = f"tensordesc<i32[1, {TILE}],{SCALE_LAYOUT!r}>" if form == "int4" else "*fp32"
    constants = {
        "SHAPE": shape,
        "PARTS": parts,
        "FORM": form,
        "WIDTH": width,
        "MAX_LENGTH": 512,
        "SLOT_COUNT": 16,
        "EPS": 1e-5,
        "SLOTS": slots,
        "ROW_SLOTS": row_slots,
        "STORE_LOGITS": False,
    }
    kinds = {"layers": "i32", "max_rows": "i32", "in_flight": "i32", "sums_ptr": "*i64"}
    kinds |= dict.fromkeys(constants, "constexpr")
    for names, kind in (
        ("w_qkv w_out w_gate_up w_down w_head", f"tensordesc<{block},{panel!r}>"),
        ("s_qkv s_out s_gate_up s_down s_head", scales),
        ("x_scaled x_values x_inner", f"tensordesc<{half}[{width}, 64],{FLOAT_LAYOUT!r}>"),
        ("scaled_ptr q_ptr values_ptr inner_ptr k_ptr v_ptr norms_ptr", f"*{half}"),
        ("slots_ptr positions_ptr outputs_ptr num_outputs_ptr drafts_ptr num_rows_ptr", "*i32"),
        ("index_ptr counters_ptr", "*i32"),
    ):
        kinds |= dict.fromkeys(names.split(), kind)
    names = persistent_kernel.arg_names
    signature = {name: kinds.get(name, "*fp32") for name in names}
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if signature[name].startswith("*")
    }
    source = GluonASTSource(
        persistent_kernel, signature, {(names.index(n),): v for n, v in constants.items()}, aligned
    )
    options = {"num_warps": 4, "enable_fp_fusion": False}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
