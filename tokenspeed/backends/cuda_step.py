"""One step of the GPU backend: its kernels in order, launched or only recorded.

Knows layers and launches; does not know streams, graphs or what a step is for.
"""

from dataclasses import replace
from typing import Protocol

from torch import Tensor

from tokenspeed.backends.cuda_memory import (
    StepMemory,
    step_widths,
    tile_tokens,
)
from tokenspeed.backends.cuda_weights import LayerWeights, Weights
from tokenspeed.kernels.attention import Tiles, attention
from tokenspeed.kernels.branch_norm import branch_norm
from tokenspeed.kernels.draft import Guessed, follow_draft
from tokenspeed.kernels.embedding import embedding
from tokenspeed.kernels.gate_up import gate_up
from tokenspeed.kernels.head_norm import head_norm
from tokenspeed.kernels.launch import Launch, RecordedLaunch
from tokenspeed.kernels.lm_head import NextStep, Wanted, lm_head, select
from tokenspeed.kernels.matrix import Matrix
from tokenspeed.kernels.mtp import Following, follow_pairs, join_rows
from tokenspeed.kernels.norm import HiddenStates, Scaled
from tokenspeed.kernels.plan import Plan
from tokenspeed.kernels.projection import projection
from tokenspeed.kernels.qkv import Rotation, qkv
from tokenspeed.kernels.slots import Cache, Places
from tokenspeed.kernels.tuned import matrix_plan
from tokenspeed.model.config import EngineConfig, ModelConfig


class LayersAndHead(Protocol):
    """Runs everything before the choice of tokens as one kernel, in short steps.

    Attributes:
        max_width: of these. max_lookup: up to this width it looks the rows up itself; before wider
            ones comes the embedding.
    """

    max_width: int
    max_lookup: int

    def run(self, width: int, logits: Tensor | None = None) -> None:
        """Launch it."""
        ...

    def states(self, width: int) -> Tensor:
        """Return where it leaves the hidden states of its last layer; see `kernels.mtp`."""
        ...


def run_step(
    weights: Weights,
    memory: StepMemory,
    width: int,
    launch: Launch,
    logits: Tensor | None = None,
    persistent: LayersAndHead | None = None,
) -> None:
    """Launch the kernels of one step.

    Args:
        memory: its fields hold the step.
        width: rows that programs are started for; at least those of the step.
        logits: [width, vocab_size] float32, written; None: not stored.
        persistent: replaces the kernels of layers and head in short steps, with the same bits.
    """
    fields, model = memory.fields, weights.config
    norms, eps, row_eps = weights.norms, reader_eps(model), writer_eps(model)
    hidden = HiddenStates(memory.hidden, memory.scaled, memory.sums)
    is_persistent = persistent is not None and width <= persistent.max_width
    if persistent is None or width > persistent.max_lookup:
        embedding(
            fields.tokens[:width],
            weights.embedding,
            norms[0],
            memory.begin,
            hidden,
            launch=launch,
            scale=model.embedding_scale,
            row_eps=row_eps,
            in_blocks=weights.readers[0].reads_blocks,
        )
    wanted, scratch = Wanted(fields.outputs, memory.num_outputs, fields.drafts), memory.head_scratch
    if persistent is not None and is_persistent:
        if launch.recorded is None:  # it is compiled by its first launch
            persistent.run(width, logits)
    else:
        for i, layer in enumerate(weights.layers):
            after = norms[2 * i + 1 : 2 * i + 3]
            _run_layer(i, layer, after, weights.readers[i + 1], memory, width, launch)
        plan, last = matrix_plan("head", weights.head, width, launch), memory.sums[-1]
        x = Scaled(memory.scaled, last)
        lm_head(
            x,
            weights.head,
            wanted,
            scratch,
            logits,
            rows=width,
            eps=eps,
            plan=plan,
            first_token=weights.tokens.start,
            softcap=model.logit_softcap,
        )
    following = NextStep(fields.tokens, fields.tokens, fields.positions, fields.parity)
    select(
        scratch,
        wanted,
        fields.biases,
        following if memory.mtp is None else memory.mtp.chosen,
        memory.ahead,
        memory.chosen,
        rows=width,
        launch=launch,
        tokens=weights.tokens,
        peers=memory.member.peers(memory.turn),
        group=memory.member.group,
    )


