"""`tokenspeed bench engine`, `compare`, `kernels` and `report`: arguments, and running them."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenspeed.arguments import (
    add_json_argument,
    add_model_arguments,
    add_page_arguments,
    check_page,
    counts,
    gpu_numbers,
    positive,
)
from tokenspeed.bench.page import put_into_page
from tokenspeed.bench.result import (
    Row,
    describe_cpu,
    describe_gpu,
    make_result,
    read_rates,
    write_result,
)
from tokenspeed.errors import BackendUnavailable, CommandError, told

CPU_PEERS = "transformers,ctranslate2,llama.cpp,onnxruntime-genai"


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench engine`."""
    add_model_arguments(parser)
    parser.add_argument(
        "--streams",
        type=counts,
        default=[1, 8],
        help="numbers of streams at the same time (default: 1,8)",
    )
    parser.add_argument(
        "--threads", type=int, help="threads of the CPU backend (default: all cores)"
    )
    parser.add_argument(
        "--isa",
        default="",
        help="instructions to use: avx512, avx2 or plain (default: the best available)",
    )
    parser.add_argument(
        "--shape",
        default="",
        help="GPU: measure this shape with random weights, such as llama-3-8b",
    )
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "bf16", "int8", "int4", "fp8"],
        help="GPU: number format of the weights (default: as stored)",
    )
    add_tensor_parallel_argument(parser)
    parser.add_argument(
        "--rounds", type=int, default=15, help="rounds of measuring, of which the median counts"
    )
    add_json_argument(parser)
    parser.set_defaults(run=_engine)


def add_tensor_parallel_argument(parser: argparse.ArgumentParser) -> None:
    """Add --tensor-parallel."""
    parser.add_argument(
        "--tensor-parallel",
        type=positive,
        metavar="N",
        help="GPU: the first N GPUs share each layer; or name them with --device cuda:0,1",
    )


def gpus_of(options: argparse.Namespace) -> list[int]:
    """Return the GPUs that share the model.

    Raises:
        CommandError: --device and --tensor-parallel say different numbers of them.
    """
    named, wanted = gpu_numbers(options.device), options.tensor_parallel
    if named and wanted not in (None, len(named)):
        raise CommandError(f"--device names {len(named)} GPUs, --tensor-parallel is {wanted}")
    return named or list(range(wanted or 1))


def _engine(options: argparse.Namespace) -> int:
    from tokenspeed.engine.loading import choose_backend

    name = choose_backend() if options.device == "auto" else options.device
    if options.shape or options.dtype != "auto" or name.startswith("cuda"):
        return _engine_on_gpu(options)
    _refuse_parallel(options, name)
    return _engine_on_cpu(options, name)


def _refuse_parallel(options: argparse.Namespace, name: str) -> None:
    if (options.tensor_parallel or 1) > 1:
        raise CommandError(f"--tensor-parallel is for GPUs, this measures {name}")


def _engine_on_gpu(options: argparse.Namespace) -> int:
    gpus = gpus_of(options)
    with _needs_triton():
        from tokenspeed.backends.cuda import check_device
        from tokenspeed.bench.engines.gpu_steps import measure_on_gpu
    check_device(options.dtype)
    machine, rows = measure_on_gpu(
        options.model,
        options.shape,
        options.dtype,
        options.streams,
        options.rounds,
        gpus,
    )
    return _show(make_result(rows, machine=machine, packages=["torch", "triton"]), options.json)


@contextmanager
def _needs_triton() -> Iterator[None]:
    """Say what is missing if an import fails."""
    try:
        yield
    except ImportError as exc:
        raise BackendUnavailable("a GPU needs Triton: pip install 'tokenspeed-live[gpu]'") from exc


def _show(result: Row, path: Path | None) -> int:
    if path:
        write_result(result, path)
    print(json.dumps(result, indent=1))
    return 0


