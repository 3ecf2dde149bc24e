"""Norm and rotation of heads against plain torch, in both orders and both widths."""

import pytest
import torch

from tests.tokenspeed.kernels.support import (
    DEVICE,
    EPS,
    LAUNCH,
    assert_as_exact,
    ints,
    matrix,
    nans,
    plan,
    random,
    random_rows,
)
from tokenspeed.kernels.head_norm import head_norm, head_norm_ref
from tokenspeed.kernels.norm import Scaled, square_sum_ref
from tokenspeed.kernels.qkv import Rotation, interleave_heads, qkv, qkv_ref
from tokenspeed.kernels.slots import Cache, Places

HEADS, KV_HEADS, LENGTH, SLOTS = 3, 2, 20, 3


def inputs(rows: int, head_dim: int) -> tuple[torch.Tensor, torch.Tensor, Rotation, Places]:
    raw = random(rows, HEADS + KV_HEADS, head_dim, seed=1, dtype=torch.float32) * 3
    norms = random((HEADS + KV_HEADS) * head_dim, seed=2, dtype=torch.float32)
    angles = torch.arange(LENGTH)[:, None] * torch.rand(head_dim // 2)
    slots, positions = torch.arange(rows) % SLOTS, torch.arange(rows) // SLOTS + 3
    places = Places(slots.int().to(DEVICE), positions.int().to(DEVICE))
    return raw, norms, Rotation(angles.cos().to(DEVICE), angles.sin().to(DEVICE)), places


@pytest.mark.parametrize("kind", ["head", "width"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("rows", "exist", "head_dim"), [(1, 1, 8), (5, 4, 24)])
def test_it_equals_torch(kind: str, after: bool, rows: int, exist: int, head_dim: int) -> None:
    raw, norms, rotation, places = inputs(rows, head_dim)
    shape = (SLOTS, KV_HEADS, LENGTH, head_dim)
    k, v, q = nans(*shape), nans(*shape), nans(rows, HEADS, head_dim)
    cache = Cache(k, v)
    args = raw, norms, rotation, places, ints(exist), q, cache
    head_norm(*args, eps=EPS, kind=kind, after=after, launch=LAUNCH)

    def reference(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        kept = Cache(nans(*shape, dtype=dtype), nans(*shape, dtype=dtype))
        at = Places(*(place[:exist] for place in places))
        start = raw[:exist], norms, rotation, at, kept
        return head_norm_ref(*start, eps=EPS, kind=kind, after=after), kept.k

    ref, exact = reference(torch.bfloat16), reference(torch.float64)
    assert_as_exact(q[:exist], ref[0], exact[0])
    assert torch.isnan(q[exist:]).all()
    written = torch.isfinite(exact[1])
    assert_as_exact(k[written], ref[1][written], exact[1][written])
    assert torch.isnan(k[~written]).all()
    assert torch.isnan(v).all()
    other = reference(torch.float64) if kind == "head" else None
    if other is not None:  # the two orders and the two widths differ
        kept = Cache(*torch.zeros(2, *shape, dtype=torch.float64, device=DEVICE))
        start = raw, norms, rotation, places, kept
        swapped = head_norm_ref(*start, eps=EPS, kind=kind, after=not after)
        assert (swapped[:exist] - exact[0]).abs().max() > 0.1


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_what_it_reads_is_what_the_projection_leaves(form: str) -> None:
    rows, hidden, head_dim = 5, 128, 16
    x = random_rows(form, rows, hidden, seed=1)
    sums = square_sum_ref(random(rows, hidden, seed=2, dtype=torch.float32))
    width = (HEADS + 2 * KV_HEADS) * head_dim
    weight = matrix(interleave_heads(random(width, hidden, seed=3) * 0.1, head_dim), form)
    _, _, rotation, places = inputs(rows, head_dim)
    shape = (SLOTS, KV_HEADS, LENGTH, head_dim)
    raw, k, v = nans(rows, HEADS + KV_HEADS, head_dim, dtype=torch.float32), *nans(2, *shape)
    args = Scaled(x, sums), weight, rotation, places, ints(rows), raw, Cache(k, v)
    qkv(*args, eps=EPS, plan=plan(rows), is_raw=True)
    still = Rotation(torch.ones_like(rotation.cos), torch.zeros_like(rotation.sin))
    kept = Cache(*nans(2, *shape, dtype=torch.float32))
    exact = qkv_ref(Scaled(x.float(), sums), weight.dequantize(), still, places, kept, EPS)
    assert (raw[:, :HEADS] - exact).abs().max() < 1e-4
    assert (raw[:, HEADS:] - kept.k[places.slots, :, places.positions]).abs().max() < 1e-4
    written = torch.isfinite(kept.v)
    assert (v[written].float() - kept.v[written]).abs().max() < 2e-2
    assert torch.isnan(k).all()
