"""A model's shape is sound, names its switches, and says which slots it can fill."""

from dataclasses import replace
from typing import Any

import pytest

from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.config import EngineConfig, ModelConfig
from tokenspeed.model.rope import Rope

MODEL = ModelConfig(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=64,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"num_kv_heads": 3}, "num_heads is 4, expected a multiple of"),
        ({"head_dim": 5}, "head_dim is 5, expected an even number"),
        ({"layer_ropes": (0,)}, "1 layers are described, expected 3"),
    ],
)
def test_an_impossible_shape_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(MODEL, **changes)


def test_only_what_is_switched_on_is_a_switch() -> None:
    assert MODEL.switches == ()
    assert replace(MODEL, window=9, ropes=(Rope(5e5),), attention_scale=0.1).switches == ()
    assert replace(MODEL, qk_norm="head", biases=("qkv",)).switches == ("biases", "qk_norm")


def test_a_layer_takes_its_rope() -> None:
    assert [MODEL.rope_of(i) for i in range(3)] == [0, 0, 0]
    mixed = replace(MODEL, ropes=(Rope(), Rope(kind="none")), layer_ropes=(1, 0, 1))
    assert [mixed.rope_of(i) for i in range(3)] == [1, 0, 1]
    assert mixed.rope == Rope()


def test_scores_are_scaled_by_the_head_unless_told_otherwise() -> None:
    assert MODEL.score_scale == 8**-0.5
    assert replace(MODEL, attention_scale=0.25).score_scale == 0.25


def test_a_window_must_hold_a_slot() -> None:
    EngineConfig(max_length=512).check(MODEL)
    EngineConfig(max_length=512).check(replace(MODEL, window=512))
    with pytest.raises(BackendUnavailable, match="slots have 512 positions, .* see 511 at most"):
        EngineConfig(max_length=512).check(replace(MODEL, window=511))
