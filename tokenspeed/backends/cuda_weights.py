"""The weights of a model on a GPU, in the stored form and row order that the kernels read.

They come from a checkpoint or, for benchmarks, from random numbers made on the device; whole, or
one GPU's part. Knows no steps.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tokenspeed.errors import BackendUnavailable, CheckpointError
from tokenspeed.kernels.gate_up import interleave_gate_up
from tokenspeed.kernels.matrix import GROUP_SIZE, Matrix, pack_channels, pack_float, pack_int4
from tokenspeed.kernels.qkv import interleave_heads
from tokenspeed.model.checkpoint import Checkpoint, Form
from tokenspeed.model.config import ModelConfig
from tokenspeed.model.mtp import (
    GUESSED,
    HIDDEN_NORM,
    JOIN,
    OUT_NORM,
    TOKEN_NORM,
    gains_by_guesses,
    mtp_config,
    mtp_name,
    mtp_shapes,
    read_mtp,
)
from tokenspeed.model.quantize import quantize_fp8, quantize_int4, quantize_int8
from tokenspeed.model.sharding import WHOLE, Shard
from tokenspeed.model.weights import (
    ATTENTION_OUT_NORM,
    EMBEDDING,
    FUSED,
    HEAD,
    INPUT_NORM,
    K_NORM,
    MLP_OUT_NORM,
    NORM,
    POST_NORM,
    Q_NORM,
    TO_RESIDUAL,
    head_weight,
    layer_bias,
    layer_weight,
    weight_shapes,
)

logger = logging.getLogger("tokenspeed.backends")

FORMS = ("bf16", "int8", "int4", "fp8")
_QUANTIZE = {"int8": quantize_int8, "int4": quantize_int4, "fp8": quantize_fp8}

Parts = tuple[Tensor, Tensor | None]  # values and scales of one matrix, as quantised


@dataclass(frozen=True)
class LayerWeights:
    """One layer; norms are [hidden_size], None where the model has none.

    Attributes:
        attention_out_norm, mlp_out_norm: of the outputs of the branches.
        head_norms: [(heads + kv_heads) * head_dim] float32, the weight of each element of q and k.
    """

    input_norm: Tensor | None
    qkv: Matrix
    out: Matrix
    post_norm: Tensor | None
    gate_up: Matrix
    down: Matrix
    attention_out_norm: Tensor | None = None
    mlp_out_norm: Tensor | None = None
    head_norms: Tensor | None = None


@dataclass(frozen=True)
class MtpWeights:
    """A layer that guesses the token after the next one; see `model.mtp`.

    Attributes:
        norms: of tokens and of hidden states, [hidden_size] each.
        join: [hidden_size, 2 * hidden_size], of the two. norm: in front of the head.
        names: [guessed tokens] int32, on the host, ascending: those that are guessed at all.
        head: of those in `places` of `names`, which are this part's.
    """

    config: ModelConfig
    norms: tuple[Tensor, Tensor]
    join: Matrix
    layer: LayerWeights
    norm: Tensor
    names: Tensor
    head: Matrix
    places: range

    @property
    def nbytes(self) -> int:
        """Bytes that one step reads."""
        return sum(m.nbytes for m in (self.join, *layer_matrices(self.layer).values(), self.head))


@dataclass(frozen=True)
class Weights:
    """A whole model, or the part that one GPU of several has.

    Each kind of a layer's matrices lies in one piece of memory, layer after layer.

    Attributes:
        config: the shape of this part, but with the whole vocabulary.
        embedding: [vocab_size, hidden_size] bf16; only the rows of a step's tokens are read.
        head: the LM head of `tokens`.
        tokens: those whose logits this part computes.
        mtp: a layer beside the model; None: nothing guesses tokens.
    """

    config: ModelConfig
    form: str
    embedding: Tensor
    layers: list[LayerWeights]
    norm: Tensor
    head: Matrix
    tokens: range
    mtp: MtpWeights | None = None

    @property
    def norms(self) -> list[Tensor | None]:
        """The norms in front of attention and MLP of each layer, and the last one."""
        norms = [n for layer in self.layers for n in (layer.input_norm, layer.post_norm)]
        return [*norms, self.norm]

    @property
    def readers(self) -> list[Matrix]:
        """The matrices that read the hidden states in front of each layer, and the head."""
        return [*(layer.qkv for layer in self.layers), self.head]

    @property
    def step_bytes(self) -> int:
        """Bytes that one step reads at least: all but the embedding."""
        matrices = [self.head]
        for layer in self.layers:
            matrices += layer_matrices(layer).values()
        return sum(m.nbytes for m in matrices) + (0 if self.mtp is None else self.mtp.nbytes)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        is_shared = self.config.tie_word_embeddings and self.form == "bf16"
        has_own = self.mtp is None or self.mtp.head is not self.head
        twice = 0 if has_own else self.head.nbytes
        return self.step_bytes - twice + (0 if is_shared else self.embedding.nbytes)


def layer_matrices(layer: LayerWeights) -> dict[str, Matrix]:
    """Return the matrices of a layer, by the keys of `FUSED`, in the order of a step."""
    return {"qkv": layer.qkv, "out": layer.out, "gate_up": layer.gate_up, "down": layer.down}


def load_weights(
    checkpoint: Checkpoint, form: str, device: str, dtype: torch.dtype | None = None
) -> Weights:
    """Read a checkpoint, or the part of it that belongs to its shard, and what lies beside it.

    Values already stored in `form` are taken as they are. A head that was stored in more bits than
    int4 layers, as whoever wrote them chose, runs in int8.

    Raises:
        CheckpointError: a tensor is missing, unreadable, or holds NaN or infinity.
        BackendUnavailable: the shape does not allow this form, or this many GPUs.
    """
    dtype = dtype or row_dtype(form)
    head = head_weight(checkpoint.config)
    is_finer = checkpoint.is_int4 and not _is_int4(checkpoint.forms[head])
    head_form = "int8" if form == "int4" and is_finer else form

    def read(name: str) -> Parts:
        stored, wanted = checkpoint.forms[name], head_form if name == head else form
        if wanted == f"int{stored.bits}":
            values, scale = (part.to(device) for part in checkpoint.integers(name))
            if wanted == "int8" and scale.shape[1] == 1:
                return values, scale.float()  # float16 is the mark of int4
            if wanted == "int4" and _is_int4(stored):
                return values, scale.half()
        if not stored.group and not stored.layout:
            tensor = checkpoint.tensor(name).to(device)
            if not torch.isfinite(tensor).all():
                raise CheckpointError(checkpoint.files[name], "holds NaN or infinity", name)
        else:
            tensor = checkpoint.weight(name).to(device)
        return _quantized(tensor, wanted, dtype)

    def plain(name: str) -> Tensor:
        source = checkpoint.sources[name]
        # A norm into which something is folded, as Gemma's 1, would lose bits in its stored dtype.
        is_folded = name != EMBEDDING and (source.plus != 0 or source.times != 1)
        return checkpoint.weight(name, torch.float32 if is_folded else dtype).to(device)

    weights = _assemble(checkpoint.config, form, read, plain, device, checkpoint.shard)
    mtp = read_mtp(checkpoint.directory, checkpoint.config)
    if mtp is None:
        return weights
    if not gains_by_guesses(checkpoint.config):
        logger.warning("the layer that guesses tokens is not used: the model is too small to gain")
        return weights
    return with_mtp(weights, mtp, checkpoint.shard)


def random_weights(
    config: ModelConfig,
    form: str,
    device: str,
    dtype: torch.dtype | None = None,
    seed: int = 0,
    shard: Shard = WHOLE,
    residual: float = 1.0,
) -> Weights:
    """Make a model of random numbers, for benchmarks of exact shapes.

    On the device "meta" it has shapes and dtypes only, enough to compile its kernels.

    Args:
        residual: scale of what is added to the residual: next to 0, the next token depends on the
            last one alone.
        shard: whose part to make; the embedding is the same for all.
    Raises:
        BackendUnavailable: the shape does not allow this form, or this many GPUs.
    """
    generator = torch.Generator("cpu" if device == "meta" else device).manual_seed(seed)
    shapes = weight_shapes(_part_config(config, shard))
    tokens = shard.tokens(config.vocab_size)
    if HEAD in shapes:
        shapes[HEAD] = (tokens.stop - tokens.start, config.hidden_size)
    dtype = dtype or row_dtype(form)

    def noise(name: str) -> Tensor:
        shape = shapes[name]
        if device == "meta":
            return torch.empty(shape, device=device, dtype=dtype)
        values = torch.randn(shape, generator=generator, device=device, dtype=dtype)
        return values * (shape[-1] ** -0.5 * _scale(name, residual))

    def plain(name: str) -> Tensor:
        if name == EMBEDDING:  # it is asked for first
            table = noise(name)
            if residual != 1:  # many layers add little to it
                table *= config.hidden_size**0.5
            if shard.rank:
                generator.manual_seed(seed + shard.rank)
            return table
        if name.endswith(".bias"):
            return noise(name)
        return torch.ones(shapes[name], device=device, dtype=dtype)

    return _assemble(
        config, form, lambda n: _quantized(noise(n), form, dtype), plain, device, shard
    )


def row_dtype(form: str) -> torch.dtype:
    """Return the dtype of activations and cache: float16 can hold int8 and int4 exactly."""
    return torch.bfloat16 if form == "bf16" else torch.float16


def stored_form(checkpoint: Checkpoint) -> str:
    """Return the form in which a checkpoint's layers lose nothing, or as little as int8 does."""
    parts = [part for fused in FUSED.values() for part in fused]
    layers = range(checkpoint.config.num_layers)
    forms = [checkpoint.forms[layer_weight(i, part)] for i in layers for part in parts]
    if all(_is_int4(form) for form in forms):
        return "int4"
    return "int8" if any(form.group or form.layout for form in forms) else "bf16"


