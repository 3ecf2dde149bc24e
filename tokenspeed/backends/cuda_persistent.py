"""Runs the layers and the head of short steps as one persistent kernel, where the GPU allows it.

It reads the same weights and buffers as the graph of kernels that it replaces, and gives the same
bits. Knows shapes, descriptors and the launch; the kernel itself is `kernels.persistent`.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from tokenspeed.backends.cuda_memory import StepMemory
from tokenspeed.backends.cuda_weights import LayerWeights, Weights
from tokenspeed.kernels import persistent
from tokenspeed.kernels.matrix import Matrix, pack_tiles
from tokenspeed.kernels.tuned import is_narrow, split_parts, tile_config

MAX_WIDTH = 16  # rows of the widest step that takes this path
GAIN_LAYER_BYTES = 1 << 27  # this path is the default where a layer has at least so many
SHARED_BYTES = 232448  # shared memory that one program may use on a multiprocessor (Hopper)
ROW_SLOTS = 4  # stages of activations in flight or waiting for the consumers
IN_FLIGHT = 2  # stages of weights; measured best in every form and width


def why_not(weights: Weights) -> str | None:
    """Return why a model cannot run through the persistent kernel on this GPU; None: it can."""
    if torch.version.hip is not None or not torch.cuda.is_available():
        return "it needs an NVIDIA GPU"
    if torch.cuda.get_device_capability()[0] != 9:
        return "it needs a Hopper GPU (sm_90)"
    return why_not_shape(weights)


def why_not_shape(weights: Weights) -> str | None:
    """Return why the kernel does not support a model's shape or form; None: it does."""
    config, form = weights.config, weights.form
    if config.switches or config.attention_scale or len(config.ropes) > 1:
        beyond = ", ".join(config.switches) or "scale of scores or rotations"
        return f"it knows plain LLaMA alone, not this model's {beyond}"
    if form not in persistent.COLUMNS:
        return f"it does not know {form}, only {', '.join(persistent.COLUMNS)}"
    if config.head_dim not in (64, 128) or config.num_heads // config.num_kv_heads > 16:
        return "it needs heads of 64 or 128, at most 16 to a kv head"
    for name, matrix in _layer_matrices(weights.layers[0]).items():
        if is_narrow(name, form, matrix.n, matrix.k):
            return f"{name} is so small that its tiles are narrow"
        columns = split_parts(name, form, matrix.n, matrix.k) * persistent.COLUMNS[form]
        if matrix.n % persistent.TILE or matrix.k % columns:
            return (
                f"{name} is [{matrix.n}, {matrix.k}], no multiple of [{persistent.TILE}, {columns}]"
            )
    head = weights.head
    if head.format != form:
        return f"its head is in {head.format}, not in {form}"
    if tile_config("head", form, head.n, head.k, 16).block_n != persistent.TILE:
        return f"its head's tiles are not {persistent.TILE} wide"
    return None


def gains(weights: Weights) -> bool:
    """Return whether the persistent kernel measured faster than the graph (notes-cuda.md).

    Its barriers cost some 25 us a layer; a ring hides the more of it, the more bytes a layer has.
    int4 is bound by its products, whose instruction spends 64 columns on 8.
    """
    layer = _layer_matrices(weights.layers[0]).values()
    return weights.form != "int4" and sum(m.nbytes for m in layer) >= GAIN_LAYER_BYTES


def stack_layers(weights: Weights) -> Weights:
    """Return the same weights, each kind of matrix in one piece of memory over all layers.

    A copy descriptor covers one piece of memory. bf16 goes into tiles: copying 16 KiB in one piece
    is faster than copying 128 bytes from each of 128 rows. While it runs, it needs extra memory
    for the largest kind.
    """
    layers = weights.layers
    for name in ("qkv", "out", "gate_up", "down"):
        matrices = [_layer_matrices(layer)[name] for layer in layers]
        first = _stored(matrices[0])
        data = torch.empty((len(layers), *first.shape), dtype=first.dtype, device=first.device)
        scale = torch.stack([m.scale for m in matrices])
        for i, matrix in enumerate(matrices):
            data[i].copy_(_stored(matrix))
            changed: Any = {name: replace(matrix, data=data[i], scale=scale[i])}
            layers[i] = replace(layers[i], **changed)  # frees what was copied
            matrices[i] = changed[name]
    return weights


@dataclass(frozen=True)
class Ring:
    """How a program's shared memory is used.

    Attributes:
        slots: stages of weights; row_slots: of activations; in_flight: weight stages under way.
    """

    slots: int
    row_slots: int
    in_flight: int


def default_ring(form: str, width: int, head_dim: int) -> Ring:
    """Return the deepest ring that fits, with as many stages under way as measured best."""
    stage = persistent.STAGE_BYTES + (512 if form == "int4" else 0)
    rows = ROW_SLOTS * persistent.COLUMNS[form] * width * 2
    cache = 2 * 32 * head_dim * 2
    finish = persistent.TILE * width * 4 + 1024
    slots = (SHARED_BYTES - rows - cache - finish) // stage
    return Ring(slots, ROW_SLOTS, IN_FLIGHT)


