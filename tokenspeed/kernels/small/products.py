"""Products with rows of a weight on the instruction of narrow tiles, and the row they are made of.

A warp multiplies 16 rows. Its instruction takes 8 columns, of which a row needs one: so column n
has part n of the row along K, and each warp picks that of its own part.
"""

import triton
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from tokenspeed.kernels.matrix import PANEL as _PANEL
from tokenspeed.kernels.matrix import UNPACK_INT8
from tokenspeed.kernels.persistent.layouts import SUM_UNIT, inverse_rms, narrow
from tokenspeed.kernels.small.arguments import ROWS as _ROWS
from tokenspeed.kernels.small.arguments import WARPS as _WARPS
from tokenspeed.kernels.small.words import tag_of, wait_sums

PANEL, ROWS = gl.constexpr(_PANEL), gl.constexpr(_ROWS)
M = gl.constexpr(_WARPS * _ROWS)  # rows of a weight that the warps multiply at once
WORDS = gl.constexpr(32)  # of a row in a unit of 64 columns
# How many neighbouring columns a thread has decides which columns an instruction adds up together,
# and so the bits: as many as Triton gives the threads of `tile.multiply_part`.
K_WIDTH = 4 if tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 8) else 2
# Warps for the rows of weights.
_tall = gl.NVMMADistributedLayout(version=[2, 0], warps_per_cta=[_WARPS, 1], instr_shape=[16, 8])
TALL = gl.constexpr(_tall)
TALL_A = gl.constexpr(gl.DotOperandLayout(0, _tall, k_width=K_WIDTH))
TALL_B = gl.constexpr(gl.DotOperandLayout(1, _tall, k_width=K_WIDTH))
TALL_ROWS = gl.constexpr(gl.SliceLayout(1, _tall))
A_ROWS = gl.constexpr(gl.SliceLayout(1, gl.DotOperandLayout(0, _tall, k_width=K_WIDTH)))
PAIRS = gl.constexpr(gl.BlockedLayout([1, 2], [32, 1], [_WARPS, 1], [1, 0]))
PAIR = gl.constexpr(gl.SliceLayout(1, gl.BlockedLayout([1, 2], [32, 1], [_WARPS, 1], [1, 0])))
LINE = gl.constexpr(gl.BlockedLayout([2], [32], [_WARPS], [0]))


@gluon.jit
def fields(words, OPERAND: gl.constexpr):
    """Return the 64 columns of a unit as float16, [M, 64], from its words, [M, 32].

    Here and now: what does not depend on the row is done before that comes, so this may not be
    moved behind a wait.
    """
    low, high = gl.inline_asm_elementwise(
        UNPACK_INT8,
        "=r,=r,r",
        [words],
        dtype=(gl.float16, gl.float16),
        is_pure=False,
        pack=2,
    )
    both = gl.permute(gl.join(low, high), (0, 2, 1))
    M: gl.constexpr = words.shape[0]
    return gl.convert_layout(gl.reshape(both, [M, 64]), OPERAND)


