"""A step that several GPUs share, compared with one GPU's: equal tokens, equal bits, time.

    python -m tokenspeed.bench.engines.group_step compile bf16 llama-3-8b:bf16
    python -m tokenspeed.bench.engines.group_step check bf16 int8 int4 --devices 0,1
    python -m tokenspeed.bench.engines.group_step time llama-3-8b:bf16 llama-3-70b:int4
    python -m tokenspeed.bench.engines.group_step guess llama-3-70b:int4 --right 0.66

`compile` fills Triton's cache with the persistent kernels of the other two, each in a process of
its own. `check` also runs on one GPU that is named twice: both ranks take turns on it, and only the
graph of kernels runs. `time` runs both, one after the other over the same weights; with `--split
out:4,down:4` once more with these parts along K. `guess` times tokens and updates with an MTP
layer, and without; see `persistent_step`. Prints JSON lines; with OUT set, also appends them to
$OUT/group.jsonl.
"""

import argparse
import gc
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tokenspeed.backends import Step
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_group import CudaGroup, check_devices, group_of, make_ranks
from tokenspeed.backends.cuda_memory import StepMemory
from tokenspeed.backends.cuda_persistent import PersistentStep, tile_layers
from tokenspeed.backends.cuda_ref import step_ref
from tokenspeed.backends.cuda_weights import (
    Weights,
    load_weights,
    random_mtp,
    random_weights,
    with_mtp,
)
from tokenspeed.bench.engines.compare_gpu import write_shape
from tokenspeed.bench.engines.persistent_step import SMALL as SMALL_RESIDUAL
from tokenspeed.bench.engines.persistent_step import UPDATES, engine_ms, guessable, rows
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.steps import NEVER, Workload, measure_backend
from tokenspeed.bench.engines.update import update_ms
from tokenspeed.kernels import tuned
from tokenspeed.kernels.exchange import join
from tokenspeed.kernels.timing import event_ms, read_bandwidth
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig, ModelConfig
from tokenspeed.model.quantized import write_quantized
from tokenspeed.model.sharding import Shard
from tokenspeed.model.weights import weight_shapes

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
# Of `check`: halves of its head are as wide as the persistent kernel takes them, and in its form.
SMALL = replace(
    SHAPES["llama-3.2-1b"],
    num_layers=3,
    vocab_size=33280,
    ropes=SHAPES["llama-3-8b"].ropes,
    tie_word_embeddings=False,
)
CHECKED = EngineConfig(num_slots=16, max_length=512, max_step_tokens=256)
TIMED = EngineConfig(num_slots=16, max_length=512, max_step_tokens=64)


