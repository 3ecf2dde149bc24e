"""What the kernel is given: groups of pointers, and the constants that a step is compiled for.

`embedding.Begin`, `slots.Places`, `slots.Cache`, `lm_head.HeadScratch` and `exchange.Peers`, whose
turn is that of the step before, are more of these groups.
Copy descriptors are in none: Triton 3.6 does not look for them in a tuple. No field is called
`values` or `type`: Triton's own tuples, which these become in a kernel, have these attributes.
"""

from typing import Any, NamedTuple


class Plan(NamedTuple):
    """The constants of a step.

    Attributes:
        form: of all matrices. columns: of a stage, `sizes.COLUMNS[form]`.
        width: rows of a step, rounded up to what a product takes: 8, 16, 32 or 64.
        hidden, inner, vocab: sizes of the model, or of the part that one GPU of several has. qkv:
            rows of its matrix; attended: columns of out's, of all heads.
        qkv_parts, out_parts, down_parts: programs that share a tile of a matrix, along K.
        max_length, slot_count, eps: of the cache, and of the norms.
        slots: stages of weights in the ring. row_slots: of activations.
        word_rows: rows that the phases of a step hand over as tagged words (`tagged`), one of
            `sizes.WORD_ROWS`; those that a step has fewer, too. 0: phases end with grid barriers.
        exact: words of int4, whose products are those of integers (`int4`).
        group: stages of activations that are sent at once as words.
        group_rows: of what attention polls then: query heads of a kv head, keys and values of all
            rows, rounded up to a power of 2 from 8 on. square_words: the same for sums of squares
            of a row. Both are so many that no two threads have the same word.
        ranks: GPUs that share the model; several only in a step of one row (`ranks`).
        exchanges, inbox_rows: of a step, and rows of each rank in half an inbox; those of
            `exchange.Group`.
        scale, score_cap: of scores of attention; the cap is 0 where there is none.
        logit_cap, embedding_scale, activation: those of `ModelConfig`.
        ropes: tables of angles. biases: of `ModelConfig`, which of `Family`'s there are.
        head_norm: of heads of q and k, "before" or "after" their rotation; "": none.
    """

    form: str
    columns: int
    width: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    qkv: int
    attended: int
    vocab: int
    qkv_parts: int
    out_parts: int
    down_parts: int
    max_length: int
    slot_count: int
    eps: float
    slots: int
    row_slots: int
    store_logits: bool
    word_rows: int
    exact: bool
    group: int
    group_rows: int
    square_words: int
    ranks: int
    exchanges: int
    inbox_rows: int
    scale: float
    score_cap: float
    logit_cap: float
    embedding_scale: float
    activation: str
    ropes: int
    biases: tuple[str, ...]
    head_norm: str


class Outputs(NamedTuple):
    """Which rows choose a token.

    Attributes:
        rows: [outputs] int32, ascending. num: [1] int32.
        drafts: [outputs] int32; the draft that a row verifies, or -1.
    """

    rows: Any
    num: Any
    drafts: Any


class Tables(NamedTuple):
    """What every step reads.

    Attributes:
        cos, sin: [ropes, positions, head_dim / 2] float32.
        norms: [norms, hidden]. embedding: [whole vocabulary, hidden].
    """

    cos: Any
    sin: Any
    norms: Any
    embedding: Any


class Family(NamedTuple):
    """What other families than LLaMA have besides, over all layers; None: this model has none.

    Attributes:
        qkv_bias, out_bias, gate_up_bias, down_bias: [layers, rows of the matrix] float32.
        ropes: [layers] int32, which of the tables of angles each takes.
        head_norms: [layers, (heads + kv_heads) * head_dim] float32.
    """

    qkv_bias: Any
    out_bias: Any
    gate_up_bias: Any
    down_bias: Any
    ropes: Any
    head_norms: Any


class Residual(NamedTuple):
    """The hidden states, and what their norms need.

    Attributes:
        hidden: [rows, hidden] float32. scaled: the same times the next norm's weight.
        sums: [norms, max rows] int64, of squares.
    """

    hidden: Any
    scaled: Any
    sums: Any


class Buffers(NamedTuple):
    """What the phases of a layer leave for each other.

    Attributes:
        q, attended: [rows, heads, head_dim].
        inner: [rows, inner].
    """

    q: Any
    attended: Any
    inner: Any


class Words(NamedTuple):
    """What the phases of a step of few rows hand over; see `tagged`.

    Attributes:
        step: [1] int32, another number each step of so many rows.
        scaled, attended, inner: int32, of the rows of these.
        hidden: [rows, hidden] int64. squares: [rows, hidden / 32] int64, two for each half of a
            tile.
        parts: int64, of qkv's matrix, then of out's, then of down's: [halves of tiles, parts, 2],
            as units have them, and for each of these [rows, 64].
    """

    step: Any
    scaled: Any
    attended: Any
    inner: Any
    hidden: Any
    squares: Any
    parts: Any


class Work(NamedTuple):
    """All that consumers read and write in memory, and how much of it there is."""

    places: Any
    tables: Any
    family: Any
    residual: Any
    max_rows: Any
    buffers: Any
    cache: Any
    outputs: Any
    head: Any
    logits: Any
    parts: Any
    counters: Any
    num_rows: Any
    layers: Any
    tokens: Any
    words: Any
    peers: Any
    rank: Any
    first_token: Any


class Loaded(NamedTuple):
    """What each partition of consumers loads once, at the start: chains of loads are long.

    num_rows: that phases compute and hand over. count: rows that the step has; the others start
    from zeros, and attend to nothing.
    """

    num_rows: Any
    count: Any
    slots: Any
    positions: Any
    grid: Any
    first_tag: Any


class Extras(NamedTuple):
    """What heads of a step of few rows need in other families than LLaMA; see `own_rows`.

    Attributes:
        first_angle: where the layer's angles begin in the tables.
        bias, norm: of the first and the second row of each pair, [heads, pairs] float32 each; of
            values the norm is 1.
    """

    first_angle: Any
    bias: Any
    norm: Any


class Exchange(NamedTuple):
    """What summing over ranks needs, loaded before the product that it waits for; see `ranks`.

    Attributes:
        number: of the exchange. inbox: the address of this rank's own; inboxes: of all.
    """

    number: Any
    inbox: Any
    inboxes: Any


class Ring(NamedTuple):
    """Weights in shared memory, and the barriers of each stage."""

    data: Any
    scales: Any
    full: Any
    empty: Any


class RowRing(NamedTuple):
    """Activations in shared memory; a stage is free when that of the weights is.

    units: of words for int4, the units of their blocks (`int4`); elsewhere not used.
    """

    data: Any
    units: Any
    full: Any


class Shared(NamedTuple):
    """Other shared memory: a block of the cache, then of logits, with its barriers."""

    cache: Any
    logits: Any
    logits_full: Any
    logits_empty: Any
