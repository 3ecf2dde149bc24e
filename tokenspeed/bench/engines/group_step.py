"""A step that several GPUs share, compared with one GPU's: equal tokens, equal bits, time.

    python -m tokenspeed.bench.engines.group_step check bf16 int8 int4 --devices 0,1
    python -m tokenspeed.bench.engines.group_step time llama-3-8b:bf16 llama-3-70b:int4

`check` also runs on one GPU that is named twice: both ranks take turns on it. Prints JSON lines;
with OUT set, also appends them to $OUT/group.jsonl.
"""

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tokenspeed.backends import Step
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_group import CudaGroup, check_devices, make_ranks
from tokenspeed.backends.cuda_ref import step_ref
from tokenspeed.backends.cuda_weights import load_weights, random_weights
from tokenspeed.bench.engines.compare_gpu import write_shape
from tokenspeed.bench.engines.persistent_step import rows
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.steps import Workload, measure_backend
from tokenspeed.bench.engines.update import update_ms
from tokenspeed.kernels.timing import event_ms, read_bandwidth
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.quantized import write_quantized
from tokenspeed.model.sharding import Shard
from tokenspeed.model.weights import weight_shapes

WIDTHS = (1, 2, 4, 8, 16, 32, 64)


def say(**row: Any) -> None:
    print(json.dumps(row), flush=True)
    if "OUT" in os.environ:
        with (Path(os.environ["OUT"]) / "group.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def check(form: str, devices: list[int]) -> None:
    """Compare a small model on a group with float32, with one GPU, and with itself."""
    shape = replace(SHAPES["llama-3.2-1b"], num_layers=3, vocab_size=24064)
    shape = replace(shape, ropes=SHAPES["llama-3-8b"].ropes)
    generator = torch.Generator().manual_seed(5)
    tensors = {
        name: torch.randn(size, generator=generator).mul(size[-1] ** -0.5).bfloat16()
        if len(size) == 2
        else torch.ones(size).bfloat16()
        for name, size in weight_shapes(shape).items()
    }
    config = EngineConfig(num_slots=16, max_length=512, max_step_tokens=256)
    with tempfile.TemporaryDirectory() as folder:
        write_shape(shape, Path(folder))
        save_file(tensors, Path(folder) / "model.safetensors")
        if form in ("int8", "int4"):
            # Otherwise each rank would choose scales for its own part of a row.
            write_quantized(folder, Path(folder) / form, int(form[3:]), max_shard_bytes=1 << 32)
        checkpoint = open_checkpoint(Path(folder) / form if form != "bf16" else folder)
        one = CudaBackend.from_checkpoint(checkpoint, config, form)
        parts = [
            load_weights(checkpoint.part(Shard(i, len(devices))), form, f"cuda:{device}")
            for i, device in enumerate(devices)
        ]
    group = CudaGroup(make_ranks(parts, shape, config), shape)
    tokens = np.random.default_rng(3).integers(3, shape.vocab_size, 240).tolist()
    exact, ref = (step_ref(one.weights, tokens, d).cpu() for d in (torch.float32, torch.bfloat16))
    whole, alone = group.logits(rows((0, 0, tokens))), one.logits(rows((0, 0, tokens)))
    say(
        check=form,
        error=float(np.abs(whole - exact.numpy()).max()),
        error_of_one=float(np.abs(alone - exact.numpy()).max()),
        error_of_torch=float((ref - exact).abs().max()),
        same_best=float((whole.argmax(-1) == alone.argmax(-1)).mean()),
    )
    for begin in (16, 80, 200):
        for width in WIDTHS:
            group.copy_slot(0, 1, begin)
            got = np.concatenate(
                [
                    group.logits(rows((1, at, tokens[at : at + width])))
                    for at in range(begin, min(begin + max(width, 4), 240), width)
                ]
            )
            want = whole[begin : begin + len(got)]
            group.copy_slot(0, 1, begin)
            chosen = group.step(rows((1, begin, tokens[begin : begin + width])))
            say(
                check=form,
                width=width,
                position=begin,
                equal=bool(np.array_equal(got, want)),
                graph_equal=bool((chosen == want[: len(chosen)].argmax(-1)).all()),
            )
    for i in range(1, 16):
        group.copy_slot(0, i, 100 + i)
    together = rows(*((i, 100 + i, [tokens[100 + i]]) for i in range(16)))
    equal = [np.array_equal(group.logits(together), whole[100:116]) for _ in range(20)]
    say(check=form, streams=16, equal=all(equal))
    best = whole[100:116].argmax(-1)
    repeated = [bool((group.step(together) == best).all()) for _ in range(300)]
    say(check=form, repeated_steps=len(repeated), equal=all(repeated))
    drafts = np.argsort(whole[100:116], -1)[:, -2].astype(np.int32)
    biased = replace(together, drafts=drafts, biases=np.full(16, 0.02, np.float32))
    p = torch.from_numpy(whole[100:116]).double().softmax(-1).numpy()
    rows_ = np.arange(16)
    gap = p[rows_, best] - p[rows_, drafts]
    held = np.where(gap <= 0.02 / 0.98, drafts, best)
    clear = np.abs(gap - 0.02 / 0.98) > 1e-6
    say(check=form, drafts_equal=bool((group.step(biased) == held)[clear].all()))
    group.close()
    one.close()


def streams(backend: CudaBackend | CudaGroup, width: int) -> Step:
    """Return a step of one token at position 80 per slot, or in one slot if there are too few."""
    if width <= backend.num_slots:
        return rows(*((i, 80, [7 + i]) for i in range(width)))
    return rows((0, 80, [7] * width))


def step_ms(backend: CudaBackend, width: int) -> float:
    """Return the time of a step's graph on the device, for a backend on one GPU."""
    backend.step(streams(backend, width))
    return statistics.median(event_ms(backend._graphs[width].replay, 15))


def host_ms(backend: CudaBackend | CudaGroup, width: int, repeats: int = 40) -> float:
    """Return the time of a step of so many streams at position 80, measured on the host."""
    step, times = streams(backend, width), list[float]()
    for _ in range(repeats):
        began = time.perf_counter()
        backend.step(step)
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times[5:])


