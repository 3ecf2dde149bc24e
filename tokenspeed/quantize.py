"""Weights in fewer bits: the arithmetic of the stored formats, and directories written in them.

int8 is symmetric with one scale for each output channel: w = q * scale, scale = max|row| / 127.
Knows tensors and files; does not know devices or backends.
"""

import torch
from torch import Tensor


def quantize_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round a matrix to int8, one scale for each row.

    Args:
        weight: [out, in], floating point.
    Returns:
        q [out, in] int8 in -127..127, scale [out, 1] float32.
    """
    weight = weight.float()
    # A row of zeros has no scale of its own; any positive one gives zeros back.
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
    return (weight / scale).round().clamp(-127, 127).to(torch.int8), scale


def dequantize_int8(q: Tensor, scale: Tensor) -> Tensor:
    """Return q * scale: [out, in] float32."""
    return q.float() * scale.float()
