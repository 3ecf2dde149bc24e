"""The native code under the address, undefined-behaviour and thread sanitizers."""

import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.tokenspeed.backends.test_cpu import instruction_sets

HERE = Path(__file__).parent
NATIVE = Path(__file__).parents[3] / "tokenspeed" / "native"
_X86 = {
    "avx2": ["-mavx2", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"],
}
_ARM = {"neon": ["-march=armv8.2-a+dotprod"]}
_OF_MACHINE = {"x86_64": _X86, "AMD64": _X86, "aarch64": _ARM, "arm64": _ARM}
ISA_FLAGS: dict[str, list[str]] = {"plain": []} | _OF_MACHINE.get(platform.machine(), {})

WAYS: tuple[list[str], ...] = (
    [],
    ["tied"],
    ["fine"],
    ["half"],
    ["heads"],
    ["tied", "fine", "half", "width"],
)


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_sanitizers_find_nothing(tmp_path: Path, sanitizer: str) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    assert compiler, "install a C++ compiler (g++ or clang++)"
    # -O0: no access is optimised away before it is watched, and it compiles in half the time.
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-O0", "-g1", "-std=c++17"]
    flags += ["-pthread", "-Wno-psabi", "-ffp-contract=off", "-fno-strict-aliasing", f"-I{NATIVE}"]
    objects = []
    for isa in ISA_FLAGS:
        objects.append(tmp_path / f"{isa}.o")
        build = [*flags, *ISA_FLAGS[isa], f"-DTOKENSPEED_ISA={isa}"]
        build += ["-c", str(NATIVE / "kernels.cpp")]
        subprocess.run([compiler, *build, "-o", objects[-1]], check=True)
    program = tmp_path / "driver"
    sources = [NATIVE / "step.cpp", HERE / "driver.cpp", *objects]
    subprocess.run([compiler, *flags, *sources, "-o", program], check=True)
    results = set()
    for isa in instruction_sets():
        # The plain kernels are slowest by far, and divided among threads as those with vectors are:
        # these show all of the ways to that sanitizer.
        is_slow = sanitizer == "thread" and isa == "plain" and len(instruction_sets()) > 1
        for how in WAYS[-1:] if is_slow else WAYS:
            done = subprocess.run([program, isa, *how], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-3000:]
            results.add((*how, done.stdout))
        if sanitizer != "thread":  # one thread does it
            check_halves(program, isa)
    assert len(results) == len(WAYS), "the paths disagree"


def check_halves(program: Path, isa: str) -> None:
    """Compare float16 with numpy's: all there are, ties, what is too small and too large for it."""
    exact = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    exact = np.sort(exact[np.isfinite(exact)]).astype(np.float32)
    between = (exact[:-1] + exact[1:]) / 2  # ties; the neighbours of one go to either side
    near = (np.nextafter(between, np.float32(-1e9)), np.nextafter(between, np.float32(1e9)))
    large = np.array([65504.1, 65519.9, 65520, 7e4, 1e30, -65520, -1e30, 1e-30, -1e-40], np.float32)
    values = np.concatenate([exact, between, *near, large])
    values = values[: len(values) // 2 * 2]  # heads have even widths
    given = values.tobytes()
    done = subprocess.run([program, isa, "halves"], input=given, capture_output=True, check=True)
    halves = np.frombuffer(done.stdout, np.float16, len(values))
    read = np.frombuffer(done.stdout, np.float32, offset=2 * len(values))
    expected = np.clip(values, -65504, 65504).astype(np.float16)
    assert np.array_equal(halves, expected)
    assert np.array_equal(read, expected.astype(np.float32))
