"""The plain-torch int8 backend: the native arithmetic's reference, and what serves without it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from tests.conftest import MakeModel
from tests.tokenspeed.backends.test_cpu import CONFIG, SHAPES, opened
from tests.tokenspeed.steps import whole_sequence
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.backends.torch_int8 import BlockLinear, TorchInt8Backend, dequantized
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.quantize import quantize_int8


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.sampled_from([1, 63, 64, 100, 520]), st.integers(1, 70))
def test_a_product_is_near_the_exact_one_and_knows_no_neighbours(
    rows: int, columns: int, outputs: int
) -> None:
    generator = torch.Generator().manual_seed(rows * columns)
    weight = torch.randn(outputs, columns, generator=generator)
    x = torch.randn(rows, columns, generator=generator)
    q, scale = quantize_int8(weight)
    linear = BlockLinear(q, scale.flatten())
    exact = x.double() @ (q.double() * scale.double()).T
    # Half a step of an activation's rounding for each column, times its weight.
    bound = x.abs().max() / 127 * (q.double() * scale.double()).abs().sum(1)
    assert ((linear(x) - exact).abs() <= bound + 1e-5).all()
    assert torch.equal(linear(x)[-1:], linear(x[-1:]))
    assert linear(x[:0]).shape == (0, outputs), "a step may want no output"


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.sampled_from([1, 63, 64, 100, 520]), st.booleans())
def test_the_finer_form_is_nearer(rows: int, columns: int, takes_rest: bool) -> None:
    generator = torch.Generator().manual_seed(rows * columns)
    weight = torch.randn(30, columns, generator=generator)
    x = torch.randn(rows, columns, generator=generator)
    q, scale = quantize_int8(pad(weight, (0, -columns % 64)).view(-1, 64))
    q = q.view(30, -1)[:, :columns]
    linear = BlockLinear(q, scale.view(30, -1), takes_rest=takes_rest)
    matrix = dequantized(q, scale.view(30, -1).double())
    step = x.abs().max() / 127 / (254 if takes_rest else 1)
    error = (linear(x) - x.double() @ matrix.T).abs()
    assert (error <= step * matrix.abs().sum(1) + 1e-5).all()
    assert torch.equal(linear(x)[-1:], linear(x[-1:]))
    assert len(linear(x[:0])) == 0


@pytest.mark.parametrize("form", ["int8", "int8 by row"])
@pytest.mark.parametrize("changes", SHAPES, ids=lambda c: ",".join(c) or "tiny")
def test_native_and_torch_agree(
    make_model: MakeModel, tmp_path: Path, changes: dict[str, Any], form: str
) -> None:
    checkpoint = opened(make_model(**changes), form, tmp_path)
    step = whole_sequence(np.random.default_rng(3).integers(3, 96, 50).astype(np.int32))
    plain, native = TorchInt8Backend(checkpoint, CONFIG), CpuBackend(checkpoint, CONFIG)
    expected, actual = plain.logits(step), native.logits(step)
    native.close()
    # The parts between products differ in their last bits, which can turn an int8 the other way.
    assert np.abs(actual - expected).max() < 2e-2 * np.abs(expected).max()
    best = np.sort(expected, 1)
    clear = best[:, -1] - best[:, -2] > 2 * np.abs(actual - expected).max()
    assert clear.mean() > 0.5
    assert np.array_equal(actual.argmax(1)[clear], expected.argmax(1)[clear])


def test_a_row_does_not_depend_on_the_width_of_its_step(tiny_model: Path) -> None:
    backend = TorchInt8Backend(open_checkpoint(tiny_model), CONFIG)
    tokens = np.arange(3, 43, dtype=np.int32)
    whole = backend.logits(whole_sequence(tokens))
    for width in (1, 7):
        parts = [
            backend.logits(whole_sequence(tokens[i : i + width], slot=1, start=i))
            for i in range(0, len(tokens), width)
        ]
        assert np.array_equal(np.concatenate(parts), whole)


def test_a_step_of_which_no_row_is_answered_fills_the_slot(tiny_model: Path) -> None:
    """A part of a prompt, where more of it comes."""
    backend = TorchInt8Backend(open_checkpoint(tiny_model), CONFIG)
    tokens = np.arange(3, 43, dtype=np.int32)
    whole = backend.logits(whole_sequence(tokens))
    none = np.zeros(0, np.int32)
    part = replace(
        whole_sequence(tokens[:30], slot=1), outputs=none, drafts=none, biases=none.astype("f4")
    )
    assert backend.step(part).tolist() == []
    rest = backend.logits(whole_sequence(tokens[30:], slot=1, start=30))
    assert np.array_equal(rest, whole[30:])
