"""The fused q, k, v kernel against plain torch."""

from dataclasses import replace

import pytest
import torch

from tests.tokenspeed.kernels.support import (
    DEVICE,
    EPS,
    FORMATS,
    assert_as_exact,
    ints,
    matrix,
    nans,
    plan,
    random,
    random_rows,
)
from tokenspeed.kernels.norm import Scaled, square_sum_ref
from tokenspeed.kernels.qkv import Rotation, interleave_heads, qkv, qkv_ref
from tokenspeed.kernels.slots import Cache, Places

HEADS, KV_HEADS, LENGTH, SLOTS = 4, 2, 40, 3


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("rows", "exist", "hidden", "head_dim", "has_bias"),
    [(1, 1, 128, 16, False), (17, 13, 256, 32, True), (63, 63, 384, 8, False)],
)
def test_it_equals_torch(
    form: str, rows: int, exist: int, hidden: int, head_dim: int, has_bias: bool
) -> None:
    x = random_rows(form, rows, hidden, seed=1)
    sums = square_sum_ref(random(rows, hidden, seed=2, dtype=torch.float32))
    width = (HEADS + 2 * KV_HEADS) * head_dim
    weight = matrix(interleave_heads(random(width, hidden, seed=3) * 0.1, head_dim), form)
    bias = random(width, seed=4, dtype=torch.float32) if has_bias else None
    weight = replace(weight, bias=bias)
    angles = torch.arange(LENGTH)[:, None] * torch.rand(head_dim // 2)
    cos, sin = angles.cos().to(DEVICE), angles.sin().to(DEVICE)
    slots, positions = torch.arange(rows) % SLOTS, torch.arange(rows) // SLOTS
    places = Places(slots.int().to(DEVICE), positions.int().to(DEVICE))
    cache = (SLOTS, KV_HEADS, LENGTH, head_dim)
    q = nans(rows, HEADS, head_dim, dtype=x.dtype)
    k, v = (nans(*cache, dtype=x.dtype) for _ in range(2))
    rotation = Rotation(cos, sin)
    args = Scaled(x, sums), weight, rotation, places, ints(exist), q, Cache(k, v)
    qkv(*args, eps=EPS, plan=plan(rows))

    def reference(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        k, v = nans(*cache, dtype=dtype), nans(*cache, dtype=dtype)
        table = weight.dequantize().to(dtype)
        at = Places(slots[:exist].to(DEVICE), positions[:exist].to(DEVICE))
        rows = Scaled(x[:exist].to(dtype), sums[:exist])
        q = qkv_ref(rows, table, rotation, at, Cache(k, v), EPS, bias)
        return q, k, v

    refs, exacts = reference(x.dtype), reference(torch.float32)
    assert_as_exact(q[:exist], refs[0], exacts[0])
    assert torch.isnan(q[exist:]).all()
    for got, ref, exact in zip((k, v), refs[1:], exacts[1:], strict=True):
        written = torch.isfinite(exact)
        assert_as_exact(got[written], ref[written], exact[written])
        assert torch.isnan(got[~written]).all()
