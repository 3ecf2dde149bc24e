"""Stored forms of a weight: what is packed is what the kernels and `dequantize` read."""

from dataclasses import replace

import pytest
import torch

from tests.tokenspeed.kernels.support import matrix, random
from tokenspeed.kernels.matrix import pack_float, pack_int4, pack_tiles
from tokenspeed.model.quantize import quantize_int4


@pytest.mark.parametrize(
    ("form", "error"), [("bf16", 0.0), ("int8", 0.01), ("fp8", 0.04), ("int4", 0.2)]
)
def test_packing_loses_only_the_rounding(form: str, error: float) -> None:
    weight = random(37, 256)
    back = matrix(weight, form).dequantize()
    assert back.shape == weight.shape
    assert (back - weight.float()).norm() <= error * weight.float().norm()


@pytest.mark.parametrize("form", ["bf16", "int8", "int4", "fp8"])
@pytest.mark.parametrize(("n", "k"), [(300, 384), (97, 128), (1, 256)])
def test_rows_of_a_matrix_are_those_of_its_weight(form: str, n: int, k: int) -> None:
    whole = replace(matrix(random(n, k, seed=n), form), bias=random(n, seed=1).float())
    generator = torch.Generator().manual_seed(2)
    for count in (1, n // 2 + 1, n):
        index = torch.randperm(n, generator=generator)[:count].to(whole.data.device)
        some = whole.rows(index)
        assert torch.equal(some.dequantize(), whole.dequantize()[index])
        assert some.bias is not None
        assert torch.equal(some.bias, whole.bias[index])  # type: ignore[index]
        fresh = matrix(random(count, k), form)  # as kernels expect it to lie
        assert some.type == fresh.type
        for part, expected in ((some.data, fresh.data), (some.scale, fresh.scale)):
            assert part.shape == expected.shape
            assert part.is_contiguous()


def test_int4_is_packed_without_loss() -> None:
    q, scale = quantize_int4(random(50, 384))
    packed = pack_int4(q, scale)
    expected = q.float().view(50, 3, 128) * scale.float()[..., None]
    assert torch.equal(packed.dequantize(), expected.view(50, 384))
    assert packed.nbytes == 128 * 192 + 2 * 50 * 4  # a panel; scales of two groups a word


def test_int4_needs_whole_groups() -> None:
    with pytest.raises(ValueError, match="groups of 128, got 100"):
        pack_int4(torch.zeros(4, 100, dtype=torch.int8), torch.ones(4, 1))


def test_tiles_change_how_a_weight_lies_and_nothing_else() -> None:
    weight = random(256, 128, seed=3)
    tiled = replace(pack_float(weight), data=pack_tiles(weight))
    assert tiled.layout == "tiled"
    assert torch.equal(tiled.dequantize(), weight.float())
    assert torch.equal(tiled.data[1, 1], weight[128:, 64:])


def test_tiles_need_whole_tiles() -> None:
    with pytest.raises(ValueError, match="tiles of 128 by 64"):
        pack_tiles(torch.zeros(100, 64))
