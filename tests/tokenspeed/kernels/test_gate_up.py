"""The gate and up kernel with its activations against plain torch."""

from dataclasses import replace

import pytest
import torch

from tests.tokenspeed.kernels.support import (
    CONFIG,
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
from tokenspeed.kernels.gate_up import gate_up, gate_up_ref, interleave_gate_up
from tokenspeed.kernels.norm import Scaled, square_sum_ref
from tokenspeed.kernels.split_k import split_needs, split_scratch


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("rows", "exist", "inner", "k"), [(1, 1, 50, 128), (17, 11, 96, 384), (63, 63, 100, 256)]
)
def test_it_equals_torch(form: str, rows: int, exist: int, inner: int, k: int) -> None:
    x = random_rows(form, rows, k, seed=1)
    sums = square_sum_ref(random(rows, k, seed=2, dtype=torch.float32))
    gate, up = random(inner, k, seed=3) * 0.2, random(inner, k, seed=4) * 0.2
    weight = matrix(interleave_gate_up(gate, up), form)
    out = nans(rows, inner, dtype=x.dtype)
    gate_up(Scaled(x, sums), weight, ints(exist), out, eps=EPS, plan=plan(rows))
    table = weight.dequantize()
    ref = gate_up_ref(Scaled(x, sums), table.to(x.dtype), EPS)
    exact = gate_up_ref(Scaled(x.float(), sums), table, EPS)
    assert_as_exact(out[:exist], ref[:exist], exact[:exist])
    assert torch.isnan(out[exist:]).all()


@pytest.mark.parametrize("form", ["bf16", "int4"])
def test_biases_and_gelu_of_rows_that_come_normed(form: str) -> None:
    rows, inner, k = 17, 50, 128
    x, unused = random_rows(form, rows, k, seed=1), torch.zeros(rows, dtype=torch.int64)
    gate, up = random(inner, k, seed=3) * 0.2, random(inner, k, seed=4) * 0.2
    bias = random(2 * inner, seed=5, dtype=torch.float32)
    weight = replace(matrix(interleave_gate_up(gate, up), form), bias=bias)
    out, scaled = nans(rows, inner, dtype=x.dtype), Scaled(x, unused.to(x.device))
    gate_up(scaled, weight, ints(rows), out, eps=None, plan=plan(rows), activation="gelu_tanh")
    table, wide = weight.dequantize(), scaled._replace(states=x.float())
    ref = gate_up_ref(scaled, table.to(x.dtype), None, bias, "gelu_tanh")
    exact = gate_up_ref(wide, table, None, bias, "gelu_tanh")
    assert_as_exact(out, ref, exact)
    for other in (gate_up_ref(wide, table, None, bias), gate_up_ref(wide, table, None)):
        assert (other - exact).abs().max() > 0.1


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("block_k", [128, 256])
def test_parts_side_by_side_or_in_turn_give_the_same_bits(form: str, block_k: int) -> None:
    rows, exist, inner, k, parts = 17, 15, 50, 512, 2
    x, sums = random_rows(form, rows, k, seed=1), square_sum_ref(random(rows, k, seed=2).float())
    gate, up = random(inner, k, seed=3) * 0.2, random(inner, k, seed=4) * 0.2
    bias = random(2 * inner, seed=5, dtype=torch.float32)
    weight = replace(matrix(interleave_gate_up(gate, up), form), bias=bias)
    config = replace(CONFIG, block_k=block_k)
    scratch = split_scratch(*split_needs(rows, 2 * inner, 16, config, parts), DEVICE)
    found: list[torch.Tensor] = []
    for height, shared in ((16, None), (16, scratch), (32, None)):
        out, how = nans(rows, inner, dtype=x.dtype), plan(height, config, split_k=parts)
        how = replace(how, scratch=shared)
        gate_up(Scaled(x, sums), weight, ints(exist), out, eps=EPS, plan=how)
        assert torch.isnan(out[exist:]).all()
        found.append(out[:exist])
    assert all(torch.equal(found[0], each) for each in found[1:])
    table = weight.dequantize()
    ref = gate_up_ref(Scaled(x, sums), table.to(x.dtype), EPS, bias)
    exact = gate_up_ref(Scaled(x.float(), sums), table, EPS, bias)
    assert_as_exact(found[0], ref[:exist], exact[:exist])


def test_parts_that_k_cannot_be_cut_into_are_refused() -> None:
    weight = matrix(random(32, 128), "int8")
    scaled = Scaled(random_rows("int8", 1, 128), torch.zeros(1, dtype=torch.int64, device=DEVICE))
    out = nans(1, 16, dtype=scaled.states.dtype)
    with pytest.raises(ValueError, match="128 columns cannot be cut into 4"):
        gate_up(scaled, weight, ints(1), out, eps=EPS, plan=plan(1, split_k=4))
