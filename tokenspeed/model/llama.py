"""The model in plain torch, read from top to bottom: the reference of every faster backend.

LLaMA, as varied by the switches of `ModelConfig`. The token dimension is flat and ragged, as in a
step. How a token attends to earlier ones is up to the caller: `attend` gets the new q, k, v of a
layer and returns the attended values, so that inference (KV slots) and training (packed examples)
share every other line. Parameters have the names of `weights`. Knows no cache, no sampling, no
files.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokenspeed.model.config import ModelConfig
from tokenspeed.model.rope import rope_factor, rope_frequencies
from tokenspeed.model.weights import FUSED, K_NORM, Q_NORM, layer_shapes

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""attend(layer, q, k, v) -> values.

q and the result are [tokens, num_heads, head_dim], k and v [tokens, num_kv_heads, head_dim];
q and k are already normed and rotated, and q is scaled so that only head_dim ** -0.5 is left to do.
Where the model caps scores, `attend` has to do it: see `capped`.
"""


class Llama(nn.Module):
    """A decoder-only transformer: RMSNorm, rotary positions, grouped KV heads, a gated MLP."""

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
            attend: how a layer's tokens attend to earlier ones.
            dropout: share of the residual branches' values dropped in training mode.
        Returns:
            [tokens, hidden_size], dtype of the weights.
        """
        return self.model(tokens, positions, attend, dropout)

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Map [tokens, hidden_size] to [tokens, vocab_size]."""
        tied = self.config.tie_word_embeddings
        head = self.model.embed_tokens.weight if tied else self.lm_head.weight
        return self.capped_logits(F.linear(hidden_states, head))

    def capped_logits(self, logits: Tensor) -> Tensor:
        """Return the logits, given the products with the head."""
        return capped(logits, self.config.logit_softcap)

    def set_rotation(self, length: int, device: torch.device | str | None = None) -> None:
        """Set the frequencies for slots of this length, in float32 whatever the weights are."""
        self.model.inv_freq, self.model.rope_factor = rotation(self.config, length, device)


class Decoder(nn.Module):
    """Embedding, layers and final norm; carries Hugging Face's prefix `model.`."""

    inv_freq: Tensor
    rope_factor: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.embedding_scale = config.embedding_scale
        self.layer_ropes = [config.rope_of(i) for i in range(config.num_layers)]
        frequencies, factor = rotation(config, config.max_position_embeddings)
        self.register_buffer("inv_freq", frequencies, persistent=False)
        self.register_buffer("rope_factor", factor, persistent=False)

    def forward(self, tokens: Tensor, positions: Tensor, attend: Attend, dropout: float) -> Tensor:
        return self.norm(self.states(tokens, positions, attend, dropout))

    def states(
        self, tokens: Tensor, positions: Tensor, attend: Attend, dropout: float = 0.0
    ) -> Tensor:
        """Run all layers: the hidden states before the final norm, [tokens, hidden_size]."""
        x = self.embed_tokens(tokens)  # [tokens, hidden_size]
        if self.embedding_scale != 1:
            x = x * self.embedding_scale
        x = F.dropout(x, dropout, self.training)
        # [ropes, tokens, head_dim / 2]
        angles = positions[:, None].float() * self.inv_freq[:, None]
        cos, sin = (part * self.rope_factor[:, None, None] for part in (angles.cos(), angles.sin()))
        for layer, rope in zip(self.layers, self.layer_ropes, strict=True):
            x = layer(x, cos[rope][:, None], sin[rope][:, None], attend, dropout)
        return x


