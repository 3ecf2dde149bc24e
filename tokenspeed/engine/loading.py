"""From a model directory to a running engine: checkpoint, tokenizer, prompt format, backend.

The one place that knows every backend by name. A backend that was asked for by name and cannot run
is an error; only `auto` chooses.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from tokenspeed.backends import Backend
from tokenspeed.backends.cpu import CpuBackend, native_available, read_bandwidth, usable_cores
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.backends.torch_int8 import TorchInt8Backend
from tokenspeed.engine.engine import Engine
from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.checkpoint import Checkpoint, open_checkpoint
from tokenspeed.model.config import DEFAULT_MODEL, EngineConfig
from tokenspeed.model.prompt import PromptFormat, load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """An engine and what speaks its language."""

    engine: Engine
    tokenizer: Tokenizer
    prompts: PromptFormat
    name: str
    directory: Path
    load_s: float

    def close(self) -> None:
        self.engine.close()


def load_engine(
    directory: Path | str = DEFAULT_MODEL,
    *,
    device: str = "auto",
    config: EngineConfig | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> LoadedModel:
    """Open a model directory and start an engine over it.

    Args:
        directory: a Hugging Face LLaMA directory.
        device: "auto", or a key of BACKENDS.
        config: slots and lengths; their defaults suit a few speakers.
    Raises:
        CheckpointError: the directory cannot be used.
        BackendUnavailable: the asked backend cannot run here.
    """
    started_s = time.perf_counter()
    directory = Path(directory)
    checkpoint = open_checkpoint(directory)
    tokenizer = Tokenizer.load(directory)
    prompts = load_prompt_format(directory, tokenizer)
    name = choose_backend() if device == "auto" else device
    if name not in BACKENDS:
        raise ValueError(f"device is {device!r}, expected auto or {', '.join(BACKENDS)}")
    config = config or EngineConfig()
    backend = BACKENDS[name](checkpoint, config)
    engine = Engine(
        backend,
        eos_token_ids=tokenizer.eos_ids,
        max_step_ms=config.max_step_ms,
        read_bytes_per_s=measured_bandwidth(backend),
        clock=clock,
        rebuild=lambda: BACKENDS[name](checkpoint, config),
    )
    return LoadedModel(
        engine,
        tokenizer,
        prompts,
        directory.resolve().name,
        directory,
        time.perf_counter() - started_s,
    )


def choose_backend() -> str:
    """Return the fastest backend that this machine can run."""
    if torch.cuda.is_available() and find_spec("triton"):
        return "cuda"
    return "cpu" if native_available()[0] else "torch-int8"


def measured_bandwidth(backend: Backend) -> float:
    """Measure in a moment how fast this backend's device reads: bytes/s, 0 where it cannot be.

    A CPU reads a buffer of the weights' size, as caches hold part of a small model; a GPU reads
    1 GiB of its memory.
    """
    if backend.name != "cuda":
        return read_bandwidth(backend.weight_bytes, usable_cores(), seconds=0.03) or 0.0
    from tokenspeed.kernels import timing

    if not torch.cuda.is_available() or torch.cuda.mem_get_info()[0] < 2 << 30:
        return 0.0
    measured = timing.read_bandwidth(gib=1, repeats=5)
    torch.cuda.empty_cache()
    return measured


def _cuda(checkpoint: Checkpoint, config: EngineConfig) -> Backend:
    try:
        from tokenspeed.backends.cuda import CudaBackend
    except ImportError as exc:
        raise BackendUnavailable(
            "the GPU backend needs Triton: pip install 'tokenspeed-live[gpu]'"
        ) from exc
    return CudaBackend.from_checkpoint(checkpoint, config)


BACKENDS: dict[str, Callable[[Checkpoint, EngineConfig], Backend]] = {
    "reference": ReferenceBackend,
    "cpu": CpuBackend,
    "torch-int8": TorchInt8Backend,
    "cuda": _cuda,
}
