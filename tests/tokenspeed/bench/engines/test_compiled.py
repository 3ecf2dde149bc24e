"""Decode kernels compile for GPUs that are not here, and keep everything in registers.

A kernel that has not changed since it passed is not compiled again; `make kernels` keeps anew.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tokenspeed.backends.cpu import usable_cores
from tokenspeed.bench.engines.compiled import IN_USE

ROOT = Path(__file__).parents[4]
KEPT = ROOT / "benchmarks" / "results" / "compiled.json"

# Importing torch and Triton takes longer than what is asked: all tests ask one process.
ANSWERING = """
import contextlib, io, json, os, sys, traceback
from tokenspeed.bench.engines.compiled import main

for line in sys.stdin:
    arguments, variables = json.loads(line)
    os.environ.update(variables)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        try:
            code = main(arguments)
        except BaseException:
            code = traceback.format_exc()
    print(json.dumps([code, shown.getvalue()]), flush=True)
"""

Compiled = Callable[..., str]


@pytest.fixture(scope="module")
def compiled() -> Iterator[Compiled]:
    """Run the command, with more environment variables; return what it printed."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    jobs = max(1, usable_cores() // workers)
    program = subprocess.Popen(
        [sys.executable, "-c", ANSWERING],
        # A process of its own: in this one Triton interprets.
        env={**os.environ, "TRITON_INTERPRET": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(*arguments: str, **variables: str) -> str:
        assert program.stdin
        assert program.stdout
        asked = ["--jobs", str(jobs), *arguments], variables
        program.stdin.write(json.dumps(asked) + "\n")
        program.stdin.flush()
        code, shown = json.loads(program.stdout.readline())
        assert code == 0, f"{shown}{code}"
        return str(shown)

    with program:
        yield ask


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("targets", "models", "more"),
    [
        ("sm_90", ",".join(IN_USE), ["--persistent"]),
        # Tiles were not chosen for these.
        ("sm_80,sm_100,gfx942", "default-40m:int8,llama-3-8b:int4", ["--one-each"]),
    ],
)
def test_decode_kernels_compile_without_spills(
    compiled: Compiled, targets: str, models: str, more: list[str]
) -> None:
    asked = ["--decode", "--targets", targets, "--models", models, *more]
    shown = compiled(*asked, "--kept", str(KEPT))
    for target in targets.split(","):
        kernels = ["qkv", "attention", "projection", "gate_up", "lm_head"]
        kernels += [] if "--one-each" in more else ["head_norm", "branch_norm"]
        kernels += ["persistent", "small"] if "--persistent" in more else []
        for kernel in kernels:
            assert re.search(rf"\| {target} \| {kernel}_kernel \|.* \d+ \|", shown)


def test_what_is_kept_is_what_compiling_finds(compiled: Compiled, tmp_path: Path) -> None:
    asked = ["--targets", "sm_90", "--models", "default-40m:int8", "--kernels", "embedding_kernel"]
    kept = tmp_path / "kept.json"
    cache = str(tmp_path / "triton")  # where nothing was compiled yet
    first = compiled(*asked, "--kept", str(kept), "--update", TRITON_CACHE_DIR=cache)
    again = compiled(*asked, "--kept", str(kept))
    assert "1 kernels, 1 of them compiled now, 0 fail" in first
    assert "1 kernels, 0 of them compiled now, 0 fail" in again
    assert first.splitlines()[:-1] == again.splitlines()[:-1]
