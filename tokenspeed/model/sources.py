"""Where a checkpoint stores each tensor of the table, and what is folded in when it is read.

Families differ in names, fuse matrices, leave a 1 out of norms or keep a factor apart: after
loading, none of this is visible. Knows names and numbers; does not read files.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tokenspeed.model.config import ModelConfig
from tokenspeed.model.layouts import FP8_SCALES, GPTQ_PARTS
from tokenspeed.model.rope import rotated_first
from tokenspeed.model.weights import (
    EMBEDDING,
    FUSED,
    HEAD,
    K_NORM,
    NORM,
    Q_NORM,
    TO_RESIDUAL,
    layer_bias,
    layer_shapes,
    layer_weight,
)

# The parts of a quantised matrix in compressed-tensors' names; "" is the tensor itself.
SUFFIXES = ("", "_packed", "_scale", "_shape")
# The parts that other methods store, as suffixes of the weight's name or of its module's.
OTHER_SUFFIXES = (*FP8_SCALES, *GPTQ_PARTS)
# Scales of activations and caches that other engines round at run time; not part of the weights.
_UNUSED = (".input_scale", ".output_scale", ".k_scale", ".v_scale", ".q_scale")

_FUSED_NAMES = {"qkv": "self_attn.qkv_proj", "gate_up": "mlp.gate_up_proj"}
_EMBEDDING = "embed_tokens.weight"
_HARMLESS = "rotary_emb.inv_freq"  # what old releases of transformers left in the file
_TURNED = ("self_attn.q_proj", "self_attn.k_proj", Q_NORM, K_NORM)


@dataclass(frozen=True)
class Source:
    """Where a tensor is stored.

    Attributes:
        name: in the file, without a suffix of a quantised form.
        rows: first and end row of it in the stored tensor; None: all.
        height: rows of the stored tensor, or 0 where all are its own.
        order: of its rows, in each head; None: as stored.
        times, plus: factor of its values, and what is then added to them.
    """

    name: str
    rows: tuple[int, int] | None = None
    height: int = 0
    order: tuple[int, ...] | None = None
    times: float = 1.0
    plus: float = 0.0

    def part(self, suffix: str) -> str:
        """Return the name in the file of one of its parts."""
        name = self.name.removesuffix(".weight") if suffix.startswith(".") else self.name
        return name + suffix

    def ordered(self, tensor: Tensor) -> Tensor:
        """Put the rows of each head in the order of the table."""
        if self.order is None:
            return tensor
        heads = tensor.view(-1, len(self.order), *tensor.shape[1:])
        return heads[:, torch.tensor(self.order)].reshape(tensor.shape)

    def folded(self, tensor: Tensor) -> Tensor:
        """Multiply and add, in float32; without either, return the tensor as it is."""
        if self.times == 1 and self.plus == 0:
            return tensor
        return tensor.float() * self.times + self.plus


def find_sources(config: ModelConfig, names: Collection[str]) -> dict[str, Source]:
    """Return the source of each tensor of the table; the head's too, though it may be tied.

    Args:
        names: of the tensors in the files; they show which prefix names have.
    """
    prefix, stored, scale = _prefix(names), config.stored, config.stored.logit_scale
    heads = [name.rpartition(HEAD) for name in names if HEAD in name]
    sources = {
        EMBEDDING: Source(prefix + _EMBEDDING),
        NORM: Source(f"{prefix}norm.weight", times=scale, plus=stored.norm_offset * scale),
        HEAD: Source("".join(min(heads)[:2]) if heads else HEAD),
    }
    for layer in range(config.num_layers):
        for part in layer_shapes(config):
            weight, bias = layer_weight(layer, part), layer_bias(layer, part)
            sources[weight] = _layer_source(config, f"{prefix}layers.{layer}.", part, ".weight")
            sources[bias] = _layer_source(config, f"{prefix}layers.{layer}.", part, ".bias")
    return sources


def unknown(
    names: Collection[str], sources: Collection[Source], ignored: Collection[str]
) -> Iterator[str]:
    """Yield the tensors that are never read.

    Args:
        sources: of all tensors that are read.
        ignored: words in the names of tensors of other parts of the model.
    """
    read = {source.part(suffix) for source in sources for suffix in (*SUFFIXES, *OTHER_SUFFIXES)}
    for name in sorted(set(names) - read):
        is_other = any(word in ignored for word in name.split("."))
        if not is_other and not name.endswith((_HARMLESS, *_UNUSED)):
            yield name


def _prefix(names: Collection[str]) -> str:
    """Return the prefix of the text model's names: "model.", a longer one, or none."""
    for name in names:
        for suffix in (*SUFFIXES, *FP8_SCALES):
            if name == _EMBEDDING + suffix or name.endswith(f".{_EMBEDDING}{suffix}"):
                return name[: -len(_EMBEDDING + suffix)]
    return "model."


def _layer_source(config: ModelConfig, prefix: str, part: str, kind: str) -> Source:
    stored, shapes = config.stored, layer_shapes(config)
    times = stored.residual_scale if part in TO_RESIDUAL else 1.0
    plus = stored.norm_offset if len(shapes[part]) == 1 else 0.0
    order = None
    if config.rope.dim and part in _TURNED:
        order = tuple(rotated_first(config.head_dim, config.rope.dim).tolist())
    for matrix, name in _FUSED_NAMES.items() if stored.is_fused else ():
        if part in FUSED[matrix]:
            heights = [shapes[other][0] for other in FUSED[matrix]]
            begin = sum(heights[: FUSED[matrix].index(part)])
            rows = begin, begin + shapes[part][0]
            return Source(prefix + name + kind, rows, sum(heights), order, times, plus)
    return Source(prefix + dict(stored.names).get(part, part) + kind, None, 0, order, times, plus)
