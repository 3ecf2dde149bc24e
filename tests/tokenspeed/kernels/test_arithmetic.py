"""Rounding that is the same on every GPU and in the interpreter."""

import torch
import triton
import triton.language as tl

from tests.tokenspeed.kernels.support import DEVICE
from tokenspeed.kernels.arithmetic import narrow, tanh


@triton.jit
def narrow_kernel(x_ptr, out_ptr, SIZE: tl.constexpr):
    at = tl.arange(0, SIZE)
    tl.store(out_ptr + at, narrow(tl.load(x_ptr + at), out_ptr.dtype.element_ty))


def narrowed(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    out = torch.zeros(len(x), dtype=dtype, device=DEVICE)
    narrow_kernel[(1,)](x.to(DEVICE), out, SIZE=len(x))
    return out.cpu()


def test_bfloat16_is_rounded_to_the_nearest_and_ties_to_even() -> None:
    x = torch.randn(1022, generator=torch.Generator().manual_seed(3))
    ties = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8])
    assert torch.equal(narrowed(torch.cat((x, ties)), torch.bfloat16)[:1022], x.bfloat16())
    assert narrowed(ties, torch.bfloat16).tolist() == [1.0, 1 + 2**-6]


def test_float16_stays_finite_and_keeps_nan() -> None:
    x = torch.tensor([1e6, -1e6, float("nan"), 0.1])
    got = narrowed(x, torch.float16)
    assert got[:2].tolist() == [65504.0, -65504.0]
    assert torch.isnan(got[2])
    assert got[3] == x[3].half()


@triton.jit
def tanh_kernel(x_ptr, out_ptr, SIZE: tl.constexpr):
    at = tl.arange(0, SIZE)
    tl.store(out_ptr + at, tanh(tl.load(x_ptr + at)))


def test_tanh_is_near_torchs_and_saturates() -> None:
    x = torch.cat((torch.linspace(-12, 12, 1020), torch.tensor([0.0, -1e4, 1e4, 1e-4])))
    out = torch.zeros_like(x, device=DEVICE)
    tanh_kernel[(1,)](x.to(DEVICE), out, SIZE=len(x))
    assert (out.cpu() - x.double().tanh()).abs().max() < 1e-6
    assert out[-3:-1].tolist() == [-1.0, 1.0]
