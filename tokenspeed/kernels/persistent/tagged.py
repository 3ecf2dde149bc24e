"""Words that say by themselves that they are here: what the phases of a step of one row hand over.

A word in memory is a value and a tag. Whoever needs it polls until it has the tag of this phase of
this step. So a handover costs a store and a load, where a grid barrier costs a fence, a counter, a
poll of the counter and only then the load. (NCCL's LL protocol does the same between GPUs.)

A word is not emptied: its tag differs from those of the phase before and of the step before. It is
not overwritten before everybody has read it, because whoever writes it needs, through others, the
results of all who read what it held; the test of this module walks through that. For parts it holds
only where each matrix has words of its own: a part needs some tiles of the phase before, not all.

What a partition polls together, each word by one thread: two that load the same word for themselves
may find it absent and present, and then part in a loop that has barriers.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels.persistent import sizes
from tokenspeed.kernels.persistent.grid import bound
from tokenspeed.kernels.persistent.layouts import HALF, SUM_UNIT, narrow

TAGS = gl.constexpr(sizes.TAGS)
# One-dimensional words of a partition of consumers.
LINE = gl.constexpr(gl.BlockedLayout([1], [32], [4], [0]))


@gluon.jit
def first_tag(step_ptr):
    """Return the tag of what a step starts from; phases of layers follow (`tag_of`)."""
    return gl.load(step_ptr) * TAGS


@gluon.jit
def tag_of(first, layer, PHASE: gl.constexpr):
    """Return the tag of a phase's words. PHASE: 1 of qkv, 2 up to out, 3 up to down."""
    return first + layer * 3 + PHASE


@gluon.jit
def leave_halves(pointers, value, tag, mask):
    """Store bf16 or float16 values as int32 words."""
    bits = value.to(gl.uint16, bitcast=True).to(gl.int32)
    gl.store(pointers, bits | (tag << 16), mask=mask, cache_modifier=".cg")


@gluon.jit
def leave_words(pointers, value, tag, mask):
    """Store int32 values as int64 words."""
    bits = value.to(gl.uint32, bitcast=True).to(gl.int64)
    gl.store(pointers, bits | (tag.to(gl.int64) << 32), mask=mask, cache_modifier=".cg")


@gluon.jit
def leave_floats(pointers, value, tag, mask):
    """Store float32 values as int64 words."""
    leave_words(pointers, value.to(gl.int32, bitcast=True), tag, mask)


@gluon.jit
def leave_long(pointers, value, tag, mask):
    """Store int64 values as two words side by side, the lower half first."""
    leave_words(pointers, value.to(gl.int32), tag, mask)
    leave_words(pointers + 1, (value >> 32).to(gl.int32), tag, mask)


@gluon.jit
def ask(pointers, mask):
    """Load words, whether or not they are here."""
    return gl.load(pointers, mask=mask, other=0, volatile=True)


@gluon.jit
def halves_absent(words, tag, mask):
    """Return which int32 words are not here, as 1 or 0."""
    return (mask & (((words ^ (tag << 16)) >> 16) != 0)).to(gl.int32)


@gluon.jit
def words_absent(words, tag, mask):
    """Return which int64 words are not here, as 1 or 0."""
    return (mask & ((words >> 32).to(gl.int32) != tag)).to(gl.int32)


@gluon.jit
def halves_of(words, dtype: gl.constexpr):
    """Return the values of int32 words."""
    return words.to(gl.int16).to(dtype, bitcast=True)


@gluon.jit
def floats_of(words):
    """Return the float32 values of int64 words."""
    return words.to(gl.int32).to(gl.float32, bitcast=True)


@gluon.jit
def settle_words(words, pointers, tag, mask):
    """Ask for [m, n] int64 words again until all are here, and return them."""
    missing = gl.max(gl.max(words_absent(words, tag, mask), 1), 0)
    polls = gl.to_tensor(0)
    while missing > 0:
        words = ask(pointers, mask)
        missing = gl.max(gl.max(words_absent(words, tag, mask), 1), 0)
        polls += 1
        bound(polls)
    return words


@gluon.jit
def settle_long(low, high, pointers, tag, mask):
    """Ask for [n] pairs of words again until all are here; return their values, int64."""
    missing = gl.max(words_absent(low, tag, mask) | words_absent(high, tag, mask), 0)
    polls = gl.to_tensor(0)
    while missing > 0:
        low = ask(pointers, mask)
        high = ask(pointers + 1, mask)
        missing = gl.max(words_absent(low, tag, mask) | words_absent(high, tag, mask), 0)
        polls += 1
        bound(polls)
    return (high << 32) | (low & 0xFFFFFFFF)


@gluon.jit
def square_pointers(work, PLAN: gl.constexpr):
    """Return where each half of a tile leaves its sum of squares, and which there are."""
    i = gl.arange(0, PLAN.square_words, LINE)
    return work.words.squares + 2 * i, i < PLAN.hidden // HALF


@gluon.jit
def ask_squares(work, PLAN: gl.constexpr):
    """Ask for the sums of squares of the hidden states."""
    pointers, mask = square_pointers(work, PLAN)
    return ask(pointers, mask), ask(pointers + 1, mask)


@gluon.jit
def total_squares(words, work, tag, PLAN: gl.constexpr):
    """Return the sum of squares of the hidden states, int64, as `norm` takes it.

    words: what `ask_squares` returned.
    """
    pointers, mask = square_pointers(work, PLAN)
    return gl.sum(settle_long(words[0], words[1], pointers, tag, mask), 0)


@gluon.jit
def row_squares(words, work, tag, L: gl.constexpr, PLAN: gl.constexpr):
    """Return `total_squares` for every row of a tile. L: its layout, with the rows side by side."""
    WIDTH: gl.constexpr = PLAN.width
    total = total_squares(words, work, tag, PLAN)
    return gl.full([WIDTH], total, gl.int64, gl.SliceLayout(0, L))


@gluon.jit
def leave_first(work, first, PLAN: gl.constexpr):
    """Leave the row of the embedding as a phase leaves it: hidden states and what norms need."""
    at = gl.arange(0, HALF, LINE)
    is_one = at < 1
    token = gl.load(work.tokens).to(gl.int64)
    for half in range(gl.program_id(0), PLAN.hidden // HALF, gl.num_programs(0)):
        column = half * HALF + at
        everywhere = column >= 0
        hidden = gl.load(work.tables.embedding + token * PLAN.hidden + column).to(gl.float32)
        if PLAN.embedding_scale != 1.0:
            hidden *= PLAN.embedding_scale
        weight = gl.load(work.tables.norms + column).to(gl.float32)
        leave_floats(work.words.hidden + column, hidden, first, everywhere)
        scaled = narrow(hidden * weight, work.residual.scaled.dtype.element_ty)
        leave_halves(work.words.scaled + column, scaled, first, everywhere)
        total = gl.sum((hidden * hidden * (1.0 / SUM_UNIT)).to(gl.int64), 0)
        leave_long(work.words.squares + 2 * half + at * 0, total, first, is_one)
