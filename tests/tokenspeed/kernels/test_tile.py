"""The product of one tile, by itself: each stored form, whole and in part."""

import pytest
import torch
import triton
import triton.language as tl

from tests.tokenspeed.kernels.support import (
    FORMATS,
    assert_as_exact,
    ints,
    matrix,
    nans,
    random,
    random_rows,
)
from tokenspeed.kernels.arithmetic import INTERPRETED
from tokenspeed.kernels.launch import Overlap
from tokenspeed.kernels.tile import Tile, block_rows, multiply_part, start_tile, tile_rows


@triton.jit
def tile_kernel(
    x_ptr,
    weight,
    count_ptr,
    out_ptr,
    begin,
    PART_K: tl.constexpr,
    MATRIX: tl.constexpr,
    TILE: tl.constexpr,
    OVERLAP: tl.constexpr,
    EACH: tl.constexpr,
):
    col_start, count = start_tile(weight, count_ptr, MATRIX, TILE, OVERLAP, False)
    if tl.program_id(0) * TILE.block_m >= count:
        return
    rows, row_mask = tile_rows(count, TILE)
    acc = multiply_part(x_ptr, rows, row_mask, weight, col_start, begin, PART_K, MATRIX, TILE, EACH)
    cols = col_start + tl.arange(0, TILE.block_n)
    mask = row_mask[:, None] & (cols < MATRIX.n)[None, :]
    tl.store(out_ptr + rows[:, None] * MATRIX.n + cols[None, :], acc, mask=mask)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("begin", "size"), [(0, 512), (256, 256)])
def test_a_part_of_the_product(form: str, begin: int, size: int) -> None:
    x, weight = random_rows(form, 20, 512, seed=1), matrix(random(40, 512, seed=2) * 0.1, form)
    out = nans(20, 40, dtype=torch.float32)
    constants = {
        "MATRIX": weight.type,
        "TILE": Tile(16, 32, 256, 2, not INTERPRETED),
        "OVERLAP": Overlap(0, 0),
        "EACH": False,
    }
    args = x, weight.arrays, ints(18), out, begin
    tile_kernel[(3, 2)](*args, PART_K=size, **constants, enable_fp_fusion=False)
    part = slice(begin, begin + size)
    table = weight.dequantize()[:, part]
    exact = x[:18, part].double() @ table.double().t()
    assert_as_exact(out[:18], (x[:18, part] @ table.to(x.dtype).t()).float(), exact)
    assert torch.isnan(out[18:]).all()


@pytest.mark.parametrize("form", ["bf16", "int8", "fp8"])
@pytest.mark.parametrize("k", [128, 512])
def test_blocks_that_are_parts_are_added_up_as_parts_are(form: str, k: int) -> None:
    """Bit for bit, in one loop; a scale belongs to each of them."""
    x, weight = random_rows(form, 20, k, seed=1), matrix(random(40, k, seed=2) * 0.1, form)

    def product(begin: int, size: int, *, each: bool) -> torch.Tensor:
        out = nans(20, 40, dtype=torch.float32)
        constants = {
            "MATRIX": weight.type,
            "TILE": Tile(16, 32, 128, 2, not INTERPRETED),
            "OVERLAP": Overlap(0, 0),
            "EACH": each,
        }
        args = x, weight.arrays, ints(18), out, begin
        tile_kernel[(3, 2)](*args, PART_K=size, **constants, enable_fp_fusion=False)
        return out[:18]

    total = product(0, 128, each=False)
    for begin in range(128, k, 128):
        total += product(begin, 128, each=False)
    assert torch.equal(product(0, k, each=True), total)
    if form != "bf16" and k > 128:  # one scale for the sum of all rounds otherwise
        assert not torch.equal(product(0, k, each=False), total)


def test_a_tile_is_as_high_as_the_step_needs() -> None:
    assert [block_rows(n) for n in (1, 16, 17, 32, 33, 500)] == [16, 16, 32, 32, 64, 64]
