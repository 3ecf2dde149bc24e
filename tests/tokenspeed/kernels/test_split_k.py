"""What K can be cut into, and what sharing the parts takes."""

import pytest
import torch

from tests.tokenspeed.kernels.support import CONFIG, DEVICE, matrix, random
from tokenspeed.kernels.split_k import check_scratch, check_split, split_needs, split_scratch


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