class PersistentStep:
    """The launch of the persistent kernel over a backend's buffers.

    Args:
        weights: stacked (`stack_layers`).
        memory: of the backend.
        max_width: rows of the widest step.
        ring: None is the default for each width.
    """

    def __init__(
        self,
        weights: Weights,
        memory: StepMemory,
        *,
        max_width: int = MAX_WIDTH,
        ring: Ring | None = None,
    ) -> None:
        self.max_width, self.ring = max_width, ring
        self._weights, self._memory = weights, memory
        config, form, device = weights.config, weights.form, memory.device
        first = _layer_matrices(weights.layers[0])
        self._parts = tuple(
            split_parts(k, form, first[k].n, first[k].k) for k in ("qkv", "out", "down")
        )
        self._norms = torch.stack([norm for norm in weights.norms if norm is not None])
        units = [first[k].n * p for k, p in zip(("qkv", "out", "down"), self._parts, strict=True)]
        width = max(8, max_width)
        # Words of parts that have not arrived.
        parts = torch.full((max(units) * width,), persistent.EMPTY, dtype=torch.int32)
        self._part_sums = parts.to(device).view(torch.float32)
        lines = config.num_layers * persistent.PHASES
        self._counters = torch.zeros(
            lines * persistent.COUNTER_STRIDE, dtype=torch.int32, device=device
        )
        self._grid = torch.cuda.get_device_properties(device).multi_processor_count
        self._descriptors = self._describe_weights()

    @property
    def nbytes(self) -> int:
        """Bytes of its own buffers."""
        return sum(t.nbytes for t in (self._norms, self._part_sums, self._counters))

    def run(self, width: int, logits: Tensor | None = None) -> None:
        """Launch the step, after `embedding` and before `select`.

        Args:
            width: rows that the step may have.
            logits: [width, vocab_size] float32, written if given.
        Raises:
            RuntimeError: the grid cannot be resident as a whole: something else uses the GPU.
        """
        config, memory = self._weights.config, self._memory
        head, fields, cache = memory.head_scratch, memory.fields, memory.cache
        form, wide = self._weights.form, max(8, width)
        ring = self.ring or default_ring(form, wide, config.head_dim)
        self._counters.zero_()
        rows = (memory.scaled, memory.values, memory.inner)
        persistent.persistent_kernel[(self._grid,)](
            *self._descriptors,
            *(_describe(x[:width], [wide, 64], persistent.FLOAT_LAYOUT) for x in rows),
            fields.slots,
            fields.positions,
            fields.outputs,
            memory.num_outputs,
            fields.drafts,
            memory.num_rows,
            memory.cos,
            memory.sin,
            self._norms,
            memory.hidden,
            memory.scaled,
            memory.sums,
            memory.q,
            memory.values,
            memory.inner,
            cache[0],
            cache[1],
            *head,
            head.best if logits is None else logits,
            self._part_sums,
            self._counters,
            config.num_layers,
            memory.sums.shape[1],
            min(ring.in_flight, ring.slots),
            SHAPE=(
                config.hidden_size,
                config.intermediate_size,
                config.num_heads,
                config.num_kv_heads,
                config.head_dim,
                config.vocab_size,
            ),
            PARTS=self._parts,
            FORM=form,
            WIDTH=wide,
            MAX_LENGTH=cache.shape[4],
            SLOT_COUNT=cache.shape[2],
            EPS=config.rms_norm_eps,
            SLOTS=ring.slots,
            ROW_SLOTS=ring.row_slots,
            STORE_LOGITS=logits is not None,
            num_warps=4,
            enable_fp_fusion=False,
            launch_cooperative_grid=True,
        )

    def _describe_weights(self) -> tuple[Any, ...]:
        weights, layers = self._weights, len(self._weights.layers)
        stacked = [(m, layers) for m in _layer_matrices(weights.layers[0]).values()]
        matrices = [*stacked, (weights.head, 1)]
        data = [_describe_matrix(m, count) for m, count in matrices]
        scales = [_describe_scales(m, count) for m, count in matrices]
        return (*data, *scales)


def _layer_matrices(layer: LayerWeights) -> dict[str, Matrix]:
    return {"qkv": layer.qkv, "out": layer.out, "gate_up": layer.gate_up, "down": layer.down}


def _stored(matrix: Matrix) -> Tensor:
    return pack_tiles(matrix.data) if matrix.layout == "bf16" else matrix.data


def _over_layers(first: Tensor, layers: int) -> Tensor:
    """Return the memory of all layers, [layers * n, ...], from that of the first."""
    shape = (layers * first.shape[0], *first.shape[1:])
    return first.as_strided(shape, first.stride())


def _describe_matrix(matrix: Matrix, layers: int) -> Any:
    data = _over_layers(matrix.data, layers)
    if matrix.layout == "tiled":
        return _describe(data.view(-1, 64), [persistent.TILE, 64], persistent.FLOAT_LAYOUT)
    if matrix.layout == "bf16":
        return _describe(data, [persistent.TILE, 64], persistent.FLOAT_LAYOUT)
    # [panels, units * rows of a panel, 32] words
    panels = data.view(len(data), -1, data.shape[-1])
    return _describe(panels, persistent.WORD_BLOCK, persistent.WORD_LAYOUT)


def _describe_scales(matrix: Matrix, layers: int) -> Any:
    scale = _over_layers(matrix.scale, layers if matrix.format != "bf16" else 1)
    if matrix.format != "int4":
        return scale
    return _describe(scale, [1, persistent.TILE], persistent.SCALE_LAYOUT)


def _describe(tensor: Tensor, block: list[int], layout: Any) -> Any:
    return TensorDescriptor.from_tensor(tensor, block, layout)
