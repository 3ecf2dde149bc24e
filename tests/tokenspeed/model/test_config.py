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
