"""Compile recorded launches, all at once or for another chip, without launching them.

At start it fills Triton's cache, on all cores, so that the first launches find their kernels. In
CI it compiles for chips that are not there.
"""

import importlib
import os
from collections.abc import Iterable, Iterator
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
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float32: "fp32",
    torch.float8_e4m3fn: "fp8e4nv",
    torch.int8: "i8",
    torch.uint8: "u8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
}
_OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion", "launch_pdl")


@dataclass(frozen=True)
class Job:
    """One kernel to compile, with everything that its binary depends on; can be pickled."""

    module: str
    kernel: str
    types: tuple[tuple[str, Any], ...]  # name; Triton type, or a named tuple of them
    aligned: tuple[tuple[int, ...], ...]  # paths of arguments aligned to 16 bytes
    absent: tuple[tuple[int, ...], ...]  # paths of arguments that are None: constants, too
    constants: tuple[tuple[str, Any], ...]  # constexpr parameters and options

    @property
    def label(self) -> str:
        """Return the constants that tell configurations of a kernel apart."""
        shown = "format block_m block_n block_k num_warps stages tokens head_dim"
        values = self.values
        return " ".join(f"{name}={values[name]}" for name in shown.split() if name in values)

    @property
    def values(self) -> dict[str, Any]:
        """Return the constants by name, those of a group by their own names."""
        values: dict[str, Any] = {}
        for name, value in self.constants:
            values |= value._asdict() if hasattr(value, "_asdict") else {name: value}
        return values

    def compile(self, target: GPUTarget) -> Any:
        """Compile for a target; return Triton's compiled kernel, which then is in its cache."""
        kernel = getattr(importlib.import_module(self.module), self.kernel)
        names = kernel.arg_names
        options = {k: v for k, v in self.constants if k in _OPTIONS}
        constants: dict[tuple[int, ...], Any] = dict.fromkeys(self.absent)
        constants |= {(names.index(k),): v for k, v in self.constants if k not in _OPTIONS}
        types = dict(self.types)
        signature = {name: types.get(name, "constexpr") for name in names}
        aligned = {path: [["tt.divisibility", 16]] for path in self.aligned}
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
        # Triton runs its passes and ptxas without holding the GIL.
        for _ in pool.map(warm_up, different.values()):
            pass


def _job(launch: RecordedLaunch) -> Job:
    names = launch.kernel.arg_names[: len(launch.args)]
    return Job(
        launch.kernel.fn.__module__,
        launch.kernel.fn.__name__,
        tuple(zip(names, (_type(arg) for arg in launch.args), strict=True)),
        tuple(path for path, leaf in _leaves(launch.args) if _is_aligned(leaf)),
        tuple(path for path, leaf in _leaves(launch.args) if leaf is None),
        tuple(sorted(launch.constants.items())),
    )


def _type(arg: Any) -> Any:
    if isinstance(arg, tuple):
        return type(arg)(*(_type(part) for part in arg))
    if isinstance(arg, Tensor):
        return "*" + _TYPES[arg.dtype]
    if arg is None:
        return "constexpr"
    assert isinstance(arg, float), f"{arg!r} is neither tensor nor float"
    return "fp32"


def _leaves(arg: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    if isinstance(arg, tuple):
        for i, part in enumerate(arg):
            yield from _leaves(part, (*path, i))
    else:
        yield path, arg


def _is_aligned(arg: Any) -> bool:
    return isinstance(arg, Tensor) and (arg.is_meta or arg.data_ptr() % 16 == 0)
