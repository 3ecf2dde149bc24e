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
        gate_parts, down_parts: parts that K of these matrices is cut into; a warp multiplies one.
        gate_programs, down_programs: that have gate and up, and down.
        max_length, slot_count, eps: of the cache, and of the norms.
        scale, embedding_scale, activation: those of `ModelConfig`.
    """

    hidden: int
    inner: int
    vocab: int
    kv_heads: int
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

    Those of qkv and of the head come by TMA: their descriptors cannot be in a tuple.
    """

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
        hidden: [hidden] int64, behind a layer.
        parts: [kv_heads, hidden] int64, of out. inner: [inner] int32.
    """

    step: Any
    hidden: Any
    parts: Any
    inner: Any


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
        data: two panels of words, of qkv or of the head: [2 * units, PANEL, 32]. sent: the same as
            it is copied.
        qkv_full, head_full: barriers.
        sums: [128] float32, parts of products.
        heads, heads_plain: [16, 64], queries, key and value.
        keys, cached: [SPLIT, 64] each.
        scores: [16, SPLIT] float32; blocks: the same, [16, blocks, BLOCK].
        weights: [blocks, 16, BLOCK]. stats: [8, 16] float32: how much each block shrinks those
            before it, then the maximum.
        attended, attended_rows: [16, 64], and [8, 128].
    """

    x: Any
    x_plain: Any
    data: Any
    sent: Any
    qkv_full: Any
    head_full: Any
    sums: Any
    heads: Any
    heads_plain: Any
    keys: Any
    cached: Any
    scores: Any
    blocks: Any
    weights: Any
    weights_plain: Any
    stats: Any
    stats_plain: Any
    attended: Any
    attended_rows: Any
