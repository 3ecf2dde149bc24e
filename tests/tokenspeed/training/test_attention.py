"""Attention in a packed stream: each example sees itself, its past, and nothing else."""

import torch
import torch.nn.functional as F

from tokenspeed.model.llama import reach
from tokenspeed.training.attention import find_reach, packed_attention

LENGTHS = (5, 130, 1, 64)


def test_a_packed_example_gets_what_it_gets_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    total = sum(LENGTHS)
    q = torch.randn(total, 4, 8, generator=generator)
    k, v = (torch.randn(total, 2, 8, generator=generator) for _ in range(2))
    borders = torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0)], dtype=torch.int32)
    got = packed_attention(find_reach(borders, total))(0, q, k, v)
    assert got.shape == (total, 4, 8)
    for start, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        query, key, value = (x[start:end].transpose(0, 1)[None] for x in (q, k, v))
        alone = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        assert torch.allclose(got[start:end], alone[0].transpose(0, 1), atol=1e-5)


def test_scores_are_capped_where_the_model_does_that() -> None:
    generator = torch.Generator().manual_seed(0)
    total, borders = 12, torch.tensor([0, 7, 12], dtype=torch.int32)
    q = 5 * torch.randn(total, 4, 8, generator=generator)
    k, v = (torch.randn(total, 2, 8, generator=generator) for _ in range(2))
    got = packed_attention(find_reach(borders, total), softcap=2.0)(0, q, k, v)
    for start, end in ((0, 7), (7, 12)):
        query = q[start:end].transpose(0, 1)
        # Two heads of queries share one of keys.
        key, value = (x[start:end].transpose(0, 1).repeat_interleave(2, 0) for x in (k, v))
        mask = torch.ones(end - start, end - start, dtype=torch.bool).tril()
        alone = reach(query, key, value, mask, 2.0).transpose(0, 1)
        assert torch.allclose(got[start:end], alone, atol=1e-5)
        uncapped = reach(query, key, value, mask, 0.0).transpose(0, 1)
        assert not torch.allclose(alone, uncapped, atol=1e-2)


def test_a_block_of_queries_needs_the_blocks_from_its_first_example_on() -> None:
    borders = torch.tensor([0, 100, 300, 384], dtype=torch.int32)
    reach = find_reach(borders, 384)
    assert reach.document.tolist() == [0] * 100 + [1] * 200 + [2] * 84
    # Queries 128..255 and 256..383 begin inside the example that began at 100, in block 0.
    assert reach.num_blocks.tolist() == [[[1, 2, 3]]]
    assert reach.blocks[0, 0, 2].tolist() == [0, 1, 2]