def say(**row: Any) -> None:
    print(json.dumps(row), flush=True)
    if "OUT" in os.environ:
        with (Path(os.environ["OUT"]) / "group.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def check(form: str, devices: list[int]) -> None:
    """Compare a small model on a group with float32, with one GPU, and with itself.

    On several GPUs its steps of one row run through the persistent kernel, all others never do.
    """
    shape, config = SMALL, CHECKED
    generator = torch.Generator().manual_seed(5)
    tensors = {
        name: torch.randn(size, generator=generator).mul(size[-1] ** -0.5).bfloat16()
        if len(size) == 2
        else torch.ones(size).bfloat16()
        for name, size in weight_shapes(shape).items()
    }
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
    are_apart = len(set(devices)) == len(devices)
    group = CudaGroup(make_ranks(parts, shape, config, are_apart), shape)
    tokens = np.random.default_rng(3).integers(3, shape.vocab_size, 240).tolist()
    exact, ref = (step_ref(one.weights, tokens, d).cpu() for d in (torch.float32, torch.bfloat16))
    whole, alone = group.logits(rows((0, 0, tokens))), one.logits(rows((0, 0, tokens)))
    say(
        check=form,
        persistent=are_apart,
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
    check_rows(form, group, tokens, whole)
    drafts = np.argsort(whole[100:116], -1)[:, -2].astype(np.int32)
    biased = replace(together, drafts=drafts, biases=np.full(16, 0.02, np.float32))
    p = torch.from_numpy(whole[100:116]).double().softmax(-1).numpy()
    rows_ = np.arange(16)
    gap = p[rows_, best] - p[rows_, drafts]
    held = np.where(gap <= 0.02 / 0.98, drafts, best)
    clear = np.abs(gap - 0.02 / 0.98) > 1e-6
    say(check=form, drafts_equal=bool((group.step(biased) == held)[clear].all()))
    one_by_one = [
        group.step(
            replace(
                rows((i, 100 + i, [tokens[100 + i]])),
                drafts=drafts[i : i + 1],
                biases=np.full(1, 0.02, np.float32),
            )
        )[0]
        for i in range(16)
    ]
    say(check=form, drafts_of_one_row_equal=bool((np.array(one_by_one) == held)[clear].all()))
    group.close()
    one.close()


def check_rows(form: str, group: CudaGroup, tokens: list[int], whole: Any) -> None:
    """Compare steps of one row, many times and between wider ones, with one wide step."""
    best = whole.argmax(-1)
    group.copy_slot(0, 1, 16)
    decoded = [group.step(rows((1, at, [tokens[at]])))[0] == best[at] for at in range(16, 240)]
    say(check=form, one_row_steps=len(decoded), equal=bool(np.all(decoded)))
    repeated = [group.step(rows((1, 239, [tokens[239]])))[0] == best[239] for _ in range(300)]
    say(check=form, one_row_repeated=len(repeated), equal=bool(np.all(repeated)))
    mixed = []
    for i in range(60):  # one row, then two, then one, in the slots of those above
        at, count = 100 + i, 1 + i % 2
        chosen = group.step(rows((1, at, tokens[at : at + count])))
        mixed.append((chosen == best[at : at + count]).all())
    say(check=form, one_row_between_others=len(mixed), equal=bool(np.all(mixed)))
    again = [
        np.array_equal(group.logits(rows((1, at, [tokens[at]])))[0], whole[at])
        for at in range(20, 240, 20)
    ]
    say(check=form, one_row_logits=len(again), equal=all(again))


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
    """Return the time of a step of so many streams from position 80 on, measured on the host."""
    step, times = streams(backend, width), list[float]()
    for i in range(repeats):
        began = time.perf_counter()
        chosen = backend.step(replace(step, stops=NEVER if i < repeats - 1 else None))
        times.append((time.perf_counter() - began) * 1e3)
        step = replace(step, tokens=chosen, positions=step.positions + 1)
    return statistics.median(times[5:])


def token_ms(group: CudaGroup, repeats: int = 40) -> float:
    """Return the time of a step of one row on the first GPU, launched without waiting for it."""
    group.step(streams(group, 1))
    ranks = [rank for rank in group.ranks if isinstance(rank, CudaBackend)]
    events = [
        [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
        for _ in ranks
    ]
    for count in (0, repeats):  # nothing may be allocated once a GPU waits for another one
        for rank, (begin, _) in zip(ranks, events, strict=True):
            with torch.cuda.stream(rank._stream):
                begin.record()
        for _ in range(count):
            for rank in ranks:
                with torch.cuda.stream(rank._stream):
                    rank._graphs[1].replay()
        for rank, (_, end) in zip(ranks, events, strict=True):
            with torch.cuda.stream(rank._stream):
                end.record()
        for rank in ranks:
            rank._stream.synchronize()
            rank._turn += count
    begin, end = events[0]
    return begin.elapsed_time(end) / repeats


def split_k(form: str, weights: Weights, parts: str) -> None:
    """Set the parts along K of a rank's matrices: "out:4,down:4"; "" leaves them as they are."""
    for kernel, count in (each.split(":") for each in parts.split(",") if each):
        matrix = getattr(weights.layers[0], kernel)
        tuned.SPLIT_K[(kernel, form, matrix.n, matrix.k)] = int(count)


def compile_ahead(case: str, ranks: int, parts: str, has_mtp: bool) -> None:
    """Compile the persistent kernels of a case of `check`, `time` or `guess` into the cache."""
    began = time.perf_counter()
    model, _, form = case.rpartition(":")
    shape, config = (SHAPES[model], TIMED) if model else (SMALL, CHECKED)
    few = replace(shape, num_layers=2)
    weights = random_weights(few, form, "meta", shard=Shard(0, ranks))
    split_k(form, weights, parts)
    group = group_of(0, ranks, shape, config, has_mtp=has_mtp)
    inboxes = [torch.zeros(group.inbox_words, dtype=torch.int64, device="meta")] * ranks
    memory = StepMemory(weights, config, join(group, inboxes, "meta"))
    step = PersistentStep(tile_layers(weights), memory, max_width=1)
    step.compile(1)
    if not model:
        step.compile(1, torch.empty(1, len(weights.tokens), device="meta"))
    say(compiled=case, parts=parts, has_mtp=has_mtp, seconds=time.perf_counter() - began)


def timing(model: str, form: str, devices: list[int], quick: bool, parts: str) -> None:
    """Time a group with the graph alone and with the persistent step, over the same weights."""
    shape, count = SHAPES[model], len(devices)
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        weights = list(
            pool.map(
                lambda i: random_weights(shape, form, f"cuda:{devices[i]}", shard=Shard(i, count)),
                range(count),
            )
        )
    say(model=model, form=form, gpus=count, weights_s=time.perf_counter() - began)
    for each in ("", parts) if parts else ("",):
        split_k(form, weights[0], each)
        for persistent in (False, True):
            row = {"model": model, "form": form, "gpus": count, "persistent": persistent}
            time_group(shape, weights, row | {"parts": each}, quick)
    del weights
    gc.collect()
    torch.cuda.empty_cache()


def guesses(model: str, form: str, devices: list[int], right: float) -> None:
    """Time tokens and updates of a group with an MTP layer, and without; see `persistent_step`."""
    shape, count = SHAPES[model], len(devices)
    with ThreadPoolExecutor(count) as pool:
        weights = list(
            pool.map(
                lambda i: random_weights(
                    shape,
                    form,
                    f"cuda:{devices[i]}",
                    seed=7,
                    shard=Shard(i, count),
                    residual=SMALL_RESIDUAL,
                ),
                range(count),
            )
        )
    row = {"model": model, "form": form, "gpus": count}
    said = time_guesses(shape, weights, row | {"right": None})
    tokens = guessable(said, shape.vocab_size, right)
    first = f"cuda:{devices[0]}"
    layer = random_mtp(shape, first, guessed=tokens, residual=SMALL_RESIDUAL)
    weights = [with_mtp(part, layer, Shard(i, count)) for i, part in enumerate(weights)]
    assert time_guesses(shape, weights, row | {"right": right}) == said


def time_guesses(shape: ModelConfig, weights: list[Weights], row: dict[str, Any]) -> set[int]:
    """Time a group's tokens and updates; return the tokens that were said."""
    group = CudaGroup(make_ranks(weights, shape, TIMED), shape)
    said = engine_ms(group, row)
    say(**row, **update_ms(group, UPDATES, said))
    del group
    gc.collect()
    torch.cuda.empty_cache()
    return said


def time_group(
    shape: ModelConfig, weights: list[Weights], row: dict[str, Any], quick: bool
) -> None:
    """Time a group, and one of its ranks without sums: the difference is the exchanges."""
    persistent, named = row["persistent"], dict(row)
    began = time.perf_counter()
    group = CudaGroup(make_ranks(weights, shape, TIMED, persistent), shape)
    row["start_s"] = time.perf_counter() - began
    row["memory_gib"] = sum(group.memory_bytes.values()) / 2**30
    row["weight_bytes"] = group.weight_bytes
    row["device_ms"] = token_ms(group)
    row["host_ms"] = {width: host_ms(group, width) for width in (WIDTHS if not quick else (1, 16))}
    row["device_ms_again"] = token_ms(group)
    say(**row)
    for streams in () if quick else (1, 16):
        prompt = 64 if streams == 1 else 4  # 16 of them fit a step
        workload = Workload(prompt_tokens=prompt, new_tokens=32, rounds=4)
        say(**named, **measure_backend(group, streams, workload))
    say(**named, **update_ms(group))  # closes it
    alone = CudaBackend(weights[0], replace(TIMED, max_step_tokens=1), persistent=persistent)
    alone_ms = step_ms(alone, 1)
    exchange_us = (row["device_ms"] - alone_ms) * 1e3 / (2 * shape.num_layers)
    say(**named, rank_alone_ms=alone_ms, exchange_us=exchange_us)
    alone.close()
    del group, alone
    gc.collect()
    torch.cuda.empty_cache()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["compile", "check", "time", "guess"])
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--devices", default="0,1")
    parser.add_argument("--right", type=float, default=0.66, help="share of right guesses")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--split", default="", help="parts to time too: KERNEL:PARTS,...")
    args = parser.parse_args()
    numbers = [int(i) for i in args.devices.split(",")]
    if args.what == "compile":
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(16, mp_context=context, max_tasks_per_child=1) as workers:
            jobs = [
                workers.submit(compile_ahead, case, len(numbers), parts, has_mtp)
                for case in args.cases
                for parts in (("", args.split) if args.split and ":" in case else ("",))
                for has_mtp in ((False, True) if ":" in case else (False,))
            ]
            for job in jobs:
                job.result()
        sys.exit()
    if len(set(numbers)) > 1:
        check_devices(numbers)
    if args.what in ("time", "guess"):
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
            if args.what == "guess":
                guesses(model, form, numbers, args.right)
                continue
            timing(model, form, numbers, args.quick, args.split)