def _is_int4(form: Form) -> bool:
    """Return whether a matrix is stored in the groups of int4 that the kernels know."""
    return form.bits == 4 and form.group == GROUP_SIZE


def _quantized(weight: Tensor, form: str, dtype: torch.dtype) -> Parts:
    return _QUANTIZE[form](weight) if form in _QUANTIZE else (weight.to(dtype), None)


def _packed(parts: Parts, dtype: torch.dtype) -> Matrix:
    values, scale = parts
    if scale is None:
        return pack_float(values, dtype)
    return (
        pack_int4(values, scale) if scale.dtype == torch.float16 else pack_channels(values, scale)
    )


def with_mtp(weights: Weights, tensors: Mapping[str, Tensor], shard: Shard = WHOLE) -> Weights:
    """Return the same weights with an MTP layer beside them, in the same form.

    Args:
        tensors: whole, floats, by the names of `model.mtp.mtp_shapes`.
        shard: whose part the weights are.
    """
    config, embedding = mtp_config(weights.config), weights.embedding

    def own(name: str) -> Tensor:
        tensor = tensors[name]
        return tensor[shard.part(name, tuple(tensor.shape))].to(embedding.device)

    def read(name: str) -> Parts:
        return _quantized(own(mtp_name(name)), weights.form, embedding.dtype)

    def plain(name: str) -> Tensor:
        return own(mtp_name(name)).to(embedding.dtype)

    token_norm, hidden_norm, norm = (
        plain(f"{n}.weight") for n in (TOKEN_NORM, HIDDEN_NORM, OUT_NORM)
    )
    join = _packed(read(f"{JOIN}.weight"), embedding.dtype)
    (layer,) = _layers(config, embedding.dtype, read, plain)
    names, head, places = _guessed_head(weights, tensors.get(GUESSED))
    mtp = MtpWeights(config, (token_norm, hidden_norm), join, layer, norm, names, head, places)
    return replace(weights, mtp=mtp)


