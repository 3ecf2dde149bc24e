"""A result file: one JSON object that says what was measured, where, when and by which command."""

import datetime
import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tokenspeed
from tokenspeed.backends.cpu import read_bandwidth, usable_cores

Row = dict[str, Any]


def make_result(
    rows: Sequence[Row],
    *,
    machine: dict[str, Any],
    packages: Sequence[str],
    program: str = "tokenspeed",
) -> Row:
    """Wrap measured rows with what makes them repeatable.

    Args:
        machine: see describe_cpu and describe_gpu.
        packages: those whose versions matter.
        program: that this process runs, as a user would call it.
    """
    return {
        "machine": machine,
        "versions": {
            "tokenspeed": tokenspeed.__version__,
            "commit": _commit(),
            "python": platform.python_version(),
            **{name: found for name in packages if (found := _version(name))},
        },
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": shlex.join([*program.split(), *map(_placeless, sys.argv[1:])]),
        "rows": list(rows),
    }


def write_result(result: Row, path: Path) -> None:
    """Write a result file that people can read, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def describe_cpu() -> dict[str, Any]:
    """Return the processor's name, its usable cores and its instruction sets."""
    fields = _cpuinfo()
    flags = fields.get("flags", fields.get("Features", "")).split()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "cores": usable_cores(),
        "flags": [flag for flag in wanted if flag in flags],
        "system": f"{platform.system()} {platform.machine()}",
    }


def describe_gpu(read_bytes_per_s: float) -> dict[str, Any]:
    """Return the name of the GPU in use and its measured read bandwidth."""
    import torch

    read = round(read_bytes_per_s / 1e12, 3)
    return {"gpu": torch.cuda.get_device_name(), "read_tb_per_s": read}


def read_rates(sizes: dict[str, int], threads: int) -> dict[str, float]:
    """Measure how fast buffers are read, in 10^9 bytes a second; empty if that is not possible.

    Args:
        sizes: bytes, by label; results are named `read_gb_per_s_LABEL`.
    """
    measured = {label: read_bandwidth(size, threads) for label, size in sizes.items()}
    return {
        f"read_gb_per_s_{label}": round(rate / 1e9, 2)
        for label, rate in measured.items()
        if rate is not None
    }


def describe_model(directory: Path) -> dict[str, str]:
    """Return a model's name, and twelve digits that identify its weights."""
    digest = hashlib.sha256()
    for path in sorted(directory.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return {"name": directory.resolve().name, "weights_sha256": digest.hexdigest()[:12]}


def _placeless(argument: str) -> str:
    """Return an argument without this machine's folders: only the last part of an absolute path."""
    option, equals, value = argument.rpartition("=")
    return f"{option}{equals}{Path(value).name if Path(value).is_absolute() else value}"


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
