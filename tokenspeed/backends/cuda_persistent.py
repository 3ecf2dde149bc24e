"""Runs the layers and the head of short steps as one persistent kernel, where the GPU allows it.

It reads the same weights and buffers as the graph of kernels that it replaces, and gives the same
bits. Knows shapes, descriptors and the launch; the kernel itself is `kernels.persistent`.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
from torch import Tensor
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from tokenspeed.backends.cuda_memory import StepMemory
from tokenspeed.backends.cuda_weights import Weights, layer_matrices
from tokenspeed.errors import BackendUnavailable
from tokenspeed.kernels.lm_head import count_of
from tokenspeed.kernels.matrix import Matrix, pack_tiles
from tokenspeed.kernels.persistent import layouts, sizes
from tokenspeed.kernels.persistent.arguments import (
    Buffers,
    Family,
    Outputs,
    Plan,
    Residual,
    Tables,
    Words,
)
from tokenspeed.kernels.persistent.kernel import persistent_kernel
from tokenspeed.kernels.slots import Cache, Places
from tokenspeed.kernels.tuned import is_narrow, split_parts, tile_config
from tokenspeed.model.config import ModelConfig

MAX_WIDTH = 16  # rows of the widest step that takes this path
# The same of those whose phases hand over words, and where wider ones have grid barriers.
WORD_ROWS = {"bf16": 4, "int8": 4, "int4": 2}
WORD_ROWS_BEFORE_BARRIERS = {"bf16": 4, "int8": 2, "int4": 2}
GAIN_LAYER_BYTES = 1 << 27  # this path is the default where a layer has at least so many
GAIN_ROW_BYTES = 28 << 20  # the same without barriers; the smallest measured has 30 MiB
MAX_LAYERS = (sizes.TAGS - 1) // 3  # whose words have tags of their own
SHARED_BYTES = 232448  # shared memory that one program may use on a multiprocessor (Hopper)
MIN_WIDTH = 8  # that a product takes
ROW_SLOTS = 4  # stages of activations in flight or waiting for the consumers
MAX_WORDS = 1024  # of these stages that a warp asks for at once
_KNOWN = (  # switches of `ModelConfig` that the kernel has
    "biases",
    "qk_norm",
    "activation",
    "attention_softcap",
    "logit_softcap",
    "embedding_scale",
)
_OPTIONS = {"num_warps": 4, "enable_fp_fusion": False, "launch_cooperative_grid": True}


def why_not(weights: Weights) -> str | None:
    """Return why a model cannot run through the persistent kernel on this GPU; None: it can."""
    if torch.version.hip is not None or not torch.cuda.is_available():
        return "it needs an NVIDIA GPU"
    device = weights.embedding.device
    if torch.cuda.get_device_capability(device if device.type == "cuda" else None)[0] != 9:
        return "it needs a Hopper GPU (sm_90)"
    return why_not_shape(weights)


def why_not_shape(weights: Weights) -> str | None:
    """Return why the kernel does not support a model's shape or form; None: it does."""
    config, form = weights.config, weights.form
    beyond = [switch for switch in config.switches if switch not in _KNOWN]
    if beyond:
        return f"it does not know this model's {', '.join(beyond)}"
    if config.qk_norm == "width":
        return "it norms heads of q and k alone, not all of them together"
    if form not in sizes.COLUMNS:
        return f"it does not know {form}, only {', '.join(sizes.COLUMNS)}"
    if config.head_dim not in (64, 128) or config.num_heads // config.num_kv_heads > 16:
        return "it needs heads of 64 or 128, at most 16 to a kv head"
    if config.num_layers > MAX_LAYERS:
        return f"it has {config.num_layers} layers, more than {MAX_LAYERS}"
    for name, matrix in layer_matrices(weights.layers[0]).items():
        if is_narrow(name, form, matrix.n, matrix.k):
            return f"{name} is so small that its tiles are narrow"
        columns = split_parts(name, form, matrix.n, matrix.k) * sizes.COLUMNS[form]
        if matrix.n % sizes.TILE or matrix.k % columns:
            return f"{name} is [{matrix.n}, {matrix.k}], no multiple of [{sizes.TILE}, {columns}]"
    head = weights.head
    if head.format != form:
        return f"its head is in {head.format}, not in {form}"
    if tile_config("head", form, head.n, head.k, 16).block_n != sizes.TILE:
        return f"its head's tiles are not {sizes.TILE} wide"
    return None