def run_guess(
    weights: Weights,
    memory: StepMemory,
    width: int,
    launch: Launch,
    persistent: LayersAndHead | None = None,
) -> None:
    """Launch what follows a step where a layer guesses: the layer, and the choice of its tokens.

    Args: those of `run_step`, which has run.
    """
    mtp, own = weights.mtp, memory.mtp
    if mtp is None or own is None:
        return
    states = memory.hidden
    if persistent is not None and width <= persistent.max_width:
        states = persistent.states(width)
    fields, step, rows = memory.fields, own.step, memory.num_rows
    eps, in_blocks = mtp.config.rms_norm_eps, mtp.join.reads_blocks
    outputs = fields.outputs, memory.num_outputs
    following = Following(fields.tokens, fields.slots, rows, own.chosen.tokens, *outputs)
    hidden, joined = HiddenStates(step.hidden, step.scaled, step.sums), own.joined[:width]
    join_rows(
        *(following, weights.embedding, states, mtp.norms, joined, hidden),
        eps=eps,
        launch=launch,
        in_blocks=in_blocks,
    )
    # As an output projection is: to the hidden size, in parts.
    plan = matrix_plan("out", mtp.join, width, launch, memory.split_scratch)
    first = hidden._replace(square_sum=step.sums[0])
    norm = mtp.layer.input_norm
    reads_blocks = mtp.layer.qkv.reads_blocks
    projection(joined, mtp.join, norm, rows, first, plan=plan, in_blocks=reads_blocks)
    after = [mtp.layer.post_norm, mtp.norm]
    _run_layer(0, mtp.layer, after, mtp.head, step, width, launch)
    wanted = Wanted(*outputs, own.no_drafts)
    lm_head(
        Scaled(step.scaled, step.sums[-1]),
        mtp.head,
        wanted,
        own.head_scratch,
        None,
        rows=width,
        eps=eps,
        plan=matrix_plan("head", mtp.head, width, launch),
        first_token=mtp.places.start,
    )
    select(
        own.head_scratch,
        wanted,
        own.no_biases,
        own.guesses,
        own.alone,
        own.guessed,
        rows=width,
        launch=launch,
        tokens=mtp.places,
        peers=step.member.peers(memory.turn),
        group=step.member.group,
    )
    follow_pairs(own.pairs, rows=width, launch=launch)


def run_behind_draft(memory: StepMemory, launch: Launch) -> None:
    """Launch what makes the step behind one that verified a draft ready to be run."""
    mtp = memory.mtp
    guessed = None if mtp is None else Guessed(mtp.guesses.tokens, mtp.pairs.names)
    follow_draft(memory.draft, guessed, launch=launch)


