"""`tokenspeed bench engine` on a GPU: a named shape with random weights, or a checkpoint."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_group import CudaGroup
from tokenspeed.bench.engines.shapes import named_shape
from tokenspeed.bench.engines.steps import Workload, measure_backend
from tokenspeed.bench.engines.update import update_ms
from tokenspeed.bench.result import Row, describe_gpu
from tokenspeed.kernels.timing import read_bandwidth
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

PROMPT_TOKENS = 64


def open_backend(
    model: Path, shape: str, form: str, config: EngineConfig, gpus: Sequence[int] = (0,)
) -> CudaBackend | CudaGroup:
    """Build the backend to measure.

    Args:
        model: a checkpoint, used if no shape is named.
        shape: a key of SHAPES for random weights, or "".
        form: "bf16", "int8", "int4", "fp8", or "auto": as stored, bf16 for random weights.
        gpus: that share the model; a single one is the current one.
    Raises:
        BackendUnavailable: there is no such shape, GPU or form.
        CheckpointError: the checkpoint cannot be used.
    """
    if not shape:
        checkpoint = open_checkpoint(model)
        if len(gpus) == 1:
            return CudaBackend.from_checkpoint(checkpoint, config, form)
        return CudaGroup.from_checkpoint(checkpoint, config, gpus, form)
    form = "bf16" if form == "auto" else form
    if len(gpus) == 1:
        return CudaBackend.from_random(named_shape(shape), config, form)
    return CudaGroup.from_random(named_shape(shape), config, form, gpus)


def measure_on_gpu(
    model: Path,
    shape: str,
    form: str,
    streams: Sequence[int],
    rounds: int,
    gpus: Sequence[int] = (0,),
) -> tuple[dict[str, Any], list[Row]]:
    """Measure token times by number of streams (`steps.measure_backend`), and a caption update.

    Returns:
        The machine, with its read bandwidth in this run; and the rows, one for each number of
        streams and one for the update.
    Raises:
        BackendUnavailable, CheckpointError: see `open_backend`.
    """
    # The prompts of all streams are one step.
    widest = max(512, PROMPT_TOKENS * max(streams))
    config = EngineConfig(num_slots=max(streams), max_length=512, max_step_tokens=widest)
    began = time.perf_counter()
    backend = open_backend(model, shape, form, config, gpus)
    start_s = time.perf_counter() - began
    with torch.cuda.device(gpus[0]):
        read = read_bandwidth()
        torch.cuda.empty_cache()
        machine = describe_gpu(read)
    rows = []
    about: Row = {"engine": "tokenspeed", "backend": "cuda", "gpus": len(gpus)}
    about |= {"shape": shape or model.resolve().name, "dtype": backend.form}
    for count in tqdm(streams, desc="streams", leave=False):
        row = dict(about)
        workload = Workload(prompt_tokens=PROMPT_TOKENS, new_tokens=32, rounds=rounds)
        row |= measure_backend(backend, count, workload)
        row["bandwidth_share"] = round(row["weight_gb_per_s"] * 1e9 / read / len(gpus), 3)
        row["memory_mib"] = round(sum(backend.memory_bytes.values()) / 2**20, 1)
        row["start_s"] = round(start_s, 2)
        rows.append(row)
    rows.append(about | {name: round(ms, 3) for name, ms in update_ms(backend).items()})
    return machine, rows
