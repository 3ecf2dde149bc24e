"""The native code under the address, undefined-behaviour and thread sanitizers."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tokenspeed.backends.test_cpu import instruction_sets

HERE = Path(__file__).parent
NATIVE = Path(__file__).parents[3] / "tokenspeed" / "native"
ISA_FLAGS: dict[str, list[str]] = {"plain": []} | (
    {
        "avx2": ["-mavx2"],
        "avx512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"],
    }
    if platform.machine() in ("x86_64", "AMD64")
    else {}
)


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_sanitizers_find_nothing(tmp_path: Path, sanitizer: str) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    assert compiler, "install a C++ compiler (g++ or clang++)"
    # -O0: no access is optimised away before it is watched, and it compiles in half the time.
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-O0", "-g1", "-std=c++17"]
    flags += ["-pthread", "-Wno-psabi", "-ffp-contract=off", "-fno-strict-aliasing"]
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
        for how in ([], ["tied"], ["fine"], ["heads"], ["tied", "fine", "width"]):
            done = subprocess.run([program, isa, *how], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-3000:]
            results.add((*how, done.stdout))
    assert len(results) == 5, "the paths disagree"
