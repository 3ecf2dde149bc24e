"""How many programs a plan starts, and who of them shares a tile."""

from dataclasses import replace

import torch

from tests.tokenspeed.kernels.support import CONFIG, DEVICE, LAUNCH, ints, matrix, random
from tests.tokenspeed.kernels.test_launch import Kernel
from tokenspeed.kernels.plan import Plan
from tokenspeed.kernels.split_k import SplitK, SplitScratch, split_scratch
from tokenspeed.kernels.tile import Tile

WEIGHT = matrix(random(70, 512), "int8")
UNUSED = SplitScratch(torch.zeros(1), ints(0))
PLAN = Plan(16, CONFIG, LAUNCH)


def test_a_program_takes_a_tile() -> None:
    kernel = Kernel()
    PLAN.start(kernel, WEIGHT, 20, 1.0, EPS=2.0)
    ((grid, args, constants),) = kernel.launches
    assert grid == (2, 3)  # 20 rows in tiles of 16, 70 rows of the weight in tiles of 32
    assert args == (1.0,)
    assert constants["MATRIX"] == (70, 512, "int8")
    assert constants["TILE"] == Tile(16, 32, 256, 3, LAUNCH.fast_unpack)
    assert (constants["EPS"], constants["num_warps"]) == (2.0, 4)


def test_parts_in_turn_need_no_scratch() -> None:
    kernel = Kernel()
    replace(PLAN, split_k=2).start_split(kernel, WEIGHT, 1, unused=UNUSED)
    ((grid, args, constants),) = kernel.launches
    assert grid == (1, 3)
    assert args == (UNUSED,)
    assert constants["SPLIT"] == SplitK(2, False)


def test_shared_parts_have_a_program_each() -> None:
    kernel, scratch = Kernel(), split_scratch(3 * 2 * 16 * 32, 3, DEVICE)
    replace(PLAN, split_k=2, scratch=scratch).start_split(kernel, WEIGHT, 1, unused=UNUSED)
    ((grid, args, constants),) = kernel.launches
    assert grid == (1, 3, 2)
    assert args == (scratch,)
    assert constants["SPLIT"] == SplitK(2, True)


def test_one_part_is_never_shared() -> None:
    kernel, scratch = Kernel(), split_scratch(1, 1, DEVICE)
    replace(PLAN, scratch=scratch).start_split(kernel, WEIGHT, 1, unused=UNUSED)
    assert kernel.launches[0][2]["SPLIT"] == SplitK(1, False)
