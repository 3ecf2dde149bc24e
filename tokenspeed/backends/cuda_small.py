"""Runs a step of one row of a small model as one kernel, where the GPU allows it.

It reads the same weights and buffers as the graph of kernels that it replaces, and gives the same
bits. Knows shapes, the descriptor and the launch; the kernel itself is `kernels.small`.
"""

from typing import Any

import torch
from torch import Tensor
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from tokenspeed.backends.cuda_memory import StepMemory
from tokenspeed.backends.cuda_weights import Weights, layer_matrices
from tokenspeed.errors import BackendUnavailable
from tokenspeed.kernels.lm_head import count_of
from tokenspeed.kernels.matrix import PANEL
from tokenspeed.kernels.persistent import sizes
from tokenspeed.kernels.persistent.arguments import Outputs, Tables
from tokenspeed.kernels.slots import Cache, Places
from tokenspeed.kernels.small.arguments import (
    GROUP,
    HEAD_DIM,
    ROWS,
    WARPS,
    Matrices,
    SmallPlan,
    SmallWords,
)
from tokenspeed.kernels.small.kernel import PANEL_BLOCK, small_kernel
from tokenspeed.kernels.tuned import head_block_n, is_narrow, split_parts
from tokenspeed.model.config import ModelConfig

UNIT = 64  # columns of a unit of int8 words
MAX_UNITS = 8  # of the hidden size: what there is room for
MAX_LAYERS = sizes.TAGS // 4 - 1  # whose words have tags of their own
DOWN_SHARE = 4  # one program of so many has tiles of down, where the GPU has too few for all
_OPTIONS = {"num_warps": WARPS, "enable_fp_fusion": False, "launch_cooperative_grid": True}


def why_not(weights: Weights, ranks: int = 1) -> str | None:
    """Return why a model's steps of one row cannot be this kernel on this GPU; None: they can.

    Args:
        ranks: GPUs that share the model.
    """
    if torch.version.hip is not None or not torch.cuda.is_available():
        return "it needs an NVIDIA GPU"
    device = weights.embedding.device
    if torch.cuda.get_device_capability(device if device.type == "cuda" else None)[0] != 9:
        return "it needs a Hopper GPU (sm_90)"
    if ranks > 1:
        return "GPUs that share a small model run it as a graph"
    return why_not_shape(weights.config, weights.form)


def why_not_shape(config: ModelConfig, form: str) -> str | None:
    """Return why the kernel does not support a model's shape or form; None: it does."""
    if config.switches or len(config.ropes) > 1:
        return "it knows plain LLaMA alone"
    if form != "int8":
        return f"it does not know {form}, only int8"
    heads, kv_heads = config.num_heads, config.num_kv_heads
    if config.head_dim != HEAD_DIM or heads != GROUP * kv_heads:
        return f"it needs heads of {HEAD_DIM}, {GROUP} to a kv head"
    hidden, inner = config.hidden_size, config.intermediate_size
    units = hidden // UNIT
    if hidden % UNIT or units & (units - 1) or units > MAX_UNITS:
        return f"it needs a hidden size of a power of two up to {MAX_UNITS * UNIT}"
    if config.num_layers > MAX_LAYERS:
        return f"it has {config.num_layers} layers, more than {MAX_LAYERS}"
    qkv, attended = (heads + 2 * kv_heads) * HEAD_DIM, heads * HEAD_DIM
    shapes = {
        "qkv": (qkv, hidden),
        "out": (hidden, attended),
        "gate_up": (2 * inner, hidden),
        "down": (hidden, inner),
    }
    for name, (n, k) in shapes.items():
        if not is_narrow(name, form, n, k):
            return f"{name} is so large that its tiles are not narrow"
        if n % PANEL:
            return f"{name} has {n} rows, no multiple of {PANEL}"
    parts = {name: split_parts(name, form, *shape) for name, shape in shapes.items()}
    if parts["out"] != kv_heads:
        return "its parts of out are not those of kv heads"
    for name in ("qkv", "gate_up", "down"):
        if WARPS % parts[name] or shapes[name][1] % (parts[name] * UNIT):
            return f"its {parts[name]} parts of {name} are not those of {WARPS} warps"
    # The same programs have both, and put one row in shared memory.
    if parts["qkv"] != parts["gate_up"] or qkv > 2 * inner:
        return "its qkv and its gate and up have other parts, or qkv has more rows"
    if head_block_n(config.vocab_size, hidden) != UNIT:
        return "its head is too large"
    return None


