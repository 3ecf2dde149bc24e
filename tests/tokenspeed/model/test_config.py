"""config.json: both ways of writing it, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY
from tokenspeed.errors import CheckpointError
from tokenspeed.model.config import DEFAULT_MODEL, ModelConfig, RopeScaling, load_model_config

SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def load(directory: Path, **changes: Any) -> ModelConfig:
    raw = {name: value for name, value in (TINY | changes).items() if value is not None}
    (directory / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    return load_model_config(directory)


def test_old_and_new_transformers_say_the_same(tmp_path: Path) -> None:
    old = load(tmp_path, rope_theta=5e5, rope_scaling=SCALING)
    new = load(tmp_path, rope_theta=None, rope_parameters={"rope_theta": 5e5, **SCALING})
    assert old == new
    assert old.rope_theta == 5e5
    assert old.rope_scaling == RopeScaling(8.0, 1.0, 4.0, 8192)


def test_what_is_left_out_follows_from_the_rest(tmp_path: Path) -> None:
    found = load(tmp_path, head_dim=None, num_key_value_heads=None, eos_token_id=[2, 5])
    assert (found.head_dim, found.num_kv_heads) == (8, 4)
    assert found.eos_token_ids == (2, 5)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba', supported: "),
        ({"hidden_size": None}, "field 'hidden_size' is missing"),
        ({"attention_bias": True}, "attention_bias is True, only False is supported"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_type is 'yarn'"),
        ({"num_key_value_heads": 3}, r"num_heads is 4, expected a multiple of num_kv_heads \(3\)"),
        ({"head_dim": 7}, "head_dim is 7, expected an even number"),
        ({"model_type": ["llama"]}, r"model_type is \['llama'\], supported: "),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1, expected a whole number from 1 on"),
        ({"hidden_size": 0}, "hidden_size is 0, expected a whole number from 1 on"),
        ({"num_key_value_heads": 0}, "num_key_value_heads is 0, expected a whole number"),
        ({"vocab_size": "a"}, "vocab_size is 'a', expected a whole number"),
        ({"vocab_size": True}, "vocab_size is True, expected a whole number"),
        ({"intermediate_size": 1.5}, "intermediate_size is 1.5, expected a whole number"),
        ({"rope_theta": "a"}, "rope_theta is 'a', expected a number above 0"),
        ({"rope_theta": float("nan")}, "rope_theta is nan, expected a number above 0"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0, expected a number above 0"),
        ({"rope_scaling": 5}, "rope_scaling is 5, expected an object"),
        ({"rope_scaling": SCALING | {"factor": None}}, "factor is None, expected a number"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no', expected true or false"),
        ({"eos_token_id": [2, None]}, "eos_token_id is None, expected a whole number from 0 on"),
        ({"bos_token_id": -1}, "bos_token_id is -1, expected a whole number from 0 on"),
    ],
)
def test_what_cannot_run_is_named(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem):
        load(tmp_path, **changes)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not found"):
        load_model_config(tmp_path)
    for text, problem in (("{", "not readable as JSON"), ("[]", "expected a JSON object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=problem):
            load_model_config(tmp_path)


def test_the_shipped_model_can_be_read() -> None:
    assert load_model_config(DEFAULT_MODEL).num_layers > 0


def test_a_null_end_mark_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY | {"eos_token_id": None}))
    with pytest.raises(CheckpointError, match="eos_token_id is None"):
        load_model_config(tmp_path)


def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        load_model_config(tmp_path)
