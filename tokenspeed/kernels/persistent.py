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

from tokenspeed.kernels.gluon_names import barrier, tma_load
from tokenspeed.kernels.norm import SUM_UNIT

TILE = 128  # rows of a weight that a program takes at once: 64 for each of two warp groups
COLUMNS = {"bf16": 64, "int8": 128, "int4": 256}  # of a stage of the ring: 16 KiB
STAGE_BYTES = 16384
COUNTER_STRIDE = 32  # int32 between two counters: a line of the L2 each
PHASES = 5  # counters of a layer: qkv, attention, out, gate_up, down
MAX_POLLS = 1 << 22  # of a grid barrier, some seconds: then the kernel traps

_TILE, _STAGE, _STRIDE = gl.constexpr(TILE), gl.constexpr(STAGE_BYTES), gl.constexpr(COUNTER_STRIDE)
_PHASES = gl.constexpr(PHASES)
_SUM_UNIT = gl.constexpr(SUM_UNIT)
_EXP_UNIT = gl.constexpr(2.0**-30)  # as in lm_head
_LOG2E = gl.constexpr(1.4426950408889634)
_SPLIT, _BLOCK = gl.constexpr(128), gl.constexpr(32)  # positions, as in attention

# Blocks as TMA copies them. Quantised weights: 8 panels of one unit.
FLOAT_LAYOUT = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=2)
WORD_LAYOUT = gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=3)
SCALE_LAYOUT = gl.NVMMASharedLayout(swizzle_byte_width=0, element_bitwidth=32, rank=2)
_FLOAT, _WORD, _SCALE = (gl.constexpr(x) for x in (FLOAT_LAYOUT, WORD_LAYOUT, SCALE_LAYOUT))
# How consumers hold the sums of a tile when they finish it: neighbouring rows of a weight, which
# are rotated or gated together, in one thread.
_FINISH = gl.constexpr(gl.BlockedLayout([2, 1], [32, 1], [2, 4], [0, 1]))
_PAIRS = gl.constexpr(gl.BlockedLayout([1, 1], [32, 1], [2, 4], [0, 1]))
# Attention: 16 query heads (few of them used) by 32 positions, or by the columns of a head.
_mma = gl.NVMMADistributedLayout(version=[2, 0], warps_per_cta=[1, 8], instr_shape=[16, 8])
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
    ring, weight, scale, turn, offset, layer, N: gl.constexpr, K: gl.constexpr,
    PARTS: gl.constexpr, FORM: gl.constexpr, SLOTS: gl.constexpr, IN_FLIGHT: gl.constexpr,
    TILED: gl.constexpr,
):  # fmt: skip
    """Send this program's share of one matrix. turn counts stages since the start.

    At most IN_FLIGHT stages are in flight: more would only delay activations and counters. The rest
    of the ring has arrived and waits for the consumers.
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
            before = gl.maximum(turn - IN_FLIGHT, 0)
            mbarrier.wait(full.index(before % SLOTS), before // SLOTS & 1, pred=turn >= IN_FLIGHT)
            mbarrier.expect(bar, _STAGE + (512 if FORM == "int4" else 0))
            if FORM == "bf16":
                if TILED:
                    at = (tile + layer * (N // _TILE)) * (K // 64) + begin + s
                    tma_load(weight, [at * _TILE, 0], bar, data.index(slot))
                else:
                    tma_load(weight, [row, (begin + s) * 64], bar, data.index(slot))
            else:
                at = (begin + s) * 2
                tma_load(weight, [row // 16, at * 16, 0], bar, data.index(slot * 2))
                tma_load(weight, [row // 16, at * 16 + 16, 0], bar, data.index(slot * 2 + 1))
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
    SHAPE: gl.constexpr,
    PARTS: gl.constexpr,
    FORM: gl.constexpr,
    SLOTS: gl.constexpr,
    IN_FLIGHT: gl.constexpr,
):
    HIDDEN: gl.constexpr = SHAPE[0]
    INNER: gl.constexpr = SHAPE[1]
    WIDTH: gl.constexpr = SHAPE[2] * SHAPE[4]
    QKV: gl.constexpr = (SHAPE[2] + 2 * SHAPE[3]) * SHAPE[4]
    TILED: gl.constexpr = FORM == "bf16"
    turn = 0
    offset = 0
    for layer in range(layers):
        turn, offset = stream_weights(ring, weights[0], scales[0], turn, offset, layer, QKV, HIDDEN,
                                      PARTS[0], FORM, SLOTS, IN_FLIGHT, TILED)  # fmt: skip
        turn, offset = stream_weights(ring, weights[1], scales[1], turn, offset, layer, HIDDEN,
                                      WIDTH, PARTS[1], FORM, SLOTS, IN_FLIGHT, TILED)  # fmt: skip
        turn, offset = stream_weights(ring, weights[2], scales[2], turn, offset, layer, 2 * INNER,
                                      HIDDEN, 1, FORM, SLOTS, IN_FLIGHT, TILED)  # fmt: skip
        turn, offset = stream_weights(ring, weights[3], scales[3], turn, offset, layer, HIDDEN,
                                      INNER, PARTS[2], FORM, SLOTS, IN_FLIGHT, TILED)  # fmt: skip
    # The head may be the embedding's own memory, which is not tiled.
    stream_weights(ring, weights[4], scales[4], turn, offset, 0, SHAPE[5], HIDDEN, 1, FORM,
                   SLOTS, IN_FLIGHT, False)  # fmt: skip


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
    BYTES: gl.constexpr,
):
    """Send the rows' columns for each stage of `stream_weights`."""
    data, full, empty = ring
    PIECES: gl.constexpr = 1 if FORM == "bf16" else 2 if FORM == "int8" else 4
    STAGES: gl.constexpr = K // PARTS // (64 * PIECES)
    units: gl.constexpr = (N + _TILE - 1) // _TILE * PARTS
    first, offset = share(units, offset)
    for unit in range(first, units, gl.num_programs(0)):
        begin = unit % PARTS * STAGES
        for s in range(STAGES):
            slot = turn % SLOTS
            bar = full.index(slot)
            mbarrier.wait(empty.index(slot), (turn // SLOTS & 1) ^ 1)
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
            wait(done - _STRIDE, HIDDEN // _TILE)
        turn, offset = stream_rows(
            ring, scaled, turn, offset, QKV, HIDDEN, PARTS[0], FORM, SLOTS, BYTES
        )
        if attended > 0:
            wait(done + _STRIDE, attended)
        else:  # no rows: parts of the next matrix must not meet those of this one
            wait(done, QKV // _TILE)
        turn, offset = stream_rows(
            ring, values, turn, offset, HIDDEN, WIDTH, PARTS[1], FORM, SLOTS, BYTES
        )
        wait(done + 2 * _STRIDE, HIDDEN // _TILE)
        turn, offset = stream_rows(
            ring, scaled, turn, offset, 2 * INNER, HIDDEN, 1, FORM, SLOTS, BYTES
        )
        wait(done + 3 * _STRIDE, 2 * INNER // _TILE)
        turn, offset = stream_rows(
            ring, inner, turn, offset, HIDDEN, INNER, PARTS[2], FORM, SLOTS, BYTES
        )
    wait(counters + (layers * _PHASES - 1) * _STRIDE, HIDDEN // _TILE)
    stream_rows(ring, scaled, turn, offset, SHAPE[5], HIDDEN, 1, FORM, SLOTS, BYTES)


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
    """Return [128, 64] from two [128, 32]; moves nothing between threads."""
    both = gl.permute(gl.join(left, right), (0, 2, 1))  # [128, 2, 32]
    return gl.convert_layout(gl.reshape(both, [128, 64]), OPERAND)


@gluon.jit
def fields_int8(words, OPERAND: gl.constexpr):
    """Return the 64 columns of a unit, [128, 64] float16."""
    low, high = unpack_int8(words)
    return side_by_side(low, high, OPERAND)


@gluon.jit
def fields_int4(words, pair, OPERAND: gl.constexpr):
    """Return the two halves of the 128 columns of a unit, scaled by the low half of `pair`."""
    scale = pair.to(gl.int16).to(gl.float16, bitcast=True)
    a, b, c, d = unpack_int4(words, gl.expand_dims(scale, 1).broadcast_to(_TILE, 32))
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
):
    """Return the next STAGES of the ring times the rows, [128, WIDTH] float32, and the turn."""
    data, scales, full, empty = ring
    x, x_full, x_empty = rows
    ACC: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[8, 1], instr_shape=[16, WIDTH, 16]
    )
    OPERAND: gl.constexpr = gl.DotOperandLayout(0, ACC, k_width=2)
    acc = gl.zeros([_TILE, WIDTH], gl.float32, ACC)
    if FORM == "bf16":
        for s in range(STAGES):
            slot = turn % SLOTS
            x_slot = turn % ROW_SLOTS
            mbarrier.wait(full.index(slot), turn // SLOTS & 1)
            mbarrier.wait(x_full.index(x_slot), turn // ROW_SLOTS & 1)
            b = x.index(x_slot).permute((1, 0))
            acc = warpgroup_mma(data.index(slot), b, acc, is_async=True)
            # The product before this one has read its stage.
            acc = warpgroup_mma_wait(1, deps=[acc])
            last = gl.maximum(turn - 1, 0)
            mbarrier.arrive(empty.index(last % SLOTS), pred=s > 0)
            mbarrier.arrive(x_empty.index(last % ROW_SLOTS), pred=s > 0)
            turn += 1
        acc = warpgroup_mma_wait(0, deps=[acc])
        mbarrier.arrive(empty.index((turn - 1) % SLOTS))
        mbarrier.arrive(x_empty.index((turn - 1) % ROW_SLOTS))
    else:
        for _ in range(STAGES):
            slot = turn % SLOTS
            x_slot = turn % ROW_SLOTS
            mbarrier.wait(full.index(slot), turn // SLOTS & 1)
            words0 = data.index(slot * 2).reshape([_TILE, 32]).load(OPERAND)
            words1 = data.index(slot * 2 + 1).reshape([_TILE, 32]).load(OPERAND)
            mbarrier.wait(x_full.index(x_slot), turn // ROW_SLOTS & 1)
            if FORM == "int8":
                a0 = fields_int8(words0, OPERAND)
                acc = warpgroup_mma(a0, x.index(x_slot * 2).permute((1, 0)), acc, is_async=True)
                a1 = fields_int8(words1, OPERAND)
                acc = warpgroup_mma(a1, x.index(x_slot * 2 + 1).permute((1, 0)), acc, is_async=True)
                acc = warpgroup_mma_wait(0, deps=[acc, a0, a1])[0]
            else:
                pair = scales.index(slot).reshape([_TILE]).load(gl.SliceLayout(1, OPERAND))
                a0, a1 = fields_int4(words0, pair, OPERAND)
                acc = warpgroup_mma(a0, x.index(x_slot * 4).permute((1, 0)), acc, is_async=True)
                acc = warpgroup_mma(a1, x.index(x_slot * 4 + 1).permute((1, 0)), acc, is_async=True)
                a2, a3 = fields_int4(words1, pair >> 16, OPERAND)
                acc = warpgroup_mma(a2, x.index(x_slot * 4 + 2).permute((1, 0)), acc, is_async=True)
                acc = warpgroup_mma(a3, x.index(x_slot * 4 + 3).permute((1, 0)), acc, is_async=True)
                acc = warpgroup_mma_wait(0, deps=[acc, a0, a1, a2, a3])[0]
            mbarrier.arrive(empty.index(slot))
            mbarrier.arrive(x_empty.index(x_slot))
            turn += 1
    return acc, turn


@gluon.jit
def inverse_rms(sums, n, mask, K: gl.constexpr, EPS: gl.constexpr):
    """Return 1 / rms of each row, float32; see `norm.inverse_rms`."""
    total = gl.load(sums + n, mask=mask, other=0, cache_modifier=".cg").to(gl.float32)
    return gl.rsqrt(gl.fma(total, gl.full_like(total, _SUM_UNIT / K), gl.full_like(total, EPS)))


@gluon.jit
def pairs(v, WIDTH: gl.constexpr):
    """Return the even and the odd rows of [128, WIDTH]; moves nothing between threads."""
    even, odd = gl.split(gl.permute(gl.reshape(v, [_TILE // 2, 2, WIDTH]), (0, 2, 1)))
    return gl.convert_layout(even, _PAIRS), gl.convert_layout(odd, _PAIRS)


@gluon.jit
def first_rows(rows, turn, ROW_SLOTS: gl.constexpr):
    """Wait until the next product has activations: then all matrices before it are finished.

    What finishing a tile needs is loaded after this wait, and arrives during the product.
    """
    x, x_full, x_empty = rows
    mbarrier.wait(x_full.index(turn % ROW_SLOTS), turn // ROW_SLOTS & 1)


@gluon.jit
def qkv_operands(
    tile, work, layer, num_rows, SHAPE: gl.constexpr, EPS: gl.constexpr, WIDTH: gl.constexpr
):
    """Return 1 / rms of the rows, and the cosines and sines of each pair."""
    fields, tables, buffers = work
    slots_ptr, positions_ptr = fields
    cos_ptr, sin_ptr, norms_ptr = tables
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    HALF: gl.constexpr = SHAPE[4] // 2
    L: gl.constexpr = _PAIRS
    pair = tile * (_TILE // 2) + gl.arange(0, _TILE // 2, gl.SliceLayout(1, L))
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, L))
    row_mask = n < num_rows
    inverse = inverse_rms(sums_ptr + 2 * layer * max_rows, n, row_mask, SHAPE[0], EPS)
    positions = gl.load(positions_ptr + n, mask=row_mask, other=0)
    head = gl.expand_dims(pair // HALF, 1)
    angle = gl.expand_dims(positions, 0) * HALF + gl.expand_dims(pair % HALF, 1)
    rotates = gl.expand_dims(row_mask, 0) & (head < SHAPE[2] + SHAPE[3])
    cos = gl.load(cos_ptr + angle, mask=rotates, other=1.0)
    sin = gl.load(sin_ptr + angle, mask=rotates, other=0.0)
    return inverse, cos, sin


@gluon.jit
def finish_qkv(v, operands, tile, work, layer, num_rows, SHAPE: gl.constexpr,
               MAX_LENGTH: gl.constexpr, SLOT_COUNT: gl.constexpr,
               WIDTH: gl.constexpr):  # fmt: skip
    """Rotate q and k, keep q, write k and v to their slots."""
    inverse, cos, sin = operands
    fields, tables, buffers = work
    slots_ptr, positions_ptr = fields
    cos_ptr, sin_ptr, norms_ptr = tables
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    HEADS: gl.constexpr = SHAPE[2]
    KV_HEADS: gl.constexpr = SHAPE[3]
    HEAD_DIM: gl.constexpr = SHAPE[4]
    HALF: gl.constexpr = HEAD_DIM // 2
    first, second = pairs(v, WIDTH)
    L: gl.constexpr = _PAIRS
    pair = tile * (_TILE // 2) + gl.arange(0, _TILE // 2, gl.SliceLayout(1, L))
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, L))
    row_mask = n < num_rows
    slots = gl.load(slots_ptr + n, mask=row_mask, other=0).to(gl.int64)
    positions = gl.load(positions_ptr + n, mask=row_mask, other=0)
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
def projection_operands(tile, work, norm, num_rows, SHAPE: gl.constexpr, WIDTH: gl.constexpr):
    """Return the hidden states of a tile and the next norm's weight."""
    fields, tables, buffers = work
    cos_ptr, sin_ptr, norms_ptr = tables
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    column = tile * _TILE + gl.arange(0, _TILE, gl.SliceLayout(1, _FINISH))
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, _FINISH))
    weight = gl.load(norms_ptr + norm * SHAPE[0] + column).to(gl.float32)
    at = gl.expand_dims(n, 0) * SHAPE[0] + gl.expand_dims(column, 1)
    mask = gl.expand_dims(n < num_rows, 0) & (at >= 0)
    return gl.load(hidden_ptr + at, mask=mask, other=0.0, cache_modifier=".cg"), weight


@gluon.jit
def finish_projection(
    v, operands, tile, work, norm, num_rows, SHAPE: gl.constexpr, WIDTH: gl.constexpr
):
    """Add to the hidden states and prepare norm number `norm`; see `projection`."""
    hidden, weight = operands
    fields, tables, buffers = work
    cos_ptr, sin_ptr, norms_ptr = tables
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    HIDDEN: gl.constexpr = SHAPE[0]
    L: gl.constexpr = _FINISH
    column = tile * _TILE + gl.arange(0, _TILE, gl.SliceLayout(1, L))
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
def gate_up_operands(
    work, layer, num_rows, SHAPE: gl.constexpr, EPS: gl.constexpr, WIDTH: gl.constexpr
):
    """Return 1 / rms of the rows."""
    fields, tables, buffers = work
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, _PAIRS))
    sums_ptr += (2 * layer + 1) * max_rows
    return inverse_rms(sums_ptr, n, n < num_rows, SHAPE[0], EPS)


@gluon.jit
def finish_gate_up(v, inverse, tile, work, num_rows, SHAPE: gl.constexpr, WIDTH: gl.constexpr):
    """Write silu(gate) * up."""
    fields, tables, buffers = work
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    INNER: gl.constexpr = SHAPE[1]
    gate, up = pairs(v, WIDTH)
    L: gl.constexpr = _PAIRS
    column = tile * (_TILE // 2) + gl.arange(0, _TILE // 2, gl.SliceLayout(1, L))
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, L))
    row_mask = n < num_rows
    gate = gate * gl.expand_dims(inverse, 0)
    up = up * gl.expand_dims(inverse, 0)
    out = gate / (1.0 + gl.exp(-gate)) * up
    at = gl.expand_dims(n, 0) * INNER + gl.expand_dims(column, 1)
    mask = gl.expand_dims(row_mask, 0) & (at >= 0)
    gl.store(inner_ptr + at, narrow(out, inner_ptr.dtype.element_ty), mask=mask)


@gluon.jit
def finish_head(v, tile, work, outs, wanted, drafts, head, layers, SHAPE: gl.constexpr,
                EPS: gl.constexpr, WIDTH: gl.constexpr, STORE_LOGITS: gl.constexpr):  # fmt: skip
    """Store what `select` needs of a block of logits; see `lm_head`."""
    fields, tables, buffers = work
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    best_ptr, index_ptr, exps_ptr, draft_logit_ptr, logits_ptr = head
    VOCAB: gl.constexpr = SHAPE[5]
    BLOCKS: gl.constexpr = (VOCAB + _TILE - 1) // _TILE
    L: gl.constexpr = _FINISH
    column = gl.expand_dims(tile * _TILE + gl.arange(0, _TILE, gl.SliceLayout(1, L)), 1)
    n = gl.arange(0, WIDTH, gl.SliceLayout(0, L))
    inverse = inverse_rms(sums_ptr + 2 * layers * max_rows, n, wanted, SHAPE[0], EPS)
    logits = v * gl.expand_dims(inverse, 0)
    if STORE_LOGITS:
        at = gl.expand_dims(outs.to(gl.int64) * VOCAB, 0) + column
        gl.store(logits_ptr + at, logits, mask=gl.expand_dims(wanted, 0) & (column < VOCAB))
    logits = gl.where(column < VOCAB, logits, float("-inf"))
    best = gl.max(logits, 0)
    top = gl.expand_dims(best, 0)
    index = gl.min(gl.where(logits == top, column, VOCAB), 0)
    exps = gl.exp2((logits - top) * _LOG2E)
    total = gl.sum((exps * (1.0 / _EXP_UNIT)).to(gl.int64), 0)
    at = outs * BLOCKS + tile
    gl.store(best_ptr + at, best, mask=wanted)
    gl.store(index_ptr + at, index, mask=wanted)
    gl.store(exps_ptr + at, total.to(gl.float32) * _EXP_UNIT, mask=wanted)
    mine = wanted & (drafts >= tile * _TILE) & (drafts < (tile + 1) * _TILE)
    is_draft = column == gl.expand_dims(drafts, 0)
    draft_logit = gl.max(gl.where(is_draft, logits, float("-inf")), 0)
    gl.store(draft_logit_ptr + outs, draft_logit, mask=mine)


@gluon.jit
def add_parts(acc, unit, parts_ptr, counters_ptr, PARTS: gl.constexpr, WIDTH: gl.constexpr):
    """Store a part of a tile; return whether it was the last one to arrive."""
    L: gl.constexpr = acc.type.layout
    at = gl.expand_dims(gl.arange(0, _TILE, gl.SliceLayout(1, L)), 1)
    at = at + gl.expand_dims(gl.arange(0, WIDTH, gl.SliceLayout(0, L)) * _TILE, 0)
    gl.store(parts_ptr + unit * (_TILE * WIDTH) + at, acc)
    barrier()  # all threads have stored before one of them announces it
    last = gl.atomic_add(counters_ptr + unit // PARTS, 1, sem="acq_rel", scope="gpu") == PARTS - 1
    barrier()
    return last


@gluon.jit
def sum_parts(tile, parts_ptr, counters_ptr, PARTS: gl.constexpr, WIDTH: gl.constexpr):
    """Return the parts' sum, in order."""
    L: gl.constexpr = _FINISH
    gl.store(counters_ptr + tile, 0)  # for the next matrix
    at = gl.expand_dims(gl.arange(0, _TILE, gl.SliceLayout(1, L)), 1)
    at = at + gl.expand_dims(gl.arange(0, WIDTH, gl.SliceLayout(0, L)) * _TILE, 0)
    at += tile * (PARTS * _TILE * WIDTH)
    v = gl.load(parts_ptr + at, cache_modifier=".cg")
    for i in gl.static_range(1, PARTS):
        v += gl.load(parts_ptr + at + i * (_TILE * WIDTH), cache_modifier=".cg")
    return v


@gluon.jit
def row_scale(scale, layer, tile, N: gl.constexpr, FORM: gl.constexpr, WIDTH: gl.constexpr):
    """Return int8's scale of each row of a tile; for other forms, a value that is not used."""
    ACC: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[8, 1], instr_shape=[16, WIDTH, 16]
    )
    row = tile * _TILE + gl.arange(0, _TILE, gl.SliceLayout(1, ACC))
    if FORM == "int8":
        return gl.load(scale + layer * N + row, mask=row < N, other=0.0)
    else:
        return row


# Consumers: attention.


@gluon.jit
def attend(
    unit,
    work,
    layer,
    cache_shared,
    SHAPE: gl.constexpr,
    MAX_LENGTH: gl.constexpr,
    SLOT_COUNT: gl.constexpr,
):
    """Let the query heads of one row and kv head attend; the sums are those of `attention`."""
    fields, tables, buffers = work
    slots_ptr, positions_ptr = fields
    hidden_ptr, scaled_ptr, sums_ptr, max_rows, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr = buffers
    HEADS: gl.constexpr = SHAPE[2]
    KV_HEADS: gl.constexpr = SHAPE[3]
    HEAD_DIM: gl.constexpr = SHAPE[4]
    GROUP: gl.constexpr = HEADS // KV_HEADS
    dtype: gl.constexpr = q_ptr.dtype.element_ty
    LOAD: gl.constexpr = gl.BlockedLayout([1, 8], [256 // HEAD_DIM, HEAD_DIM // 8], [8, 1], [1, 0])
    ROW: gl.constexpr = gl.SliceLayout(1, _ATTEND)
    row = unit // KV_HEADS
    kv_head = unit % KV_HEADS
    last = gl.load(positions_ptr + row)
    slot = gl.load(slots_ptr + row).to(gl.int64) + layer * SLOT_COUNT
    head_at = (slot * KV_HEADS + kv_head) * (MAX_LENGTH * HEAD_DIM)
    m = gl.expand_dims(gl.arange(0, 16, gl.SliceLayout(1, _ATTEND_A)), 1)
    d = gl.expand_dims(gl.arange(0, HEAD_DIM, gl.SliceLayout(0, _ATTEND_A)), 0)
    q_at = (row * HEADS + kv_head * GROUP + m) * HEAD_DIM + d
    q = gl.load(q_ptr + q_at, mask=(m < GROUP) & (d >= 0), other=0.0, cache_modifier=".cg")
    at = gl.expand_dims(gl.arange(0, _BLOCK, gl.SliceLayout(1, LOAD)), 1)
    tile = at * HEAD_DIM + gl.expand_dims(gl.arange(0, HEAD_DIM, gl.SliceLayout(0, LOAD)), 0)
    k_shared = cache_shared.index(0)
    v_shared = cache_shared.index(1)
    column = gl.expand_dims(gl.arange(0, _BLOCK, gl.SliceLayout(0, _ATTEND)), 0)
    ones = gl.full([_BLOCK, 8], 1.0, dtype, _ATTEND_B)
    scale: gl.constexpr = HEAD_DIM**-0.5 * 1.4426950408889634

    maximum = gl.full([16], float("-inf"), gl.float32, ROW)
    total = gl.zeros([16], gl.float32, ROW)
    values = gl.zeros([16, HEAD_DIM], gl.float32, _ATTEND)
    inside = tile * 0 + at <= last
    k = gl.load(k_ptr + head_at + tile, mask=inside, other=0.0, cache_modifier=".cg")
    v = gl.load(v_ptr + head_at + tile, mask=inside, other=0.0, cache_modifier=".cg")
    for begin in range(0, last + 1, _SPLIT):
        top = gl.full([16], float("-inf"), gl.float32, ROW)
        sums = gl.zeros([16, 8], gl.float32, _ATTEND)
        out = gl.zeros([16, HEAD_DIM], gl.float32, _ATTEND)
        for start in range(begin, gl.minimum(begin + _SPLIT, last + 1), _BLOCK):
            barrier()  # all warps have read the previous block
            k_shared.store(k)
            v_shared.store(v)
            following = start + _BLOCK
            inside = tile * 0 + (following + at) <= last
            ahead = head_at + following * HEAD_DIM
            k = gl.load(k_ptr + ahead + tile, mask=inside, other=0.0, cache_modifier=".cg")
            v = gl.load(v_ptr + ahead + tile, mask=inside, other=0.0, cache_modifier=".cg")
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
def consume(
    ring, rows, scales, work, outputs, head, scratch, counters, num_rows_ptr, layers, cache_shared,
    SHAPE: gl.constexpr, PARTS: gl.constexpr, FORM: gl.constexpr, WIDTH: gl.constexpr,
    MAX_LENGTH: gl.constexpr, SLOT_COUNT: gl.constexpr, EPS: gl.constexpr, SLOTS: gl.constexpr,
    ROW_SLOTS: gl.constexpr, STORE_LOGITS: gl.constexpr,
):  # fmt: skip
    parts_ptr, tiles_ptr = scratch
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
    turn = 0
    offset = 0
    for layer in range(layers):
        done = counters + layer * (_PHASES * _STRIDE)

        units = QKV // _TILE * QKV_PARTS
        first, offset = share(units, offset)
        for unit in range(first, units, gl.num_programs(0)):
            scale = row_scale(scales[0], layer, unit // QKV_PARTS, QKV, FORM, WIDTH)
            first_rows(rows, turn, ROW_SLOTS)
            tile = unit // QKV_PARTS
            operands = qkv_operands(tile, work, layer, num_rows, SHAPE, EPS, WIDTH)
            acc, turn = product(ring, rows, turn, QKV_STAGES, FORM, WIDTH, SLOTS, ROW_SLOTS)
            if FORM == "int8":
                acc = acc * gl.expand_dims(scale, 1)
            if QKV_PARTS == 1:
                finish_qkv(gl.convert_layout(acc, _FINISH), operands, tile, work, layer, num_rows,
                           SHAPE, MAX_LENGTH, SLOT_COUNT, WIDTH)  # fmt: skip
                arrive(done, 1)
            elif add_parts(acc, unit, parts_ptr, tiles_ptr, QKV_PARTS, WIDTH):
                v = sum_parts(tile, parts_ptr, tiles_ptr, QKV_PARTS, WIDTH)
                finish_qkv(
                    v, operands, tile, work, layer, num_rows, SHAPE, MAX_LENGTH, SLOT_COUNT, WIDTH
                )
                arrive(done, 1)

        # The programs that have fewer tiles of the next matrix attend first.
        grid = gl.num_programs(0)
        first = (gl.program_id(0) + grid - offset) % grid
        if first < num_rows * KV_HEADS:
            wait(done, QKV // _TILE)
            for unit in range(first, num_rows * KV_HEADS, grid):
                attend(unit, work, layer, cache_shared, SHAPE, MAX_LENGTH, SLOT_COUNT)
                arrive(done + _STRIDE, 1)

        units = HIDDEN // _TILE * OUT_PARTS
        first, offset = share(units, offset)
        for unit in range(first, units, gl.num_programs(0)):
            scale = row_scale(scales[1], layer, unit // OUT_PARTS, HIDDEN, FORM, WIDTH)
            first_rows(rows, turn, ROW_SLOTS)
            tile = unit // OUT_PARTS
            operands = projection_operands(tile, work, 2 * layer + 1, num_rows, SHAPE, WIDTH)
            acc, turn = product(ring, rows, turn, OUT_STAGES, FORM, WIDTH, SLOTS, ROW_SLOTS)
            if FORM == "int8":
                acc = acc * gl.expand_dims(scale, 1)
            if OUT_PARTS == 1:
                finish_projection(
                    gl.convert_layout(acc, _FINISH),
                    operands,
                    tile,
                    work,
                    2 * layer + 1,
                    num_rows,
                    SHAPE,
                    WIDTH,
                )
                arrive(done + 2 * _STRIDE, 1)
            elif add_parts(acc, unit, parts_ptr, tiles_ptr, OUT_PARTS, WIDTH):
                v = sum_parts(tile, parts_ptr, tiles_ptr, OUT_PARTS, WIDTH)
                finish_projection(v, operands, tile, work, 2 * layer + 1, num_rows, SHAPE, WIDTH)
                arrive(done + 2 * _STRIDE, 1)

        units = 2 * INNER // _TILE
        first, offset = share(units, offset)
        for unit in range(first, units, gl.num_programs(0)):
            scale = row_scale(scales[2], layer, unit, 2 * INNER, FORM, WIDTH)
            first_rows(rows, turn, ROW_SLOTS)
            operands = gate_up_operands(work, layer, num_rows, SHAPE, EPS, WIDTH)
            acc, turn = product(ring, rows, turn, GATE_UP_STAGES, FORM, WIDTH, SLOTS, ROW_SLOTS)
            if FORM == "int8":
                acc = acc * gl.expand_dims(scale, 1)
            finish_gate_up(
                gl.convert_layout(acc, _FINISH), operands, unit, work, num_rows, SHAPE, WIDTH
            )
            arrive(done + 3 * _STRIDE, 1)

        units = HIDDEN // _TILE * DOWN_PARTS
        first, offset = share(units, offset)
        for unit in range(first, units, gl.num_programs(0)):
            scale = row_scale(scales[3], layer, unit // DOWN_PARTS, HIDDEN, FORM, WIDTH)
            first_rows(rows, turn, ROW_SLOTS)
            tile = unit // DOWN_PARTS
            operands = projection_operands(tile, work, 2 * layer + 2, num_rows, SHAPE, WIDTH)
            acc, turn = product(ring, rows, turn, DOWN_STAGES, FORM, WIDTH, SLOTS, ROW_SLOTS)
            if FORM == "int8":
                acc = acc * gl.expand_dims(scale, 1)
            if DOWN_PARTS == 1:
                finish_projection(
                    gl.convert_layout(acc, _FINISH),
                    operands,
                    tile,
                    work,
                    2 * layer + 2,
                    num_rows,
                    SHAPE,
                    WIDTH,
                )
                arrive(done + 4 * _STRIDE, 1)
            elif add_parts(acc, unit, parts_ptr, tiles_ptr, DOWN_PARTS, WIDTH):
                v = sum_parts(tile, parts_ptr, tiles_ptr, DOWN_PARTS, WIDTH)
                finish_projection(v, operands, tile, work, 2 * layer + 2, num_rows, SHAPE, WIDTH)
                arrive(done + 4 * _STRIDE, 1)

    outs, wanted, drafts = wanted_rows(outputs, WIDTH)
    units = (VOCAB + _TILE - 1) // _TILE
    first, offset = share(units, offset)
    for unit in range(first, units, gl.num_programs(0)):
        scale = row_scale(scales[4], 0, unit, VOCAB, FORM, WIDTH)
        acc, turn = product(ring, rows, turn, GATE_UP_STAGES, FORM, WIDTH, SLOTS, ROW_SLOTS)
        if FORM == "int8":
            acc = acc * gl.expand_dims(scale, 1)
        finish_head(gl.convert_layout(acc, _FINISH), unit, work, outs, wanted, drafts, head, layers,
                    SHAPE, EPS, WIDTH, STORE_LOGITS)  # fmt: skip


@gluon.jit
def wanted_rows(outputs, WIDTH: gl.constexpr):
    """Return each row's number among the outputs, whether it is one, and its draft."""
    outputs_ptr, num_outputs_ptr, drafts_ptr = outputs
    L: gl.constexpr = gl.BlockedLayout([1, 1], [8, 4], [8, 1], [1, 0])
    N: gl.constexpr = gl.SliceLayout(0, _FINISH)
    i = gl.arange(0, WIDTH, gl.SliceLayout(1, L))
    exists = i < gl.load(num_outputs_ptr)
    row = gl.load(outputs_ptr + i, mask=exists, other=2147483647)
    n = gl.expand_dims(gl.arange(0, WIDTH, gl.SliceLayout(0, L)), 0)
    row = gl.expand_dims(row, 1)
    outs = gl.convert_layout(gl.sum((row < n).to(gl.int32), 0), N)
    wanted = gl.convert_layout(gl.sum((row == n).to(gl.int32), 0), N) > 0
    return outs, wanted, gl.load(drafts_ptr + outs, mask=wanted, other=-1)


@gluon.jit
def persistent_kernel(
    w_qkv, w_out, w_gate_up, w_down, w_head, s_qkv, s_out, s_gate_up, s_down, s_head,
    x_scaled, x_values, x_inner,
    slots_ptr, positions_ptr, outputs_ptr, num_outputs_ptr, drafts_ptr, num_rows_ptr,
    cos_ptr, sin_ptr, norms_ptr,
    hidden_ptr, scaled_ptr, sums_ptr, q_ptr, values_ptr, inner_ptr, k_ptr, v_ptr,
    best_ptr, index_ptr, exps_ptr, draft_logit_ptr, logits_ptr,
    parts_ptr, tiles_ptr, counters_ptr, layers, max_rows,
    SHAPE: gl.constexpr, PARTS: gl.constexpr, FORM: gl.constexpr, WIDTH: gl.constexpr,
    MAX_LENGTH: gl.constexpr, SLOT_COUNT: gl.constexpr, EPS: gl.constexpr, SLOTS: gl.constexpr,
    ROW_SLOTS: gl.constexpr, IN_FLIGHT: gl.constexpr, STORE_LOGITS: gl.constexpr,
):  # fmt: skip
    """Launch as a cooperative grid of one program a multiprocessor, eight warps.

    SHAPE: hidden, inner, heads, kv_heads, head_dim, vocab. PARTS: of qkv, out, down along K.
    """
    PIECES: gl.constexpr = 1 if FORM == "bf16" else 2 if FORM == "int8" else 4
    dtype: gl.constexpr = q_ptr.dtype.element_ty
    if FORM == "bf16":
        data = gl.allocate_shared_memory(gl.bfloat16, [SLOTS, _TILE, 64], _FLOAT)
    else:
        data = gl.allocate_shared_memory(gl.int16, [2 * SLOTS, _TILE // 16, 16, 32], _WORD)
    group_scales = gl.allocate_shared_memory(
        gl.int32, [SLOTS if FORM == "int4" else 1, 1, _TILE], _SCALE
    )
    x = gl.allocate_shared_memory(dtype, [ROW_SLOTS * PIECES, WIDTH, 64], _FLOAT)
    cache_shared = gl.allocate_shared_memory(dtype, [2, _BLOCK, SHAPE[4]], _CACHE_SHARED)
    full = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    x_full = gl.allocate_shared_memory(gl.int64, [ROW_SLOTS, 1], mbarrier.MBarrierLayout())
    x_empty = gl.allocate_shared_memory(gl.int64, [ROW_SLOTS, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(SLOTS):
        mbarrier.init(full.index(i), count=1)
        mbarrier.init(empty.index(i), count=1)
    for i in gl.static_range(ROW_SLOTS):
        mbarrier.init(x_full.index(i), count=1)
        mbarrier.init(x_empty.index(i), count=1)
    ring = (data, group_scales, full, empty)
    rows = (x, x_full, x_empty)
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
            (consume, (ring, rows, scales, work, outputs, head, (parts_ptr, tiles_ptr),
                       counters_ptr, num_rows_ptr, layers, cache_shared, SHAPE, PARTS, FORM, WIDTH,
                       MAX_LENGTH, SLOT_COUNT, EPS, SLOTS, ROW_SLOTS, STORE_LOGITS)),
            (produce_weights, (ring, weights, scales, layers, SHAPE, PARTS, FORM, SLOTS,
                               IN_FLIGHT)),
            (produce_rows, (rows, (x_scaled, x_values, x_inner), counters_ptr, num_rows_ptr, layers,
                            SHAPE, PARTS, FORM, ROW_SLOTS, PIECES * WIDTH * 128)),
        ],
        [1, 1],
        [24, 24],
    )  # fmt: skip


def compile_step(
    shape: tuple[int, ...],
    parts: tuple[int, ...],
    form: str,
    width: int,
    slots: int,
    row_slots: int,
    in_flight: int,
) -> Any:
    """Compile the kernel for sm_90 without a GPU; returns Triton's compiled kernel.

    Args:
        shape, parts: SHAPE and PARTS of `persistent_kernel`. width: 8, 16, 32 or 64.
    """
    half, panel = ("bf16", FLOAT_LAYOUT) if form == "bf16" else ("fp16", WORD_LAYOUT)
    block = f"bf16[{TILE}, 64]" if form == "bf16" else f"i16[{TILE // 16}, 16, 32]"
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
        "IN_FLIGHT": in_flight,
        "STORE_LOGITS": False,
    }
    kinds = {"layers": "i32", "max_rows": "i32", "sums_ptr": "*i64"}
    kinds |= dict.fromkeys(constants, "constexpr")
    for names, kind in (
        ("w_qkv w_out w_gate_up w_down w_head", f"tensordesc<{block},{panel!r}>"),
        ("s_qkv s_out s_gate_up s_down s_head", scales),
        ("x_scaled x_values x_inner", f"tensordesc<{half}[{width}, 64],{FLOAT_LAYOUT!r}>"),
        ("scaled_ptr q_ptr values_ptr inner_ptr k_ptr v_ptr norms_ptr", f"*{half}"),
        ("slots_ptr positions_ptr outputs_ptr num_outputs_ptr drafts_ptr num_rows_ptr", "*i32"),
        ("index_ptr tiles_ptr counters_ptr", "*i32"),
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
    options = {"num_warps": 8, "enable_fp_fusion": False}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
