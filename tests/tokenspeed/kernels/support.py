"""What the kernel tests share: seeded tensors, weights in each stored form, the tolerance rule."""

import torch
from torch import Tensor

from tokenspeed.backends.cuda_weights import Weights
from tokenspeed.kernels.attention import attention_ref
from tokenspeed.kernels.gate_up import gate_up_ref
from tokenspeed.kernels.projection import projection_ref
from tokenspeed.kernels.qkv import qkv_ref
from tokenspeed.kernels.tile import (
    Launch,
    Matrix,
    TileConfig,
    inverse_rms_ref,
    pack_channels,
    pack_float,
    pack_int4,
    square_sum_ref,
)
from tokenspeed.model.quantize import quantize_fp8, quantize_int4, quantize_int8

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FORMATS = ["bf16", "int8", "int4", "fp8"]
CONFIG = TileConfig(block_n=32, block_k=256, warps=4, stages=3)
LAUNCH = Launch()
EPS = 1e-5


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)


def nans(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.full(shape, float("nan"), dtype=dtype, device=DEVICE)


def ints(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


def matrix(weight: Tensor, form: str) -> Matrix:
    """Store a weight [n, k] in one of FORMATS."""
    if form == "bf16":
        return pack_float(weight)
    if form == "int4":
        return pack_int4(*quantize_int4(weight))
    return pack_channels(*(quantize_int8 if form == "int8" else quantize_fp8)(weight))


def assert_as_exact(got: Tensor, ref: Tensor, exact: Tensor) -> None:
    """Demand that a kernel is never much worse than torch in the same dtype."""
    assert got.shape == ref.shape
    assert torch.isfinite(got).all()
    error = (got.double() - exact.double()).abs().max().item()
    allowed = 2 * (ref.double() - exact.double()).abs().max().item() + 1e-5
    assert error <= allowed, f"error {error}, torch's own {allowed / 2}"


def step_ref(weights: Weights, tokens: list[int], dtype: torch.dtype) -> torch.Tensor:
    """Plain torch over one sequence, from the weights as the kernels read them: logits."""
    config, count = weights.config, len(tokens)
    positions = torch.arange(count, device=DEVICE)
    slots = torch.zeros(count, dtype=torch.int64, device=DEVICE)
    angles = positions[:, None] * weights.inv_freq
    hidden = weights.embedding[torch.tensor(tokens, device=DEVICE)].float()
    norms = [n for layer in weights.layers for n in (layer.input_norm, layer.post_norm)]
    norms.append(weights.norm)
    scaled, sums = (hidden * norms[0].float()).to(dtype), square_sum_ref(hidden)
    for i, layer in enumerate(weights.layers):
        shape = (1, config.num_kv_heads, count, config.head_dim)
        k, v = (torch.zeros(shape, dtype=dtype, device=DEVICE) for _ in range(2))
        q = qkv_ref(scaled, sums, layer.qkv.dequantize().to(dtype), angles.cos(), angles.sin(),
                    slots, positions, k, v, config.rms_norm_eps)  # fmt: skip
        values = attention_ref(q, k, v, slots, positions).view(count, -1)
        hidden, scaled, sums = projection_ref(
            values, layer.out.dequantize().to(dtype), hidden, norms[2 * i + 1]
        )
        weight = layer.gate_up.dequantize().to(dtype)
        inner = gate_up_ref(scaled, sums, weight, config.rms_norm_eps)
        hidden, scaled, sums = projection_ref(
            inner, layer.down.dequantize().to(dtype), hidden, norms[2 * i + 2]
        )
    logits = (scaled @ weights.head.dequantize().to(dtype).t()).float()
    return logits * inverse_rms_ref(sums, config.hidden_size, config.rms_norm_eps)
