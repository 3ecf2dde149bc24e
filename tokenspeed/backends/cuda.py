"""The GPU backend: a step is one CUDA graph of fused Triton kernels over slots and weights.

Everything is allocated, compiled and captured before the constructor returns; a step uploads its
rows in one copy, replays the graph of its width, and reads the tokens from pinned memory. Where
the next step follows from this one (each sequence decodes one more token), it is launched before
this one is read. Knows rows and slots; does not know requests.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokenspeed.backends import NO_DRAFT, Step
from tokenspeed.backends.cuda_weights import (
    LayerWeights,
    Weights,
    load_weights,
    random_weights,
    stored_form,
)
from tokenspeed.errors import BackendUnavailable
from tokenspeed.kernels.arithmetic import INTERPRETED
from tokenspeed.kernels.attention import AttentionScratch, attention
from tokenspeed.kernels.compile import compile_launches
from tokenspeed.kernels.embedding import embedding
from tokenspeed.kernels.gate_up import gate_up
from tokenspeed.kernels.launch import Launch, RecordedLaunch
from tokenspeed.kernels.lm_head import HeadScratch, lm_head, select
from tokenspeed.kernels.matrix import Matrix
from tokenspeed.kernels.projection import projection
from tokenspeed.kernels.qkv import qkv
from tokenspeed.kernels.split_k import SplitScratch, split_needs, split_scratch
from tokenspeed.kernels.tile import TileConfig, block_rows
from tokenspeed.kernels.tuned import split_parts, tile_config
from tokenspeed.model.checkpoint import Checkpoint
from tokenspeed.model.config import EngineConfig, ModelConfig

DEPENDENT_LAUNCH = 3  # after the main loop: the only kind that measured faster
AHEAD_BYTES = 1 << 28  # weights of a step that takes about 0.2 ms
PREFETCH_BYTES = 512  # of each weight row of a model that small
MAX_NARROW_ROWS = 64  # up to here each row attends in programs of its own
_FIELDS = (
    "tokens", "slots", "positions", "outputs", "drafts", "biases", "parity",
    "tile_starts", "tile_counts", "counts",
)  # fmt: skip


@dataclass(frozen=True)
class _Ahead:
    """A step that was launched before anybody asked for it."""

    batch: Step  # what it computes; its tokens are the results of the step before
    parity: int
    done: torch.cuda.Event


class CudaBackend:
    """Runs steps on one NVIDIA GPU (or, in tests, on Triton's interpreter).

    Args:
        weights: on the device; see `load_weights` and `random_weights`.
        config: slots, their length and the widest step; all memory is allocated here, once.
        launch: how kernels are launched; the default is what measured best.
        launch_ahead: launch the next decode step before this one is read. A guess that turns out
            wrong costs a whole step, so by default only steps do that are as short as the host's
            own work between two of them.
    Raises:
        BackendUnavailable: no such GPU, or a kernel does not compile for it.
    """

    name = "cuda"

    def __init__(
        self,
        weights: Weights,
        config: EngineConfig,
        *,
        launch: Launch | None = None,
        launch_ahead: bool | None = None,
    ) -> None:
        launch = launch or default_launch(_target(), weights.step_bytes)
        check_device(weights.form, pdl=launch.pdl > 0)
        self._allocate_for(weights, config, launch)
        if launch_ahead is None:
            launch_ahead = self.weight_bytes <= AHEAD_BYTES
        self._launch_ahead = launch_ahead and self._on_gpu
        self._ahead: _Ahead | None = None
        self._parity = 0
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self.start_s: dict[str, float] = {}
        if self._on_gpu:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._prepare()

    def _allocate_for(self, weights: Weights, config: EngineConfig, launch: Launch) -> None:
        self.weights, self.config, self.launch = weights, weights.config, launch
        self.num_slots, self.max_length = config.num_slots, config.max_length
        self.max_step_tokens = config.max_step_tokens
        self.weight_bytes = weights.step_bytes
        self.device = str(weights.embedding.device)
        self._on_gpu = weights.embedding.is_cuda
        self._allocate()

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, config: EngineConfig, form: str = "auto"
    ) -> "CudaBackend":
        """Load a checkpoint; `form` "auto" keeps the form that it is stored in.

        Raises:
            CheckpointError: the checkpoint cannot be used.
            BackendUnavailable: see the constructor.
        """
        form = stored_form(checkpoint) if form == "auto" else form
        check_device(form)
        return cls(load_weights(checkpoint, form, _device()), config)

    @classmethod
    def from_random(cls, model: ModelConfig, config: EngineConfig, form: str) -> "CudaBackend":
        """Build a model of random weights, for benchmarks.

        Raises:
            BackendUnavailable: see the constructor.
        """
        check_device(form)
        return cls(random_weights(model, form, _device()), config)

    @property
    def memory_bytes(self) -> dict[str, int]:
        """What was allocated: weights, cache and workspace."""
        embedding = self.weights.embedding.nbytes
        tied_floats = self.config.tie_word_embeddings and self.weights.form == "bf16"
        return {
            "weights": self.weight_bytes + (0 if tied_floats else embedding),
            "cache": self.cache_bytes,
            "workspace": self._workspace_bytes,
        }

    def step(self, batch: Step) -> NDArray[np.int32]:
        """Run one step; see `Backend.step`."""
        if not self._on_gpu:
            self._upload(batch)
            self._run(self._width(len(batch.tokens)), self.launch)
            return self._read(self._parity, len(batch.outputs))
        with torch.cuda.stream(self._stream):
            ahead, self._ahead = self._ahead, None
            if ahead is not None and _same(batch, ahead.batch):
                done, self._parity = ahead.done, ahead.parity
            else:
                self._upload(batch)
                done = self._replay(len(batch.tokens))
            following = self._following(batch)
            later = self._replay(len(batch.tokens)) if following else None
        done.synchronize()
        chosen = self._read(self._parity, len(batch.outputs))
        if following is not None and later is not None:
            self._ahead = _Ahead(replace(following, tokens=chosen), 1 - self._parity, later)
        return chosen

    def logits(self, batch: Step) -> NDArray[np.float32]:
        """Run one step and return its logits; see `Backend.logits`. Allocates: not for serving."""
        self._ahead = None
        width = self._width(len(batch.tokens))
        out = torch.full((width, self.config.vocab_size), torch.nan, device=self.device)
        if not self._on_gpu:
            self._upload(batch)
            self._run(width, self.launch, out)
        else:
            with torch.cuda.stream(self._stream):
                self._upload(batch)
                self._run(width, self.launch, out)
            self._stream.synchronize()
        return out[: len(batch.outputs)].cpu().numpy()

    def copy_slot(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        if not self._on_gpu:
            self._cache[:, :, target, :, :length] = self._cache[:, :, source, :, :length]
            return
        with torch.cuda.stream(self._stream):
            self._cache[:, :, target, :, :length] = self._cache[:, :, source, :, :length]

    def close(self) -> None:
        """Give graphs and memory back."""
        self._ahead = None
        if self._on_gpu:
            self._stream.synchronize()
        self._graphs.clear()
        for name in ("weights", "_cache", "_workspace", "_attention_scratch", "_head_scratch",
                     "_split_scratch"):  # fmt: skip
            self.__dict__.pop(name, None)

    def _allocate(self) -> None:
        model, rows = self.config, self.max_step_tokens
        # Fields are views into one buffer, each on a boundary that vector loads like.
        padded = -(-max(rows, 16) // 16) * 16
        host = torch.zeros(len(_FIELDS), padded, dtype=torch.int32)
        chosen = torch.zeros(2, padded, dtype=torch.int32)
        self._host = host.pin_memory() if self._on_gpu else host
        self._chosen = chosen.pin_memory() if self._on_gpu else chosen
        self._host_fields = {n: self._host[i].numpy() for i, n in enumerate(_FIELDS)}
        self._meta = torch.zeros_like(host, device=self.device)
        self._fields = {n: self._meta[i] for i, n in enumerate(_FIELDS)}
        self._fields["biases"] = self._fields["biases"].view(torch.float32)
        counts = self._fields.pop("counts")
        # Each count on a line of its own: all are passed as aligned pointers.
        self._num_rows, self._num_outputs, self._num_tiles = (counts[i : i + 1] for i in (0, 4, 8))
        dtype, device = self.weights.embedding.dtype, self.device
        shape = (2, model.num_layers, self.num_slots, model.num_kv_heads, self.max_length)
        self._cache = torch.zeros(*shape, model.head_dim, dtype=dtype, device=device)
        self.cache_bytes = self._cache.nbytes
        angles = torch.arange(self.max_length, device=device)[:, None] * self.weights.inv_freq
        width = model.num_heads * model.head_dim
        self._workspace = {
            "cos": angles.cos(),
            "sin": angles.sin(),
            "hidden": torch.zeros(padded, model.hidden_size, device=device),
            "scaled": torch.zeros(padded, model.hidden_size, dtype=dtype, device=device),
            "sums": torch.zeros(2 * model.num_layers + 1, padded, dtype=torch.int64, device=device),
            "q": torch.zeros(padded, width, dtype=dtype, device=device),
            "values": torch.zeros(padded, width, dtype=dtype, device=device),
            "inner": torch.zeros(padded, model.intermediate_size, dtype=dtype, device=device),
        }
        narrow = min(padded, MAX_NARROW_ROWS)
        self._attention_scratch = AttentionScratch(
            narrow, model.num_heads, model.num_kv_heads, model.head_dim, self.max_length, device
        )
        self._head_scratch = HeadScratch(
            padded, model.vocab_size, self._tile("head", self.weights.head, 16).block_n, device
        )
        self._split_scratch = self._allocate_split()
        scratch = self._attention_scratch.nbytes + self._head_scratch.nbytes + self._meta.nbytes
        scratch += self._split_scratch.nbytes
        self._workspace_bytes = sum(t.nbytes for t in self._workspace.values()) + scratch

    def _allocate_split(self) -> SplitScratch:
        """Allocate what the matrices of a layer that are cut along K share in short steps."""
        layer, elements, counters = self.weights.layers[0], 0, 0
        for kernel, matrix in (("qkv", layer.qkv), ("out", layer.out), ("down", layer.down)):
            parts = split_parts(kernel, matrix.format, matrix.n, matrix.k)
            for rows in (w for w in self._widths() if w <= MAX_NARROW_ROWS):
                tile = self._tile(kernel, matrix, block_rows(rows))
                needs = split_needs(rows, matrix.n, block_rows(rows), tile, parts)
                elements, counters = max(elements, needs[0]), max(counters, needs[1])
        return split_scratch(elements, counters, self.device)

    def _prepare(self) -> None:
        """Compile every kernel, then capture a graph for each width."""
        began = time.perf_counter()
        recorded = replace(self.launch, recorded=[])
        for width in self._widths():
            self._run(width, recorded)
        try:
            compile_launches(recorded.recorded or [])
            self.start_s["compile"] = time.perf_counter() - began
            pool = None
            with torch.cuda.stream(self._stream):
                for width in self._widths():
                    self._run(width, self.launch)  # no rows: loads the kernels, computes nothing
                    self._stream.synchronize()
                    graph = torch.cuda.CUDAGraph()
                    with torch.cuda.graph(graph, pool=pool, stream=self._stream):
                        self._run(width, self.launch)
                    pool = pool or graph.pool()
                    self._graphs[width] = graph
        except Exception as exc:
            raise BackendUnavailable(
                f"a kernel does not compile or run on this GPU "
                f"({torch.cuda.get_device_name()}): {exc}; use --device reference to run without"
            ) from exc
        self._stream.synchronize()
        self.start_s["graphs"] = time.perf_counter() - began - self.start_s["compile"]

    def _widths(self) -> list[int]:
        widths = [2**i for i in range(self.max_step_tokens.bit_length())]
        return [w for w in widths if w < self.max_step_tokens] + [self.max_step_tokens]

    def _width(self, rows: int) -> int:
        if rows > self.max_step_tokens:
            raise ValueError(f"step has {rows} rows, expected at most {self.max_step_tokens}")
        return min(max(1, 1 << (rows - 1).bit_length()), self.max_step_tokens)

    def _replay(self, rows: int) -> torch.cuda.Event:
        self._graphs[self._width(rows)].replay()
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        return done

    def _read(self, parity: int, count: int) -> NDArray[np.int32]:
        return self._chosen[parity, :count].numpy().copy()

    def _upload(self, batch: Step) -> None:
        """Write the rows to pinned memory and copy them to the device."""
        rows, outputs = len(batch.tokens), len(batch.outputs)
        fields = self._host_fields
        fields["tokens"][:rows] = batch.tokens
        fields["slots"][:rows] = batch.slots
        fields["positions"][:rows] = batch.positions
        fields["outputs"][:outputs] = batch.outputs
        fields["drafts"][:outputs] = batch.drafts
        fields["biases"].view(np.float32)[:outputs] = batch.biases
        self._parity = 1 - self._parity
        fields["parity"][:] = self._parity
        tiles = rows
        if self._width(rows) > MAX_NARROW_ROWS:
            starts, counts = split_tiles(batch.slots, self._tile_tokens(self._width(rows)))
            tiles = len(starts)
            fields["tile_starts"][:tiles] = starts
            fields["tile_counts"][:tiles] = counts
        fields["counts"][[0, 4, 8]] = rows, outputs, tiles
        self._meta.copy_(self._host, non_blocking=True)

    def _following(self, batch: Step) -> Step | None:
        """Return the step that follows if each sequence decodes on, its tokens not yet known."""
        rows = len(batch.tokens)
        if not (
            self._launch_ahead
            and rows == len(batch.outputs)
            and (batch.drafts == NO_DRAFT).all()
            and (batch.positions + 1 < self.max_length).all()
            and len(np.unique(batch.slots)) == rows
        ):
            return None
        return replace(batch, positions=batch.positions + 1)

    def _tile_tokens(self, width: int) -> int:
        """Return how many rows of a slot attend together: a dot of 32 rows, or each row alone."""
        group = self.config.num_heads // self.config.num_kv_heads
        return 1 if width <= MAX_NARROW_ROWS else max(2, 32 // group)

    def _tile(self, kernel: str, matrix: Matrix, block_m: int) -> TileConfig:
        return tile_config(kernel, matrix.format, matrix.n, matrix.k, block_m)

    def _run(self, width: int, launch: Launch, logits: Tensor | None = None) -> None:
        """Launch the kernels of one step of up to `width` rows."""
        work, fields, weights = self._workspace, self._fields, self.weights
        rows, block_m = self._num_rows, block_rows(width)
        hidden, scaled, sums = work["hidden"], work["scaled"], work["sums"]
        norms = [n for layer in weights.layers for n in (layer.input_norm, layer.post_norm)]
        norms.append(weights.norm)
        embedding(
            fields["tokens"][:width], weights.embedding, norms[0], rows, hidden, scaled, sums,
            launch=launch,
        )  # fmt: skip
        for i, layer in enumerate(weights.layers):
            self._layer(i, layer, norms[2 * i + 1], norms[2 * i + 2], width, launch)
        outputs = fields["outputs"], self._num_outputs, fields["drafts"]
        lm_head(
            scaled, sums[-1], weights.head, *outputs, self._head_scratch, logits, rows=width,
            eps=self.config.rms_norm_eps, block_m=block_m,
            config=self._tile("head", weights.head, block_m), launch=launch,
        )  # fmt: skip
        select(
            self._head_scratch, *outputs, fields["biases"], fields["tokens"],
            fields["positions"], fields["parity"], self._chosen, rows=width, launch=launch,
        )  # fmt: skip

    def _layer(
        self, i: int, layer: LayerWeights, norm: Tensor, next_norm: Tensor, width: int,
        launch: Launch,
    ) -> None:  # fmt: skip
        work, fields, rows = self._workspace, self._fields, self._num_rows
        block_m, eps = block_rows(width), self.config.rms_norm_eps
        k_cache, v_cache = self._cache[0, i], self._cache[1, i]
        scaled, inner, sums = work["scaled"][:width], work["inner"][:width], work["sums"]
        heads = (width, self.config.num_heads, self.config.head_dim)
        q, values = work["q"][:width].view(heads), work["values"][:width].view(heads)

        def config(kernel: str, matrix: Matrix) -> dict[str, Any]:
            tile = self._tile(kernel, matrix, block_m)
            return {"block_m": block_m, "config": tile, "launch": launch}

        def split(kernel: str, matrix: Matrix) -> dict[str, Any]:
            parts = split_parts(kernel, matrix.format, matrix.n, matrix.k)
            # A wide step has programs enough: one takes all parts of its tile in turn.
            scratch = self._split_scratch if width <= MAX_NARROW_ROWS else None
            return config(kernel, matrix) | {"split_k": parts, "scratch": scratch}

        qkv(
            scaled, sums[2 * i], layer.qkv, work["cos"], work["sin"], fields["slots"],
            fields["positions"], rows, q, k_cache, v_cache, eps=eps, **split("qkv", layer.qkv),
        )  # fmt: skip
        tokens = self._tile_tokens(width)
        attention(
            q, k_cache, v_cache, fields["slots"], fields["positions"], fields["tile_starts"],
            fields["tile_counts"], self._num_tiles, self._attention_scratch, values,
            tile_tokens=tokens, launch=launch,
            max_tiles=min(width, -(-width // tokens) + self.num_slots),
        )  # fmt: skip
        residual = work["hidden"], work["scaled"]
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
    """Return the launches of steps of every tile height; weights may be on "meta"."""
    backend = CudaBackend.__new__(CudaBackend)
    backend._allocate_for(weights, config, launch)
    recorded: list[RecordedLaunch] = []
    for width in backend._widths():
        backend._run(width, replace(launch, recorded=recorded))
    return recorded


def split_tiles(
    slots: NDArray[np.int32], tile_tokens: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut rows into runs of one slot of at most tile_tokens: their starts and counts."""
    bounds = np.flatnonzero(np.diff(slots, prepend=-1))  # first row of each run
    ends = np.append(bounds[1:], len(slots))
    pairs = zip(bounds, ends, strict=True)
    starts = np.concatenate([np.arange(a, b, tile_tokens) for a, b in pairs])
    return starts, np.diff(np.append(starts, len(slots)))


def default_launch(target: str, step_bytes: int) -> Launch:
    """Return how kernels are best launched, as measured (benchmarks/notes-cuda.md).

    Args:
        target: "sm_90", "gfx942", or "" for the interpreter.
        step_bytes: weights of a step; what the L2 holds is asked for before the wait.
    """
    if not target.startswith("sm_"):
        return Launch(fast_unpack=False)
    if int(target[3:]) < 90:
        return Launch(fast_unpack=True)
    prefetch = PREFETCH_BYTES if step_bytes <= AHEAD_BYTES else 0
    return Launch(pdl=DEPENDENT_LAUNCH, prefetch_bytes=prefetch, fast_unpack=True)


def check_device(form: str, *, pdl: bool = False) -> None:
    """Refuse a machine or a form that the kernels are not made for.

    Raises:
        BackendUnavailable: says what was found and what is needed.
    """
    if INTERPRETED:
        return
    if not torch.cuda.is_available():
        raise BackendUnavailable("no CUDA GPU was found; use --device cpu")
    if torch.version.hip is not None:
        return
    major, minor = torch.cuda.get_device_capability()
    found = f"{torch.cuda.get_device_name()} (sm_{major}{minor})"
    if major < 8:
        raise BackendUnavailable(f"{found} is too old, the kernels need sm_80 or later")
    if form == "fp8" and (major, minor) < (8, 9):
        raise BackendUnavailable(f"{found} has no fp8, it needs sm_89 or later; use int8")
    if pdl and major < 9:
        raise BackendUnavailable(f"{found} has no programmatic dependent launch (sm_90 and later)")


def _target() -> str:
    """Return the GPU of this process as `default_launch` wants it."""
    if INTERPRETED or torch.version.hip is not None or not torch.cuda.is_available():
        return ""
    major, minor = torch.cuda.get_device_capability()
    return f"sm_{major}{minor}"


def _device() -> str:
    return "cpu" if INTERPRETED else "cuda"


def _same(a: Step, b: Step) -> bool:
    pairs: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = [
        (a.positions, b.positions), (a.tokens, b.tokens), (a.slots, b.slots),
        (a.outputs, b.outputs), (a.drafts, b.drafts),
    ]  # fmt: skip
    return all(np.array_equal(x, y) for x, y in pairs)
