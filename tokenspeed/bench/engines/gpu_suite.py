"""One run on a GPU machine: check, tune, measure. Writes $OUT/h200.json after every section.

A section that fails is printed with its traceback and skipped; only a failure of the first check
ends the run, as nothing after it would mean anything.

    python -m tokenspeed.bench.engines.gpu_suite --seconds 300
"""

import argparse
import gc
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tokenspeed.backends import Step
from tokenspeed.backends.cuda import CudaBackend, default_launch
from tokenspeed.backends.cuda_ref import step_ref
from tokenspeed.backends.cuda_step import recorded_step
from tokenspeed.backends.cuda_weights import random_weights
from tokenspeed.bench.engines import tune
from tokenspeed.bench.engines.kernel_times import one_matrix
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.steps import NEVER, make_step, prefill_step
from tokenspeed.bench.engines.update import update_ms
from tokenspeed.bench.result import make_result
from tokenspeed.kernels.launch import Launch, RecordedLaunch
from tokenspeed.kernels.tile import TileConfig
from tokenspeed.kernels.timing import event_ms, read_bandwidth
from tokenspeed.kernels.tuned import SPLIT_K, TUNED
from tokenspeed.model.config import EngineConfig, ModelConfig
from tokenspeed.model.weights import fused_shape

BEGAN = time.monotonic()
OUT = Path(os.environ.get("OUT", "."))
DATA_SHEET = 4.8e12  # bytes per second, NVIDIA H200
PROMPT, NEW = 64, 32
MODELS = [
    ("llama-3-8b", "bf16"),
    ("llama-3-8b", "int8"),
    ("llama-3-8b", "int4"),
    ("default-38m", "int8"),
    ("default-38m", "bf16"),
    ("llama-3.2-1b", "bf16"),
]
ENGINE = EngineConfig(num_slots=32, max_length=512, max_step_tokens=64)
# The launch in use first; None is the backend's own choice.
VARIANTS: dict[str, Launch | None] = {"default": None, "plain": Launch()}
result: dict[str, Any] = {"rows": [], "failures": []}


def say(*words: object) -> None:
    print(f"[{time.monotonic() - BEGAN:6.1f}s]", *words, flush=True)


def save_result() -> None:
    (OUT / "h200.json").write_text(json.dumps(result, indent=1, default=str))


def section(name: str, run: Callable[[], object], deadline: float) -> bool:
    """Run one part; report its errors instead of raising. False: it failed, or time was up."""
    if time.monotonic() - BEGAN > deadline:
        say("SKIPPED for time:", name)
        result["failures"].append(f"{name}: no time")
        return False
    began = time.monotonic()
    try:
        run()
        say("done:", name, f"{time.monotonic() - began:.1f}s")
        return True
    except Exception:
        say("FAILED:", name)
        print(traceback.format_exc()[-3000:], flush=True)
        result["failures"].append(f"{name}: {traceback.format_exc()[-1500:]}")
        return False
    finally:
        gc.collect()
        torch.cuda.empty_cache()
        save_result()


def warm_up(launches: list[RecordedLaunch]) -> str:
    """Compile as launches would, under the same keys in Triton's cache."""
    problems = []
    for launch in launches:
        try:
            launch.kernel.warmup(*launch.args, grid=(1,), **launch.constants)
        except Exception as exc:
            problems.append(f"{launch.kernel.fn.__name__} {launch.constants}: {exc!r}"[:600])
    return "; ".join(problems)


def warm_model(config: ModelConfig, form: str, launch: Launch, part: int) -> str:
    """Compile a sixth of a model's kernels."""
    weights = random_weights(replace(config, num_layers=1), form, "meta")
    recorded = recorded_step(weights, ENGINE, launch)
    different = {(r.kernel, tuple(sorted(r.constants.items()))): r for r in recorded}
    return warm_up(list(different.values())[part::6])


