"""What programs do that have rows of gate and up, or of down, layer by layer."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tokenspeed.kernels import gate_up
from tokenspeed.kernels.gluon_names import barrier
from tokenspeed.kernels.persistent.layouts import narrow
from tokenspeed.kernels.persistent.tagged import leave_floats, leave_halves, tag_of
from tokenspeed.kernels.small.arguments import ROWS as _ROWS
from tokenspeed.kernels.small.arguments import WARPS as _WARPS
from tokenspeed.kernels.small.products import (
    A_ROWS,
    LINE,
    ROWS,
    TALL,
    TALL_ROWS,
    first_hidden,
    inverse_of,
    multiply_unit,
    pick,
    places,
    put_row,
    square_sum,
    sum_parts,
    unit_words,
    wait_hidden,
)
from tokenspeed.kernels.small.words import wait_halves, wait_sums

M = gl.constexpr(_WARPS * _ROWS)  # rows of a weight that the warps multiply at once
_PAIRS = gl.constexpr(gl.BlockedLayout([1, 2], [32, 1], [8, 1], [1, 0]))
_FLAT = gl.constexpr(gl.SliceLayout(1, _PAIRS))

gated = gluon.jit(gate_up.gated.fn)


@gluon.jit
def load_tiles(pointer, tile, K: gl.constexpr, TILES: gl.constexpr, PARTS: gl.constexpr):
    """Load the words of TILES tiles of 16 rows: a tuple of [M, 32], a unit of each part.

    Rows are those of a part's tiles one behind the other.
    """
    UNITS: gl.constexpr = K // PARTS // 64
    m = gl.arange(0, M, A_ROWS)
    row = tile * ROWS + m % (TILES * ROWS)
    part = m // (TILES * ROWS)
    words = ()
    for u in gl.static_range(UNITS):
        words += (unit_words(pointer, row, part * UNITS + u, K),)  # type: ignore[assignment]
    return words


@gluon.jit
def tile_scales(pointer, tile, TILES: gl.constexpr):
    """Load the scales of the rows of `load_tiles`: [M]."""
    m = gl.arange(0, M, TALL_ROWS)
    return gl.load(pointer + (tile * ROWS + m % (TILES * ROWS)))


@gluon.jit
def multiply_tiles(words, scale, memory, TILES: gl.constexpr, PARTS: gl.constexpr, UNITS: gl.constexpr, L: gl.constexpr):
    """Return the products of tiles with the row in shared memory: [TILES * ROWS] as L."""
    acc = gl.zeros([M, 8], gl.float32, TALL)
    for u in gl.static_range(UNITS):
        acc = multiply_unit(words[u], memory.x.index(u), acc)
    part = gl.arange(0, M, TALL_ROWS) // (TILES * ROWS)
    v = pick(acc, gl.expand_dims(part, 1)) * scale
    return sum_parts(v, memory.sums, TILES, PARTS, L)


@gluon.jit
def gate_layers(program, work, first, memory, PLAN: gl.constexpr):
    """Run this program's tiles of gate and up of every layer."""
    HIDDEN: gl.constexpr = PLAN.hidden
    INNER: gl.constexpr = PLAN.inner
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    PARTS: gl.constexpr = PLAN.gate_parts
    TILES: gl.constexpr = M // ROWS // PARTS
    UNITS: gl.constexpr = HIDDEN // PARTS // 64
    units: gl.constexpr = 2 * INNER // (TILES * ROWS)
    dtype: gl.constexpr = memory.x.dtype
    ACTIVATION: gl.constexpr = PLAN.activation
    channel = places(UNITS, PARTS)
    column = gl.arange(0, TILES * ROWS // 2, _FLAT)
    if program < units:
        for layer in range(work.layers):
            matrix = work.matrices.gate_up + layer.to(gl.int64) * (INNER * HIDDEN)
            scales = work.matrices.gate_up_scale + layer * (2 * INNER)
            norm = gl.load(work.tables.norms + ((2 * layer + 1) * HIDDEN + channel)).to(gl.float32)
            words = load_tiles(matrix, program * TILES, HIDDEN, TILES, PARTS)
            scale = tile_scales(scales, program * TILES, TILES)
            if layer == 0:
                hidden = first_hidden(channel, work, PLAN)
            else:
                hidden = wait_hidden(channel, work, first + 3 * layer)
            tag = channel * 0 + tag_of(first, layer, 1)
            hidden += wait_sums(work.words.parts + channel, tag, KV_HEADS, HIDDEN)
            barrier()
            put_row(hidden, norm, memory.x_plain)
            for unit in range(program, units, PLAN.gate_programs):
                if unit > program:
                    words = load_tiles(matrix, unit * TILES, HIDDEN, TILES, PARTS)
                    scale = tile_scales(scales, unit * TILES, TILES)
                v = multiply_tiles(words, scale, memory, TILES, PARTS, UNITS, LINE)
                v *= inverse_of(square_sum(hidden), TILES * ROWS, LINE, PLAN)
                pairs = gl.convert_layout(gl.reshape(v, [TILES * ROWS // 2, 2]), _PAIRS)
                gate, up = gl.split(pairs)
                out = narrow(gated(gate, up, ACTIVATION), dtype)
                at = unit * (TILES * ROWS // 2) + column
                leave_halves(work.words.inner + at, out, tag_of(first, layer, 2), at >= 0)


@gluon.constexpr_function
def inner_units(inner: int, parts: int) -> int:
    """Return how many units of each part of down's row a program asks for.

    Rounded up, so that each thread has eight words of its own or more.
    """
    units = inner // parts // 64
    return max(1 << (units - 1).bit_length(), 32 // parts)


@gluon.constexpr_function
def fours(parts: int) -> gl.BlockedLayout:
    """Return a layout of [units, parts, 64] in which a thread has four neighbours."""
    lanes = min(2, parts)
    warps = parts // lanes
    return gl.BlockedLayout([1, 1, 4], [2 // lanes, lanes, 16], [8 // warps, warps, 1], [2, 1, 0])


@gluon.jit
def inner_places(INNER: gl.constexpr, PARTS: gl.constexpr):
    """Return which column of the MLP belongs to which place of `x_plain`: [units, parts, 64].

    As in `places`. The last unit of a part may come several times.
    """
    FOURS: gl.constexpr = fours(PARTS)
    UNITS: gl.constexpr = INNER // PARTS // 64
    ASKED: gl.constexpr = inner_units(INNER, PARTS)
    u = gl.arange(0, ASKED, gl.SliceLayout(1, gl.SliceLayout(2, FOURS)))
    n = gl.arange(0, PARTS, gl.SliceLayout(0, gl.SliceLayout(2, FOURS)))
    k = gl.arange(0, 64, gl.SliceLayout(0, gl.SliceLayout(1, FOURS)))
    u = gl.minimum(gl.expand_dims(gl.expand_dims(u, 1), 2), UNITS - 1)
    n = gl.expand_dims(gl.expand_dims(n, 0), 2)
    k = gl.expand_dims(gl.expand_dims(k, 0), 1)
    at = (n * UNITS + u) * 64 + ((k // 8) ^ n) * 8 + k % 8
    return gl.max_contiguous(gl.multiple_of(at, [1, 1, 4]), [1, 1, 4])


@gluon.jit
def down_layers(program, work, first, memory, PLAN: gl.constexpr):
    """Run this program's tiles of down of every layer, and leave the hidden states behind it."""
    HIDDEN: gl.constexpr = PLAN.hidden
    INNER: gl.constexpr = PLAN.inner
    KV_HEADS: gl.constexpr = PLAN.kv_heads
    PARTS: gl.constexpr = PLAN.down_parts
    TILES: gl.constexpr = M // ROWS // PARTS
    UNITS: gl.constexpr = INNER // PARTS // 64
    ASKED: gl.constexpr = inner_units(INNER, PARTS)
    units: gl.constexpr = HIDDEN // (TILES * ROWS)
    dtype: gl.constexpr = memory.x.dtype
    place = inner_places(INNER, PARTS)
    own = gl.arange(0, TILES * ROWS, LINE)
    if program < units:
        for layer in range(work.layers):
            matrix = work.matrices.down + layer.to(gl.int64) * (HIDDEN * INNER // 2)
            scales = work.matrices.down_scale + layer * HIDDEN
            words = load_tiles(matrix, program * TILES, INNER, TILES, PARTS)
            scale = tile_scales(scales, program * TILES, TILES)
            of_inner = place * 0 + tag_of(first, layer, 2)
            of_out = own * 0 + tag_of(first, layer, 1)
            for unit in range(program, units, PLAN.down_programs):
                if unit > program:
                    words = load_tiles(matrix, unit * TILES, INNER, TILES, PARTS)
                    scale = tile_scales(scales, unit * TILES, TILES)
                channel = unit * (TILES * ROWS) + own
                if layer == 0:
                    hidden = first_hidden(channel, work, PLAN)
                else:
                    hidden = wait_hidden(channel, work, first + 3 * layer)
                hidden += wait_sums(work.words.parts + channel, of_out, KV_HEADS, HIDDEN)
                if unit == program:
                    inner = wait_halves(work.words.inner + place, of_inner, dtype)
                    barrier()
                    memory.x_plain.slice(0, ASKED, 0).slice(0, PARTS, 1).store(inner)
                    barrier()
                hidden += multiply_tiles(words, scale, memory, TILES, PARTS, UNITS, LINE)
                leave_floats(work.words.hidden + channel, hidden, first + 3 * (layer + 1), own >= 0)
