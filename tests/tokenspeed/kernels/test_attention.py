"""Attention over slots against plain torch, and short steps against long ones."""

import pytest
import torch
from torch import Tensor

from tests.tokenspeed.kernels.support import DEVICE, LAUNCH, assert_as_exact, ints, nans, random
from tokenspeed.kernels.attention import TILE_TOKENS, AttentionScratch, attention, attention_ref

KV_HEADS = 2


def run(
    q: Tensor, k: Tensor, v: Tensor, slots: Tensor, positions: Tensor, tile_tokens: int
) -> Tensor:
    out = nans(*q.shape)
    starts, counts = tiles(slots, tile_tokens)
    scratch = AttentionScratch(len(q), q.shape[1], k.shape[1], k.shape[3], k.shape[2], DEVICE)
    attention(q, k, v, slots, positions, starts, counts, ints(len(starts)), scratch, out,
              tile_tokens=tile_tokens, max_tiles=len(starts) + 2, launch=LAUNCH)  # fmt: skip
    assert not scratch.counters.any()
    return out


def tiles(slots: Tensor, tile_tokens: int) -> tuple[Tensor, Tensor]:
    starts: list[int] = []
    counts: list[int] = []
    for row, slot in enumerate(slots.tolist()):
        if starts and counts[-1] < tile_tokens and slots[starts[-1]] == slot:
            counts[-1] += 1
        else:
            starts.append(row)
            counts.append(1)
    return ints(*starts), ints(*counts)


def cache(length: int, head_dim: int, used: list[int]) -> tuple[Tensor, Tensor]:
    """Slots filled up to `used` positions; NaN behind."""
    k = random(len(used), KV_HEADS, length, head_dim, seed=5)
    v = random(len(used), KV_HEADS, length, head_dim, seed=6)
    for slot, count in enumerate(used):
        k[slot, :, count:] = float("nan")
        v[slot, :, count:] = float("nan")
    return k, v


@pytest.mark.parametrize("group", [1, 3, 4])
@pytest.mark.parametrize("head_dim", [8, 64])
def test_short_steps_equal_torch(group: int, head_dim: int) -> None:
    k, v = cache(300, head_dim, [300, 129, 1])
    slots, positions = ints(0, 0, 1, 2, 0), ints(0, 63, 128, 0, 299)
    q = random(5, KV_HEADS * group, head_dim)
    out = run(q, k, v, slots, positions, 1)
    ref = attention_ref(q, k, v, slots, positions)
    exact = attention_ref(q.double(), k.double(), v.double(), slots, positions)
    assert_as_exact(out, ref, exact)


def test_a_tile_gives_each_row_the_bits_of_a_row_alone() -> None:
    k, v = cache(200, 16, [200, 40])
    slots = ints(*[0] * 21, *[1] * 3)
    positions = ints(*range(115, 136), 37, 38, 39)
    q = random(24, KV_HEADS * 2, 16)
    alone = run(q, k, v, slots, positions, 1)
    assert torch.equal(run(q, k, v, slots, positions, TILE_TOKENS), alone)
    exact = attention_ref(q.double(), k.double(), v.double(), slots, positions)
    assert_as_exact(alone, attention_ref(q, k, v, slots, positions), exact)


def test_heads_have_to_share_kv_heads_evenly() -> None:
    k, v = cache(16, 16, [1])
    with pytest.raises(ValueError, match="q has 3 heads, expected a multiple of 2"):
        run(random(1, 3, 16), k, v, ints(0), ints(0), 1)