def warm_tile(
    config: ModelConfig, form: str, kernel: str, block_m: int, tile: TileConfig, parts: int
) -> str:
    """Compile one candidate."""
    n, k = fused_shape(config, kernel)
    matrix = tune.meta_matrix(form, n, k)
    bench = tune.Bench(kernel, [matrix], config, 1 if block_m == 16 else block_m)
    launch = replace(tune.TUNING, recorded=[])
    bench.launch(matrix, block_m, tile, launch, parts)
    return warm_up(launch.recorded or [])


def rows_step(parts: list[tuple[int, int, list[int]]]) -> Step:
    """Compute parts of slots: the slot, its first position, its tokens; every row is answered."""
    tokens = [t for _, _, ts in parts for t in ts]
    slots = [slot for slot, _, ts in parts for _ in ts]
    positions = [at + i for _, at, ts in parts for i in range(len(ts))]
    return make_step(tokens, slots, positions, np.arange(len(tokens)))


def prefill(slot: int, tokens: list[int]) -> Step:
    return prefill_step([np.array(tokens, np.int32)], slot)


# ---- the check


# One shape uses narrow tiles, the other wide ones with K split into parts.
CHECKED = {
    "narrow": replace(SHAPES["default-38m"], num_layers=4),
    "wide": replace(SHAPES["llama-3.2-1b"], num_layers=2, vocab_size=16000),
}


def check(form: str, launch: Launch, shape: str = "narrow") -> None:
    config = CHECKED[shape]
    weights = random_weights(config, form, "cuda", seed=7)
    engine = EngineConfig(num_slots=8, max_length=512, max_step_tokens=256)
    began = time.monotonic()
    backend = CudaBackend(weights, engine, launch=launch)
    say(
        form,
        launch,
        "start",
        {k: round(v, 2) for k, v in backend.start_s.items()},
        f"all {time.monotonic() - began:.1f}s",
    )
    generator = np.random.default_rng(3)
    tokens = generator.integers(3, config.vocab_size, 200).tolist()
    exact = step_ref(weights, tokens, torch.float32).double().cpu().numpy()
    own = step_ref(weights, tokens, torch.bfloat16).double().cpu().numpy()
    whole = backend.logits(rows_step([(0, 0, tokens)]))  # 200 rows: blocked attention
    parts = [backend.logits(rows_step([(1, i, tokens[i : i + 64])])) for i in range(0, 192, 64)]
    parts.append(backend.logits(rows_step([(1, 192, tokens[192:])])))
    by_64 = np.concatenate(parts)
    by_32 = np.concatenate(
        [backend.logits(rows_step([(2, i, tokens[i : i + 32])])) for i in range(0, 192, 32)]
    )
    backend.copy_slot(2, 3, 120)
    ones = np.concatenate(
        [backend.logits(rows_step([(3, i, tokens[i : i + 1])])) for i in range(120, 200)]
    )
    checks = {
        "error": float(np.abs(whole - exact).max()),
        "torch_error": float(np.abs(own - exact).max()),
        "norm_error": float(np.linalg.norm(whole - exact) / np.linalg.norm(exact)),
        "equal_64_256": bool(np.array_equal(by_64, whole)),
        "equal_32_256": bool(np.array_equal(by_32, whole[:192])),
        "equal_1_256": bool(np.array_equal(ones, whole[120:])),
        "equal_1_64": bool(np.array_equal(ones, by_64[120:])),
    }
    # steps: greedy decoding with and without launch-ahead, graphs against eager logits
    first = backend.step(prefill(4, tokens[:64]))
    sequence = [*tokens[:64], int(first[0])]
    for _ in range(40):
        step = rows_step([(4, len(sequence) - 1, sequence[-1:])])
        sequence.append(int(backend.step(replace(step, stops=NEVER))[0]))
    eager = backend.logits(rows_step([(5, 0, sequence[:-1])]))[63:].argmax(-1).tolist()
    checks["decode_equals_eager"] = sequence[64:] == eager
    drafted = backend.step(rows_step([(6, 0, sequence[:-1])]))[63:].tolist()
    checks["verify_equals_decode"] = sequence[64:] == drafted
    torch.cuda.synchronize()
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    backend.step(rows_step([(6, 10, sequence[10:20]), (5, 3, sequence[3:9])]))
    backend.step(rows_step([(6, 20, sequence[20:21])]))
    after = torch.cuda.memory_stats()["allocation.all.allocated"]
    checks["allocations_in_steps"] = after - before
    name = f"{shape} {form}{' pdl' if launch.pdl else ''}"
    say("CHECK", name, checks)
    result.setdefault("checks", {})[name] = checks
    backend.close()
    good = checks["error"] <= 2 * checks["torch_error"] + 1e-5
    if not (good and checks["decode_equals_eager"] and checks["verify_equals_decode"]):
        raise AssertionError(f"{name}: {checks}")


