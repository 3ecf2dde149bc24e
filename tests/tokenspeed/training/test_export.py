"""A model of any width can be written."""

from pathlib import Path

import torch

from tests.conftest import TINY
from tokenspeed.model.families import FAMILIES
from tokenspeed.model.shards import MAX_SHARD_BYTES
from tokenspeed.training.export import export_model


def test_an_embedding_larger_than_a_shipped_shard_is_written(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocabulary.model"
    vocabulary.write_bytes(b"pieces")
    weights = {"model.embed_tokens.weight": torch.zeros(16000, 1024)}
    export_model(tmp_path / "model", FAMILIES["llama"](TINY), weights, vocabulary, ["de"])
    (written,) = (tmp_path / "model").glob("*.safetensors")
    assert written.stat().st_size > 2 * 16000 * 1024 > MAX_SHARD_BYTES
    assert (tmp_path / "model" / "tokenizer.model").read_bytes() == b"pieces"
