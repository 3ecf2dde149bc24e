"""Attention over slots against plain torch, and short steps against long ones."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tokenspeed.kernels.support import DEVICE, LAUNCH, assert_as_exact, ints, nans, random
from tokenspeed.kernels.attention import (
    TILE_TOKENS,
    Tiles,
    attention,
    attention_ref,
    attention_scratch,
)
from tokenspeed.kernels.slots import Cache, Places

KV_HEADS = 2


def run(q: Tensor, cache: Cache, places: Places, tile_tokens: int, **more: float) -> Tensor:
    out = nans(*q.shape)
    runs = tiles(places.slots, tile_tokens)
    _, kv_heads, length, head_dim = cache.k.shape
    scratch = attention_scratch(len(q), q.shape[1], kv_heads, head_dim, length, DEVICE)
    how: dict[str, Any] = {"tile_tokens": tile_tokens, "max_tiles": len(runs.starts) + 2} | more
    attention(q, cache, places, runs, scratch, out, **how, launch=LAUNCH)
    assert not scratch.counters.any()
    return out


def tiles(slots: Tensor, tile_tokens: int) -> Tiles:
    starts: list[int] = []
    counts: list[int] = []
    for row, slot in enumerate(slots.tolist()):
        if starts and counts[-1] < tile_tokens and slots[starts[-1]] == slot:
            counts[-1] += 1
        else:
            starts.append(row)
            counts.append(1)
    return Tiles(ints(*starts), ints(*counts), ints(len(starts)))


def filled(length: int, head_dim: int, used: list[int]) -> Cache:
    """Slots filled up to `used` positions; NaN behind."""
    k = random(len(used), KV_HEADS, length, head_dim, seed=5)
    v = random(len(used), KV_HEADS, length, head_dim, seed=6)
    for slot, count in enumerate(used):
        k[slot, :, count:] = float("nan")
        v[slot, :, count:] = float("nan")
    return Cache(k, v)


def exactly(q: Tensor, cache: Cache, places: Places, **more: float) -> Tensor:
    return attention_ref(q.double(), Cache(cache.k.double(), cache.v.double()), places, **more)


@pytest.mark.parametrize("group", [1, 3, 4])
@pytest.mark.parametrize("head_dim", [8, 64])
def test_short_steps_equal_torch(group: int, head_dim: int) -> None:
    cache = filled(300, head_dim, [300, 129, 1])
    places = Places(ints(0, 0, 1, 2, 0), ints(0, 63, 128, 0, 299))
    q = random(5, KV_HEADS * group, head_dim)
    out = run(q, cache, places, 1)
    assert_as_exact(out, attention_ref(q, cache, places), exactly(q, cache, places))


def test_a_tile_gives_each_row_the_bits_of_a_row_alone() -> None:
    cache = filled(200, 16, [200, 40])
    places = Places(ints(*[0] * 21, *[1] * 3), ints(*range(115, 136), 37, 38, 39))
    q = random(24, KV_HEADS * 2, 16)
    alone = run(q, cache, places, 1)
    assert torch.equal(run(q, cache, places, TILE_TOKENS), alone)
    assert_as_exact(alone, attention_ref(q, cache, places), exactly(q, cache, places))


def test_scores_are_scaled_and_capped() -> None:
    cache = filled(200, 16, [200, 40])
    places = Places(ints(*[0] * 5, *[1] * 3), ints(*range(131, 136), 37, 38, 39))
    q = random(8, KV_HEADS * 2, 16)
    for more in ({"scale": 0.9}, {"softcap": 2.0}, {"scale": 0.9, "softcap": 2.0}):
        alone, exact = run(q, cache, places, 1, **more), exactly(q, cache, places, **more)
        assert torch.equal(run(q, cache, places, TILE_TOKENS, **more), alone)
        assert_as_exact(alone, attention_ref(q, cache, places, **more), exact)
        assert (exactly(q, cache, places) - exact).abs().max() > 0.1


def test_heads_wider_than_128_take_shorter_steps_to_the_same_bits() -> None:
    cache = filled(60, 200, [60])
    q, places = random(6, KV_HEADS, 200), Places(ints(*[0] * 6), ints(*range(40, 46)))
    alone = run(q, cache, places, 1)
    assert torch.equal(run(q, cache, places, TILE_TOKENS), alone)
    assert_as_exact(alone, attention_ref(q, cache, places), exactly(q, cache, places))


def test_heads_have_to_share_kv_heads_evenly() -> None:
    cache = filled(16, 16, [1])
    with pytest.raises(ValueError, match="q has 3 heads, expected a multiple of 2"):
        run(random(1, 3, 16), cache, Places(ints(0), ints(0)), 1)
