"""The step of the GPU backend in plain torch, for tests and measurements."""

import torch
from torch import Tensor

from tokenspeed.backends.cuda_weights import Weights
from tokenspeed.kernels.attention import attention_ref
from tokenspeed.kernels.gate_up import gate_up_ref
from tokenspeed.kernels.norm import inverse_rms_ref, square_sum_ref
from tokenspeed.kernels.projection import projection_ref
from tokenspeed.kernels.qkv import qkv_ref


def step_ref(weights: Weights, tokens: list[int], dtype: torch.dtype) -> Tensor:
    """Return the logits of one sequence in plain torch, from the weights as the kernels read them.

    Args:
        weights: on any device.
        tokens: one sequence, in slot 0 from position 0.
        dtype: of activations and products; float32 is the exact answer to compare with.
    Returns:
        [tokens, vocab_size], float32.
    """
    config, count, device = weights.config, len(tokens), weights.embedding.device
    positions = torch.arange(count, device=device)
    slots = torch.zeros(count, dtype=torch.int64, device=device)
    angles = positions[:, None] * weights.inv_freq
    hidden = weights.embedding[torch.tensor(tokens, device=device)].float()
    norms = [n for layer in weights.layers for n in (layer.input_norm, layer.post_norm)]
    norms.append(weights.norm)
    scaled, sums = (hidden * norms[0].float()).to(dtype), square_sum_ref(hidden)
    for i, layer in enumerate(weights.layers):
        shape = (1, config.num_kv_heads, count, config.head_dim)
        k, v = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
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
