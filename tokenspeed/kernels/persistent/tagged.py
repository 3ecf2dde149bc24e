"""Words that say by themselves that they are here: what the phases of a step of few rows hand over.

A word in memory is a value and a tag. Whoever needs it polls until it has the tag of this phase of
this step. So a handover costs a store and a load, where a grid barrier costs a fence, a counter, a
poll of the counter and only then the load. (NCCL's LL protocol does the same between GPUs.)

A word is not emptied: its tag differs from those of the phase before and of the step before. It is
not overwritten before everybody has read it, because whoever writes it needs, through others, the
results of all who read what it held; the test of this module walks through that. For parts it holds
only where each matrix has words of its own: a part needs some tiles of the phase before, not all.
Rows that a step does not have are handed over, too, from an embedding of zeros: no word stays for
so many steps that its tag comes again (after 256, as words of 32 bits have 16 of it; a void step
leaves none, but comes behind one that does).

What a partition polls together, each word by one thread: two that load the same word for themselves
may find it absent and present, and then part in a loop that has barriers.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels.persistent import sizes
from tokenspeed.kernels.persistent.grid import bound
from tokenspeed.kernels.persistent.layouts import HALF, SUM_UNIT, narrow

TAGS = gl.constexpr(sizes.TAGS)
# Words of a partition of consumers: in one dimension, and [rows, words] with warps for the rows.
LINE = gl.constexpr(gl.BlockedLayout([1], [32], [4], [0]))
LINES = gl.constexpr(gl.BlockedLayout([1, 1], [1, 32], [4, 1], [1, 0]))


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
def largest(x):
    """Return the largest element of [n] or [m, n]."""
    if len(x.shape) == 2:
        return gl.max(gl.max(x, 1), 0)
    else:
        return gl.max(x, 0)


@gluon.jit
def settle_words(words, pointers, tag, mask):
    """Ask for [m, n] int64 words again until all are here, and return them."""
    missing = largest(words_absent(words, tag, mask))
    polls = gl.to_tensor(0)
    while missing > 0:
        words = ask(pointers, mask)
        missing = largest(words_absent(words, tag, mask))
        polls += 1
        bound(polls)
    return words


@gluon.jit
def settle_long(low, high, pointers, tag, mask):
    """Ask for pairs of words again until all are here; return their values, int64."""
    missing = largest(words_absent(low, tag, mask) | words_absent(high, tag, mask))
    polls = gl.to_tensor(0)
    while missing > 0:
        low = ask(pointers, mask)
        high = ask(pointers + 1, mask)
        missing = largest(words_absent(low, tag, mask) | words_absent(high, tag, mask))
        polls += 1
        bound(polls)
    return (high << 32) | (low & 0xFFFFFFFF)


@gluon.jit
def square_pointers(work, PLAN: gl.constexpr):
    """Return where each half of a tile leaves its sums of squares, and which there are.

    Of one row: [square_words]; of more: [width, square_words].
    """
    COUNT: gl.constexpr = PLAN.hidden // HALF
    if PLAN.word_rows == 1:
        i = gl.arange(0, PLAN.square_words, LINE)
        return work.words.squares + 2 * i, i < COUNT
    else:
        n = gl.expand_dims(gl.arange(0, PLAN.width, gl.SliceLayout(1, LINES)), 1)
        i = gl.expand_dims(gl.arange(0, PLAN.square_words, gl.SliceLayout(0, LINES)), 0)
        return work.words.squares + 2 * (n * COUNT + i), (n < PLAN.word_rows) & (i < COUNT)


@gluon.jit
def ask_squares(work, PLAN: gl.constexpr):
    """Ask for the sums of squares of the hidden states."""
    pointers, mask = square_pointers(work, PLAN)
    return ask(pointers, mask), ask(pointers + 1, mask)


@gluon.jit
def total_squares(words, work, tag, PLAN: gl.constexpr):
    """Return the sums of squares of the hidden states, int64, as `norm` takes them.

    Args:
        words: what `ask_squares` returned.
    Returns:
        Of one row a scalar; of more [width].
    """
    pointers, mask = square_pointers(work, PLAN)
    squares = settle_long(words[0], words[1], pointers, tag, mask)
    return gl.sum(squares, len(squares.shape) - 1)


@gluon.jit
def row_squares(words, work, tag, L: gl.constexpr, PLAN: gl.constexpr):
    """Return `total_squares` for every row of a tile. L: its layout, with the rows side by side."""
    WIDTH: gl.constexpr = PLAN.width
    total = total_squares(words, work, tag, PLAN)
    if PLAN.word_rows == 1:
        return gl.full([WIDTH], total, gl.int64, gl.SliceLayout(0, L))
    else:
        return gl.convert_layout(total, gl.SliceLayout(0, L))


@gluon.jit
def leave_first(work, own, PLAN: gl.constexpr):
    """Leave rows of the embedding as a phase leaves them: hidden states and what norms need."""
    COUNT: gl.constexpr = PLAN.hidden // HALF
    first = own.first_tag
    at = gl.arange(0, HALF, LINE)
    is_one = at < 1
    for half in range(gl.program_id(0), PLAN.word_rows * COUNT, gl.num_programs(0)):
        row = half // COUNT
        column = half % COUNT * HALF + at
        # A row that the step does not have may have any token.
        everywhere = column >= 0
        exists = everywhere & (row < own.count)
        token = gl.load(work.tokens + row).to(gl.int64)
        states = work.tables.embedding + token * PLAN.hidden + column
        hidden = gl.load(states, mask=exists, other=0.0).to(gl.float32)
        if PLAN.embedding_scale != 1.0:
            hidden *= PLAN.embedding_scale
        weight = gl.load(work.tables.norms + column).to(gl.float32)
        place = row * PLAN.hidden + column
        leave_floats(work.words.hidden + place, hidden, first, everywhere)
        scaled = narrow(hidden * weight, work.residual.scaled.dtype.element_ty)
        leave_halves(work.words.scaled + place, scaled, first, everywhere)
        total = gl.sum((hidden * hidden * (1.0 / SUM_UNIT)).to(gl.int64), 0)
        leave_long(work.words.squares + 2 * half + at * 0, total, first, is_one)