# ---- tuning


def tune_model(shape: str, form: str, block_ms: tuple[int, ...]) -> None:
    config = SHAPES[shape]
    for kernel in tune.KERNELS:
        matrix = one_matrix(config, kernel, form)
        n, k = matrix.n, matrix.k
        matrices = tune.copies(matrix)
        for block_m in block_ms:
            bench = tune.Bench(kernel, matrices, config, 1 if block_m == 16 else block_m)
            times = {}
            for tile, parts in tune.candidates(kernel, form, n, k, block_m):
                try:
                    times[(tile, parts)] = bench.microseconds(block_m, tile, parts)
                except Exception as exc:
                    say("tile failed", kernel, form, tile, parts, repr(exc)[:200])
            best = min(times, key=lambda t: times[t])
            TUNED[(kernel, form, n, k, block_m)] = best[0]
            if block_m == 16 and kernel in ("qkv", "out", "down"):
                SPLIT_K[(kernel, form, n, k)] = best[1]
            floor = matrix.nbytes / result["read_bytes_per_s"] * 1e6
            say(
                f"{shape} {form} {kernel} {n}x{k} m{block_m}: {times[best]:.1f} us, "
                f"floor {floor:.1f} ({floor / times[best]:.0%}) "
                f"{(*asdict(best[0]).values(), best[1])}; "
                f"worst {max(times.values()):.1f}"
            )
            result.setdefault("tuning", []).append(
                {
                    "shape": shape,
                    "dtype": form,
                    "kernel": kernel,
                    "n": n,
                    "k": k,
                    "block_m": block_m,
                    "best": (*asdict(best[0]).values(), best[1]),
                    "us": times[best],
                    "floor_us": floor,
                    "all": [(*asdict(t).values(), p, round(us, 2)) for (t, p), us in times.items()],
                }
            )
        del matrices, matrix


# ---- measuring


def decode_ms(backend: CudaBackend, streams: int) -> tuple[list[float], list[float]]:
    """First-token times and times between tokens, as the host sees them."""
    generator = np.random.default_rng(1)
    firsts, gaps = [], []
    for _ in range(4):
        last, prompts = [], []
        for slot in range(streams):
            prompt = generator.integers(3, backend.config.vocab_size, PROMPT).tolist()
            began = time.perf_counter()
            token = backend.step(prefill(slot, prompt))[0]
            firsts.append((time.perf_counter() - began) * 1e3)
            last.append(int(token))
            prompts.append(prompt)
        for i in range(NEW - 1):
            began = time.perf_counter()
            step = rows_step([(s, PROMPT + i, [last[s]]) for s in range(streams)])
            chosen = backend.step(step if i == NEW - 2 else replace(step, stops=NEVER))
            if i:
                gaps.append((time.perf_counter() - began) * 1e3)
            last = chosen.tolist()
    return firsts, gaps


def widths_ms(backend: CudaBackend, widths: list[int]) -> dict[int, float]:
    """Time one step on the device: rows of one slot from position 64 on (verification)."""
    backend.step(prefill(0, list(range(3, 3 + PROMPT))))
    found = {}
    for width in widths:
        step = rows_step([(0, PROMPT, [7] * width)])
        with torch.cuda.stream(backend._stream):

            def run(step: Step = step, width: int = width) -> None:
                backend._upload(step)
                backend._graphs[backend._width(width)].replay()

            found[width] = statistics.median(event_ms(run, 15))
    return found


