"""The projection kernel with residual and prepared norm against plain torch."""

from dataclasses import replace

import pytest
import torch

from tests.tokenspeed.kernels.support import (
    CONFIG,
    DEVICE,
    FORMATS,
    LAUNCH,
    assert_as_exact,
    ints,
    matrix,
    nans,
    plan,
    random,
    random_rows,
)
from tokenspeed.kernels.matrix import pack_float, pack_tiles
from tokenspeed.kernels.norm import HiddenStates
from tokenspeed.kernels.plan import Plan
from tokenspeed.kernels.projection import projection, projection_ref
from tokenspeed.kernels.split_k import split_needs, split_scratch
from tokenspeed.kernels.tile import TileConfig

WIDE = TileConfig(64, 256, 4, 2)  # for the GPU's wide instruction


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("rows", "exist", "n", "k"), [(1, 1, 100, 128), (17, 12, 64, 384), (63, 63, 200, 256)]
)
def test_it_equals_torch(form: str, rows: int, exist: int, n: int, k: int) -> None:
    x, norm = random_rows(form, rows, k, seed=1), random_rows(form, n, seed=2)
    weight = matrix(random(n, k, seed=3) * 0.1, form)
    before = random(rows, n, seed=4, dtype=torch.float32)
    hidden, scaled = before.clone(), nans(rows, n, dtype=x.dtype)
    sums = torch.zeros(rows, dtype=torch.int64, device=DEVICE)
    states = HiddenStates(hidden, scaled, sums)
    projection(x, weight, norm, ints(exist), states, plan=plan(rows))
    table = weight.dequantize()
    refs = projection_ref(x, table.to(x.dtype), before, norm)
    exacts = projection_ref(x.float(), table, before, norm)
    for got, ref, exact in zip((hidden, scaled), refs, exacts, strict=False):
        assert_as_exact(got[:exist], ref[:exist], exact[:exist])
    assert torch.equal(hidden[exist:], before[exist:])
    assert torch.isnan(scaled[exist:]).all()
    # The integer sum belongs to the hidden states that were written, to the last unit.
    assert torch.equal(sums[:exist], projection_sums(hidden[:exist]))
    assert not sums[exist:].any()


def projection_sums(hidden: torch.Tensor) -> torch.Tensor:
    return (hidden.square() * 2.0**32).to(torch.int64).sum(-1)


def test_odd_columns_are_read_to_the_last() -> None:
    x, weight = random(3, 100, seed=1), matrix(random(37, 100, seed=2), "bf16")
    hidden = torch.zeros(3, 37, device=DEVICE)
    sums = torch.zeros(3, dtype=torch.int64, device=DEVICE)
    states = HiddenStates(hidden, nans(3, 37), sums)
    projection(x, weight, random(37), ints(3), states, plan=plan(3))
    exact = x.double() @ weight.data.double().t()
    assert_as_exact(hidden, (x @ weight.data.t()).float(), exact)


@pytest.mark.parametrize("form", ["bf16", "int8"])
@pytest.mark.parametrize("adds", [True, False])
def test_a_bias_is_added_once(form: str, adds: bool) -> None:
    """Also where the product alone is written, for a norm behind the branch."""
    rows, exist, n, k = 5, 4, 100, 512
    x, norm = random_rows(form, rows, k, seed=1), random_rows(form, n)
    bias = random(n, seed=2, dtype=torch.float32)
    weight = replace(matrix(random(n, k, seed=3) * 0.1, form), bias=bias)
    before = random(rows, n, seed=4, dtype=torch.float32)
    hidden, scaled = before.clone(), nans(rows, n, dtype=x.dtype)
    sums = torch.zeros(rows, dtype=torch.int64, device=DEVICE)
    states = HiddenStates(hidden, scaled, sums)
    scratch = split_scratch(*split_needs(64, n, 64, CONFIG, 2), DEVICE)
    how = plan(rows, split_k=2, scratch=scratch)
    projection(x, weight, norm if adds else None, ints(exist), states, plan=how)
    start = before if adds else torch.zeros_like(before)
    table = weight.dequantize()
    ref = projection_ref(x, table.to(x.dtype), start, norm, bias)[0]
    assert_as_exact(
        hidden[:exist], ref[:exist], projection_ref(x.float(), table, start, norm, bias)[0][:exist]
    )
    assert torch.equal(hidden[exist:], before[exist:])
    assert torch.isnan(scaled).all() != adds
    assert sums.any() == adds