class Layer(nn.Module):
    """One transformer layer with both residuals; norms come before its branches, after, or both."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, index)
        self.mlp = MLP(config)
        self.has_norms = config.norms != "after"
        if self.has_norms:
            self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
            self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, dropout: float
    ) -> Tensor:
        normed = self.input_layernorm(x) if self.has_norms else x
        x = x + F.dropout(self.self_attn(normed, cos, sin, attend), dropout, self.training)
        normed = self.post_attention_layernorm(x) if self.has_norms else x
        return x + F.dropout(self.mlp(normed), dropout, self.training)


class Attention(nn.Module):
    """Projections, norms of heads, and rotation; `attend` does the attention itself."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.head_dim = config.head_dim
        self.norm_kind, self.norms_rotated = config.qk_norm, config.qk_norm_rotated
        self.q_scale = config.score_scale * config.head_dim**0.5 if config.attention_scale else 1.0
        self.q_proj = _matrix(config, "self_attn.q_proj")
        self.k_proj = _matrix(config, "self_attn.k_proj")
        self.v_proj = _matrix(config, "self_attn.v_proj")
        if config.qk_norm:
            shapes = layer_shapes(config)
            self.q_norm = RMSNorm(shapes[Q_NORM][0], config.rms_norm_eps)
            self.k_norm = RMSNorm(shapes[K_NORM][0], config.rms_norm_eps)
        self.o_proj = _matrix(config, "self_attn.o_proj")
        self.out_norm = _norm_behind(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self.norm_kind == "width":
            q, k = self.q_norm(q), self.k_norm(k)
        q = q.view(len(x), -1, self.head_dim)  # [tokens, num_heads, head_dim]
        k = k.view(len(x), -1, self.head_dim)  # [tokens, num_kv_heads, head_dim]
        v = v.view(len(x), -1, self.head_dim)
        if self.norm_kind == "head" and not self.norms_rotated:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.norm_kind == "head" and self.norms_rotated:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.q_scale != 1:
            q = q * self.q_scale
        values = attend(self.index, q, k, v)
        return self.out_norm(self.o_proj(values.reshape(len(x), -1)))


class MLP(nn.Module):
    """down(activation(gate(x)) * up(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = _matrix(config, "mlp.gate_proj")
        self.up_proj = _matrix(config, "mlp.up_proj")
        self.down_proj = _matrix(config, "mlp.down_proj")
        self.out_norm = _norm_behind(config)
        self.activation = config.activation

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate_proj(x)
        gate = F.silu(gate) if self.activation == "silu" else F.gelu(gate, approximate="tanh")
        return self.out_norm(self.down_proj(gate * self.up_proj(x)))


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
    return nn.Linear(columns, rows, bias=any(part in FUSED[matrix] for matrix in config.biases))


def _norm_behind(config: ModelConfig) -> nn.Module:
    if config.norms == "before":
        return nn.Identity()
    return RMSNorm(config.hidden_size, config.rms_norm_eps)


def capped(x: Tensor, cap: float) -> Tensor:
    """Return cap * tanh(x / cap), and x where the cap is 0."""
    return cap * torch.tanh(x / cap) if cap else x


def reach(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, softcap: float) -> Tensor:
    """Return the values that queries attend to, with scores capped where the model does that.

    Args:
        q, k, v: [..., tokens, head_dim].
        mask: boolean, true for what may be seen.
    """
    if not softcap:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = capped(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, softcap)
    return scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + head_dim / 2) of each head. Source: arXiv 2104.09864.

    Args:
        x: [tokens, heads, head_dim].
        cos, sin: [tokens, 1, head_dim / 2] float32, of the angle position * frequency.
    """
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


def rotation(
    config: ModelConfig, length: int, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Return what turns positions into cosines and sines, in slots of this length.

    Returns:
        Angles per position of each pair, [ropes, head_dim / 2], and factors [ropes] of cosine and
        sine; float32.
    """
    frequencies = torch.stack([rope_frequencies(r, config.head_dim, length) for r in config.ropes])
    factors = torch.tensor([rope_factor(rope) for rope in config.ropes], device="cpu")
    return frequencies.to(device), factors.to(device)


def rotation_tables(config: ModelConfig, length: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of all positions: each [ropes, length, head_dim / 2] float32."""
    frequencies, factors = rotation(config, length)
    angles = torch.arange(length, device="cpu").float()[:, None] * frequencies[:, None]
    return angles.cos() * factors[:, None, None], angles.sin() * factors[:, None, None]
