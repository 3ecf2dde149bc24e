"""`tokenspeed bench ...`: one sub-command for each benchmark."""

import argparse
import json
from pathlib import Path
from typing import Any

from tokenspeed.bench.result import Row, describe_cpu, make_result, write_result
from tokenspeed.errors import BackendUnavailable


def add_parser(commands: Any) -> None:
    """Add `bench` and its sub-commands."""
    parser = commands.add_parser(
        "bench", help="measure this machine, alone or beside other engines"
    )
    benches = parser.add_subparsers(metavar="BENCH", required=True)
    _add_engine(benches)


def _add_engine(benches: Any) -> None:
    from tokenspeed.cli import add_model_arguments

    parser = benches.add_parser("engine", help="first token, ms a token, share of the bandwidth")
    add_model_arguments(parser)
    parser.add_argument("--streams", default="1,8", help="comma-separated (default: 1,8)")
    parser.add_argument("--threads", type=int, help="of the CPU backend (default: all cores)")
    parser.add_argument("--isa", default="", help="avx512, avx2 or plain (default: the best)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    parser.set_defaults(run=_engine)


def _engine(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from tokenspeed.backends.cpu import CpuBackend, read_bandwidth, usable_cores
    from tokenspeed.bench.engine import Workload, measure
    from tokenspeed.checkpoint import open_checkpoint
    from tokenspeed.config import EngineConfig
    from tokenspeed.loading import BACKENDS, choose_backend

    checkpoint = open_checkpoint(options.model)
    streams = [int(part) for part in options.streams.split(",")]
    config = EngineConfig(num_slots=max(streams), max_length=128, max_step_tokens=512)
    name = choose_backend() if options.device == "auto" else options.device
    if name == "cpu":
        backend: Any = CpuBackend(checkpoint, config, threads=options.threads, isa=options.isa)
    elif options.threads or options.isa:
        raise BackendUnavailable(f"--threads and --isa belong to the CPU backend, not to {name}")
    else:
        backend = BACKENDS[name](checkpoint, config)
    threads = options.threads or usable_cores()
    machine = describe_cpu()
    for label, size in (("model", backend.weight_bytes), ("512_mib", 512 << 20)):
        bandwidth = read_bandwidth(size, threads)
        if bandwidth is not None:
            machine[f"read_gb_per_s_{label}_size"] = round(bandwidth / 1e9, 2)
    rows = []
    for count in tqdm(streams, desc="streams", leave=False):
        row: Row = {"engine": "tokenspeed", "backend": name, "model": options.model.resolve().name}
        row |= {"dtype": "int8" if name == "cpu" else "float32", "threads": threads}
        row |= measure(backend, count, Workload(rounds=options.rounds))
        row["isa"] = getattr(backend, "isa", None)
        row["memory_mib"] = round((backend.weight_bytes + backend.cache_bytes) / 2**20, 1)
        read = machine.get("read_gb_per_s_model_size")
        row["bandwidth_share"] = round(row["weight_gb_per_s"] / read, 3) if read else None
        rows.append(row)
    backend.close()
    result = make_result(rows, machine=machine, packages=["torch", "numpy"])
    if options.json:
        write_result(result, options.json)
    print(json.dumps(result, indent=1))
    return 0
