"""The table of tensors: what transformers has, what the model has, and nothing twice."""

from dataclasses import replace

import pytest

from tests.lazily import Lazily
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.model.llama import Llama
from tokenspeed.model.weights import FUSED, fused_shape, layer_shapes, weight_shapes

transformers = Lazily("transformers")

CONFIG = replace(
    SHAPES["llama-3.2-1b"],
    vocab_size=90,
    hidden_size=48,
    intermediate_size=100,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
)


@pytest.mark.parametrize("tied", [True, False])
def test_it_is_what_transformers_and_the_model_hold(tied: bool) -> None:
    config = replace(CONFIG, tie_word_embeddings=tied)
    peer = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            tie_word_embeddings=tied,
        )
    )
    for model in (peer, Llama(config)):
        held = {name: tuple(p.shape) for name, p in model.named_parameters()}
        assert held == weight_shapes(config)


def test_every_matrix_of_a_layer_is_run_once_and_in_order() -> None:
    shapes = layer_shapes(CONFIG)
    matrices = [part for part, shape in shapes.items() if len(shape) == 2]
    assert [part for parts in FUSED.values() for part in parts] == matrices
    for matrix, parts in FUSED.items():
        assert len({shapes[part][1] for part in parts}) == 1  # they read the same input
        assert fused_shape(CONFIG, matrix)[0] == sum(shapes[part][0] for part in parts)
