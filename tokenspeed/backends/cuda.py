"""The GPU backend: a step is one CUDA graph of fused Triton kernels over slots and weights.

Everything is allocated, compiled and captured before the constructor returns; a step uploads its
rows in one copy, replays the graph of its width, and reads the tokens from pinned memory. Where
the next step follows from this one (each sequence decodes one more token, or one goes on behind
what held of its draft), it is launched before this one is read (`cuda_ahead`). Knows rows and
slots; does not know requests.
"""

import logging
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tokenspeed.backends import Step
from tokenspeed.backends.cuda_ahead import StepsAhead
from tokenspeed.backends.cuda_memory import StepMemory, step_width, step_widths
from tokenspeed.backends.cuda_step import run_behind_draft, run_guess, run_step
from tokenspeed.backends.cuda_weights import (
    Weights,
    load_weights,
    random_weights,
    stored_form,
)
from tokenspeed.errors import BackendUnavailable
from tokenspeed.kernels.arithmetic import INTERPRETED
from tokenspeed.kernels.compile import compile_launches
from tokenspeed.kernels.exchange import Member
from tokenspeed.kernels.launch import Launch
from tokenspeed.model.checkpoint import Checkpoint
from tokenspeed.model.config import EngineConfig, ModelConfig

if TYPE_CHECKING:
    from tokenspeed.backends.cuda_persistent import PersistentStep
    from tokenspeed.backends.cuda_small import SmallStep

logger = logging.getLogger("tokenspeed.backends")

DEPENDENT_LAUNCH = 3  # after the main loop: the only kind that measured faster
AHEAD_BYTES = 1 << 28  # weights of a step that takes about 0.2 ms
PREFETCH_BYTES = 512  # of each weight row, in models of up to AHEAD_BYTES


class Events(NamedTuple):
    """When one half of the results is there: a step's tokens, and what is guessed behind them."""

    chosen: torch.cuda.Event
    guessed: torch.cuda.Event


