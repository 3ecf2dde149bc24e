"""Causal attention within each example of a packed stream, on a GPU and on a CPU."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from tokenspeed.model.llama import Attend, capped
from tokenspeed.model.llama import reach as reach_of

_BLOCK = 128  # rows and columns of scores that a GPU computes or skips together


class Reach(NamedTuple):
    """Which keys the queries of a packed stream attend to.

    Attributes:
        document: [tokens] int32; the example that a token belongs to.
        num_blocks: [1, 1, blocks] int32; how many blocks of keys a block of queries needs.
        blocks: [1, 1, blocks, blocks] int32; their numbers, needed ones first.
    """

    document: Tensor
    num_blocks: Tensor
    blocks: Tensor


def find_reach(borders: Tensor, num_tokens: int) -> Reach:
    """Find the reach of every token; to be called outside the compiled step.

    Args:
        borders: [documents + 1] int32, cumulative.
        num_tokens: of the stream.
    """
    index = torch.arange(num_tokens, device=borders.device, dtype=torch.int32)
    document = torch.searchsorted(borders[1:].contiguous(), index, right=True, out_int32=True)
    block = index[::_BLOCK] // _BLOCK
    # Examples are short: a block of queries needs those from its first token's example on.
    first = borders[document[::_BLOCK]] // _BLOCK
    blocks = (first[:, None] + block[None, :]).clamp(max=len(block) - 1)
    return Reach(document, (block - first + 1)[None, None], blocks[None, None])


def packed_attention(reach: Reach, softcap: float = 0.0) -> Attend:
    """Return causal attention inside the documents of a packed stream; the device decides how.

    Args:
        softcap: of scores; 0 is none.
    """
    return (_blocked if reach.document.is_cuda else _masked)(reach, softcap)


def _blocked(reach: Reach, softcap: float) -> Attend:
    """Let many short examples share a block; a kernel for ragged batches gives each its own.

    On an H200, 1,250 examples in 49,152 tokens, eight heads of 64, forward and backward: 0.73 ms
    instead of 1.62 with torch's varlen_attn.
    """
    document, num_tokens = reach.document, len(reach.document)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (document[query] == document[key]) & (query >= key)

    def cap(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return capped(score, softcap)

    mask = BlockMask.from_kv_blocks(
        reach.num_blocks,
        reach.blocks,
        BLOCK_SIZE=_BLOCK,
        mask_mod=sees,
        seq_lengths=(num_tokens, num_tokens),
    )

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))  # [1, heads, tokens, head_dim]
        out = flex_attention(
            q, k, v, score_mod=cap if softcap else None, block_mask=mask, enable_gqa=True
        )
        assert isinstance(out, Tensor)
        return out[0].transpose(0, 1)  # [tokens, num_heads, head_dim]

    return attend


def _masked(reach: Reach, softcap: float) -> Attend:
    index = torch.arange(len(reach.document), device=reach.document.device)
    same = reach.document[:, None] == reach.document[None, :]
    mask = same & (index[:, None] >= index[None, :])  # [tokens, tokens]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))  # [1, heads, tokens, head_dim]
        if softcap:
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
            out = reach_of(q, k, v, mask, softcap)
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        return out[0].transpose(0, 1)  # [tokens, num_heads, head_dim]

    return attend