def _guessed_head(weights: Weights, guessed: Tensor | None) -> tuple[Tensor, Matrix, range]:
    """Return which tokens can be guessed, the head of those that are this part's, and their places.

    Args:
        guessed: ascending; None: all of them.
    Raises:
        BackendUnavailable: none of them is this part's.
    """
    device, own = weights.embedding.device, weights.tokens
    if guessed is None:
        names = torch.arange(weights.config.vocab_size, dtype=torch.int32, device="cpu")
        return names, weights.head, own
    first, last = (int((guessed < edge).sum()) for edge in (own.start, own.stop))
    if first == last:
        raise BackendUnavailable("a GPU would have none of the tokens that are guessed; use one")
    rows = (guessed[first:last] - own.start).to(device)
    return guessed.to("cpu", torch.int32), weights.head.rows(rows), range(first, last)


def random_mtp(
    model: ModelConfig,
    device: str,
    seed: int = 0,
    *,
    guessed: Sequence[int] | None = None,
    residual: float = 1.0,
) -> dict[str, Tensor]:
    """Make an MTP layer of random numbers, whole, in bfloat16; see `random_weights`.

    Args:
        guessed: tokens that can be guessed, ascending; None: all.
        residual: next to 0, it guesses what such a model of random numbers says.
    """
    generator = torch.Generator("cpu" if device == "meta" else device).manual_seed(seed)

    def made(name: str, shape: tuple[int, ...]) -> Tensor:
        if len(shape) == 1 or device == "meta":
            return torch.ones(shape, device=device, dtype=torch.bfloat16)
        noise = torch.randn(shape, generator=generator, device=device, dtype=torch.bfloat16)
        scaled = noise * (shape[-1] ** -0.5 * _scale(name, residual))
        # Its input is then the token that comes next, and hardly the hidden state.
        is_token = residual != 1 and JOIN in name
        return scaled * residual + torch.eye(*shape, device=device) if is_token else scaled

    tensors = {name: made(name, shape) for name, shape in mtp_shapes(model).items()}
    if guessed is not None:
        tensors[GUESSED] = torch.tensor(guessed, device="cpu")
    return tensors