class CudaBackend:
    """Runs steps on one NVIDIA GPU (or, in tests, on Triton's interpreter).

    Args:
        weights: on the device; see `load_weights` and `random_weights`.
        config: slots, their length and the widest step; all memory is allocated here, once.
        launch: how kernels are launched; the default is what measured best.
        launch_ahead: launch the next decode step before this one is read.
        persistent: run short steps as one kernel, with the same bits; see `cuda_persistent`. None:
            where that measured faster.
        member: its place among GPUs that share the model, each with a backend that runs every
            step; see `cuda_group`. Only steps of one row are then persistent, on all of these GPUs
            or on none.
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
        launch_ahead: bool = True,
        persistent: bool | None = None,
        member: Member | None = None,
    ) -> None:
        config.check(weights.config)
        place = weights.embedding.device if weights.embedding.is_cuda else None
        launch = launch or default_launch(_target(place), weights.step_bytes)
        check_device(weights.form, pdl=launch.pdl > 0, device=place)
        self.weights, self.config, self.launch = weights, weights.config, launch
        self.num_slots, self.max_length = config.num_slots, config.max_length
        self.max_step_tokens = config.max_step_tokens
        self.weight_bytes = weights.step_bytes
        self.memory = StepMemory(weights, config, member)
        self.cache_bytes = self.memory.cache.nbytes
        self.device, self._on_gpu = self.memory.device, weights.embedding.is_cuda
        self.persistent = self._make_persistent(persistent)
        self._launch_ahead = launch_ahead
        self._host = self.memory.host  # `hold` may be asked for when all else is given back
        self._ahead = StepsAhead()
        self._begun: deque[int] = deque()  # halves of the results, of steps that are not finished
        self._parity = self._turn = 0
        self._read = 0  # the half of the step that was finished last
        # The numbers of exchanges do not repeat within days.
        self._max_turn = (1 << 31) // max(2, self.memory.member.group.exchanges) - 2
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._guess_graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._draft_graph: torch.cuda.CUDAGraph | None = None
        self.start_s: dict[str, float] = {}
        if self._on_gpu:
            with torch.cuda.device(self.device):
                self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
                self._events = [_make_events() for _ in range(2)]  # of each half
                self._start(persistent)

    def _make_persistent(self, wanted: bool | None) -> "PersistentStep | SmallStep | None":
        """Prepare the path that runs a step as one kernel; None where it is not taken.

        Raises:
            BackendUnavailable: it is wanted, but this Triton, GPU or model does not support it.
        """
        ranks = self.memory.member.group.ranks
        is_small = small_fits(self.weights, wanted, ranks)
        width = 1 if is_small else persistent_rows(self.weights, wanted, ranks)
        if not width:
            return None
        from tokenspeed.backends import cuda_persistent, cuda_small

        try:
            if is_small:
                return cuda_small.SmallStep(self.weights, self.memory)
            self.weights = cuda_persistent.tile_layers(self.weights)
            return cuda_persistent.PersistentStep(self.weights, self.memory, max_width=width)
        except Exception as exc:  # whatever its copies do not take
            self._do_without(exc, wanted)
            return None

    def _do_without(self, problem: BaseException, wanted: bool | None) -> None:
        """Say in the log that no step is one kernel; `wanted`: whether somebody asked for it.

        GPUs that share a model do the same or nothing: what one leaves for the others differs.

        Raises:
            BackendUnavailable: that is no choice here.
        """
        if wanted or self.memory.member.group.ranks > 1:
            raise BackendUnavailable(f"no persistent kernel here: {problem}") from problem
        logger.warning("steps run as graphs, not as one kernel: %s", problem)

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
        return {
            "weights": self.weights.nbytes,
            "cache": self.cache_bytes,
            "workspace": self.memory.workspace_bytes
            + (0 if self.persistent is None else self.persistent.nbytes),
        }

    @property
    def was_ahead(self) -> bool:
        """Whether the last step had been launched before it was asked for."""
        return self._ahead.was_ahead

    @property
    def guessed(self) -> NDArray[np.int32] | None:
        """What is expected behind each token of the last step; see `Backend.guessed`."""
        return self._ahead.guessed([self])

    @property
    def form(self) -> str:
        """The form of the weights."""
        return self.weights.form

    def begin(self, batch: Step, written: "CudaBackend | None" = None) -> None:
        """Launch one step, which `finish` waits for.

        Args:
            written: a backend that has begun the same step; what it wrote for it is uploaded here.
        """
        if not self._on_gpu:
            self._upload(batch)
            self._launch(self._width(len(batch.tokens)))
            return
        with torch.cuda.stream(self._stream):
            self._upload(batch, written)
            self._launch(self._width(len(batch.tokens)))

    def may_follow(self, rows: int) -> bool:
        """Return whether a step of so many rows may be launched behind one that is not read yet."""
        return self._launch_ahead and not self._host.hold[0] and self._ahead_width(rows) is not None

    def follow(self, rows: int, *, is_behind_draft: bool = False) -> None:
        """Launch the step that decodes the rows of the last one on, if it does not turn out void.

        Args:
            rows: of the step to launch.
            is_behind_draft: of the last one only what held goes on; else all of its rows, which
                are outputs.
        """
        width = self._ahead_width(rows)
        assert width is not None
        self._count_step()
        if not self._on_gpu:
            if is_behind_draft:
                run_behind_draft(self.memory, self.launch)
            self._launch(width)
            return
        with torch.cuda.stream(self._stream):
            if is_behind_draft:
                assert self._draft_graph is not None
                self._draft_graph.replay()
            self._launch(width)

    def _ahead_width(self, rows: int) -> int | None:
        """Return the width of a step launched ahead: one that costs little if it is void.

        A graph of one row takes that for granted; the next wider one gives the same bits, and asks.
        In a small model the asking would cost more than steps that nobody wants.
        """
        if rows > self.max_step_tokens:
            return None
        width, persistent = self._width(rows), self.persistent
        is_one_kernel = persistent is not None and width <= persistent.max_width
        if width > 1 or is_one_kernel or self.weight_bytes <= AHEAD_BYTES:
            return width
        return 2 if self.max_step_tokens > 1 else None

    def finish(self, outputs: int) -> NDArray[np.int32]:
        """Wait for the first step that was begun and not finished, and return its tokens."""
        self._read = self._begun.popleft()
        if self._on_gpu:
            self._events[self._read].chosen.synchronize()
        return self.memory.read(self._read, outputs)

    @property
    def guesses(self) -> bool:
        """Whether tokens are guessed."""
        return self.memory.mtp is not None

    def finish_guesses(self, outputs: int) -> NDArray[np.int32]:
        """Wait for the guesses of the step that was finished last, and return them."""
        mtp = self.memory.mtp
        assert mtp is not None
        if self._on_gpu:
            self._events[self._read].guessed.synchronize()
        return mtp.read(self._read, outputs)

    def has_ended(self) -> bool:
        """Return whether the step behind the one that was finished last is void."""
        return bool(self._host.ended[self._read])

    def drop(self) -> None:
        """Do not wait for what was launched: nobody wants its results."""
        self._begun.clear()

    def hold(self, is_held: bool) -> None:
        """Let no step begin before it is asked for, or again let it; see `Backend.hold`."""
        self._host.hold[0] = int(is_held)

    def step(self, batch: Step) -> NDArray[np.int32]:
        """Run one step; see `Backend.step`."""
        return self._ahead.step([self], batch)

    def logits(self, batch: Step) -> NDArray[np.float32]:
        """Run one step and return its logits; see `Backend.logits`. Allocates: not for serving."""
        return self.finish_logits(self.launch_logits(batch, self.make_logits(batch)))

    def make_logits(self, batch: Step) -> torch.Tensor:
        """Allocate the tensor for the logits of a step, and load the kernels that write it.

        In a group this must come before any GPU begins the step: memory allocated on one GPU is
        mapped for the others too, which waits for what they run, while they would wait for this.
        """
        self._ahead.forget([self])
        width = self._width(len(batch.tokens))
        is_shared = self.memory.member.group.ranks > 1
        if is_shared and self.persistent is None:  # width 1 does not check that its row exists
            width = max(width, 2)
        shape = (width, len(self.weights.tokens))
        if not self._on_gpu:
            return torch.full(shape, torch.nan)
        with torch.cuda.stream(self._stream):
            out = torch.full(shape, torch.nan, device=self.device)
            if is_shared:
                self.memory.clear()
                self._run(width, self.launch, out)
        self._stream.synchronize()
        return out

    def launch_logits(self, batch: Step, out: torch.Tensor) -> torch.Tensor:
        """Launch one step that writes its logits."""
        if not self._on_gpu:
            self._upload(batch)
            self._run(len(out), self.launch, out)
        else:
            with torch.cuda.stream(self._stream):
                self._upload(batch)
                self._run(len(out), self.launch, out)
        return out[: len(batch.outputs)]

    def finish_logits(self, out: torch.Tensor) -> NDArray[np.float32]:
        """Wait for logits and return them: [outputs, tokens of this GPU]."""
        if self._on_gpu:
            self._stream.synchronize()
        return out.cpu().numpy()

    def copy_slot(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        self._ahead.forget([self])  # it may have read what the slot held before
        if not self._on_gpu:
            self.memory.copy_slot(source, target, length)
            return
        with torch.cuda.stream(self._stream):
            self.memory.copy_slot(source, target, length)

    def forgive(self) -> None:
        """Go on after a step in which another GPU did not answer."""
        if not self._on_gpu:
            self.memory.member.failed.zero_()
            return
        with torch.cuda.stream(self._stream):
            self.memory.member.failed.zero_()
        self._stream.synchronize()

    def close(self) -> None:
        """Give graphs and memory back."""
        self._ahead.forget([self])
        if self._on_gpu:
            self._stream.synchronize()
        self._graphs.clear()
        self._guess_graphs.clear()
        self._draft_graph = None
        for name in ("weights", "memory", "persistent"):
            self.__dict__.pop(name, None)

    def _start(self, persistent: bool | None) -> None:
        """Prepare all steps; as graphs, if one kernel that nobody asked for cannot be had."""
        try:
            self._prepare()
        except BackendUnavailable as exc:
            if self.persistent is None:
                raise
            self._do_without(exc.__cause__ or exc, persistent)
            self.persistent = None
            self._graphs.clear()
            self._guess_graphs.clear()
            self._prepare()

    def _prepare(self) -> None:
        """Compile every kernel, then capture a graph for each width."""
        began, widths = time.perf_counter(), step_widths(self.max_step_tokens)
        recorded = replace(self.launch, recorded=[])
        for width in widths:
            self._run(width, recorded)
            self._run_guess(width, recorded)
        run_behind_draft(self.memory, recorded)
        try:
            compile_launches(recorded.recorded or [])
            self.start_s["compile"] = time.perf_counter() - began
            pool = None
            with torch.cuda.stream(self._stream):
                for width in widths:
                    self._run(width, self.launch)  # no rows: loads the kernels, computes nothing
                    self._stream.synchronize()
                    graph = torch.cuda.CUDAGraph()
                    with torch.cuda.graph(graph, pool=pool, stream=self._stream):
                        self._run(width, self.launch)
                    pool = pool or graph.pool()
                    self._graphs[width] = graph
                    if not self.guesses:
                        continue
                    # Of its own: the tokens of the step can be read before it has ended.
                    self._run_guess(width, self.launch)
                    self._stream.synchronize()
                    self._guess_graphs[width] = torch.cuda.CUDAGraph()
                    with torch.cuda.graph(
                        self._guess_graphs[width], pool=pool, stream=self._stream
                    ):
                        self._run_guess(width, self.launch)
                run_behind_draft(self.memory, self.launch)
                self._stream.synchronize()
                self._draft_graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._draft_graph, pool=pool, stream=self._stream):
                    run_behind_draft(self.memory, self.launch)
        except Exception as exc:
            raise BackendUnavailable(
                f"a kernel does not compile or run on this GPU "
                f"({torch.cuda.get_device_name()}): {exc}; without it: --device reference"
            ) from exc
        self._stream.synchronize()
        self.start_s["graphs"] = time.perf_counter() - began - self.start_s["compile"]

    def _run(self, width: int, launch: Launch, logits: torch.Tensor | None = None) -> None:
        """Launch one step of up to `width` rows."""
        run_step(self.weights, self.memory, width, launch, logits, self.persistent)

    def _run_guess(self, width: int, launch: Launch) -> None:
        """Launch the guesses of one step that was launched."""
        run_guess(self.weights, self.memory, width, launch, self.persistent)

    def _width(self, rows: int) -> int:
        return step_width(rows, self.max_step_tokens)

    def _upload(self, batch: Step, written: "CudaBackend | None" = None) -> None:
        if written is None:
            self._count_step()
            self.memory.upload(batch, self._parity, self._turn)
        else:
            # Not its own count: it is behind if a step raised before this GPU had its turn.
            self._count_step(written._parity, written._turn)
            self.memory.send(written.memory)

    def _count_step(self, parity: int | None = None, turn: int | None = None) -> None:
        """Give the next step its half of the results and its number, or those of another GPU."""
        self._parity = 1 - self._parity if parity is None else parity
        self._turn = self._turn % self._max_turn + 1 if turn is None else turn
        self._host.ended[self._parity] = 0

    def _launch(self, width: int) -> None:
        """Launch what was uploaded, or what the last step left to the one behind it."""
        if self._on_gpu:
            events = self._events[self._parity]
            self._graphs[width].replay()
            events.chosen.record(self._stream)
            if self.guesses:
                self._guess_graphs[width].replay()
                events.guessed.record(self._stream)
        else:
            self._run(width, self.launch)
            self._run_guess(width, self.launch)
        self._begun.append(self._parity)


def _make_events() -> Events:
    return Events(torch.cuda.Event(), torch.cuda.Event())  # type: ignore[no-untyped-call]


def small_fits(weights: Weights, wanted: bool | None, ranks: int = 1) -> bool:
    """Return whether steps of one row run as the one kernel of small models; see `cuda_small`.

    Args: those of `persistent_rows`.
    """
    if wanted is False or not weights.embedding.is_cuda:
        return False
    try:
        from tokenspeed.backends import cuda_small
    except ImportError:  # no persistent kernel without Triton 3.6
        return False
    return cuda_small.why_not(weights, ranks) is None


def persistent_rows(weights: Weights, wanted: bool | None, ranks: int = 1) -> int:
    """Return the rows of the widest step that runs as one kernel; 0: none does.

    Args: those of `cuda_persistent.rows_of`, which can only be asked where Triton is new enough.
    Raises:
        BackendUnavailable: it is wanted, but this Triton, GPU or model does not support it.
    """
    if wanted is False or (wanted is None and not weights.embedding.is_cuda):
        return 0
    try:
        from tokenspeed.backends import cuda_persistent
    except ImportError as exc:
        if wanted is None:
            return 0
        raise BackendUnavailable(f"no persistent kernel without Triton 3.6: {exc}") from exc
    return cuda_persistent.rows_of(weights, ranks, wanted)


def default_launch(target: str, step_bytes: int) -> Launch:
    """Return how kernels are best launched, as measured (benchmarks/notes-cuda.md).

    Args:
        target: "sm_90", "gfx942", or "" for the interpreter.
        step_bytes: weights of a step; those of small models are prefetched into the L2 in part.
    """
    if not target.startswith("sm_"):
        return Launch(fast_unpack=False)
    if int(target[3:]) < 90:
        return Launch(fast_unpack=True)
    prefetch = PREFETCH_BYTES if step_bytes <= AHEAD_BYTES else 0
    is_hopper = target == "sm_90"
    return Launch(DEPENDENT_LAUNCH, prefetch, fast_unpack=True, tall=is_hopper)


def check_device(form: str, *, pdl: bool = False, device: torch.device | int | None = None) -> None:
    """Refuse a machine or a form that the kernels are not made for.

    Args:
        device: one of this machine's GPUs; None: the current one.
    Raises:
        BackendUnavailable: says what was found and what is needed.
    """
    if INTERPRETED:
        return
    if not torch.cuda.is_available():
        raise BackendUnavailable("no CUDA GPU was found; use --device cpu")
    if torch.version.hip is not None:
        return
    major, minor = torch.cuda.get_device_capability(device)
    found = f"{torch.cuda.get_device_name(device)} (sm_{major}{minor})"
    if major < 8:
        raise BackendUnavailable(f"{found} is too old, the kernels need sm_80 or later")
    if form == "fp8" and (major, minor) < (8, 9):
        raise BackendUnavailable(f"{found} has no fp8, it needs sm_89 or later; use int8")
    if pdl and major < 9:
        raise BackendUnavailable(f"{found} has no programmatic dependent launch (sm_90 and later)")


def _target(device: torch.device | None) -> str:
    """Return a GPU, None for the current one, as the `target` of `default_launch`."""
    if INTERPRETED or torch.version.hip is not None or not torch.cuda.is_available():
        return ""
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def _device() -> str:
    return "cpu" if INTERPRETED else "cuda"
