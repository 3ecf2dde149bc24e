"""Frequencies of every kind against transformers' own functions."""

import math
from typing import Any

import pytest
import torch

from tests.lazily import Lazily
from tokenspeed.model.rope import (
    Rope,
    longrope_attention_factor,
    rope_factor,
    rope_frequencies,
    rotated_first,
    yarn_attention_factor,
)

transformers = Lazily("transformers")

DIM = 32


def peer(length: int | None, **words: Any) -> tuple[torch.Tensor, float]:
    config = transformers.LlamaConfig(
        hidden_size=2 * DIM,
        num_attention_heads=2,
        head_dim=DIM,
        max_position_embeddings=256,
        rope_parameters={"rope_theta": 1e4} | words,
    )
    functions = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS
    frequencies, factor = functions[words["rope_type"]](config, "cpu", seq_len=length)
    return frequencies, float(factor)


SHORT, LONG = [1.0 + i / 16 for i in range(16)], [2.0 + i for i in range(16)]


@pytest.mark.parametrize(
    ("rope", "words"),
    [
        (Rope(kind="linear", factor=3.0), {"factor": 3.0}),
        (Rope(kind="dynamic", factor=2.0, original=256), {"factor": 2.0}),
        (
            Rope(kind="llama3", factor=8.0, original=64),
            {
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        ),
        (
            Rope(kind="yarn", factor=4.0, original=64, high=32.0, attention_factor=1.25),
            {"factor": 4.0, "original_max_position_embeddings": 64, "attention_factor": 1.25},
        ),
        (
            Rope(
                kind="longrope",
                factor=4.0,
                original=64,
                attention_factor=1.1,
                short_factors=tuple(SHORT),
                long_factors=tuple(LONG),
            ),
            {
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "attention_factor": 1.1,
                "short_factor": SHORT,
                "long_factor": LONG,
            },
        ),
    ],
)
@pytest.mark.parametrize("length", [64, 256, 1000])
def test_frequencies_are_those_of_transformers(
    rope: Rope, words: dict[str, Any], length: int
) -> None:
    expected, factor = peer(length, rope_type=rope.kind, **words)
    torch.testing.assert_close(rope_frequencies(rope, DIM, length), expected)
    assert rope_factor(rope) == pytest.approx(factor)


@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_factors_that_a_config_leaves_out(factor: float) -> None:
    words = {"factor": factor, "original_max_position_embeddings": 64}
    _, yarn = peer(None, rope_type="yarn", **words)
    assert yarn_attention_factor(factor) == pytest.approx(yarn)
    _, yarn = peer(None, rope_type="yarn", mscale=0.7, mscale_all_dim=0.4, **words)
    assert yarn_attention_factor(factor, 0.7, 0.4) == pytest.approx(yarn)
    more = {"short_factor": SHORT, "long_factor": LONG}
    _, longrope = peer(None, rope_type="longrope", **words, **more)
    assert longrope_attention_factor(factor, 64) == pytest.approx(longrope)


def test_a_layer_without_rotation_has_no_angles() -> None:
    assert not rope_frequencies(Rope(kind="none"), DIM, 64).any()
    assert rope_factor(Rope(kind="none", attention_factor=2.0)) == 1.0


def test_alpha_stretches_the_base() -> None:
    stretched = rope_frequencies(Rope(kind="alpha", factor=50.0), DIM, 64)
    base = 1e4 * 50 ** (DIM / (DIM - 2))
    assert stretched[1].item() == pytest.approx(math.pow(base, -2 / DIM))


def test_a_part_of_a_head_is_rotated_as_its_first_dimensions() -> None:
    """Scores of heads in another order, rotated by pairs (i, i + d / 2), are the same."""
    dim, partial = DIM, 12
    frequencies = rope_frequencies(Rope(dim=partial), dim, 64)
    order = rotated_first(dim, partial)
    assert sorted(order.tolist()) == list(range(dim))
    x, angle = torch.randn(dim, generator=torch.Generator().manual_seed(0)), 3.0
    part = x[:partial] * 1
    cos, sin = (
        (angle * frequencies[: partial // 2]).cos(),
        (angle * frequencies[: partial // 2]).sin(),
    )
    a, b = part.chunk(2)
    expected = torch.cat((a * cos - b * sin, b * cos + a * sin, x[partial:]))
    cos, sin = (angle * frequencies).cos(), (angle * frequencies).sin()
    a, b = x[order].chunk(2)
    torch.testing.assert_close(torch.cat((a * cos - b * sin, b * cos + a * sin)), expected[order])


@pytest.mark.parametrize(
    ("words", "problem"),
    [({"kind": "axial"}, "rope is 'axial', expected default"), ({"dim": 3}, "an even number")],
)
def test_what_is_no_rotation_is_refused(words: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Rope(**words)
