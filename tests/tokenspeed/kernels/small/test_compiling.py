"""What is compiled without a GPU has the kernel's own parameters, and keeps all in registers."""

import json
import os
import subprocess
import sys
from collections import defaultdict

import pytest

from tokenspeed.backends.cuda_small import plan_of
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.kernels.small.compiling import signature_of
from tokenspeed.kernels.small.kernel import small_kernel

# A process of its own: in this one Triton interprets.
COMPILING = """
import json
from tokenspeed.bench.engines.compiled import SmallJob, compile_for, step_jobs

jobs = [job for job in step_jobs() if isinstance(job, SmallJob)]
reports = [compile_for("sm_90", job) for job in jobs]
print(json.dumps([[r.problem, r.spill_bytes, r.shared_bytes, r.registers] for r in reports]))
"""


def test_the_signature_names_every_parameter_in_its_order() -> None:
    signature = signature_of(plan_of(SHAPES["default-40m"], 512, 16, 132))
    assert list(signature) == small_kernel.arg_names
    assert signature["w_head"].startswith("tensordesc<i16[1, 8, 128, 32],NVMMASharedLayout(")


def test_constants_of_one_name_have_one_value() -> None:
    """Triton's key of a kernel takes them in the order of addresses: it would differ by process."""
    assert small_kernel.cache_key
    found = defaultdict[str, set[str]](set)
    for (name, _), (value, _) in small_kernel.used_global_vals.items():
        found[name].add(str(value))
    assert found
    assert [name for name, values in found.items() if len(values) > 1] == []


@pytest.mark.timeout(300)
def test_it_compiles_and_fits_without_a_spill() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    asked = [sys.executable, "-c", COMPILING]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    ((problem, spilled, shared, registers),) = json.loads(done.stdout)
    assert problem == ""
    assert spilled == 0
    assert 200_000 < shared <= 232_448
    assert registers <= 255