def test_a_foreign_input_is_refused() -> None:
    weight = matrix(random(32, 128), "bf16")
    states = HiddenStates(random(1, 32), random(1, 32), ints(0))
    with pytest.raises(ValueError, match="x has 64 columns, expected 128"):
        projection(random(1, 64), weight, random(32), ints(1), states, plan=plan(1))


@pytest.mark.parametrize("form", ["bf16", "int8", "int4"])
@pytest.mark.parametrize(
    ("rows", "n", "k", "config"),
    [(1, 100, 512, CONFIG), (20, 70, 1024, CONFIG), (130, 70, 512, WIDE)],
    ids=["one", "narrow", "wide"],
)
def test_parts_side_by_side_or_in_turn_give_the_same_bits(
    form: str, rows: int, n: int, k: int, config: TileConfig
) -> None:
    """Whatever the height of a tile."""
    x, norm = random_rows(form, rows, k, seed=1), random_rows(form, n, seed=2)
    weight = matrix(random(n, k, seed=3) * 0.1, form)
    before = random(rows, n, seed=4, dtype=torch.float32)
    needs = [split_needs(256, n, height, config, 2) for height in (16, 256)]
    scratch = split_scratch(max(needs)[0], max(tiles for _, tiles in needs), DEVICE)
    results = []
    for shared, height in ((scratch, 16), (None, 64), (scratch, 128), (None, 128), (None, 256)):
        hidden, scaled = before.clone(), nans(rows, n, dtype=x.dtype)
        sums = torch.zeros(rows, dtype=torch.int64, device=DEVICE)
        states = HiddenStates(hidden, scaled, sums)
        how = Plan(height, config, LAUNCH, split_k=2, scratch=shared)
        projection(x, weight, norm, ints(rows), states, plan=how)
        assert not scratch.counters.any()
        results.append((hidden, scaled, sums))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    table = weight.dequantize()
    exact = projection_ref(x.float(), table, before, norm)
    assert_as_exact(results[0][0], projection_ref(x, table.to(x.dtype), before, norm)[0], exact[0])


def test_parts_have_to_be_whole() -> None:
    x, weight = random(1, 768), matrix(random(32, 768), "int4")
    states = HiddenStates(random(1, 32, dtype=torch.float32), random(1, 32), ints(0).long())
    args = x, weight, random(32), ints(1), states
    with pytest.raises(ValueError, match="768 columns cannot be cut into 2 multiples of 256"):
        projection(*args, plan=plan(1, split_k=2))
    small = split_scratch(0, 0, DEVICE)
    with pytest.raises(ValueError, match="scratch has 1 elements, 1 counters, expected 1536, 1"):
        projection(*args, plan=plan(1, split_k=3, scratch=small))


def test_tiles_give_the_same_bits() -> None:
    x, norm, weight = random(3, 256, seed=1), random(128, seed=2), random(128, 256, seed=3)
    results = []
    for data in (weight, pack_tiles(weight)):
        hidden = torch.zeros(3, 128, device=DEVICE)
        sums = torch.zeros(3, dtype=torch.int64, device=DEVICE)
        states = HiddenStates(hidden, nans(3, 128), sums)
        tile = replace(plan(3), config=TileConfig(64, 64, 4, 3))
        projection(x, replace(pack_float(weight), data=data), norm, ints(3), states, plan=tile)
        results.append(hidden)
    assert torch.equal(*results)
    assert (results[0] - x.float() @ weight.float().t()).abs().max() < 0.5
