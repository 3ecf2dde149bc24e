"""The shapes that are measured by name."""

import pytest

from tokenspeed.bench.engines.shapes import SHAPES, named_shape, step_weights
from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.config import DEFAULT_MODEL
from tokenspeed.model.families import load_model_config


def test_a_step_reads_the_weights_that_the_models_are_named_after() -> None:
    assert 7.4e9 < step_weights(SHAPES["llama-3-8b"]) < 7.6e9  # 8.03e9 less the embedding
    assert 1.2e9 < step_weights(SHAPES["llama-3.2-1b"]) < 1.25e9
    assert 8.5e9 < step_weights(SHAPES["eurollm-9b"]) < 8.8e9  # 9.15e9 less the embedding
    assert 7.4e9 < step_weights(SHAPES["qwen3-8b"]) < 7.7e9
    assert 3.8e9 < step_weights(SHAPES["gemma-3-4b"]) < 4e9
    assert 11.6e9 < step_weights(SHAPES["gemma-3-12b"]) < 12e9
    assert 7.4e9 < step_weights(SHAPES["hunyuan-mt-7b"]) < 7.6e9
    assert 37e6 < step_weights(SHAPES["default-38m"]) < 39e6
    assert 40e6 < step_weights(SHAPES["default-40m"]) < 41e6


def test_the_default_shape_is_that_of_the_shipped_model() -> None:
    shipped, named = load_model_config(DEFAULT_MODEL), SHAPES["default-40m"]
    for name in (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_layers",
        "num_heads",
        "num_kv_heads",
        "head_dim",
        "tie_word_embeddings",
    ):
        assert getattr(shipped, name) == getattr(named, name), name


def test_an_unknown_shape_is_named_with_those_that_there_are() -> None:
    with pytest.raises(BackendUnavailable, match="shape is 'llama-9', known: llama-3-8b"):
        named_shape("llama-9")
