"""The step of the GPU backend in plain torch, for tests and measurements."""

import torch
from torch import Tensor

from tokenspeed.backends.cuda_step import reader_eps
from tokenspeed.backends.cuda_weights import Weights
from tokenspeed.kernels.attention import attention_ref
from tokenspeed.kernels.blocks import share_exponent_ref
from tokenspeed.kernels.branch_norm import branch_norm_ref
from tokenspeed.kernels.gate_up import gate_up_ref
from tokenspeed.kernels.head_norm import head_norm_ref
from tokenspeed.kernels.lm_head import lm_head_ref
from tokenspeed.kernels.matrix import Matrix
from tokenspeed.kernels.norm import Scaled, normed_ref, square_sum_ref
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
    hidden = weights.embedding[torch.tensor(tokens, device=device)].float()
    hidden = hidden * config.embedding_scale
    norms, eps, row_eps = weights.norms, reader_eps(config), config.rms_norm_eps
    tables = [table.to(device) for table in rotation_tables(config, count)]
    places = Places(slots, positions)

    def read_by(matrix: Matrix, rows: Tensor) -> Tensor:
        shares = matrix.reads_blocks and dtype == torch.float16
        return share_exponent_ref(rows) if shares else rows

    def scaled_by(hidden: Tensor, norm: Tensor | None) -> Tensor:
        if norm is None:
            return hidden.to(dtype)
        return (hidden * norm.float() if eps else normed_ref(hidden, norm, row_eps)).to(dtype)

    def add(
        x: Tensor, matrix: Matrix, out_norm: Tensor | None, norm: Tensor | None, hidden: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = read_by(matrix, x)
        weight = matrix.dequantize().to(dtype)
        if out_norm is None:
            assert norm is not None
            return projection_ref(x, weight, hidden, norm, matrix.bias)
        branch = projection_ref(x, weight, torch.zeros_like(hidden), out_norm, matrix.bias)[0]
        new, scaled = branch_norm_ref(branch, out_norm, norm, hidden, row_eps)
        return new, scaled.to(dtype), square_sum_ref(new)

    scaled, sums = scaled_by(hidden, norms[0]), square_sum_ref(hidden)
    for i, layer in enumerate(weights.layers):
        qkv_weight, gate_up_weight = (
            matrix.dequantize().to(dtype) for matrix in (layer.qkv, layer.gate_up)
        )
        scaled = read_by(layer.qkv, scaled)
        shape = (1, config.num_kv_heads, count, config.head_dim)
        cache = Cache(*torch.zeros(2, *shape, dtype=dtype, device=device))
        rotation = Rotation(*(table[config.rope_of(i)] for table in tables))
        if layer.head_norms is None:
            bias = layer.qkv.bias
            q = qkv_ref(Scaled(scaled, sums), qkv_weight, rotation, places, cache, eps, bias)
        else:
            raw = _raw(Scaled(scaled, sums), qkv_weight, places, cache, eps, layer.qkv.bias)
            q = head_norm_ref(
                *(raw, layer.head_norms, rotation, places, cache),
                eps=row_eps,
                kind=config.qk_norm,
                after=config.qk_norm_rotated,
            )
        scale, cap = config.score_scale, config.attention_softcap
        values = attention_ref(q, cache, places, scale, cap).view(count, -1)
        out_norm, norm = layer.attention_out_norm, norms[2 * i + 1]
        hidden, scaled, sums = add(values, layer.out, out_norm, norm, hidden)
        x, bias = Scaled(read_by(layer.gate_up, scaled), sums), layer.gate_up.bias
        inner = gate_up_ref(x, gate_up_weight, eps, bias, config.activation)
        out_norm, norm = layer.mlp_out_norm, norms[2 * i + 2]
        hidden, scaled, sums = add(inner, layer.down, out_norm, norm, hidden)
    nothing = torch.zeros(count, device=device)
    head = weights.head.dequantize()
    x, cap = Scaled(read_by(weights.head, scaled), sums), config.logit_softcap
    return lm_head_ref(x, head, nothing.int(), nothing, eps, cap)[0]


def _raw(
    x: Scaled,
    weight: Tensor,
    places: Places,
    cache: Cache,
    eps: float | None,
    bias: Tensor | None,
) -> Tensor:
    """Return q and k before norm and rotation, [rows, heads + kv_heads, head_dim] float32."""
    rows, half = len(x.states), cache.k.shape[3] // 2
    still = torch.zeros(int(places.positions.max()) + 1, half, device=weight.device)
    wide = Cache(*(torch.zeros_like(part, dtype=torch.float32) for part in cache))
    wide_x = x._replace(states=x.states.float())
    rotation = Rotation(still + 1, still)
    q = qkv_ref(wide_x, weight.float(), rotation, places, wide, eps, bias)
    cache.v[places.slots, :, places.positions] = wide.v[places.slots, :, places.positions].to(
        cache.v.dtype
    )
    k = wide.k[places.slots, :, places.positions]
    return torch.cat((q, k), 1).view(rows, -1, 2 * half)
