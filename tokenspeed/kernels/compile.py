"""Compile recorded launches, all at once or for another chip, without launching them.

At start it fills Triton's cache, on all cores, so that the first launches find their kernels. In
CI it compiles for chips that are not there.
"""

import importlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tokenspeed.kernels.launch import RecordedLaunch

_TYPES = {
    torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32", torch.int8: "i8",
    torch.uint8: "u8", torch.int16: "i16", torch.int32: "i32", torch.int64: "i64",
    torch.float8_e4m3fn: "fp8e4nv",
}  # fmt: skip
_OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion", "launch_pdl")


@dataclass(frozen=True)
class Job:
    """One kernel to compile, with everything that its binary depends on; can be pickled."""

    module: str
    kernel: str
    types: tuple[tuple[str, str, bool], ...]  # name, Triton type, whether aligned to 16 bytes
    constants: tuple[tuple[str, Any], ...]  # constexpr parameters and options

    @property
    def label(self) -> str:
        """Return the constants that tell configurations of a kernel apart."""
        shown = ("FORMAT", "BLOCK_M", "BLOCK_N", "BLOCK_K", "num_warps", "STAGES", "TOKENS")
        values = dict(self.constants)
        return " ".join(f"{name}={values[name]}" for name in shown if name in values)

    def compile(self, target: GPUTarget) -> Any:
        """Compile for a target; returns Triton's compiled kernel, which is in its cache then."""
        kernel = getattr(importlib.import_module(self.module), self.kernel)
        names = kernel.arg_names
        options = {k: v for k, v in self.constants if k in _OPTIONS}
        constants = {(names.index(k),): v for k, v in self.constants if k not in _OPTIONS}
        types = {name: kind for name, kind, _ in self.types}
        signature = {name: types.get(name, "constexpr") for name in names}
        aligned = {
            (names.index(name),): [["tt.divisibility", 16]]
            for name, _, is_16 in self.types
            if is_16
        }
        source = ASTSource(kernel, signature, constants, aligned)
        return triton.compile(source, target=target, options=options)


def jobs(launches: Iterable[RecordedLaunch]) -> list[Job]:
    """Return the different kernels among launches, in their order."""
    return list(dict.fromkeys(_job(launch) for launch in launches))


def compile_launches(launches: Iterable[RecordedLaunch], threads: int | None = None) -> None:
    """Compile each different launch for the GPU of this process, ready to be launched."""
    different = {_job(launch): launch for launch in launches}

    def warm_up(launch: RecordedLaunch) -> None:
        launch.kernel.warmup(*launch.args, grid=(1,), **launch.constants)

    with ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1)) as pool:
        # Triton runs its passes and ptxas outside of Python's lock.
        for _ in pool.map(warm_up, different.values()):
            pass


def _job(launch: RecordedLaunch) -> Job:
    types = []
    for name, arg in zip(launch.kernel.arg_names, launch.args, strict=False):
        if isinstance(arg, Tensor):
            aligned = arg.is_meta or arg.data_ptr() % 16 == 0
            types.append((name, "*" + _TYPES[arg.dtype], aligned))
        else:
            assert isinstance(arg, float), f"argument {name} is neither tensor nor float"
            types.append((name, "fp32", False))
    return Job(
        launch.kernel.fn.__module__,
        launch.kernel.fn.__name__,
        tuple(types),
        tuple(sorted(launch.constants.items())),
    )
