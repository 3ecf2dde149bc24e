"""How a packed token reaches earlier tokens of its own example, on a GPU and on a CPU."""

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tokenspeed.llama import Attend


def _find_kernel() -> tuple[Callable[..., Tensor], dict[str, Any]] | None:
    """Return torch's attention over packed documents and how it is told to be causal."""
    name = "torch.nn.attention.varlen"
    if importlib.util.find_spec(name) is None:
        return None
    kernel = importlib.import_module(name).varlen_attn
    if "window_size" in inspect.signature(kernel).parameters:
        return kernel, {"window_size": (-1, 0)}
    return kernel, {"is_causal": True}  # torch 2.10


# Found once, at import: a compiled step cannot look at signatures.
_KERNEL = _find_kernel()


def packed_attention(borders: Tensor, num_tokens: int, max_length: int) -> Attend:
    """Return causal attention inside the documents of a packed stream.

    Args:
        borders: [documents + 1] int32, cumulative; its device decides the kernel.
        num_tokens: of the stream.
        max_length: of the longest document.
    """
    if borders.device.type == "cuda":
        return _varlen(borders, max_length)
    return _masked(borders, num_tokens)


def _varlen(borders: Tensor, max_length: int) -> Attend:
    assert _KERNEL is not None, "torch >= 2.10 is needed to train on a GPU"
    kernel, options = _KERNEL

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        groups = q.shape[1] // k.shape[1]
        # Grouped heads are written out: not every version of the kernel takes them in training.
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        return kernel(q, k, v, borders, borders, max_length, max_length, **options)

    return attend


def _masked(borders: Tensor, num_tokens: int) -> Attend:
    index = torch.arange(num_tokens, device=borders.device)
    document = torch.searchsorted(borders[1:].contiguous(), index.to(borders.dtype), right=True)
    same = document[:, None] == document[None, :]
    mask = same & (index[:, None] >= index[None, :])  # [tokens, tokens]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = F.scaled_dot_product_attention(
            q.transpose(0, 1)[None],
            k.transpose(0, 1)[None],
            v.transpose(0, 1)[None],
            attn_mask=mask,
            enable_gqa=True,
        )
        return out[0].transpose(0, 1)  # [tokens, num_heads, head_dim]

    return attend
