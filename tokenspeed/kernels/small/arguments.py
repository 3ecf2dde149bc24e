"""What the kernel is given: groups of pointers, and the constants that a step is compiled for.

`embedding.Begin`, `slots.Places`, `slots.Cache`, `lm_head.HeadScratch` and `persistent`'s `Tables`
and `Outputs` are more of these groups.
"""

from typing import Any, NamedTuple

GROUP = 2  # query heads of a kv head
HEAD_DIM = 64
ROWS = 16  # of a weight that a warp multiplies at once
WARPS = 8  # of a program


class SmallPlan(NamedTuple):
    """The constants of a step.

    Attributes:
        hidden, inner, vocab: sizes of the model.
        kv_heads: each with GROUP query heads, and with a program: so out has as many parts.
        qkv_parts, gate_parts, down_parts: parts that K of these matrices is cut into; a warp
            multiplies one.
        gate_programs, down_programs: that have qkv, gate and up, and that have down.
        max_length, slot_count, eps: of the cache, and of the norms.
        scale, embedding_scale, activation: those of `ModelConfig`.
    """

    hidden: int
    inner: int
    vocab: int
    kv_heads: int
    qkv_parts: int
    gate_parts: int
    down_parts: int
    gate_programs: int
    down_programs: int
    max_length: int
    slot_count: int
    eps: float
    scale: float
    embedding_scale: float
    activation: str
    store_logits: bool


class Matrices(NamedTuple):
    """Matrices of all layers, one behind the other, as int16 words and scales; see `matrix.Matrix`.

    The head comes by TMA: its descriptor cannot be in a tuple.
    """

    qkv: Any
    out: Any
    gate_up: Any
    down: Any
    qkv_scale: Any
    out_scale: Any
    gate_up_scale: Any
    down_scale: Any
    head_scale: Any


class SmallWords(NamedTuple):
    """What programs hand over.

    Attributes:
        step: [1] int32, another number each step.
        heads: [rows of qkv] int32, rotated queries and keys, and values.
        parts: [kv_heads, hidden] int64, of out. inner: [inner] int32.
        hidden: [hidden] int64, behind a layer.
    """

    step: Any
    heads: Any
    parts: Any
    inner: Any
    hidden: Any


class SmallWork(NamedTuple):
    """All that programs read and write in memory, and how much of it there is."""

    matrices: Any
    tokens: Any
    places: Any
    outputs: Any
    tables: Any
    cache: Any
    head: Any
    logits: Any
    words: Any
    layers: Any


class SmallMemory(NamedTuple):
    """Shared memory.

    Attributes:
        x, x_plain: the row that is multiplied, [units, 8, 64], as products read it and as it is
            written: the 16 bytes of row n are swizzled, those of row 0 are not.
        data: panels of the head's words: [2 * units, PANEL, 32]. sent: the same as it is copied.
        full: their barriers.
        sums: [WARPS * ROWS] float32, parts of products.
        queries, query_rows: [16, HEAD_DIM], of which GROUP are used; rows can be written alone.
        keys, key_rows, cached, cached_rows: of two splits of the cache, [2, SPLIT, HEAD_DIM], the
            same for keys and for values.
        scores, blocks: of two splits, [2, 8, SPLIT] float32, and [2, 8, blocks, BLOCK].
        weights, weight_blocks: [2, blocks, 16, BLOCK], and [2 * blocks, 16, BLOCK].
        stats, stat_rows: [2, 2 * blocks, 16] float32, how much each block shrinks those before it,
            then the maximum up to it.
        attended, attended_row: [16, HEAD_DIM], and [8, GROUP * HEAD_DIM].
    """

    x: Any
    x_plain: Any
    data: Any
    sent: Any
    full: Any
    sums: Any
    queries: Any
    query_rows: Any
    keys: Any
    key_rows: Any
    cached: Any
    cached_rows: Any
    scores: Any
    blocks: Any
    weights: Any
    weight_blocks: Any
    stats: Any
    stat_rows: Any
    attended: Any
    attended_row: Any
