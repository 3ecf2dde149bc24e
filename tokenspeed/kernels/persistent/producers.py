"""The producers: weights, and beside them the rows' activations, into rings of shared memory."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from tokenspeed.kernels.gluon_names import tma_load
from tokenspeed.kernels.persistent.grid import share, wait
from tokenspeed.kernels.persistent.layouts import HALF, PANEL, PHASES, STAGE_BYTES, STRIDE, TILE


@gluon.jit
def stream_weights(
    ring, weight, scale, turn, offset, in_flight, layer, N: gl.constexpr, K: gl.constexpr,
    PARTS: gl.constexpr, TILED: gl.constexpr, PLAN: gl.constexpr,
):  # fmt: skip
    """Send this program's share of one matrix. turn counts stages since the start.

    At most `in_flight` stages are under way: more would only delay activations and counters. The
    rest of the ring has arrived and waits for the consumers.
    """
    FORM: gl.constexpr = PLAN.form
    SLOTS: gl.constexpr = PLAN.slots
    STAGES: gl.constexpr = K // PARTS // PLAN.columns
    units: gl.constexpr = (N + TILE - 1) // TILE * PARTS
    first, offset = share(units, offset)
    for unit in range(first, units, gl.num_programs(0)):
        tile = unit // PARTS
        begin = unit % PARTS * STAGES
        row = layer * N + tile * TILE
        for s in range(STAGES):
            slot = turn % SLOTS
            bar = ring.full.index(slot)
            mbarrier.wait(ring.empty.index(slot), (turn // SLOTS & 1) ^ 1)
            before = gl.maximum(turn - in_flight, 0)
            mbarrier.wait(
                ring.full.index(before % SLOTS), before // SLOTS & 1, pred=turn >= in_flight
            )
            mbarrier.expect(bar, STAGE_BYTES + (512 if FORM == "int4" else 0))
            if FORM == "bf16":
                if TILED:
                    at = (tile + layer * (N // TILE)) * (K // 64) + begin + s
                    tma_load(weight, [at * TILE, 0], bar, ring.data.index(slot))
                else:
                    tma_load(weight, [row, (begin + s) * 64], bar, ring.data.index(slot))
            else:
                at = (begin + s) * 2
                panel = row // PANEL
                tma_load(weight, [panel, at * PANEL, 0], bar, ring.data.index(slot * 2))
                tma_load(weight, [panel, (at + 1) * PANEL, 0], bar, ring.data.index(slot * 2 + 1))
            if FORM == "int4":
                pair = layer * (K // 256) + begin + s
                tma_load(scale, [pair, tile * TILE], bar, ring.scales.index(slot))
            turn += 1
    return turn, offset


@gluon.jit
def produce_weights(ring, weights, scales, layers, in_flight, PLAN: gl.constexpr):
    """Send this program's share of all matrices of all layers, and of the head.

    in_flight: stages under way at once: of most matrices, of down and of the head.
    """
    HIDDEN: gl.constexpr = PLAN.hidden
    INNER: gl.constexpr = PLAN.inner
    TILED: gl.constexpr = PLAN.form == "bf16"
    turn = 0
    offset = 0
    for layer in range(layers):
        turn, offset = stream_weights(
            ring, weights[0], scales[0], turn, offset, in_flight[0], layer, PLAN.qkv, HIDDEN,
            PLAN.qkv_parts, TILED, PLAN,
        )  # fmt: skip
        turn, offset = stream_weights(
            ring, weights[1], scales[1], turn, offset, in_flight[0], layer, HIDDEN, PLAN.attended,
            PLAN.out_parts, TILED, PLAN,
        )  # fmt: skip
        turn, offset = stream_weights(
            ring, weights[2], scales[2], turn, offset, in_flight[0], layer, 2 * INNER, HIDDEN, 1,
            TILED, PLAN,
        )  # fmt: skip
        turn, offset = stream_weights(
            ring, weights[3], scales[3], turn, offset, in_flight[1], layer, HIDDEN, INNER,
            PLAN.down_parts, TILED, PLAN,
        )  # fmt: skip
    # The head may be the embedding's own memory, which is not tiled.
    stream_weights(ring, weights[4], scales[4], turn, offset, in_flight[2], 0, PLAN.vocab, HIDDEN,
                   1, False, PLAN)  # fmt: skip


@gluon.jit
def stream_rows(
    ring, empty, x, turn, offset, N: gl.constexpr, K: gl.constexpr, PARTS: gl.constexpr,
    PLAN: gl.constexpr,
):  # fmt: skip
    """Send the rows' columns for each stage of `stream_weights`.

    Consumers leave a stage of weights and its activations together: a slot is free when `empty` of
    the stage says so that used it before.
    """
    SLOTS: gl.constexpr = PLAN.slots
    ROW_SLOTS: gl.constexpr = PLAN.row_slots
    PIECES: gl.constexpr = PLAN.columns // 64
    STAGES: gl.constexpr = K // PARTS // PLAN.columns
    units: gl.constexpr = (N + TILE - 1) // TILE * PARTS
    first, offset = share(units, offset)
    for unit in range(first, units, gl.num_programs(0)):
        begin = unit % PARTS * STAGES
        for s in range(STAGES):
            slot = turn % ROW_SLOTS
            bar = ring.full.index(slot)
            before = gl.maximum(turn - ROW_SLOTS, 0)
            mbarrier.wait(empty.index(before % SLOTS), before // SLOTS & 1, pred=turn >= ROW_SLOTS)
            mbarrier.expect(bar, PLAN.columns * PLAN.width * 2)
            for i in gl.static_range(PIECES):
                column = ((begin + s) * PIECES + i) * 64
                tma_load(x, [0, column], bar, ring.data.index(slot * PIECES + i))
            turn += 1
    return turn, offset


@gluon.jit
def produce_rows(ring, empty, rows, counters, num_rows_ptr, layers, PLAN: gl.constexpr):
    """Send the activations of each matrix once the grid has finished them."""
    scaled, values, inner = rows
    HIDDEN: gl.constexpr = PLAN.hidden
    INNER: gl.constexpr = PLAN.inner
    attended = gl.load(num_rows_ptr) * PLAN.kv_heads
    turn = 0
    offset = 0
    for layer in range(layers):
        done = counters + layer * (PHASES * STRIDE)
        if layer > 0:
            wait(done - STRIDE, HIDDEN // HALF)
        turn, offset = stream_rows(
            ring, empty, scaled, turn, offset, PLAN.qkv, HIDDEN, PLAN.qkv_parts, PLAN
        )
        if attended > 0:
            wait(done + STRIDE, attended)
        else:  # no rows: parts of the next matrix must not meet those of this one
            wait(done, PLAN.qkv // HALF)
        turn, offset = stream_rows(
            ring, empty, values, turn, offset, HIDDEN, PLAN.attended, PLAN.out_parts, PLAN
        )
        wait(done + 2 * STRIDE, HIDDEN // HALF)
        turn, offset = stream_rows(ring, empty, scaled, turn, offset, 2 * INNER, HIDDEN, 1, PLAN)
        wait(done + 3 * STRIDE, 2 * INNER // HALF)
        turn, offset = stream_rows(
            ring, empty, inner, turn, offset, HIDDEN, INNER, PLAN.down_parts, PLAN
        )
    wait(counters + (layers * PHASES - 1) * STRIDE, HIDDEN // HALF)
    stream_rows(ring, empty, scaled, turn, offset, PLAN.vocab, HIDDEN, 1, PLAN)
