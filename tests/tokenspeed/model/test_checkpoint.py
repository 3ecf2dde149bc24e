"""Whole directories load; damaged, truncated and foreign ones say what is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MakeModel
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.errors import CheckpointError
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.quantize import dequantize_int8, quantize_int8

LAYER = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def model(make_model: MakeModel, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(make_model(), tmp_path / "model"))


def change_config(model: Path, **changes: Any) -> None:
    path = model / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def change_tensors(model: Path, **changes: torch.Tensor | None) -> None:
    path = model / "model.safetensors"
    tensors = load_file(path)
    for name, tensor in changes.items():
        tensors.pop(name, None)
        if tensor is not None:
            tensors[name] = tensor
    save_file(tensors, path)


def test_every_tensor_is_there(model: Path) -> None:
    checkpoint = open_checkpoint(model)
    assert checkpoint.weight(LAYER).shape == (64, 32)
    assert checkpoint.weight(LAYER).dtype == torch.float32


def test_shards_are_found_through_the_index(model: Path) -> None:
    whole = load_file(model / "model.safetensors")
    names = sorted(whole)
    parts = {"a.safetensors": names[:7], "b.safetensors": names[7:]}
    for file, members in parts.items():
        save_file({name: whole[name] for name in members}, model / file)
    index = {"weight_map": {name: file for file, members in parts.items() for name in members}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    (model / "model.safetensors").unlink()
    checkpoint = open_checkpoint(model)
    assert all(torch.equal(checkpoint.weight(name), whole[name]) for name in names)


def test_int8_matrices_are_dequantised(model: Path) -> None:
    weight = load_file(model / "model.safetensors")[LAYER]
    q, scale = quantize_int8(weight)
    change_tensors(model, **{LAYER: q, f"{LAYER}_scale": scale})
    assert torch.equal(open_checkpoint(model).weight(LAYER), dequantize_int8(q, scale))
    assert (dequantize_int8(q, scale) - weight).abs().max() <= scale.max() / 2 * 1.001


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: not found"):
        open_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba', supported: llama"),
        ({"hidden_size": None}, "field 'hidden_size' is missing"),
        ({"num_attention_heads": 3}, "num_heads is 3, expected a multiple of"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', only 'silu'"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_type is 'yarn'"),
        ({"attention_bias": True}, "attention_bias is True"),
    ],
)
def test_a_foreign_configuration_is_refused(
    model: Path, changes: dict[str, Any], message: str
) -> None:
    change_config(model, **changes)
    with pytest.raises(CheckpointError, match="config.json") as caught:
        open_checkpoint(model)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "\0"])
def test_a_broken_configuration_is_refused(model: Path, text: str) -> None:
    (model / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="config.json"):
        open_checkpoint(model)


@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
def test_a_truncated_file_is_named(model: Path, keep: int) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="damaged or cut short") as caught:
        open_checkpoint(model)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (None, "is missing"),
        (torch.zeros(3, 4), r"has shape \(3, 4\), expected \(64, 32\)"),
        (torch.zeros(64, 32, dtype=torch.int32), "has dtype I32, supported"),
        (torch.zeros(64, 32, dtype=torch.int8), "is int8 but has no scale"),
    ],
)
def test_a_wrong_tensor_is_named(model: Path, tensor: torch.Tensor | None, message: str) -> None:
    change_tensors(model, **{LAYER: tensor})
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(model)
    assert caught.value.tensor in (LAYER, f"{LAYER}_scale")


def test_not_a_number_is_refused_when_it_is_read(model: Path) -> None:
    change_tensors(model, **{LAYER: torch.full((64, 32), torch.nan)})
    with pytest.raises(CheckpointError, match="holds NaN or infinity"):
        ReferenceBackend(open_checkpoint(model), EngineConfig(num_slots=1, max_length=16))


def test_a_file_that_the_index_names_must_be_there(model: Path) -> None:
    index = {"weight_map": {LAYER: "lost.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="lost.safetensors"):
        open_checkpoint(model)


def test_what_may_not_be_read_is_not_called_missing(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = next(model.glob("*.safetensors"))
    weights.unlink()
    weights.mkdir()
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        open_checkpoint(model)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
        open_checkpoint(model)
