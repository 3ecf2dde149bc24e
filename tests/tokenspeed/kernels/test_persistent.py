"""The persistent kernel compiles for Hopper and fits; its results are the backend tests' affair."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tokenspeed.backends.cuda_persistent import default_ring
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.kernels.persistent import EMPTY
from tokenspeed.kernels.tuned import split_parts

FORMS = ["bf16", "int8", "int4"]
LARGE = SHAPES["llama-3-8b"]

# In a process of its own: where there is no GPU, this one's Triton is an interpreter.
COMPILE = """
import sys
from tokenspeed.kernels.persistent import compile_step
form, *numbers = sys.argv[1:]
numbers = list(map(int, numbers))
parts = tuple(numbers[:3])
for i in range(3, len(numbers), 3):
    kernel = compile_step((4096, 14336, 32, 8, 128, 128256), parts, form, *numbers[i : i + 3])
    ptx = kernel.asm["ptx"]
    print(kernel.metadata.shared, ptx.count("wgmma.mma_async"), ptx.count("cp.async.bulk.tensor"))
"""


@pytest.mark.parametrize("form", FORMS)
def test_it_compiles_for_hopper_and_fits(form: str) -> None:
    rings = {width: default_ring(form, width, LARGE.head_dim) for width in (8, 16)}
    shapes = {"qkv": (6144, 4096), "out": (4096, 4096), "down": (4096, 14336)}
    numbers = [split_parts(kernel, form, n, k) for kernel, (n, k) in shapes.items()]
    for width, ring in rings.items():
        numbers += [width, ring.slots, ring.row_slots]
        assert ring.slots >= 8  # the weights run ahead of the barriers
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE, form, *map(str, numbers)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(found) == len(rings)
    for shared, products, copies in found:
        assert shared <= 232448  # what a program of Hopper can have
        assert products > 0
        assert copies > 0


def test_an_empty_word_is_no_number_and_no_result() -> None:
    """A sum that is no number must not look like one that has not arrived."""
    empty = np.array([EMPTY], np.int32)
    assert np.isnan(empty.view(np.float32)).all()
    made_by_gpus, made_by_cpus = 0x7FFFFFFF, (0x7FC00000, 0xFFC00000)
    assert (empty.view(np.uint32) != np.uint32(made_by_gpus)).all()
    assert not np.isin(empty.view(np.uint32), np.array(made_by_cpus, np.uint32)).any()
