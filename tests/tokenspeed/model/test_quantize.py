"""The arithmetic of fewer bits: packed without loss, within half a step."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.model.quantize import (
    dequantize,
    pack_words,
    quantize_fp8,
    quantize_int4,
    unpack_words,
)


@given(st.lists(st.integers(-128, 127), min_size=16, max_size=16))
def test_unpacking_undoes_packing(values: list[int]) -> None:
    q = torch.tensor(values, dtype=torch.int8).view(2, 8)
    for bits, stored in ((8, q), (4, q >> 4)):
        packed = pack_words(stored, bits)
        assert packed.dtype == torch.int32
        assert packed.shape == (2, bits // 4)
        assert torch.equal(unpack_words(packed, bits), stored)


def test_int4_keeps_a_group_within_half_a_step() -> None:
    weight = torch.randn(20, 256, generator=torch.Generator().manual_seed(1))
    weight[3] = 0
    q, scale = quantize_int4(weight)
    assert q.abs().max() <= 8
    back = dequantize(q, scale)
    assert (back - weight).norm() < 0.12 * weight.norm()
    assert not back[3].any()
    naive = (weight.view(20, 2, 128).abs().amax(-1) / 7).repeat_interleave(128, 1)
    rounded = (weight / naive.clamp(min=1e-6)).round() * naive
    assert (back - weight).norm() <= (rounded - weight).norm() * 1.001
    # The largest of each group is kept to float16's 11 bits, whatever its sign.
    groups, kept = weight.view(20, 2, 128), back.view(20, 2, 128)
    place = groups.abs().argmax(-1, keepdim=True)
    error = (groups - kept).gather(-1, place).abs()
    assert (error <= groups.gather(-1, place).abs() * 2**-11).all()
    assert q.min() == -8
    assert q.max() == 7


def test_fp8_keeps_three_bits_of_mantissa() -> None:
    weight = torch.randn(20, 64, generator=torch.Generator().manual_seed(1))
    q, scale = quantize_fp8(weight)
    error = (q.float() * scale - weight).abs()
    assert (error <= weight.abs() / 16 + scale * 2**-9).all()
