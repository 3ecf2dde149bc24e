"""Which part of each tensor a rank has: disjoint parts, whole together."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import MakeModel
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import ModelConfig
from tokenspeed.model.quantized import write_quantized
from tokenspeed.model.sharding import WHOLE, Shard
from tokenspeed.model.weights import EMBEDDING, HEAD, layer_shapes, layer_weight

MODEL = ModelConfig(
    vocab_size=97, hidden_size=64, intermediate_size=256, num_layers=1, num_heads=8,
    num_kv_heads=4, head_dim=16,
)  # fmt: skip


@given(st.integers(1, 500), st.integers(1, 16))
def test_each_token_of_the_head_has_one_rank(vocab_size: int, ranks: int) -> None:
    parts = [Shard(rank, ranks).tokens(vocab_size) for rank in range(ranks)]
    tokens = [token for part in parts for token in range(part.start, part.stop)]
    assert tokens == list(range(vocab_size))


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_parts_of_a_tensor_are_the_shapes_of_a_rank(ranks: int) -> None:
    for rank in range(ranks):
        shard = Shard(rank, ranks)
        wanted = layer_shapes(shard.config(MODEL))
        for part, shape in layer_shapes(MODEL).items():
            places = shard.part(layer_weight(0, part), shape)
            assert tuple(p.stop - p.start for p in places) == wanted[part]
    assert WHOLE.config(MODEL) == MODEL


def test_what_is_read_of_a_matrix_is_its_part(make_model: MakeModel, tmp_path: Path) -> None:
    stored = make_model(hidden_size=128, intermediate_size=512, head_dim=32)
    for bits in (0, 8, 4):
        directory = stored
        if bits:
            directory = tmp_path / str(bits)
            write_quantized(stored, directory, bits)
        whole = open_checkpoint(directory)
        ranks = [whole.part(Shard(rank, 2)) for rank in range(2)]
        for part, dim in (("mlp.up_proj", 0), ("mlp.down_proj", 1), ("self_attn.k_proj", 0)):
            name = layer_weight(1, part)
            parts = [rank.weight(name) for rank in ranks]
            assert torch.equal(torch.cat(parts, dim), whole.weight(name))
            assert parts[0].shape == parts[1].shape
        for name in (EMBEDDING, layer_weight(0, "input_layernorm")):
            assert torch.equal(ranks[1].weight(name), whole.weight(name))


def test_what_cannot_be_cut_is_named() -> None:
    with pytest.raises(ValueError, match="num_kv_heads is 4, which 8 GPUs cannot share evenly"):
        Shard(0, 8).config(MODEL)
    with pytest.raises(ValueError, match="q_proj.weight: 6 cannot be cut into 4 equal parts"):
        Shard(0, 4).part(layer_weight(0, "self_attn.q_proj"), (6, 8))
    assert Shard(1, 2).part(HEAD, (97, 64)) == (slice(49, 97), slice(0, 64))
    # A scale of each row of a matrix that is cut by columns belongs to all of them.
    down = layer_weight(0, "mlp.down_proj")
    assert Shard(1, 2).part(f"{down}_scale", (64, 1)) == (slice(0, 64), slice(0, 1))
    assert Shard(1, 2).part(f"{down}_packed", (64, 32)) == (slice(0, 64), slice(16, 32))
