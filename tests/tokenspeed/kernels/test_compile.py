"""What a recorded launch says to the compiler: types, alignment and constants, groups included."""

import pickle

import torch

from tests.tokenspeed.kernels.support import DEVICE, EPS, LAUNCH, ints, matrix, nans, plan, random
from tokenspeed.kernels.compile import Job, jobs
from tokenspeed.kernels.gate_up import gate_up
from tokenspeed.kernels.launch import Launch, RecordedLaunch
from tokenspeed.kernels.norm import Scaled


def recorded(rows: int, form: str) -> list[RecordedLaunch]:
    launches: list[RecordedLaunch] = []
    launch = Launch(fast_unpack=LAUNCH.fast_unpack, recorded=launches)
    x = Scaled(random(rows, 128), torch.zeros(rows, dtype=torch.int64, device=DEVICE))
    weight = matrix(random(64, 128), form)
    how = plan(rows)
    how = type(how)(how.block_m, how.config, launch)
    gate_up(x, weight, ints(rows), nans(rows, 32), eps=EPS, plan=how)
    return launches


def job(rows: int, form: str) -> Job:
    (found,) = jobs(recorded(rows, form))
    return found


def test_groups_keep_their_types_and_names() -> None:
    found = job(3, "int8")
    assert dict(found.types) == {
        "x": ("*bf16", "*i64"),
        "weight": ("*i16", "*fp32", "constexpr"),
        "num_rows_ptr": "*i32",
        "out_ptr": "*bf16",
        "scratch": ("*i64", "*i32"),  # of no use where K is not cut
    }
    assert isinstance(dict(found.types)["x"], Scaled)
    assert set(found.aligned) >= {(0, 0), (0, 1), (1, 0), (1, 1), (3,)}
    assert found.values["format"] == "int8"
    assert found.values["block_m"] == 16
    assert "format=int8 block_m=16 block_n=32 block_k=256 num_warps=4" in found.label


def test_what_is_absent_is_a_constant() -> None:
    found = job(3, "int8")
    assert found.absent == ((1, 2),)
    assert dict(found.types)["weight"].bias == "constexpr"


def test_only_what_is_compiled_apart_counts_apart() -> None:
    launches = [*recorded(3, "int8"), *recorded(5, "int8"), *recorded(3, "bf16")]
    assert len(jobs(launches)) == 2
    assert job(3, "int8") != job(20, "int8")


def test_a_job_goes_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(job(3, "int8"))) == job(3, "int8")