def _engine_on_cpu(options: argparse.Namespace, name: str) -> int:
    from tqdm import tqdm

    from tokenspeed.backends.cpu import CpuBackend, usable_cores
    from tokenspeed.bench.engines.steps import Workload, measure_backend
    from tokenspeed.engine.loading import BACKENDS
    from tokenspeed.model.checkpoint import open_checkpoint
    from tokenspeed.model.config import EngineConfig

    checkpoint = open_checkpoint(options.model)
    config = EngineConfig(num_slots=max(options.streams), max_length=128, max_step_tokens=512)
    if name == "cpu":
        backend: Any = CpuBackend(checkpoint, config, threads=options.threads, isa=options.isa)
    elif options.threads or options.isa:
        raise BackendUnavailable(f"--threads and --isa belong to the CPU backend, not to {name}")
    else:
        backend = BACKENDS[name](checkpoint, config)
    threads = options.threads or usable_cores()
    machine = describe_cpu()
    sizes = {"model_size": backend.weight_bytes, "512_mib_size": 512 << 20}
    machine |= read_rates(sizes, threads)
    rows = []
    for count in tqdm(options.streams, desc="streams", leave=False):
        row: Row = {"engine": "tokenspeed", "backend": name, "model": options.model.resolve().name}
        row |= {"dtype": "int8" if name == "cpu" else "float32", "threads": threads}
        row |= measure_backend(backend, count, Workload(rounds=options.rounds))
        row["isa"] = getattr(backend, "isa", None)
        row["memory_mib"] = round((backend.weight_bytes + backend.cache_bytes) / 2**20, 1)
        read = machine.get("read_gb_per_s_model_size")
        row["bandwidth_share"] = round(row["weight_gb_per_s"] / read, 3) if read else None
        rows.append(row)
    backend.close()
    return _show(make_result(rows, machine=machine, packages=["torch", "numpy"]), options.json)


