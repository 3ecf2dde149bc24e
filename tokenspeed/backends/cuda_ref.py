"""The step of the GPU backend in plain torch, for tests and measurements."""

import torch
from torch import Tensor

from tokenspeed.backends.cuda_weights import Weights
from tokenspeed.kernels.attention import attention_ref
from tokenspeed.kernels.gate_up import gate_up_ref
from tokenspeed.kernels.norm import Scaled, inverse_rms_ref, square_sum_ref
from tokenspeed.kernels.projection import projection_ref
from tokenspeed.kernels.qkv import Rotation, qkv_ref
from tokenspeed.kernels.slots import Cache, Places
from tokenspeed.model.llama import rotation_tables


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
    cos, sin = (table[0].to(device) for table in rotation_tables(config, count))
    hidden = weights.embedding[torch.tensor(tokens, device=device)].float()
    norms = [n for layer in weights.layers for n in (layer.input_norm, layer.post_norm)]
    norms.append(weights.norm)
    scaled, sums = (hidden * norms[0].float()).to(dtype), square_sum_ref(hidden)
    rotation, places = Rotation(cos, sin), Places(slots, positions)
    eps = config.rms_norm_eps
    for i, layer in enumerate(weights.layers):
        qkv_weight, out, gate_up_weight, down = (
            matrix.dequantize().to(dtype)
            for matrix in (layer.qkv, layer.out, layer.gate_up, layer.down)
        )
        shape = (1, config.num_kv_heads, count, config.head_dim)
        cache = Cache(*torch.zeros(2, *shape, dtype=dtype, device=device))
        q = qkv_ref(Scaled(scaled, sums), qkv_weight, rotation, places, cache, eps)
        values = attention_ref(q, cache, places).view(count, -1)
        hidden, scaled, sums = projection_ref(values, out, hidden, norms[2 * i + 1])
        inner = gate_up_ref(Scaled(scaled, sums), gate_up_weight, eps)
        hidden, scaled, sums = projection_ref(inner, down, hidden, norms[2 * i + 2])
    logits = (scaled @ weights.head.dequantize().to(dtype).t()).float()
    return logits * inverse_rms_ref(sums, config.hidden_size, eps)
