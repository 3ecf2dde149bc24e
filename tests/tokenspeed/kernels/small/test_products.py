"""Which columns an instruction adds up together; the rest runs in test_cuda_small.py."""

import json
import os
import subprocess
import sys

import pytest

from tokenspeed.kernels.small.products import K_WIDTH

# A process of its own: in this one Triton interprets.
COMPILING = """
import json
import re
from tokenspeed.bench.engines.compiled import TARGETS, is_decode, jobs_in_use

found = {}
for job in jobs_in_use("sm_90", ["default-40m:int8"]):
    if is_decode(job) and job.kernel in ("qkv_kernel", "projection_kernel", "gate_up_kernel"):
        widths = re.findall(r"kWidth = (\\d+)", job.compile(TARGETS["sm_90"]).asm["ttgir"])
        found[f"{job.kernel} {job.label}"] = sorted(set(map(int, widths)))
print(json.dumps(found))
"""


@pytest.mark.timeout(300)
def test_threads_have_as_many_neighbours_as_those_of_the_graph() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    asked = [sys.executable, "-c", COMPILING]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert {name.split()[0] for name in found} == {
        "qkv_kernel",
        "projection_kernel",
        "gate_up_kernel",
    }
    assert {name: widths for name, widths in found.items() if widths != [K_WIDTH]} == {}
