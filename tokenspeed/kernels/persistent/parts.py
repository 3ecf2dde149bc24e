"""Sums along K of which several programs have a part each: left in memory, added up in order."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels.persistent.grid import bound
from tokenspeed.kernels.persistent.layouts import EMPTY, FINISH, HALF
from tokenspeed.kernels.persistent.tagged import ask, floats_of, leave_floats, words_absent


@gluon.jit
def part_words(part, L: gl.constexpr, WIDTH: gl.constexpr):
    """Return where the words of a part lie: [64, WIDTH]."""
    at = gl.expand_dims(gl.arange(0, HALF, gl.SliceLayout(1, L)), 1)
    return at + gl.expand_dims(part * WIDTH + gl.arange(0, WIDTH, gl.SliceLayout(0, L)), 0) * HALF


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
    L: gl.constexpr = FINISH
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
        absent = (word == EMPTY).to(gl.int32)
        v = word.to(gl.float32, bitcast=True)
        for i in gl.static_range(1, PARTS - 1):
            word = gl.load(words + i * (2 * HALF * WIDTH), mask=exists, other=0, volatile=True)
            absent = absent | (word == EMPTY).to(gl.int32)
            v += word.to(gl.float32, bitcast=True)
        missing = gl.max(gl.max(absent, 0), 0)
        polls += 1
        bound(polls)
    nothing = gl.full([HALF, WIDTH], EMPTY, gl.int32, L)
    for i in gl.static_range(0, PARTS - 1):
        gl.store(words + i * (2 * HALF * WIDTH), nothing, mask=exists)
    return v + last


@gluon.jit
def part_pointers(part, parts_ptr, L: gl.constexpr, PLAN: gl.constexpr):
    """Return where the tagged words of a part lie, and which there are: [64, width]."""
    ROWS: gl.constexpr = PLAN.word_rows
    at = gl.expand_dims(gl.arange(0, HALF, gl.SliceLayout(1, L)), 1)
    n = gl.expand_dims(gl.arange(0, PLAN.width, gl.SliceLayout(0, L)), 0)
    return parts_ptr + (part * ROWS + n) * HALF + at, (n < ROWS) & (at >= 0)


@gluon.jit
def leave_part(acc, part, parts_ptr, tag, PLAN: gl.constexpr):
    """Leave a part as tagged words for whoever adds up."""
    L: gl.constexpr = acc.type.layout
    pointers, mask = part_pointers(part, parts_ptr, L, PLAN)
    leave_floats(pointers, acc, tag, mask)


@gluon.jit
def collect_parts(acc, part, parts_ptr, tag, PARTS: gl.constexpr, PLAN: gl.constexpr):
    """Wait for the tagged parts before the last, `acc`; return the sum of all, in order."""
    NEXT: gl.constexpr = 2 * HALF * PLAN.word_rows
    last = gl.convert_layout(acc, FINISH)
    pointers, mask = part_pointers(part, parts_ptr, FINISH, PLAN)
    v = last
    missing = gl.to_tensor(1)
    polls = gl.to_tensor(0)
    while missing > 0:
        words = ask(pointers, mask)
        absent = words_absent(words, tag, mask)
        v = floats_of(words)
        for i in gl.static_range(1, PARTS - 1):
            words = ask(pointers + i * NEXT, mask)
            absent = absent | words_absent(words, tag, mask)
            v += floats_of(words)
        missing = gl.max(gl.max(absent, 0), 0)
        polls += 1
        bound(polls)
    return v + last


@gluon.jit
def rows_to_finish(unit, num_rows, PARTS: gl.constexpr):
    """Return how many rows need what finishes a tile: none where another program finishes it."""
    if PARTS > 1:
        return gl.where(unit % PARTS == PARTS - 1, num_rows, 0)
    else:
        return num_rows


@gluon.jit
def add_parts(acc, unit, work, own, tag, REGION: gl.constexpr, PARTS: gl.constexpr,
              PART: gl.constexpr, PLAN: gl.constexpr):  # fmt: skip
    """Add up the parts of half a tile; return the sum, and whether this partition has it.

    tag, REGION: of the words, if parts are left as such. Each matrix has a region of its own: a
    program may send parts of the next one while another still waits for parts of this one.

    The program of the last part waits for the others. It cannot do so for ever: they are units
    before its own, and every program takes its units in order.
    """
    WIDTH: gl.constexpr = PLAN.width
    has_sum = unit % PARTS == PARTS - 1
    if PARTS == 1:
        v = gl.convert_layout(acc, FINISH)
    else:
        v = gl.zeros([HALF, WIDTH], gl.float32, FINISH)
        first = (unit - (PARTS - 1)) * 2 + PART
        if PLAN.word_rows > 0:
            if has_sum:
                v = collect_parts(acc, first, work.words.parts + REGION, tag, PARTS, PLAN)
            else:
                leave_part(acc, unit * 2 + PART, work.words.parts + REGION, tag, PLAN)
        else:
            if has_sum:
                v = receive_parts(acc, first, work.parts, own.num_rows, PARTS, WIDTH)
            else:
                send_part(acc, unit * 2 + PART, work.parts, own.num_rows, WIDTH)
    return v, has_sum
