"""Decode kernels compile for GPUs that are not here, and keep everything in registers.

A kernel that has not changed since it passed is not compiled again; `make kernels` keeps anew.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tokenspeed.backends.cpu import usable_cores
from tokenspeed.bench.engines.compiled import IN_USE

ROOT = Path(__file__).parents[4]
KEPT = ROOT / "benchmarks" / "results" / "compiled.json"


def compiled(*arguments: str) -> str:
    """Run the command; return what it printed."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    jobs = max(1, usable_cores() // workers)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tokenspeed.bench.engines.compiled",
            "--jobs",
            str(jobs),
            *arguments,
        ],
        # A process of its own: in this one Triton interprets.
        env={**os.environ, "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("targets", "models", "more"),
    [
        ("sm_90", ",".join(IN_USE), ["--persistent"]),
        # Tiles were not chosen for these.
        ("sm_80,sm_100,gfx942", "default-38m:int8,llama-3-8b:int4", ["--one-each"]),
    ],
)
def test_decode_kernels_compile_without_spills(targets: str, models: str, more: list[str]) -> None:
    asked = ["--decode", "--targets", targets, "--models", models, *more]
    shown = compiled(*asked, "--kept", str(KEPT))
    for target in targets.split(","):
        kernels = ["qkv", "attention", "projection", "gate_up", "lm_head"]
        kernels += [] if "--one-each" in more else ["head_norm", "branch_norm"]
        kernels += ["persistent"] if "--persistent" in more else []
        for kernel in kernels:
            assert re.search(rf"\| {target} \| {kernel}_kernel \|.* \d+ \|", shown)


def test_what_is_kept_is_what_compiling_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    asked = ["--targets", "sm_90", "--models", "default-38m:int8", "--kernels", "embedding_kernel"]
    kept = tmp_path / "kept.json"
    first = compiled(*asked, "--kept", str(kept), "--update")
    again = compiled(*asked, "--kept", str(kept))
    assert "1 kernels, 1 of them compiled now, 0 fail" in first
    assert "1 kernels, 0 of them compiled now, 0 fail" in again
    assert first.splitlines()[:-1] == again.splitlines()[:-1]