def measure_shape(shape: str, form: str, tuned: str, quick: bool = False) -> None:
    config = SHAPES[shape]
    began = time.monotonic()
    weights = random_weights(config, form, "cuda")
    torch.cuda.synchronize()
    weights_s = time.monotonic() - began
    times: dict[str, dict[int, float]] = {}
    for name, launch in VARIANTS.items():
        if quick and name != "default":
            continue
        began = time.monotonic()
        try:
            backend = CudaBackend(weights, ENGINE, launch=launch)
        except Exception as exc:
            say("VARIANT FAILED", shape, form, name, repr(exc)[:800])
            continue
        start = time.monotonic() - began
        widths = [1, 2, 4, 8, 16, 32, 64] if name == "default" else [1, 16, 32]
        times[name] = widths_ms(backend, widths)
        say(
            f"{shape} {form} {tuned} {name}: start {start:.1f}s; ms by width",
            {w: round(t, 4) for w, t in times[name].items()},
        )
        if name == "default":
            plain_start = start
        del backend
        gc.collect()
    best = min(times, key=lambda name: times[name][1])
    began = time.monotonic()
    backend = CudaBackend(weights, ENGINE, launch=VARIANTS[best])
    start = time.monotonic() - began
    seconds = times[best][1] / 1e3
    share = weights.step_bytes / seconds / result["read_bytes_per_s"]
    for streams in (1,) if quick else (1, 2, 4, 8, 16):
        firsts, gaps = decode_ms(backend, streams)
        first_p50, first_p95 = np.percentile(firsts, [50, 95]).tolist()
        p50, p95, p99 = np.percentile(gaps, [50, 95, 99]).tolist()
        bytes_per_s = weights.step_bytes / (p50 / 1e3)
        row = {
            "engine": "tokenspeed", "shape": shape, "dtype": form, "streams": streams,
            "prompt_tokens": PROMPT, "new_tokens": NEW,
            "first_token_ms_p50": first_p50, "first_token_ms_p95": first_p95,
            "inter_token_ms_p50": p50, "inter_token_ms_p95": p95, "inter_token_ms_p99": p99,
            "bandwidth_share": bytes_per_s / result["read_bytes_per_s"],
            "data_sheet_share": bytes_per_s / DATA_SHEET,
            "memory_mib": sum(backend.memory_bytes.values()) / 2**20,
            "recapture_s": start, "weights_s": weights_s, "launch": best, "tiles": tuned,
        }  # fmt: skip
        if streams == 1:
            row |= {
                "device_ms_by_width": times,
                "device_bandwidth_share": share,
                "weight_bytes": weights.step_bytes,
                "first_start_s": plain_start,
            }
        result["rows"].append(row)
        say(
            f"{shape} {form} {tuned} streams {streams} [{best}]: "
            f"first {row['first_token_ms_p50']:.2f} ms, "
            f"token p50 {row['inter_token_ms_p50']:.4f} p95 {row['inter_token_ms_p95']:.4f} ms, "
            f"share {row['bandwidth_share']:.0%}, device {times[best][1]:.4f} ms"
        )
        save_result()
    if not quick:
        update = update_ms(backend)
        result["rows"].append({"engine": "tokenspeed", "shape": shape, "dtype": form, **update})
        say(f"{shape} {form} update", update)
    del backend
    gc.collect()


