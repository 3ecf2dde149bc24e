"""The two halves of RMSNorm, as the kernels split it."""

import torch

from tests.tokenspeed.kernels.support import random
from tokenspeed.kernels.norm import inverse_rms_ref, normed_ref, square_sum_ref


def test_the_sum_of_squares_keeps_small_and_large_rows() -> None:
    for size in (1e-3, 1.0, 1e3):
        x = random(4, 2000, dtype=torch.float32) * size
        got = square_sum_ref(x).double() * 2.0**-32
        torch.testing.assert_close(got, x.double().square().sum(-1), rtol=1e-3, atol=0)


def test_the_halves_make_the_norm() -> None:
    x = random(3, 500, dtype=torch.float32)
    got = inverse_rms_ref(square_sum_ref(x), 500, 1e-5)
    torch.testing.assert_close(got, torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5))


def test_rows_that_come_normed_have_nothing_left_to_do() -> None:
    x, weight = random(3, 500, dtype=torch.float32), random(500)
    assert torch.equal(inverse_rms_ref(square_sum_ref(x), 500, None), torch.ones_like(x[:, :1]))
    halves = x * weight.float() * inverse_rms_ref(square_sum_ref(x), 500, 1e-5)
    torch.testing.assert_close(normed_ref(x, weight, 1e-5), halves)
