"""What K can be cut into, and what sharing the parts takes."""

from dataclasses import replace

import pytest
import torch
import triton
import triton.language as tl

from tests.tokenspeed.kernels.support import (
    CONFIG,
    DEVICE,
    assert_as_exact,
    ints,
    matrix,
    nans,
    plan,
    random,
    random_rows,
)
from tokenspeed.kernels.split_k import (
    SplitScratch,
    check_scratch,
    check_split,
    multiply_split,
    split_needs,
    split_scratch,
)
from tokenspeed.kernels.tile import start_tile, tile_rows


@triton.jit
def split_kernel(
    x_ptr,
    weight,
    count_ptr,
    out_ptr,
    scratch,
    MATRIX: tl.constexpr,
    TILE: tl.constexpr,
    SPLIT: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    col_start, count = start_tile(weight, count_ptr, MATRIX, TILE, OVERLAP, False)
    if tl.program_id(0) * TILE.block_m >= count:
        return
    rows, row_mask = tile_rows(count, TILE)
    acc, has_sum = multiply_split(
        x_ptr, rows, row_mask, weight, col_start, scratch, MATRIX, TILE, SPLIT, False
    )
    if SPLIT.is_shared:
        if not has_sum:
            return
    cols = col_start + tl.arange(0, TILE.block_n)
    mask = row_mask[:, None] & (cols < MATRIX.n)[None, :]
    tl.store(out_ptr + rows[:, None] * MATRIX.n + cols[None, :], acc, mask=mask)


# Parts of int4 have 256 columns or more.
PARTS = [(form, *how) for form in ("bf16", "int8", "fp8") for how in ((128, 4), (128, 2), (256, 2))]


@pytest.mark.parametrize(("form", "block_k", "parts"), [*PARTS, ("int4", 256, 2)])
def test_parts_of_one_block_or_more_have_the_bits_of_parts_side_by_side(
    form: str, block_k: int, parts: int
) -> None:
    """Where a part is one block, one loop has them all."""
    k, n, rows = 512, 70, 20
    x, weight = random_rows(form, rows, k, seed=1), matrix(random(n, k, seed=2) * 0.1, form)
    config = replace(CONFIG, block_k=block_k)
    found: list[torch.Tensor] = []
    for shared in (None, split_scratch(*split_needs(rows, n, 16, config, parts), DEVICE)):
        out = nans(rows, n, dtype=torch.float32)
        how = plan(16, config, split_k=parts, scratch=shared)
        unused = SplitScratch(out, ints(0))
        how.start_split(
            split_kernel, weight, rows, x, weight.arrays, ints(rows - 2), out, unused=unused
        )
        assert torch.isnan(out[rows - 2 :]).all()
        found.append(out[: rows - 2])
    assert torch.equal(*found)
    table = weight.dequantize()
    exact = x[: rows - 2].double() @ table.double().t()
    assert_as_exact(found[0], (x[: rows - 2] @ table.to(x.dtype).t()).float(), exact)


@pytest.mark.parametrize(("form", "unit"), [("bf16", 16), ("int8", 64), ("int4", 256)])
def test_parts_are_whole_units(form: str, unit: int) -> None:
    check_split(matrix(random(16, 2 * unit), form), 2)
    with pytest.raises(ValueError, match=f"cannot be cut into 4 multiples of {unit}"):
        check_split(matrix(random(16, 2 * unit), form), 4)
    check_split(matrix(random(16, 128), form), 1)  # one part is always whole


def test_a_scratch_holds_a_block_of_each_program() -> None:
    assert split_needs(20, 70, 16, CONFIG, 1) == (0, 0)
    elements, tiles = split_needs(20, 70, 16, CONFIG, 4)
    assert (elements, tiles) == (2 * 3 * 4 * 16 * CONFIG.block_n, 2 * 3)
    scratch = split_scratch(elements, tiles, DEVICE)
    assert torch.isnan(scratch.parts).all()
    assert not scratch.counters.any()
    assert scratch.nbytes == 4 * (elements + tiles)
    check_scratch(scratch, elements, tiles)
    with pytest.raises(ValueError, match=f"expected {elements + 1}, {tiles}"):
        check_scratch(scratch, elements + 1, tiles)