def most_rows(form: str, config: ModelConfig) -> int:
    """Return the rows of the widest step that the kernel runs.

    Words alone of int4, and where heads are normed: a half of a tile has a half of a head of 128.
    """
    return WORD_ROWS[form] if form == "int4" or config.qk_norm else MAX_WIDTH


def widest(weights: Weights) -> int:
    """Return the rows of the widest step in which this path measured faster; 0: in none.

    Grid barriers cost some 25 us a layer; a ring hides the more of it, the more bytes a layer has.
    A step of few rows has none, and gains in smaller models too. Of a model that GPUs share, one's
    part counts, and wider steps stay with the graph (`rows_of`). (notes-cuda.md, versions 6 to 12)
    """
    layer_bytes = sum(m.nbytes for m in layer_matrices(weights.layers[0]).values())
    if layer_bytes >= GAIN_LAYER_BYTES:
        return most_rows(weights.form, weights.config)
    return WORD_ROWS[weights.form] if layer_bytes >= GAIN_ROW_BYTES else 0


def word_rows(form: str, width: int, most: int) -> int:
    """Return how many rows the phases of a step hand over as words; 0: it has grid barriers.

    Args:
        width: of the step. most: rows of the widest one that is one kernel.
    """
    limits = WORD_ROWS if most <= WORD_ROWS[form] else WORD_ROWS_BEFORE_BARRIERS
    return next((rows for rows in sizes.WORD_ROWS if width <= rows <= limits[form]), 0)


def rows_of(weights: Weights, ranks: int, wanted: bool | None) -> int:
    """Return the rows of the widest step that takes this path; 0: none does.

    Args:
        ranks: that share the model; steps of one row alone know how to add up their sums.
        wanted: None: where it measured faster.
    Raises:
        BackendUnavailable: it is wanted, but this GPU or model does not support it.
    """
    if wanted is False:
        return 0
    problem = why_not(weights)
    if problem and wanted:
        raise BackendUnavailable(f"no persistent kernel here: {problem}")
    if problem:
        return 0
    most = most_rows(weights.form, weights.config) if wanted else widest(weights)
    return most if ranks == 1 else min(most, 1)


def tile_layers(weights: Weights) -> Weights:
    """Return the same weights, the layers' bf16 in tiles where it lay.

    Copying 16 KiB in one piece is faster than copying 128 bytes from each of 128 rows. No backend
    may use them any more that was made before.
    """
    for i, layer in enumerate(weights.layers):
        tiled: Any = {name: _tiled(matrix) for name, matrix in layer_matrices(layer).items()}
        weights.layers[i] = replace(layer, **tiled)
    return weights


class InFlight(NamedTuple):
    """Stages of weights under way at once: of most matrices, of down and of the head.

    More keep the memory busier, and delay what programs tell each other. Where down begins, a third
    of the programs has been ready for long: the others have had a second tile of gate and up.
    """

    most: int
    down: int
    head: int


# As measured best: of steps without barriers, the same with a faster memory (H200, where only steps
# of one row were measured); then of others, with a slower and with a faster memory.
IN_FLIGHT_WORDS = {
    "bf16": InFlight(3, 3, 4),
    "int8": InFlight(2, 4, 3),
    "int4": InFlight(2, 2, 3),
}
IN_FLIGHT_FASTER = {
    "bf16": InFlight(3, 4, 4),
    "int8": InFlight(3, 3, 3),
    "int4": InFlight(2, 2, 3),
}
FASTER_FROM_BYTES = 100 << 30  # memory of a Hopper GPU that has HBM3e; the others read 3.2 TB/s
# Of int4 on either memory, in models of so many channels: some programs have a long tile more than
# others of gate and up, and the fewer that still read need more under way.
IN_FLIGHT_LARGE, LARGE_HIDDEN = InFlight(3, 2, 3), 8192
IN_FLIGHT = InFlight(2, 2, 2)
IN_FLIGHT_BARRIERS_FASTER = InFlight(3, 3, 3)


@dataclass(frozen=True)
class Ring:
    """How a program's shared memory is used.

    Attributes:
        slots: stages of weights; row_slots: of activations; in_flight: of weights, under way.
    """

    slots: int
    row_slots: int
    in_flight: InFlight