def _run_layer(
    i: int,
    layer: LayerWeights,
    norms: list[Tensor | None],
    reader: Matrix,
    memory: StepMemory,
    width: int,
    launch: Launch,
) -> None:
    """Launch a layer's kernels.

    Args:
        norms: the next ones after its attention and after its MLP.
        reader: of the rows that it leaves.
    """
    fields, rows, model = memory.fields, memory.num_rows, memory.model
    eps = reader_eps(model)
    cache, places = Cache(*memory.cache[:, i]), Places(fields.slots, fields.positions)
    heads = (width, model.num_heads, model.head_dim)
    q, values = memory.q[:width].view(heads), memory.values[:width].view(heads)
    scaled, inner, sums = memory.scaled[:width], memory.inner[:width], memory.sums

    def plan(kernel: str, matrix: Matrix) -> Plan:
        return matrix_plan(kernel, matrix, width, launch, memory.split_scratch)

    rope = model.rope_of(i)
    rotation, x = Rotation(memory.cos[rope], memory.sin[rope]), Scaled(scaled, sums[2 * i])
    first = plan("qkv", layer.qkv)
    if layer.head_norms is None:
        qkv(x, layer.qkv, rotation, places, rows, q, cache, eps=eps, plan=first)
    else:
        raw = memory.raw[:width]
        qkv(x, layer.qkv, rotation, places, rows, raw, cache, eps=eps, plan=first, is_raw=True)
        head_norm(
            *(raw, layer.head_norms, rotation, places, rows, q, cache),
            eps=model.rms_norm_eps,
            kind=model.qk_norm,
            after=model.qk_norm_rotated,
            launch=launch,
        )
    tokens = tile_tokens(model, width)
    attention(
        q,
        cache,
        places,
        Tiles(fields.tile_starts, fields.tile_counts, memory.num_tiles),
        memory.attention_scratch,
        values,
        tile_tokens=tokens,
        max_tiles=min(width, -(-width // tokens) + len(cache.k)),
        launch=launch,
        scale=model.score_scale,
        softcap=model.attention_softcap,
        in_blocks=layer.out.reads_blocks,
    )

    def add(
        x: Tensor,
        matrix: Matrix,
        how: Plan,
        out_norm: Tensor | None,
        norm: Tensor | None,
        reader: Matrix,
        at: int,
    ) -> None:
        """Add a branch to the hidden states, through its output norm where it has one."""
        in_blocks = reader.reads_blocks
        hidden = HiddenStates(memory.hidden, memory.scaled, sums[at + 1])
        peers, group = memory.member.peers(memory.turn, at), memory.member.group
        if out_norm is None:
            projection(
                *(x, matrix, norm, rows, hidden),
                plan=how,
                peers=peers,
                group=group,
                in_blocks=in_blocks,
            )
            return
        branch, row_eps = memory.branch[:width], model.rms_norm_eps
        into = hidden._replace(states=branch)
        projection(x, matrix, None, rows, into, plan=how, peers=peers, group=group)
        branch_norm(
            branch, out_norm, norm, rows, hidden, eps=row_eps, launch=launch, in_blocks=in_blocks
        )

    out, down = plan("out", layer.out), plan("down", layer.down)
    attended = values.view(width, -1)
    add(attended, layer.out, out, layer.attention_out_norm, norms[0], layer.gate_up, 2 * i)
    x, gated = Scaled(scaled, sums[2 * i + 1]), plan("gate_up", layer.gate_up)
    gate_up(
        *(x, layer.gate_up, rows, inner),
        eps=eps,
        plan=gated,
        activation=model.activation,
        in_blocks=layer.down.reads_blocks,
    )
    add(inner, layer.down, down, layer.mlp_out_norm, norms[1], reader, 2 * i + 1)


def reader_eps(model: ModelConfig) -> float | None:
    """Return the epsilon of norms that readers of hidden states take; None: rows come normed."""
    return model.rms_norm_eps if model.norms == "before" else None


def writer_eps(model: ModelConfig) -> float | None:
    """Return the epsilon of norms that writers of whole rows take; None: their readers norm."""
    return None if model.norms == "before" else model.rms_norm_eps


def recorded_step(weights: Weights, config: EngineConfig, launch: Launch) -> list[RecordedLaunch]:
    """Return the launches of steps of every width; weights may be on "meta"."""
    memory, recorded = StepMemory(weights, config), list[RecordedLaunch]()
    for width in step_widths(config.max_step_tokens):
        how = replace(launch, recorded=recorded)
        run_step(weights, memory, width, how)
        run_guess(weights, memory, width, how)
    run_behind_draft(memory, replace(launch, recorded=recorded))
    return recorded