def _scale(name: str, residual: float) -> float:
    return residual if name.removesuffix(".weight").endswith(TO_RESIDUAL) else 1.0


def _assemble(
    config: ModelConfig,
    form: str,
    read: Callable[[str], Parts],
    plain: Callable[[str], Tensor],
    device: str,
    shard: Shard,
) -> Weights:
    whole, config = config, _part_config(config, shard)
    _check_form(config, form)
    embedding = plain(EMBEDDING)
    dtype = embedding.dtype
    layers = _layers(config, dtype, read, plain)
    tokens = shard.tokens(whole.vocab_size)
    if config.tie_word_embeddings and form == "bf16":
        head = pack_float(embedding[tokens], dtype)  # the same memory
    elif config.tie_word_embeddings:
        values, scale = read(EMBEDDING)
        head = _packed((values[tokens], None if scale is None else scale[tokens]), dtype)
    else:
        head = _packed(read(HEAD), dtype)
    here = range(tokens.start, tokens.stop)
    return Weights(config, form, embedding, layers, plain(NORM), head, here)


def _layers(
    config: ModelConfig,
    dtype: torch.dtype,
    read: Callable[[str], Parts],
    plain: Callable[[str], Tensor],
) -> list[LayerWeights]:
    """Put the layers together; what is of one kind lies in one piece of memory."""
    stacks: dict[tuple[str, str], Tensor] = {}  # of each kind: data, and scales, of all layers

    def kept(layer: int, kernel: str, packed: Matrix) -> Matrix:
        """Move a matrix to its place.

        Left where it was packed, it would hold on to memory that packing took several times of.
        """
        parts: Any = {"data": packed.data}
        if packed.scale.numel() > 1:  # the one that floats do not use stays aligned
            parts["scale"] = packed.scale
        for name, part in parts.items():
            if (kernel, name) not in stacks:
                stacks[kernel, name] = part.new_empty(config.num_layers, *part.shape)
            parts[name] = stacks[kernel, name][layer].copy_(part)
        return replace(packed, **parts)

    def matrix(layer: int, kernel: str) -> Matrix:
        names = [layer_weight(layer, part) for part in FUSED[kernel]]
        values, scales = zip(*(read(name) for name in names), strict=True)
        order = orders.get(kernel, _one)
        scale = None if scales[0] is None else order([s for s in scales if s is not None])
        packed = kept(layer, kernel, _packed((order(list(values)), scale), dtype))
        if kernel not in config.biases:
            return packed
        biases = [plain(layer_bias(layer, part))[:, None] for part in FUSED[kernel]]
        return replace(packed, bias=order(biases)[:, 0].float().contiguous())

    def norm(layer: int, part: str) -> Tensor | None:
        name = layer_weight(layer, part)
        return plain(name) if name in held else None

    def head_norms(layer: int) -> Tensor | None:
        q, k = norm(layer, Q_NORM), norm(layer, K_NORM)
        if q is None or k is None:
            return None
        if config.qk_norm == "head":
            q, k = q.repeat(config.num_heads), k.repeat(config.num_kv_heads)
        return torch.cat((q, k)).float()

    def by_heads(parts: list[Tensor]) -> Tensor:
        return torch.cat([interleave_heads(part, config.head_dim) for part in parts])

    orders: dict[str, Callable[[list[Tensor]], Tensor]] = {
        "qkv": by_heads,
        "gate_up": lambda parts: interleave_gate_up(*parts),
    }
    held = weight_shapes(config)
    return [
        LayerWeights(
            norm(i, INPUT_NORM),
            matrix(i, "qkv"),
            matrix(i, "out"),
            norm(i, POST_NORM),
            matrix(i, "gate_up"),
            matrix(i, "down"),
            norm(i, ATTENTION_OUT_NORM),
            norm(i, MLP_OUT_NORM),
            head_norms(i),
        )
        for i in range(config.num_layers)
    ]


def _part_config(config: ModelConfig, shard: Shard) -> ModelConfig:
    try:
        return shard.config(config)
    except ValueError as exc:
        raise BackendUnavailable(str(exc)) from exc


def _one(parts: list[Tensor]) -> Tensor:
    (part,) = parts
    return part


def _check_form(config: ModelConfig, form: str) -> None:
    if form not in FORMS:
        raise BackendUnavailable(f"weights cannot be {form!r}, expected {', '.join(FORMS)}")
    width = config.num_heads * config.head_dim
    for columns in (config.hidden_size, config.intermediate_size, width):
        if form == "int4" and columns % GROUP_SIZE:
            raise BackendUnavailable(
                f"int4 needs matrices with columns in groups of {GROUP_SIZE}, this model has "
                f"{columns}; use int8"
            )