def timing(model: str, form: str, devices: list[int], quick: bool = False) -> None:
    """Time a group, and one of its ranks without sums: the difference is the exchanges."""
    shape, count = SHAPES[model], len(devices)
    config = EngineConfig(num_slots=16, max_length=512, max_step_tokens=64)
    row: dict[str, Any] = {"model": model, "form": form, "gpus": count}
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        weights = list(
            pool.map(
                lambda i: random_weights(shape, form, f"cuda:{devices[i]}", shard=Shard(i, count)),
                range(count),
            )
        )
    row["weights_s"] = time.perf_counter() - began
    alone = CudaBackend(weights[0], config, persistent=False)
    row["rank_alone_ms"] = {width: step_ms(alone, width) for width in (1, 16)}
    row["rank_alone_host_ms"] = host_ms(alone, 1)
    alone.close()
    began = time.perf_counter()
    group = CudaGroup(make_ranks(weights, shape, config), shape)
    row["start_s"] = time.perf_counter() - began
    row["memory_gib"] = sum(group.memory_bytes.values()) / 2**30
    row["weight_bytes"] = group.weight_bytes
    row["host_ms"] = {width: host_ms(group, width) for width in WIDTHS}
    row["exchange_us"] = (
        (row["host_ms"][1] - row["rank_alone_host_ms"]) * 1e3 / (2 * shape.num_layers)
    )
    say(**row)
    for streams in () if quick else (1, 16):
        prompt = 64 if streams == 1 else 4  # 16 of them fit a step
        workload = Workload(prompt_tokens=prompt, new_tokens=32, rounds=4)
        say(model=model, form=form, gpus=count, **measure_backend(group, streams, workload))
    say(model=model, form=form, gpus=count, **update_ms(group))
    del group, weights, alone
    gc.collect()
    torch.cuda.empty_cache()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["check", "time"])
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--devices", default="0,1")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    numbers = [int(i) for i in args.devices.split(",")]
    if len(set(numbers)) > 1:
        check_devices(numbers)
    if args.what == "time":
        say(
            gpu=torch.cuda.get_device_name(),
            torch=torch.__version__,
            date=time.strftime("%Y-%m-%d"),
            read_tb_per_s=read_bandwidth() / 1e12,
        )
        torch.cuda.empty_cache()
    for case in args.cases:
        if args.what == "check":
            check(case, numbers)
        else:
            model, form = case.split(":")
            timing(model, form, numbers, args.quick)
