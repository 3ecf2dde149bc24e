"""One step of the GPU backend: its kernels in their order, made or only recorded.

Knows layers and launches; does not know streams, graphs or what a step is for.
"""

from dataclasses import replace
from typing import Any

from torch import Tensor

from tokenspeed.backends.cuda_memory import (
    MAX_NARROW_ROWS,
    StepMemory,
    step_widths,
    tile_tokens,
)
from tokenspeed.backends.cuda_weights import LayerWeights, Weights
from tokenspeed.kernels.attention import attention
from tokenspeed.kernels.embedding import embedding
from tokenspeed.kernels.gate_up import gate_up
from tokenspeed.kernels.launch import Launch, RecordedLaunch
from tokenspeed.kernels.lm_head import lm_head, select
from tokenspeed.kernels.matrix import Matrix
from tokenspeed.kernels.projection import projection
from tokenspeed.kernels.qkv import qkv
from tokenspeed.kernels.tile import block_rows
from tokenspeed.kernels.tuned import matrix_parts, matrix_tile
from tokenspeed.model.config import EngineConfig


def run_step(
    weights: Weights, memory: StepMemory, width: int, launch: Launch, logits: Tensor | None = None
) -> None:
    """Launch the kernels of one step.

    Args:
        memory: its fields hold the step.
        width: rows that programs are started for; at least the step's own.
        logits: [width, vocab_size] float32, written; None: not stored.
    """
    fields, rows, block_m = memory.fields, memory.num_rows, block_rows(width)
    eps = weights.config.rms_norm_eps
    norms = [n for layer in weights.layers for n in (layer.input_norm, layer.post_norm)]
    norms.append(weights.norm)
    embedding(
        fields.tokens[:width], weights.embedding, norms[0], rows, memory.hidden, memory.scaled,
        memory.sums, launch=launch,
    )  # fmt: skip
    for i, layer in enumerate(weights.layers):
        _run_layer(i, layer, norms[2 * i + 1], norms[2 * i + 2], memory, width, eps, launch)
    outputs = fields.outputs, memory.num_outputs, fields.drafts
    lm_head(
        memory.scaled, memory.sums[-1], weights.head, *outputs, memory.head_scratch, logits,
        rows=width, eps=eps, block_m=block_m, config=matrix_tile("head", weights.head, block_m),
        launch=launch,
    )  # fmt: skip
    select(
        memory.head_scratch, *outputs, fields.biases, fields.tokens, fields.positions,
        fields.parity, memory.chosen, rows=width, launch=launch,
    )  # fmt: skip


def _run_layer(
    i: int, layer: LayerWeights, norm: Tensor, next_norm: Tensor, memory: StepMemory, width: int,
    eps: float, launch: Launch,
) -> None:  # fmt: skip
    fields, rows, block_m = memory.fields, memory.num_rows, block_rows(width)
    k_cache, v_cache = memory.cache[0, i], memory.cache[1, i]
    scaled, inner, sums = memory.scaled[:width], memory.inner[:width], memory.sums
    heads = (width, memory.model.num_heads, memory.model.head_dim)
    q, values = memory.q[:width].view(heads), memory.values[:width].view(heads)

    def config(kernel: str, matrix: Matrix) -> dict[str, Any]:
        tile = matrix_tile(kernel, matrix, block_m)
        return {"block_m": block_m, "config": tile, "launch": launch}

    def split(kernel: str, matrix: Matrix) -> dict[str, Any]:
        # A wide step has programs enough: one takes all parts of its tile in turn.
        scratch = memory.split_scratch if width <= MAX_NARROW_ROWS else None
        parts = matrix_parts(kernel, matrix)
        return config(kernel, matrix) | {"split_k": parts, "scratch": scratch}

    qkv(
        scaled, sums[2 * i], layer.qkv, memory.cos, memory.sin, fields.slots, fields.positions,
        rows, q, k_cache, v_cache, eps=eps, **split("qkv", layer.qkv),
    )  # fmt: skip
    tokens = tile_tokens(memory.model, width)
    attention(
        q, k_cache, v_cache, fields.slots, fields.positions, fields.tile_starts,
        fields.tile_counts, memory.num_tiles, memory.attention_scratch, values,
        tile_tokens=tokens, launch=launch,
        max_tiles=min(width, -(-width // tokens) + len(k_cache)),
    )  # fmt: skip
    residual = memory.hidden, memory.scaled
    projection(
        values.view(width, -1), layer.out, norm, rows, *residual, sums[2 * i + 1],
        **split("out", layer.out),
    )  # fmt: skip
    gate_up(
        scaled, sums[2 * i + 1], layer.gate_up, rows, inner, eps=eps,
        **config("gate_up", layer.gate_up),
    )  # fmt: skip
    projection(
        inner, layer.down, next_norm, rows, *residual, sums[2 * i + 2],
        **split("down", layer.down),
    )  # fmt: skip


def recorded_step(weights: Weights, config: EngineConfig, launch: Launch) -> list[RecordedLaunch]:
    """Return the launches of steps of every width; weights may be on "meta"."""
    memory, recorded = StepMemory(weights, config), list[RecordedLaunch]()
    for width in step_widths(config.max_step_tokens):
        run_step(weights, memory, width, replace(launch, recorded=recorded))
    return recorded