def default_ring(
    form: str, width: int, words: int, head_dim: int, memory_bytes: int = 0, hidden: int = 0
) -> Ring:
    """Return the deepest ring that fits, with as many stages under way as measured best.

    Args:
        width: rows of the step. words: of these as words, `word_rows`.
        memory_bytes: of the GPU; 0: one with the slower memory.
        hidden: channels of the model; 0: few.
    """
    is_faster = memory_bytes >= FASTER_FROM_BYTES
    of_words = IN_FLIGHT_FASTER if is_faster else IN_FLIGHT_WORDS
    of_others = IN_FLIGHT_BARRIERS_FASTER if is_faster else IN_FLIGHT
    in_flight = of_words[form] if words else of_others
    if words and form == "int4" and hidden >= LARGE_HIDDEN:
        in_flight = IN_FLIGHT_LARGE
    width = max(MIN_WIDTH, width)
    stage = sizes.STAGE_BYTES + (512 if form == "int4" else 0)
    # Rows of int4: four of bytes each, eight at least, and their units of each 128 columns.
    byte_rows = max(8, 4 * words)
    column_bytes = width * 2 if form != "int4" else byte_rows + 2 * byte_rows / 128
    rows = int(ROW_SLOTS * sizes.COLUMNS[form] * column_bytes)
    cache = 2 * 32 * head_dim * 2
    # Sums on their way to other threads, and barriers.
    finish = sizes.TILE * (width if form != "int4" else 4) * 4 + 1024
    slots = (SHARED_BYTES - rows - cache - finish) // stage
    return Ring(slots, ROW_SLOTS, in_flight)


