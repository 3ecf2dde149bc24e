"""The shapes that are measured by name."""

import pytest

from tokenspeed.bench.engines.shapes import SHAPES, named_shape, part_of, step_weights
from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.config import DEFAULT_MODEL
from tokenspeed.model.families import load_model_config
from tokenspeed.model.weights import fused_shape


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


def test_a_part_of_a_shape_is_what_a_gpu_has_of_it() -> None:
    assert part_of("llama-3-70b", 1) == SHAPES["llama-3-70b"]
    half = part_of("llama-3-70b", 2)
    found = {kernel: fused_shape(half, kernel) for kernel in ("qkv", "out", "down", "head")}
    assert found == {
        "qkv": (5120, 8192),
        "out": (8192, 4096),
        "down": (8192, 14336),
        "head": (64128, 8192),
    }
    with pytest.raises(BackendUnavailable, match="num_heads is 64, which 3 GPUs cannot share"):
        part_of("llama-3-70b", 3)
