"""The LLaMA model in plain torch, read from top to bottom: the reference of every faster backend.

The token dimension is flat and ragged, as in a step. How a token reaches earlier tokens is the
caller's affair: `attend` gets the new q, k, v of a layer and returns the attended values, so that
inference (KV slots) and training (packed examples) share every other line. Parameter names are the
Hugging Face ones. Knows no cache, no sampling, no files.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokenspeed.model.config import ModelConfig
from tokenspeed.model.weights import layer_shapes

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""attend(layer, q, k, v) -> values.

q and the result are [tokens, num_heads, head_dim], k and v [tokens, num_kv_heads, head_dim];
q and k are already rotated.
"""


class Llama(nn.Module):
    """A decoder-only transformer: RMSNorm, rotary positions, grouped KV heads, SwiGLU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def hidden_states(
        self, tokens: Tensor, positions: Tensor, attend: Attend, dropout: float = 0.0
    ) -> Tensor:
        """Run all layers and the final norm.

        Args:
            tokens, positions: [tokens], integer.
            attend: how a layer's tokens reach earlier ones.
            dropout: share of the residual branches' values dropped in training mode.
        Returns:
            [tokens, hidden_size], dtype of the weights.
        """
        return self.model(tokens, positions, attend, dropout)

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Map [tokens, hidden_size] to [tokens, vocab_size]."""
        tied = self.config.tie_word_embeddings
        head = self.model.embed_tokens.weight if tied else self.lm_head.weight
        return F.linear(hidden_states, head)


class Decoder(nn.Module):
    """Embedding, layers and final norm; carries Hugging Face's prefix `model.`."""

    inv_freq: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.register_buffer("inv_freq", rope_frequencies(config), persistent=False)

    def forward(self, tokens: Tensor, positions: Tensor, attend: Attend, dropout: float) -> Tensor:
        x = self.embed_tokens(tokens)  # [tokens, hidden_size]
        x = F.dropout(x, dropout, self.training)
        angles = positions[:, None].float() * self.inv_freq  # [tokens, head_dim / 2]
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]  # [tokens, 1, head_dim / 2]
        for layer in self.layers:
            x = layer(x, cos, sin, attend, dropout)
        return self.norm(x)


class Layer(nn.Module):
    """One transformer layer with both residuals."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, index)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, dropout: float
    ) -> Tensor:
        attended = self.self_attn(self.input_layernorm(x), cos, sin, attend)
        x = x + F.dropout(attended, dropout, self.training)
        return x + F.dropout(self.mlp(self.post_attention_layernorm(x)), dropout, self.training)


class Attention(nn.Module):
    """Projections and rotation; the reach to other tokens is `attend`'s."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.head_dim = config.head_dim
        self.q_proj = _matrix(config, "self_attn.q_proj")
        self.k_proj = _matrix(config, "self_attn.k_proj")
        self.v_proj = _matrix(config, "self_attn.v_proj")
        self.o_proj = _matrix(config, "self_attn.o_proj")

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        q = self.q_proj(x).view(len(x), -1, self.head_dim)  # [tokens, num_heads, head_dim]
        k = self.k_proj(x).view(len(x), -1, self.head_dim)  # [tokens, num_kv_heads, head_dim]
        v = self.v_proj(x).view(len(x), -1, self.head_dim)
        values = attend(self.index, rotate(q, cos, sin), rotate(k, cos, sin), v)
        return self.o_proj(values.reshape(len(x), -1))


class MLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = _matrix(config, "mlp.gate_proj")
        self.up_proj = _matrix(config, "mlp.up_proj")
        self.down_proj = _matrix(config, "mlp.down_proj")

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class RMSNorm(nn.Module):
    """x / rms(x) * weight, the mean of squares in float32. Source: arXiv 1910.07467."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        normed = x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(x.dtype)


def _matrix(config: ModelConfig, part: str) -> nn.Linear:
    rows, columns = layer_shapes(config)[part]
    return nn.Linear(columns, rows, bias=False)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + head_dim / 2) of each head. Source: arXiv 2104.09864.

    Args:
        x: [tokens, heads, head_dim].
        cos, sin: [tokens, 1, head_dim / 2] float32, of the angle position * frequency.
    """
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


def rope_frequencies(config: ModelConfig) -> Tensor:
    """Return the angle per position of each pair: [head_dim / 2] float32.

    With LLaMA-3 scaling, wavelengths longer than the original context are stretched by `factor`,
    short ones stay, and those between are blended.
    """
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.int64, device="cpu")  # nor "meta"
    exponents = pairs.float() / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies
    turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    keep = ((turns - low) / (high - low)).clamp(0, 1)  # 0: stretch by factor, 1: leave
    return frequencies * (keep + (1 - keep) / scaling.factor)