@gluon.jit
def load_unit(pointer, row, unit, K: gl.constexpr):
    """Load rows of a weight [*, K] in one unit each: [M, 64] float16 as `TALL_A`.

    row, unit: [M] as `A_ROWS`, of the weight.
    """
    at = (row // PANEL * (K // 64) + unit) * (PANEL * WORDS) + row % PANEL * WORDS
    word = gl.arange(0, WORDS, gl.SliceLayout(0, TALL_A))
    words = gl.load(pointer + (gl.expand_dims(at, 1) + gl.expand_dims(word, 0)))
    return fields(words, TALL_A)


@gluon.jit
def multiply_unit(a, x, acc):
    """Add the product of rows of a weight, [M, 64], and a piece of the row, [8, 64]."""
    return mma_v2(a, x.permute((1, 0)).load(TALL_B), acc)


@gluon.jit
def pick(acc, part):
    """Return column `part` of products [M, 8]; part: [M], or one for all."""
    column = gl.expand_dims(gl.arange(0, 8, gl.SliceLayout(0, TALL)), 0)
    return gl.sum(gl.where(column == part, acc, 0.0), 1)


@gluon.constexpr_function
def pieces(units: int, parts: int) -> gl.BlockedLayout:
    """Return a layout of [units, parts, 64] in which a thread has pairs of neighbours."""
    across = min(_WARPS, units)
    return gl.BlockedLayout([1, 1, 2], [1, 1, 32], [across, _WARPS // across, 1], [2, 1, 0])


@gluon.jit
def places(UNITS: gl.constexpr, PARTS: gl.constexpr):
    """Return which channel belongs to which place of `x_plain`: [units, parts, 64].

    Part n is row n, and the eight 16 bytes of a row are moved about by its number.
    """
    PIECES: gl.constexpr = pieces(UNITS, PARTS)
    u = gl.arange(0, UNITS, gl.SliceLayout(1, gl.SliceLayout(2, PIECES)))
    n = gl.arange(0, PARTS, gl.SliceLayout(0, gl.SliceLayout(2, PIECES)))
    k = gl.arange(0, 64, gl.SliceLayout(0, gl.SliceLayout(1, PIECES)))
    u = gl.expand_dims(gl.expand_dims(u, 1), 2)
    n = gl.expand_dims(gl.expand_dims(n, 0), 2)
    k = gl.expand_dims(gl.expand_dims(k, 0), 1)
    column = ((k // 8) ^ n) * 8 + k % 8
    at = (n * UNITS + u) * 64 + column
    return gl.max_contiguous(gl.multiple_of(at, [1, 1, 2]), [1, 1, 2])


@gluon.jit
def first_hidden(at, work, PLAN: gl.constexpr):
    """Return channels of the hidden states that the step starts from, float32."""
    token = gl.load(work.tokens).to(gl.int64)
    hidden = gl.load(work.tables.embedding + token * PLAN.hidden + at).to(gl.float32)
    if PLAN.embedding_scale != 1.0:
        hidden *= PLAN.embedding_scale
    return hidden


@gluon.jit
def wait_hidden(at, work, tag):
    """Return channels of the hidden states behind a layer, float32. tag: of these."""
    return wait_sums(work.words.hidden + at, at * 0 + tag, 1, 0)


@gluon.jit
def hidden_before(at, work, first, layer, PLAN: gl.constexpr):
    """Return channels of the hidden states in front of a layer, float32."""
    if layer == 0:
        hidden = first_hidden(at, work, PLAN)
    else:
        hidden = wait_hidden(at, work, first + 4 * layer)
    return hidden


@gluon.jit
def add_out(hidden, at, work, first, layer, PLAN: gl.constexpr):
    """Return channels of the hidden states with what attention adds to them."""
    tag = at * 0 + tag_of(first, layer, 2)
    return hidden + wait_sums(work.words.parts + at, tag, PLAN.kv_heads, PLAN.hidden)


@gluon.jit
def put_row(hidden, weight, x_plain):
    """Write what a matrix reads of the hidden states [units, parts, 64] to shared memory.

    weight: of the norm, float32.
    """
    rows = x_plain.slice(0, hidden.shape[0], 0).slice(0, hidden.shape[1], 1)
    rows.store(narrow(hidden * weight, x_plain.dtype))


@gluon.jit
def square_sum(hidden):
    """Return the sum of squares of hidden states [units, parts, 64], as `norm.square_sum` has it.

    Needs all warps, so it comes behind the product, which does not wait for it.
    """
    squares = (hidden * hidden * (1.0 / SUM_UNIT)).to(gl.int64)
    return gl.sum(gl.reshape(squares, [squares.numel]), 0)


@gluon.jit
def inverse_of(total, M: gl.constexpr, L: gl.constexpr, PLAN: gl.constexpr):
    """Return 1 / rms of the row as [M], from its sum of squares."""
    return inverse_rms(gl.full([M], total, gl.int64, L), PLAN.hidden, PLAN.eps)


@gluon.jit
def sum_parts(v, sums, TILES: gl.constexpr, PARTS: gl.constexpr, L: gl.constexpr):
    """Return the sums in order of parts that warps have: [TILES * ROWS] as L.

    v: [PARTS * TILES * ROWS], the tiles of a part one behind the other. sums: [PARTS, TILES * ROWS]
    """
    M: gl.constexpr = TILES * ROWS
    sums.store(gl.reshape(v, [PARTS * M]))
    total = sums.slice(0, M).load(L)
    for i in gl.static_range(1, PARTS):
        total += sums.slice(i * M, M).load(L)
    return total


@gluon.jit
def load_tiles(pointer, tile, K: gl.constexpr, TILES: gl.constexpr, PARTS: gl.constexpr):
    """Load TILES tiles of 16 rows of a weight: a tuple of [M, 64], a unit of each part.

    Rows are those of a part's tiles one behind the other.
    """
    UNITS: gl.constexpr = K // PARTS // 64
    m = gl.arange(0, M, A_ROWS)
    row = tile * ROWS + m % (TILES * ROWS)
    part = m // (TILES * ROWS)
    units = ()
    for u in gl.static_range(UNITS):
        units += (load_unit(pointer, row, part * UNITS + u, K),)  # type: ignore[assignment]
    return units


@gluon.jit
def load_scales(pointer, tile, TILES: gl.constexpr):
    """Load the scales of the rows of `load_tiles`: [M]."""
    m = gl.arange(0, M, TALL_ROWS)
    return gl.load(pointer + (tile * ROWS + m % (TILES * ROWS)))


@gluon.jit
def multiply_tiles(
    units, scale, memory, TILES: gl.constexpr, PARTS: gl.constexpr, UNITS: gl.constexpr
):
    """Return the products of tiles with the row in shared memory: [TILES * ROWS] as LINE."""
    acc = gl.zeros([M, 8], gl.float32, TALL)
    for u in gl.static_range(UNITS):
        acc = multiply_unit(units[u], memory.x.index(u), acc)
    part = gl.arange(0, M, TALL_ROWS) // (TILES * ROWS)
    v = pick(acc, gl.expand_dims(part, 1)) * scale
    return sum_parts(v, memory.sums, TILES, PARTS, LINE)


@gluon.jit
def halves_of(v):
    """Return the even and the odd elements of [n]: what is rotated or gated together."""
    pairs = gl.convert_layout(gl.reshape(v, [v.shape[0] // 2, 2]), PAIRS)
    return gl.split(pairs)