def plan_of(
    config: ModelConfig,
    max_length: int,
    num_slots: int,
    programs: int,
    *,
    store_logits: bool = False,
) -> SmallPlan:
    """Return what the kernel is compiled for.

    Args:
        config: of a model that `why_not_shape` accepts.
        max_length, num_slots: of the cache. programs: multiprocessors of the GPU.
    Raises:
        BackendUnavailable: the GPU has too few of these.
    """
    hidden, inner, kv_heads = config.hidden_size, config.intermediate_size, config.num_kv_heads
    qkv = (config.num_heads + 2 * kv_heads) * HEAD_DIM
    gate_parts = split_parts("gate_up", "int8", 2 * inner, hidden)
    down_parts = split_parts("down", "int8", hidden, inner)
    rest = programs - kv_heads
    gates = 2 * inner // (WARPS * ROWS // gate_parts)
    downs = hidden // (WARPS * ROWS // down_parts)
    if rest < gates + downs:
        gates = min(gates, rest - min(downs, max(1, rest // DOWN_SHARE)))
        downs = rest - gates  # no program is left that would take another's tiles once more
    if gates < 1:
        raise BackendUnavailable(f"{programs} multiprocessors are too few for one kernel")
    return SmallPlan(
        hidden=hidden,
        inner=inner,
        vocab=config.vocab_size,
        kv_heads=kv_heads,
        qkv_parts=split_parts("qkv", "int8", qkv, hidden),
        gate_parts=gate_parts,
        down_parts=down_parts,
        gate_programs=gates,
        down_programs=downs,
        max_length=max_length,
        slot_count=num_slots,
        eps=config.rms_norm_eps,
        scale=config.score_scale,
        embedding_scale=config.embedding_scale,
        activation=config.activation,
        store_logits=store_logits,
    )


class SmallStep:
    """The launch of the kernel over a backend's buffers; see `cuda_step.LayersAndHead`.

    Args:
        weights: of a model that `why_not` accepts.
        memory: of the backend.
    """

    max_width = max_lookup = 1

    def __init__(self, weights: Weights, memory: StepMemory) -> None:
        self._weights, self._memory = weights, memory
        device, config = memory.device, weights.config
        self._norms = torch.stack([norm for norm in weights.norms if norm is not None])
        hidden, kv_heads = config.hidden_size, config.num_kv_heads

        def zeros(count: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(count, dtype=dtype, device=device)

        self._words = SmallWords(
            step=count_of(memory.launched, 1),
            heads=zeros((GROUP + 2) * kv_heads * HEAD_DIM, torch.int32),
            parts=zeros(kv_heads * hidden, torch.int64),
            inner=zeros(config.intermediate_size, torch.int32),
            hidden=zeros(hidden, torch.int64),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its own buffers."""
        own = (self._norms, *self._words[1:])
        return sum(t.nbytes for t in own)

    def run(self, width: int, logits: Tensor | None = None) -> None:
        """Launch the step, before `select`; see `PersistentStep.run`."""
        assert width == 1
        *arguments, plan = self.arguments(logits).values()
        small_kernel[(self._programs(),)](*arguments, PLAN=plan, **_OPTIONS)

    def states(self, width: int) -> Tensor:
        """Return where a step leaves the hidden states of its last layer: [1, hidden] words."""
        assert width == 1
        hidden: Tensor = self._words.hidden
        return hidden.view(1, -1)

    def arguments(self, logits: Tensor | None = None) -> dict[str, Any]:
        """Return what the kernel is launched with, by the names of its parameters, in their order.

        Args:
            logits: [1, vocab_size] float32, written if given.
        """
        memory, fields, weights = self._memory, self._memory.fields, self._weights
        first = layer_matrices(weights.layers[0])
        cache = memory.cache
        plan = plan_of(
            weights.config,
            cache.shape[4],
            cache.shape[2],
            self._programs(),
            store_logits=logits is not None,
        )
        return {
            "w_head": _describe(weights.head.data),
            "matrices": Matrices(
                **{name: matrix.data for name, matrix in first.items()},
                **{f"{name}_scale": matrix.scale for name, matrix in first.items()},
                head_scale=weights.head.scale,
            ),
            "tokens_ptr": fields.tokens,
            "places": Places(fields.slots, fields.positions),
            "outputs": Outputs(fields.outputs, memory.num_outputs, fields.drafts),
            "begin": memory.begin,
            "tables": Tables(memory.cos, memory.sin, self._norms, weights.embedding),
            "cache": Cache(cache[0], cache[1]),
            "head": memory.head_scratch,
            "logits_ptr": memory.head_scratch.best if logits is None else logits,
            "words": self._words,
            "layers": weights.config.num_layers,
            "PLAN": plan,
        }

    def _programs(self) -> int:
        properties = torch.cuda.get_device_properties(self._memory.device)
        return int(properties.multi_processor_count)


def _describe(data: Tensor) -> Any:
    """Describe words [panels, units, PANEL, 32] for copies of one panel."""
    return TensorDescriptor.from_tensor(data, [1, *data.shape[1:]], PANEL_BLOCK)
