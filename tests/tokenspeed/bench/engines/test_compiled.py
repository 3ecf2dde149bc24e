"""Decode kernels compile for GPUs that are not here, and keep everything in registers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tokenspeed.bench.engines.compiled import IN_USE


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("targets", "models"),
    [("sm_90", ",".join(IN_USE)), ("sm_80,sm_100,gfx942", "default-38m:int8,llama-3-8b:int4")],
)
def test_decode_kernels_compile_without_spills(targets: str, models: str, tmp_path: Path) -> None:
    # A process of its own: in this one Triton interprets.
    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    asked = ["--decode", "--targets", targets, "--models", models]
    done = subprocess.run(
        [sys.executable, "-m", "tokenspeed.bench.engines.compiled", *asked],
        env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for target in targets.split(","):
        for kernel in ("qkv", "attention", "projection", "gate_up", "lm_head"):
            assert re.search(rf"\| {target} \| {kernel}_kernel \|.* \d+ \|", done.stdout)
