"""The reading kernel reads everything."""

import pytest
import torch

from tests.tokenspeed.kernels.support import DEVICE
from tokenspeed.kernels.read import read, read_ref


def test_its_sums_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(-(2**31), 2**31 - 1, (128 * 21,), generator=generator, dtype=torch.int32)
    x = x.to(DEVICE)
    out = torch.full((4,), -1, dtype=torch.int32, device=DEVICE)
    read(x, out, block=128, warps=4, stages=1)
    assert read_ref(out) == read_ref(x)


def test_a_rest_is_refused() -> None:
    with pytest.raises(ValueError, match="x has 100 elements, expected a multiple of 64"):
        read(torch.zeros(100), torch.zeros(1), block=64, warps=4, stages=1)