def start_times(shape: str, form: str) -> None:
    """Time the start in two new processes: with an empty kernel cache, then with a filled one."""
    code = (
        "import time,torch\n"
        "from tokenspeed.backends.cuda import CudaBackend\n"
        "from tokenspeed.backends.cuda_weights import random_weights\n"
        "from tokenspeed.bench.engines.shapes import SHAPES\n"
        "from tokenspeed.model.config import EngineConfig\n"
        f"w=random_weights(SHAPES['{shape}'],'{form}','cuda');torch.cuda.synchronize()\n"
        "t=time.perf_counter();b=CudaBackend(w,EngineConfig(16,512,256))\n"
        "print('START',round(time.perf_counter()-t,2),b.start_s,b.memory_bytes)\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "warm"):
            env = {**os.environ, "TRITON_CACHE_DIR": cache}
            done = subprocess.run(
                [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=150
            )
            line = [x for x in done.stdout.splitlines() if x.startswith("START")]
            say("start", shape, form, name, line, done.stderr[-300:] if not line else "")
            result.setdefault("starts", []).append(f"{shape} {form} {name}: {line}")


def ceiling() -> None:
    result["read_bytes_per_s"] = read_bandwidth()
    say(f"read bandwidth {result['read_bytes_per_s'] / 1e12:.3f} TB/s")


def measure_only(models: str, limit: float) -> None:
    """Measure some models with the tuned tiles, or with `default` without them."""
    section("ceiling", ceiling, limit)
    table = dict(TUNED)
    for entry in models.split(","):
        shape, form, *tiles = entry.split(":")
        TUNED.clear()
        TUNED.update({} if tiles else table)
        name = "default" if tiles else "tuned"
        section(entry, lambda: measure_shape(shape, form, name), limit)  # noqa: B023


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument(
        "--models", help="only these models, without tuning: SHAPE:FORM[:default],..."
    )
    parser.add_argument("--tune", default="16,32,64", help="tile heights to choose from, or none")
    options = parser.parse_args()
    limit = options.seconds
    heights = tuple(int(height) for height in options.tune.split(",") if height)
    # Worker processes compile while this one measures.
    pool = ProcessPoolExecutor(14, mp_context=multiprocessing.get_context("spawn"))
    program = "python -m tokenspeed.bench.engines.gpu_suite"
    machine, packages = {"gpu": torch.cuda.get_device_name()}, ["torch", "triton"]
    result.update(make_result([], machine=machine, packages=packages, program=program))
    futures: dict[str, list[Future[str]]] = {}

    def compiled(name: str) -> None:
        began = time.monotonic()
        problems = [problem for future in futures.pop(name, []) if (problem := future.result())]
        say("waited", round(time.monotonic() - began, 1), "s for", name, problems[:3])

    if options.models:
        measure_only(options.models, limit)
        return
    for name, config in CHECKED.items():
        for form in ("bf16", "int8", "int4", "fp8"):
            futures[f"{name} {form}"] = [
                pool.submit(warm_model, config, form, default_launch("sm_90", 1 << 40), part)
                for part in range(6)
            ]
    for shape, form in MODELS:
        config = SHAPES[shape]
        futures[f"{shape} {form}"] = [
            pool.submit(warm_tile, config, form, kernel, height, tile, parts)
            for kernel in tune.KERNELS
            for height in heights
            for tile, parts in tune.candidates(kernel, form, *fused_shape(config, kernel), height)
        ]
    section("ceiling", ceiling, limit)
    for name in CHECKED:
        for form in ("bf16", "int8", "int4", "fp8"):
            compiled(f"{name} {form}")
            launch = default_launch("sm_90", 1 << 40)
            section(f"check {name} {form}", lambda: check(form, launch, name), limit)  # noqa: B023
    if any(failure.startswith("check narrow bf16") for failure in result["failures"]):
        pool.shutdown(cancel_futures=True)
        return
    for shape, form in MODELS if heights else []:
        compiled(f"{shape} {form}")
        section(f"tune {shape} {form}", lambda: tune_model(shape, form, heights), limit - 20)  # noqa: B023
    for shape, form in MODELS:
        section(f"measure {shape} {form}", lambda: measure_shape(shape, form, "tuned"), limit)  # noqa: B023
    pool.shutdown(cancel_futures=True)
    section("start 8b", lambda: start_times("llama-3-8b", "bf16"), limit - 60)
    say("failures:", [f[:100] for f in result["failures"]])


if __name__ == "__main__":
    main()
