"""`tokenspeed doctor`: what this machine has for the engine, and what to do about what is missing.

Each finding is a value, so that tests and the command line read the same thing.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tokenspeed.arguments import add_model_argument, add_profile_argument
from tokenspeed.backends import Step
from tokenspeed.backends.cpu import native_available
from tokenspeed.engine.loading import backend_of, choose_backend
from tokenspeed.errors import TokenSpeedError
from tokenspeed.model.checkpoint import Checkpoint, open_checkpoint
from tokenspeed.model.config import EngineConfig, ModelConfig
from tokenspeed.model.hub import local_directory
from tokenspeed.model.mtp import MTP_FILE, gains_by_guesses, read_mtp
from tokenspeed.model.prompt import load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer

MAX_PAIRS = 20  # language pairs listed one by one; of more, only the languages are listed


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        state: "ok", "missing" (works, but slower or with less) or "broken" (does not work).
        advice: what to do about it; empty when ok.
    """

    name: str
    state: str
    detail: str
    advice: str = ""


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `doctor`."""
    add_model_argument(parser)
    add_profile_argument(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    broken = False
    for finding in examine(options.model, options.profile):
        broken |= finding.state == "broken"
        print(f"{finding.state:8} {finding.name:15} {finding.detail}")
        if finding.advice:
            print(f"{'':8} {'':15} -> {finding.advice}")
    return 1 if broken else 0


def examine(model: Path, profile: Path | None = None) -> Iterator[Finding]:
    """Yield what was found, the machine first, the model last."""
    yield Finding("python", "ok", platform.python_version())
    yield Finding("processor", "ok", f"{platform.machine()}, {_cores()} cores usable")
    yield Finding("torch", "ok", torch.__version__)
    yield from _gpu()
    yield from _native()
    yield from _model(model, profile)


def _gpu() -> Iterator[Finding]:
    if not torch.cuda.is_available():
        advice = "a torch build for CUDA and an NVIDIA GPU with its driver make this faster"
        yield Finding("gpu", "missing", "torch sees no CUDA device", advice)
        return
    properties = torch.cuda.get_device_properties(0)
    memory_gib = properties.total_memory / 2**30
    yield Finding("gpu", "ok", f"{properties.name}, {memory_gib:.0f} GiB")
    if importlib.util.find_spec("triton") is None:
        advice = "pip install 'tokenspeed-live[gpu]'"
        yield Finding("triton", "broken", "not installed; the fused kernels need it", advice)
    else:
        yield Finding("triton", "ok", importlib.metadata.version("triton"))


def _native() -> Iterator[Finding]:
    available, detail = native_available()
    advice = "install a C++ compiler (g++ or clang++) and reinstall the package"
    if available:
        yield Finding("native kernels", "ok", detail)
    else:
        yield Finding("native kernels", "missing", detail, advice)


def _model(directory: Path, profile: Path | None) -> Iterator[Finding]:
    try:
        directory = local_directory(directory)
        checkpoint = open_checkpoint(directory)
        prompts = load_prompt_format(directory, Tokenizer.load(directory), profile)
    except TokenSpeedError as exc:
        yield Finding("model", "broken", str(exc), "pass another directory with --model")
        return
    config = checkpoint.config
    yield Finding(
        "model",
        "ok",
        f"{directory.name}: {config.num_layers} layers of {config.hidden_size}, "
        f"vocabulary {config.vocab_size}",
    )
    if checkpoint.notice:
        advice = "the original weights and tokenspeed quantize make less of them"
        yield Finding("weights", "missing", checkpoint.notice, advice)
    pairs = sorted(prompts.pairs)
    told = ", ".join(f"{a}-{b}" for a, b in pairs[:MAX_PAIRS])
    if len(pairs) > MAX_PAIRS:
        told = f"{len(pairs)} pairs of {', '.join(prompts.languages)}"
    yield Finding("profile", "ok", f"{prompts.profile.name}: {told}")
    yield from _guesses(directory, config)
    yield _backend(checkpoint)


def _guesses(directory: Path, config: ModelConfig) -> Iterator[Finding]:
    """Look for a layer that guesses tokens, which a model need not have."""
    try:
        layer = read_mtp(directory, config)
    except TokenSpeedError as exc:
        yield Finding("guesses", "broken", str(exc), "tokenspeed train-mtp makes a new one")
        return
    if layer is None:
        return
    use = "used on GPUs" if gains_by_guesses(config) else "not used, as the model is too small"
    yield Finding("guesses", "ok", f"{MTP_FILE}: {use}")


def _backend(checkpoint: Checkpoint) -> Finding:
    """Load the model where it would run, with one slot, and let it take a step."""
    name = choose_backend()
    try:
        backend = backend_of(name)(checkpoint, EngineConfig(num_slots=1, max_length=64))
    except (TokenSpeedError, MemoryError) as exc:
        return Finding("backend", "broken", f"{name}: {exc}", "pass another one with --device")
    first = np.zeros(1, np.int32)
    backend.step(Step(first, first, first, first, first - 1, first.astype(np.float32)))
    backend.close()
    weights_mib = backend.weight_bytes / 2**20
    detail = (
        f"{name} (what --device auto chooses): ran a step over {weights_mib:.0f} MiB of weights"
    )
    return Finding("backend", "ok", detail)


def _cores() -> int:
    # Only some platforms have it; it respects the CPU affinity of this process.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