def plan_of(
    config: ModelConfig,
    form: str,
    width: int,
    max_length: int,
    num_slots: int,
    *,
    most: int | None = None,
    ring: Ring | None = None,
    store_logits: bool = False,
    vocab: int | None = None,
    ranks: int = 1,
    exchanges: int = 0,
    inbox_rows: int = 0,
) -> Plan:
    """Return what the kernel is compiled for.

    Args:
        config: of a model that `why_not_shape` accepts, all of whose matrices have this form.
        width: rows of the step.
        max_length, num_slots: of the cache.
        most: rows of the widest step that is one kernel; None: `most_rows`.
        ring: None is the default for this form and width.
        vocab: tokens of the head; None: the whole vocabulary.
        ranks, exchanges, inbox_rows: of the group that shares the model, `exchange.Group`.
    """
    wide = max(MIN_WIDTH, width)
    words = word_rows(form, width, most or most_rows(form, config))
    hidden, inner = config.hidden_size, config.intermediate_size
    attended = config.num_heads * config.head_dim
    qkv = attended + 2 * config.num_kv_heads * config.head_dim
    qkv_parts = split_parts("qkv", form, qkv, hidden)
    out_parts = split_parts("out", form, hidden, attended)
    down_parts = split_parts("down", form, hidden, inner)
    assert ranks == 1 or (width == 1 and max(out_parts, down_parts) <= inbox_rows)
    ring = ring or default_ring(form, width, words, config.head_dim)
    columns = sizes.COLUMNS[form]
    lengths = (hidden, hidden // qkv_parts, attended // out_parts, inner // down_parts)
    # So many words of activations that a thread holds those that it sends and the next ones.
    at_once = min(ring.row_slots // 2, MAX_WORDS // (max(1, words) * columns))
    group_heads = config.num_heads // config.num_kv_heads
    return Plan(
        form=form,
        columns=columns,
        width=wide,
        hidden=hidden,
        inner=inner,
        heads=config.num_heads,
        kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        qkv=qkv,
        attended=attended,
        vocab=vocab or config.vocab_size,
        qkv_parts=qkv_parts,
        out_parts=out_parts,
        down_parts=down_parts,
        max_length=max_length,
        slot_count=num_slots,
        eps=config.rms_norm_eps,
        slots=ring.slots,
        row_slots=ring.row_slots,
        store_logits=store_logits,
        word_rows=words,
        exact=form == "int4",
        group=math.gcd(at_once, *(length // columns for length in lengths)),
        # Fewer than 8 rows of shared memory, across which columns are swizzled, are no slice.
        group_rows=max(8, triton.next_power_of_2(group_heads + 2 * words)),
        square_words=max(128 if words == 1 else 32, triton.next_power_of_2(hidden // sizes.HALF)),
        ranks=ranks,
        exchanges=exchanges,
        inbox_rows=inbox_rows,
        scale=config.score_scale,
        score_cap=config.attention_softcap,
        logit_cap=config.logit_softcap,
        embedding_scale=config.embedding_scale,
        activation=config.activation,
        ropes=len(config.ropes),
        biases=config.biases,
        head_norm=("after" if config.qk_norm_rotated else "before") if config.qk_norm else "",
    )


class PersistentStep:
    """The launch of the persistent kernel over a backend's buffers.

    Args:
        weights: in tiles (`tile_layers`).
        memory: of the backend; its member says who shares the model.
        max_width: rows of the widest step, up to `most_rows`.
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
        device = memory.device
        is_gpu = torch.device(device).type == "cuda"
        self._gpu_bytes = torch.cuda.get_device_properties(device).total_memory if is_gpu else 0
        self._norms = torch.stack([norm for norm in weights.norms if norm is not None])
        self._family = self._describe_family()
        plan = self._plan(max_width)
        split = (
            (plan.qkv, plan.qkv_parts),
            (plan.hidden, plan.out_parts),
            (plan.hidden, plan.down_parts),
        )
        words = max(rows * parts for rows, parts in split) * plan.width
        # Words of parts that have not arrived.
        absent = torch.full((words,), sizes.EMPTY, dtype=torch.int32)
        self._part_sums = absent.to(device).view(torch.float32)
        plans = {width: self._plan(width) for width in range(1, max_width + 1)}
        self.max_lookup = max(width for width, plan in plans.items() if plan.word_rows)
        of_words = {plan.word_rows: plan for plan in plans.values() if plan.word_rows}
        self._words = {
            rows: self._make_words(plan, count_of(memory.launched, rows))
            for rows, plan in of_words.items()
        }
        lines = weights.config.num_layers * sizes.PHASES
        self._counters = torch.zeros(lines * sizes.COUNTER_STRIDE, dtype=torch.int32, device=device)
        self._descriptors = self._describe_weights()

    @property
    def nbytes(self) -> int:
        """Bytes of its own buffers."""
        words = [each for words in self._words.values() for each in words]
        own = (self._norms, self._part_sums, self._counters, *words, *self._family)
        return sum(t.nbytes for t in own if t is not None)

    def run(self, width: int, logits: Tensor | None = None) -> None:
        """Launch the step, before `select`, and after `embedding` if it is wider than `max_lookup`.

        Args:
            width: rows that the step may have.
            logits: [width, tokens of this GPU] float32, written if given.
        Raises:
            RuntimeError: the grid cannot be resident as a whole: something else uses the GPU.
        """
        if width > self.max_lookup:
            self._counters.zero_()
        device = self._memory.device
        grid = (torch.cuda.get_device_properties(device).multi_processor_count,)
        *arguments, plan = self.arguments(width, logits).values()
        persistent_kernel[grid](*arguments, PLAN=plan, **_OPTIONS)

    def states(self, width: int) -> Tensor:
        """Return where a step leaves the hidden states of its last layer.

        Returns:
            [rows, hidden_size]: float32, or of few rows int64 words; see `kernels.mtp`.
        """
        rows = self._plan(width).word_rows
        if not rows:
            return self._memory.hidden
        return self._words[rows].hidden.view(rows, -1)

    def compile(self, width: int, logits: Tensor | None = None) -> None:
        """Compile what `run` launches, for the current GPU; all memory may be on "meta"."""
        *arguments, plan = self.arguments(width, logits).values()
        persistent_kernel.warmup(*arguments, PLAN=plan, grid=(1,), **_OPTIONS)

    def arguments(self, width: int, logits: Tensor | None = None) -> dict[str, Any]:
        """Return what the kernel is launched with, by the names of its parameters, in their order.

        Args: those of `run`.
        """
        memory, fields, cache = self._memory, self._memory.fields, self._memory.cache
        plan = self._plan(width, store_logits=logits is not None)
        shape = (plan.form, width, plan.word_rows, plan.head_dim)
        # Of parts of a model this was not measured.
        hidden = plan.hidden if plan.ranks == 1 else 0
        ring = self.ring or default_ring(*shape, self._gpu_bytes, hidden)
        turn = memory.begin.before  # this kernel itself counts the step: see `ranks`
        rows = {"scaled": memory.scaled, "values": memory.values, "inner": memory.inner}
        return {
            **self._descriptors,
            **{
                f"x_{name}": _describe(x[:width], [plan.width, 64], layouts.FLOAT_BLOCK)
                for name, x in rows.items()
            },
            "tokens_ptr": fields.tokens,
            "places": Places(fields.slots, fields.positions),
            "outputs": Outputs(fields.outputs, memory.num_outputs, fields.drafts),
            "begin": memory.begin,
            "tables": Tables(memory.cos, memory.sin, self._norms, self._weights.embedding),
            "family": self._family,
            "residual": Residual(memory.hidden, memory.scaled, memory.sums),
            "buffers": Buffers(memory.q, memory.values, memory.inner),
            "cache": Cache(cache[0], cache[1]),
            "head": memory.head_scratch,
            "logits_ptr": memory.head_scratch.best if logits is None else logits,
            "parts_ptr": self._part_sums,
            "counters_ptr": self._counters,
            "words": self._words[plan.word_rows or 1],
            "peers": memory.member.peers(turn),
            "rank": memory.member.group.rank,
            "first_token": self._weights.tokens.start,
            "layers": self._weights.config.num_layers,
            "max_rows": memory.sums.shape[1],
            "in_flight": ring.in_flight.most,
            "in_flight_down": ring.in_flight.down,
            "in_flight_head": ring.in_flight.head,
            "PLAN": plan,
        }

    def _plan(self, width: int, *, store_logits: bool = False) -> Plan:
        weights, cache, group = self._weights, self._memory.cache, self._memory.member.group
        return plan_of(
            weights.config,
            weights.form,
            width,
            max_length=cache.shape[4],
            num_slots=cache.shape[2],
            most=self.max_width,
            ring=self.ring,
            store_logits=store_logits,
            vocab=len(weights.tokens),
            ranks=group.ranks,
            exchanges=group.exchanges,
            inbox_rows=group.rows,
        )

    @staticmethod
    def _make_words(plan: Plan, step: Tensor) -> Words:
        split = plan.qkv * plan.qkv_parts + plan.hidden * (plan.out_parts + plan.down_parts)
        rows = plan.word_rows
        narrow = (rows * plan.hidden, rows * plan.attended, rows * plan.inner)
        wide = (rows * plan.hidden, rows * plan.hidden // sizes.HALF * 2, rows * split)
        return Words(
            step,
            *(torch.zeros(size, dtype=torch.int32, device=step.device) for size in narrow),
            *(torch.zeros(size, dtype=torch.int64, device=step.device) for size in wide),
        )

    def _describe_family(self) -> Family:
        config, layers = self._weights.config, self._weights.layers
        matrices = [layer_matrices(layer) for layer in layers]
        biases = {
            f"{name}_bias": _stacked([each[name].bias for each in matrices])
            for name in sizes.MATRICES
        }
        ropes = torch.tensor([config.rope_of(i) for i in range(len(layers))], dtype=torch.int32)
        return Family(
            **biases,
            ropes=ropes.to(self._memory.device) if len(config.ropes) > 1 else None,
            head_norms=_stacked([layer.head_norms for layer in layers]),
        )

    def _describe_weights(self) -> dict[str, Any]:
        weights, layers = self._weights, len(self._weights.layers)
        matrices = {k: (m, layers) for k, m in layer_matrices(weights.layers[0]).items()}
        matrices["head"] = (weights.head, 1)
        data = {f"w_{k}": _describe_matrix(*each) for k, each in matrices.items()}
        return data | {f"s_{k}": _describe_scales(*each) for k, each in matrices.items()}


def _stacked(parts: list[Tensor | None]) -> Tensor | None:
    return None if parts[0] is None else torch.stack([part for part in parts if part is not None])


def _tiled(matrix: Matrix) -> Matrix:
    if matrix.layout != "bf16":
        return matrix
    tiles = pack_tiles(matrix.data)
    return replace(matrix, data=matrix.data.view(tiles.shape).copy_(tiles))


def _over_layers(first: Tensor, layers: int) -> Tensor:
    """Return the memory of all layers, [layers * n, ...], from that of the first."""
    shape = (layers * first.shape[0], *first.shape[1:])
    return first.as_strided(shape, first.stride())


def _describe_matrix(matrix: Matrix, layers: int) -> Any:
    data = _over_layers(matrix.data, layers)
    if matrix.layout == "tiled":
        return _describe(data.view(-1, 64), [sizes.TILE, 64], layouts.FLOAT_BLOCK)
    if matrix.layout == "bf16":
        return _describe(data, [sizes.TILE, 64], layouts.FLOAT_BLOCK)
    # [panels, units * rows of a panel, 32] words
    panels = data.view(len(data), -1, data.shape[-1])
    return _describe(panels, layouts.WORD_BLOCK_SHAPE, layouts.WORD_BLOCK)


def _describe_scales(matrix: Matrix, layers: int) -> Any:
    scale = _over_layers(matrix.scale, layers if matrix.format != "bf16" else 1)
    if matrix.format != "int4":
        return scale
    if missing := -scale.shape[1] % 4:  # of a vocabulary; copies want rows of whole 16 bytes
        scale = F.pad(scale, (0, missing))
    return _describe(scale, [1, sizes.TILE], layouts.SCALE_BLOCK)


def _describe(tensor: Tensor, block: list[int], layout: Any) -> Any:
    return TensorDescriptor.from_tensor(tensor, block, layout)
