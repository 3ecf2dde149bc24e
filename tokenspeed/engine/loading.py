"""From a model directory to a running engine: checkpoint, tokenizer, prompt format, backend.

The one place that knows every backend by name. A backend that was asked for by name and cannot run
is an error; only `auto` chooses.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
from tokenspeed.model.hub import local_directory
from tokenspeed.model.prompt import PromptFormat, load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """An engine with the tokenizer and the prompt format of its model."""

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
    profile: Path | None = None,
    config: EngineConfig | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> LoadedModel:
    """Open a model directory and start an engine over it.

    Args:
        directory: in Hugging Face's form, or a model's name on the hub.
        device: "auto", a key of BACKENDS, or "cuda:0,1" for GPUs that share the model.
        profile: a file that says how to prompt the model; None: the profile that recognises it.
        config: slots and lengths; the defaults suit a few speakers.
    Raises:
        CheckpointError: the directory cannot be used.
        ProfileError: no profile says how to prompt the model, or its profile is wrong.
        BackendUnavailable: the requested backend cannot run here.
    """
    started_s = time.perf_counter()
    given = Path(directory)
    directory = local_directory(given)
    checkpoint = open_checkpoint(directory)
    if checkpoint.notice:
        logging.getLogger(__name__).warning("%s: %s", directory, checkpoint.notice)
    tokenizer = Tokenizer.load(directory)
    prompts = load_prompt_format(directory, tokenizer, profile)
    opened = backend_of(device)
    config = config or EngineConfig()
    backend = opened(checkpoint, config)
    engine = Engine(
        backend,
        eos_token_ids=(*tokenizer.eos_ids, *prompts.stop_ids),
        max_step_ms=config.max_step_ms,
        read_bytes_per_s=measured_bandwidth(backend),
        clock=clock,
        rebuild=lambda: opened(checkpoint, config),
    )
    return LoadedModel(
        engine,
        tokenizer,
        prompts,
        directory.resolve().name if directory == given else given.name,
        directory,
        time.perf_counter() - started_s,
    )


def backend_of(device: str) -> Callable[[Checkpoint, EngineConfig], Backend]:
    """Return the function that opens the backend of this name.

    Raises:
        ValueError: there is no such backend.
    """
    name, _, numbers = device.partition(":")
    if name == "cuda" and numbers:
        try:
            devices = [int(number) for number in numbers.split(",")]
        except ValueError:
            raise ValueError(f"device is {device!r}, expected GPUs as in cuda:0,1") from None
        return partial(_cuda_group, devices)
    if device == "auto":
        return BACKENDS[choose_backend()]
    if device not in BACKENDS:
        raise ValueError(f"device is {device!r}, expected auto or {', '.join(BACKENDS)}")
    return BACKENDS[device]


def choose_backend() -> str:
    """Return the fastest backend that this machine can run."""
    if torch.cuda.is_available() and find_spec("triton"):
        return "cuda"
    return "cpu" if native_available()[0] else "torch-int8"


def measured_bandwidth(backend: Backend) -> float:
    """Measure briefly how fast this backend's device reads: bytes/s, 0 if it cannot be measured.

    A CPU reads a buffer of the weights' size, as caches hold part of a small model; a GPU reads
    1 GiB of its memory. In a group of GPUs, one is measured and the others count the same.
    """
    if backend.name != "cuda":
        return read_bandwidth(backend.weight_bytes, usable_cores(), seconds=0.03) or 0.0
    from tokenspeed.kernels import timing

    if not torch.cuda.is_available():
        return 0.0
    ranks = getattr(backend, "ranks", [backend])
    with torch.cuda.device(ranks[0].device):  # the current GPU may be none of a group's
        if torch.cuda.mem_get_info()[0] < 2 << 30:
            return 0.0
        measured = timing.read_bandwidth(gib=1, repeats=5)
        torch.cuda.empty_cache()
    return measured * len(ranks)


def _cuda(checkpoint: Checkpoint, config: EngineConfig) -> Backend:
    _cuda_check()
    from tokenspeed.backends.cuda import CudaBackend

    return CudaBackend.from_checkpoint(checkpoint, config)


def _cuda_group(devices: list[int], checkpoint: Checkpoint, config: EngineConfig) -> Backend:
    _cuda_check()
    from tokenspeed.backends.cuda_group import CudaGroup

    return CudaGroup.from_checkpoint(checkpoint, config, devices)


def _cuda_check() -> None:
    if not find_spec("triton"):
        raise BackendUnavailable("the GPU backend needs Triton: pip install 'tokenspeed-live[gpu]'")


BACKENDS: dict[str, Callable[[Checkpoint, EngineConfig], Backend]] = {
    "reference": ReferenceBackend,
    "cpu": CpuBackend,
    "torch-int8": TorchInt8Backend,
    "cuda": _cuda,
}
