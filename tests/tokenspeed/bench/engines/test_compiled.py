"""Decode kernels compile for GPUs that are not here, and keep everything in registers."""

import os
import re
import subprocess
import sys

import pytest

from tokenspeed.backends.cpu import usable_cores
from tokenspeed.bench.engines.compiled import IN_USE


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("targets", "models", "more"),
    [
        ("sm_90", ",".join(IN_USE), []),
        # Tiles were not chosen for these.
        ("sm_80,sm_100,gfx942", "default-38m:int8,llama-3-8b:int4", ["--one-each"]),
    ],
)
def test_decode_kernels_compile_without_spills(
    targets: str, models: str, more: list[str], pytestconfig: pytest.Config
) -> None:
    # Triton knows a binary by kernel, options and its own version: an unchanged one is read again.
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache.mkdir("triton")
    # A process of its own: in this one Triton interprets.
    env = {**os.environ, "TRITON_CACHE_DIR": str(cache), "TRITON_INTERPRET": "0"}
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    jobs = max(1, usable_cores() // workers)
    asked = ["--decode", "--targets", targets, "--models", models, "--jobs", str(jobs), *more]
    done = subprocess.run(
        [sys.executable, "-m", "tokenspeed.bench.engines.compiled", *asked],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for target in targets.split(","):
        kernels = ["qkv", "attention", "projection", "gate_up", "lm_head"]
        kernels += [] if more else ["head_norm", "branch_norm"]
        for kernel in kernels:
            assert re.search(rf"\| {target} \| {kernel}_kernel \|.* \d+ \|", done.stdout)
