"""A model of any width can be written."""

import json
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


def test_a_model_says_in_which_languages_it_can_be_asked_how_to_address(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocabulary.model"
    vocabulary.write_bytes(b"pieces")
    config, weights = FAMILIES["llama"](TINY), {"model.norm.weight": torch.ones(32)}
    sections = []
    for name, asked in (("without", ()), ("with", ("de",))):
        export_model(tmp_path / name, config, weights, vocabulary, ["de"], formality=asked)
        raw = json.loads((tmp_path / name / "config.json").read_text(encoding="utf-8"))
        sections.append(raw["tokenspeed"])
    assert "formality" not in sections[0]
    assert sections[1] == {**sections[0], "formality": ["de"]}
