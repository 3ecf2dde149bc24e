"""The producer of a step of few rows: tagged words into the ring of activations."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier

from tokenspeed.kernels.persistent.grid import bound, share
from tokenspeed.kernels.persistent.int4 import store_blocks
from tokenspeed.kernels.persistent.layouts import TILE
from tokenspeed.kernels.persistent.tagged import ask, first_tag, halves_absent, halves_of, tag_of

PRODUCERS = gl.constexpr(2)
# [pieces of a group, rows * 64] words of one warp.
WORDS = gl.constexpr(gl.BlockedLayout([1, 2], [1, 32], [1, 1], [1, 0]))
# The first rows of the pieces of a group, as they lie: [groups, pieces, width * 64].
FIRST_ROWS = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [1, 0]))


@gluon.jit
def places(K: gl.constexpr, PIECES: gl.constexpr, PLAN: gl.constexpr):
    """Return which words go to which places: [PIECES, rows * 64], from the first word of row 0.

    K: words of a row.
    """
    ROWS: gl.constexpr = PLAN.word_rows
    piece = gl.expand_dims(gl.arange(0, PIECES, gl.SliceLayout(1, WORDS)), 1) * 64
    place = gl.expand_dims(gl.arange(0, ROWS * 64, gl.SliceLayout(0, WORDS)), 0)
    if ROWS == 1:
        return piece + place
    else:
        row, column = place // 64, place % 64
        if not PLAN.exact:
            # Swizzling moves the eight 16 bytes of a row about; a product expects them so.
            column = ((column // 8) ^ row) * 8 + column % 8
        at = row * K + piece + column
        return gl.max_contiguous(gl.multiple_of(at, [1, 2]), [1, 2])


@gluon.jit
def stream_words(
    ring, empty, words, tag, turn, offset, N: gl.constexpr, K: gl.constexpr, PARTS: gl.constexpr,
    WHICH: gl.constexpr, PLAN: gl.constexpr,
):  # fmt: skip
    """Send the rows' columns for each stage of `stream_weights`, some stages at once.

    Two producers take turns, and each asks for its next ones before it sends these.
    `ring.data`: [groups, pieces, width * 64], or as `int4.store_blocks` takes it.
    """
    SLOTS: gl.constexpr = PLAN.slots
    ROW_SLOTS: gl.constexpr = PLAN.row_slots
    GROUP: gl.constexpr = PLAN.group
    PIECES: gl.constexpr = GROUP * (PLAN.columns // 64)
    GROUPS: gl.constexpr = K // PARTS // PLAN.columns // GROUP
    units: gl.constexpr = (N + TILE - 1) // TILE * PARTS
    at = places(K, PIECES, PLAN)
    everywhere = at >= 0
    STEP: gl.constexpr = PRODUCERS * PIECES * 64
    first, offset = share(units, offset)
    for unit in range(first, units, gl.num_programs(0)):
        begin = words + unit % PARTS * (K // PARTS) + at
        mine = (WHICH + PRODUCERS - turn // GROUP % PRODUCERS) % PRODUCERS
        following = ask(begin + mine * (PIECES * 64), everywhere & (mine < GROUPS))
        for g in range(mine, GROUPS, PRODUCERS):
            these = begin + g * (PIECES * 64)
            got = following
            following = ask(these + STEP, everywhere & (g + PRODUCERS < GROUPS))
            missing = gl.max(gl.max(halves_absent(got, tag, everywhere), 1), 0)
            polls = gl.to_tensor(0)
            while missing > 0:
                got = ask(these, everywhere)
                missing = gl.max(gl.max(halves_absent(got, tag, everywhere), 1), 0)
                polls += 1
                bound(polls)
            now = turn + g * GROUP
            slot = now % ROW_SLOTS
            # Consumers leave stages in order: the last one of this group's places is enough.
            before = gl.maximum(now + (GROUP - 1) - ROW_SLOTS, 0)
            mbarrier.wait(empty.index(before % SLOTS), before // SLOTS & 1, pred=now >= ROW_SLOTS)
            if PLAN.exact:
                store_blocks(ring, slot // GROUP, got, PIECES, PLAN.word_rows)
            else:
                rows = ring.data.index(slot // GROUP).slice(0, PLAN.word_rows * 64, 1)
                rows.store(halves_of(got, ring.data.dtype))
            fence_async_shared()
            for i in gl.static_range(GROUP):
                mbarrier.arrive(ring.full.index(slot + i))
        turn += GROUPS * GROUP
    return turn, offset


@gluon.jit
def produce_words(ring, empty, words, layers, WHICH: gl.constexpr, PLAN: gl.constexpr):
    """Send the activations of each matrix as they come. WHICH: of the producers, 0 or 1."""
    HIDDEN: gl.constexpr = PLAN.hidden
    first = first_tag(words.step)
    turn = 0
    offset = 0
    for layer in range(layers):
        turn, offset = stream_words(
            ring, empty, words.scaled, first + 3 * layer, turn, offset, PLAN.qkv, HIDDEN,
            PLAN.qkv_parts, WHICH, PLAN,
        )  # fmt: skip
        turn, offset = stream_words(
            ring, empty, words.attended, tag_of(first, layer, 2), turn, offset, HIDDEN,
            PLAN.attended, PLAN.out_parts, WHICH, PLAN,
        )  # fmt: skip
        turn, offset = stream_words(
            ring, empty, words.scaled, tag_of(first, layer, 2), turn, offset, 2 * PLAN.inner,
            HIDDEN, 1, WHICH, PLAN,
        )  # fmt: skip
        turn, offset = stream_words(
            ring, empty, words.inner, tag_of(first, layer, 3), turn, offset, HIDDEN, PLAN.inner,
            PLAN.down_parts, WHICH, PLAN,
        )  # fmt: skip
    stream_words(
        ring, empty, words.scaled, first + 3 * layers, turn, offset, PLAN.vocab, HIDDEN, 1, WHICH,
        PLAN,
    )  # fmt: skip