def add_kernels(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench kernels`."""
    parser.add_argument("--shape", default="llama-3-8b", help="shape of the model")
    parser.add_argument(
        "--dtype",
        default="bf16",
        choices=["bf16", "int8", "int4", "fp8"],
        help="number format of the weights",
    )
    parser.add_argument(
        "--rows", type=counts, default=[1, 32], help="numbers of rows of a step (default: 1,32)"
    )
    parser.add_argument(
        "--tune", action="store_true", help="try all tile sizes and print the best ones"
    )
    parser.add_argument(
        "--tensor-parallel",
        type=positive,
        default=1,
        metavar="N",
        help="measure the part of the shape that each of N GPUs would have, on a single one",
    )
    add_json_argument(parser)
    parser.set_defaults(run=_kernels)


def _kernels(options: argparse.Namespace) -> int:
    with _needs_triton():
        from tokenspeed.backends.cuda import check_device
        from tokenspeed.bench.engines.kernel_times import measure_kernels
        from tokenspeed.bench.engines.shapes import part_of
    check_device(options.dtype)
    gpus = options.tensor_parallel
    part_of(options.shape, gpus)
    machine, rows = measure_kernels(
        options.shape, options.dtype, options.rows, tune=options.tune, gpus=gpus
    )
    return _show(make_result(rows, machine=machine, packages=["torch", "triton"]), options.json)


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench report`."""
    parser.add_argument(
        "files", nargs="+", type=Path, help="results that other commands wrote with --json"
    )
    parser.add_argument(
        "--into",
        type=Path,
        default=Path("benchmarks"),
        metavar="DIR",
        help="folder for tables and plot",
    )
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from tokenspeed.bench.report import write_report

    with told(OSError, ValueError):
        print(write_report(options.files, options.into))
    return 0


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench compare`."""
    add_model_arguments(parser)
    parser.add_argument(
        "--peers",
        help=f"engines to compare with, comma-separated (default: {CPU_PEERS}; on a GPU: "
        "transformers,vllm in 16 bits; vllm:fp8; vllm:int8 or vllm:int4 of random weights; "
        "vllm:ngram guesses tokens)",
    )
    parser.add_argument(
        "--shape",
        default="",
        help="GPU: measure this shape with random weights, such as llama-3-8b",
    )
    parser.add_argument(
        "--dtype", default="", help="GPU: our number formats to measure (default: bf16,int8,int4)"
    )
    add_tensor_parallel_argument(parser)
    parser.add_argument(
        "--apart",
        action="store_true",
        help="GPU: one engine after another, if they do not fit into memory together",
    )
    parser.add_argument(
        "--peer-path",
        action="append",
        default=[],
        metavar="PEER=FOLDER",
        help="GPU: put a folder first on the PYTHONPATH of a peer",
    )
    parser.add_argument(
        "--peer-python", default=sys.executable, help="Python in which the peers are installed"
    )
    parser.add_argument(
        "--streams",
        type=counts,
        default=[1, 8],
        help="numbers of streams at the same time (default: 1,8)",
    )
    parser.add_argument("--threads", type=int, help="threads of every engine (default: all cores)")
    parser.add_argument(
        "--rounds", type=int, default=15, help="rounds of measuring, of which the median counts"
    )
    parser.add_argument(
        "--work", type=Path, help="keep converted weights in this folder for the next run"
    )
    add_page_arguments(parser)
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> int:
    import tempfile

    from tqdm import tqdm

    from tokenspeed.backends.cpu import usable_cores
    from tokenspeed.bench.engines.compare import compare, floors, ratios
    from tokenspeed.bench.engines.comparison_table import comparison_table
    from tokenspeed.bench.engines.peers import PEERS
    from tokenspeed.model.checkpoint import open_checkpoint

    if options.shape or options.device.startswith("cuda"):
        return _compare_on_gpu(options)
    check_page(options)
    if options.device not in ("auto", "cpu"):
        raise BackendUnavailable(f"compare measures cpu and cuda, not {options.device}")
    _refuse_parallel(options, "cpu")
    peers = CPU_PEERS if options.peers is None else options.peers
    names = ["tokenspeed", *filter(None, peers.split(","))]
    unknown = sorted(set(names) - set(PEERS))
    if unknown:
        raise CommandError(f"peers are {', '.join(unknown)}, expected some of {', '.join(PEERS)}")
    contestants = [one for name in names for one in PEERS[name]]
    threads = options.threads or usable_cores()
    machine = describe_cpu()
    machine |= read_rates({"16_mib": 16 << 20, "512_mib": 512 << 20}, threads)
    total = len(options.streams) * len(contestants) * (options.rounds + 1)
    with tempfile.TemporaryDirectory() as folder, tqdm(total=total, leave=False) as bar:
        rows, versions, absent = compare(
            open_checkpoint(options.model),
            contestants,
            python=options.peer_python,
            work=options.work or Path(folder),
            streams=options.streams,
            threads=threads,
            rounds=options.rounds,
            progress=bar.update,
        )
    result = make_result(rows, machine=machine, packages=["torch", "numpy"])
    result["versions"] |= versions
    result |= {"absent": absent, "ratios": ratios(rows)}
    result["floor_ms"] = floors(open_checkpoint(options.model), machine)
    if options.page:
        put_into_page(options.page, options.json.name, comparison_table(result))
    return _show(result, options.json)


def _compare_on_gpu(options: argparse.Namespace) -> int:
    import tempfile

    from tqdm import tqdm

    with _needs_triton():
        import torch

        from tokenspeed.backends.cuda import check_device
        from tokenspeed.bench.engines.compare_gpu import compare_on_gpu, contestants, write_shape
        from tokenspeed.bench.engines.shapes import named_shape
        from tokenspeed.kernels.timing import read_bandwidth
    from tokenspeed.bench.engines.compare import write_float
    from tokenspeed.model.checkpoint import open_checkpoint

    gpus = gpus_of(options)
    if gpus != list(range(len(gpus))):
        numbers = ",".join(map(str, gpus))
        raise CommandError(
            f"engines are compared on the first GPUs: CUDA_VISIBLE_DEVICES={numbers} and "
            f"--tensor-parallel {len(gpus)}"
        )
    forms = (options.dtype or "bf16,int8,int4").split(",")
    for form in forms:
        check_device(form)
    shape = named_shape(options.shape) if options.shape else None
    peers = "transformers,vllm" if options.peers is None else options.peers
    with told(ValueError):
        who = contestants(["tokenspeed", *filter(None, peers.split(","))], forms)
    machine: dict[str, Any] = {"gpu": "none, interpreted"}
    read = 0.0
    if torch.cuda.is_available():
        read = read_bandwidth()
        torch.cuda.empty_cache()
        machine = describe_gpu(read)
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        if shape:
            config, source = shape, write_shape(shape, work)
        else:
            checkpoint = open_checkpoint(options.model)
            config, source = checkpoint.config, write_float(checkpoint, work / "float32")
        turns = len(options.streams) + 1  # and caption updates
        total = turns * len(who) * (options.rounds + 1)
        with tqdm(total=total, leave=False) as bar:
            rows, versions, absent = compare_on_gpu(
                config,
                source,
                who,
                python=options.peer_python,
                paths=dict(part.split("=", 1) for part in options.peer_path),
                streams=options.streams,
                rounds=options.rounds,
                read_bytes_per_s=read * len(gpus),
                gpus=len(gpus),
                is_apart=options.apart,
                label=options.shape or options.model.resolve().name,
                progress=bar.update,
            )
    result = make_result(rows, machine=machine, packages=["torch", "triton"])
    result["versions"] |= versions
    result |= {"absent": absent, "turns": "none, one after another" if options.apart else "rounds"}
    return _show(result, options.json)
