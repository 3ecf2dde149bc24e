"""Whole directories load; damaged, truncated and foreign ones say what is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MakeModel
from tests.tokenspeed.families import make_family
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.errors import CheckpointError
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.quantize import dequantize, quantize_int8
from tokenspeed.model.quantized import write_quantized
from tokenspeed.model.weights import weight_shapes

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
    assert torch.equal(open_checkpoint(model).weight(LAYER), dequantize(q, scale))
    assert (dequantize(q, scale) - weight).abs().max() <= scale.max() / 2 * 1.001


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: not found"):
        open_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("given", "files", "message"),
    [
        ("model.gguf", {"model.gguf": "GGUF"}, "is a GGUF file"),
        ("lost.gguf", {}, "is a GGUF file"),
        ("quants", {"quants/a.Q4_K.gguf": "GGUF"}, "holds GGUF files"),
        ("lora", {"lora/adapter_config.json": "{}"}, "holds an adapter .* merge it"),
        ("weights.bin", {"weights.bin": ""}, "is a file; expected"),
        (
            "utter-project/EuroLLM-1.7B",
            {},
            r".* pip install 'tokenspeed-live\[hub\]'",
        ),
        ("./nowhere/else/model", {}, "not found; expected a Hugging Face"),
    ],
)
def test_what_people_give_for_a_directory_gets_its_own_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    files: dict[str, str],
    message: str,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=f"^{given.removeprefix('./')}: {message}"):
        open_checkpoint(given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba', supported: gemma, "),
        ({"hidden_size": None}, "field 'hidden_size' is missing"),
        ({"num_attention_heads": 3}, "num_heads is 3, expected a multiple of"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', supported: silu"),
        ({"rope_scaling": {"rope_type": "axial"}}, "rope_type is 'axial'"),
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


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.1.self_attn.q_norm.weight",
        "model.layers.2.mlp.up_proj.weight",
        "visual.patch_embed.weight",
    ],
)
def test_a_tensor_that_nobody_reads_is_an_error(model: Path, name: str) -> None:
    """Left out, it would make another model of this one, and nobody would know."""
    change_tensors(model, **{name: torch.ones(2)})
    with pytest.raises(CheckpointError, match="is unknown: a llama model") as caught:
        open_checkpoint(model)
    assert caught.value.tensor == name


def test_frequencies_that_old_releases_stored_are_left_alone(model: Path) -> None:
    change_tensors(model, **{"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    assert open_checkpoint(model).weight(LAYER).shape == (64, 32)


def test_the_same_weights_by_other_names_beside_are_left_alone(model: Path) -> None:
    save_file({"tok_embeddings.weight": torch.ones(4, 4)}, model / "consolidated.safetensors")
    assert open_checkpoint(model).weight(LAYER).shape == (64, 32)


def test_an_array_of_the_file_is_called_as_in_the_file(tmp_path: Path) -> None:
    make_family("phi3", tmp_path)
    name = "model.layers.1.self_attn.qkv_proj.weight"
    change_tensors(tmp_path, **{name: torch.ones(3, 64)})
    with pytest.raises(
        CheckpointError, match=r"has shape \(3, 64\), expected \(128, 64\)"
    ) as caught:
        open_checkpoint(tmp_path)
    assert caught.value.tensor == name
    change_tensors(tmp_path, **{name: None})
    with pytest.raises(CheckpointError, match=f"tensor '{name}': is missing"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", ["phi3-partial", "granite", "gemma"])
def test_what_is_folded_in_is_folded_into_scales(name: str, bits: int, tmp_path: Path) -> None:
    """A quantised directory holds the same model as one with its dequantised floats."""
    make_family(name, tmp_path / "floats", hidden_size=128, intermediate_size=128, head_dim=32)
    write_quantized(tmp_path / "floats", tmp_path / "small", bits)
    floats, small = open_checkpoint(tmp_path / "floats"), open_checkpoint(tmp_path / "small")
    for tensor, shape in weight_shapes(floats.config).items():
        found, exact = small.weight(tensor), floats.weight(tensor)
        limit = 0.02 if bits == 8 else 0.25
        assert (found - exact).norm() <= limit * exact.norm()
        assert found.shape == shape
