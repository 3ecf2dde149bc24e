"""The two halves of RMSNorm: a writer's sum of squares, a reader's 1 / rms.

The sum is fixed point, so that it depends neither on the layout of a tile nor on the order in
which programs add to it. A program that has a whole row, laid out the same in every step, norms it
at once: such rows reach their reader already normed.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

SUM_UNIT = 2.0**-32  # squares are summed as int64 in this unit; overflows past 2**31
_SUM_UNIT = tl.constexpr(SUM_UNIT)  # constants of the kernels have to be constexpr


class HiddenStates(NamedTuple):
    """What a writer of hidden states keeps up to date.

    Attributes:
        states: [rows, hidden_size] float32.
        scaled: [rows, hidden_size], the states times the next norm's weight; where whole rows are
            normed, the result of that norm, or the states themselves where there is none.
        square_sum: [rows] int64, of the states, in units of SUM_UNIT.
    """

    states: Any
    scaled: Any
    square_sum: Any


class Scaled(NamedTuple):
    """Hidden states as the reader of a norm gets them.

    Attributes:
        states: [rows, hidden_size], hidden states times the norm's weight, bf16 or float16.
        square_sum: [rows] int64, of the hidden states, in units of SUM_UNIT.
    """

    states: Any
    square_sum: Any


def square_sum_ref(x: Tensor) -> Tensor:
    """Return the sum of squares of each row of [rows, size] as the kernels keep it: int64."""
    return (x.float().square() / SUM_UNIT).to(torch.int64).sum(-1)


def normed_ref(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return x / rms(x) * weight of rows [..., size], in float32."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight.float()


def inverse_rms_ref(square_sum: Tensor, size: int, eps: float | None) -> Tensor:
    """Return 1 / rms from `square_sum_ref`, [rows, 1] float32; 1 where eps is None."""
    if eps is None:
        return torch.ones(len(square_sum), 1, device=square_sum.device)
    return torch.rsqrt(square_sum.double() * SUM_UNIT / size + eps).float()[:, None]


@triton.jit
def square_sum(x):
    """Return the sum of squares of each row of [M, N] float32 in units of SUM_UNIT: [M] int64."""
    return tl.sum((x * x * (1.0 / _SUM_UNIT)).to(tl.int64), axis=1)


@triton.jit
def normed(x, SIZE: tl.constexpr, EPS: tl.constexpr):
    """Return a whole row x [N] float32, zeros behind its SIZE elements, over its rms."""
    return x * tl.rsqrt(tl.sum(x * x, axis=0) / SIZE + EPS)


@triton.jit
def inverse_rms(sum_ptr, rows, row_mask, K: tl.constexpr, EPS: tl.constexpr):
    """Return 1 / sqrt(mean of squares + EPS) of each row: [M] float32; 1 where EPS is None."""
    if EPS is None:
        inverse = tl.full((row_mask.shape[0],), 1.0, tl.float32)
    else:
        total = tl.load(sum_ptr + rows, mask=row_mask, other=0).to(tl.float32)
        inverse = tl.rsqrt(tl.fma(total, _SUM_UNIT / K, EPS))
    return inverse
