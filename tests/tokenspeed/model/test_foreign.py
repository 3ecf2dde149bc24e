"""Checkpoints of other methods: refused by their names, by what is said and by what is stored."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MakeModel
from tokenspeed.errors import CheckpointError
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.quantized import write_quantized

MODULE = "model.layers.0.mlp.down_proj"


def grouped(**weights: Any) -> dict[str, Any]:
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group"} | weights
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": groups,
    }


@pytest.fixture
def int4_model(make_model: MakeModel, tmp_path: Path) -> Path:
    write_quantized(make_model(), tmp_path / "model", 4)
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("described", "method"),
    [
        ({"quant_method": "gptq", "bits": 3}, "by GPTQ with 3 bits, which"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "AWQ with 4 bits (gemv)"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "ModelOpt"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "someday"}, "someday"),
        ("int4", "something unknown"),
        (grouped(symmetric=False), "zero points"),
        (grouped(actorder="group"), "act-order"),
        (grouped(type="float", num_bits=8), "float8"),
        (grouped(num_bits=3), "int3"),
        (grouped(strategy="block"), "by block"),
        (grouped() | {"format": "nvfp4-pack-quantized"}, "nvfp4-pack-quantized"),
        (grouped() | {"sparsity_config": {"format": "sparse-24-bitmask"}}, "sparse-24-bitmask"),
        (grouped() | {"transform_config": {"config_groups": {"u": {}}}}, "rotated"),
    ],
)
@pytest.mark.parametrize("place", ["quantization_config", "compression_config"])
def test_a_method_that_the_configuration_names(
    int4_model: Path, place: str, described: Any, method: str
) -> None:
    path = int4_model / "config.json"
    raw = json.loads(path.read_text())
    del raw["quantization_config"]
    path.write_text(json.dumps(raw | {place: described}))
    with pytest.raises(CheckpointError, match=r"config.json: is quantised by .*original") as caught:
        open_checkpoint(int4_model)
    assert method in str(caught.value)


@pytest.mark.parametrize(
    ("name", "tensor", "method"),
    [
        ("weight_g_idx", torch.arange(64, dtype=torch.int32), "act-order"),
        ("weight_zero_point", torch.zeros(4, 2, dtype=torch.int32), "zero points"),
        ("weight_global_scale", torch.ones(1), "NVFP4"),
        ("weight_scale_inv", torch.ones(1, 1), "FP8 by block"),
        ("g_idx", torch.arange(64, dtype=torch.int32), "GPTQ"),
        ("qzeros", torch.zeros(1, 4, dtype=torch.int32), "AWQ or GPTQ"),
        ("weight.absmax", torch.ones(4), "bitsandbytes"),
        ("SCB", torch.ones(32), "bitsandbytes int8"),
        ("weight", torch.ones(32, 64).to(torch.float8_e4m3fn), "FP8"),
        ("weight", torch.ones(1024, 1, dtype=torch.uint8), "bytes"),
    ],
)
def test_a_method_that_only_its_tensors_tell(
    make_model: MakeModel, tmp_path: Path, name: str, tensor: torch.Tensor, method: str
) -> None:
    model = Path(shutil.copytree(make_model(), tmp_path / "model"))
    tensors = load_file(model / "model.safetensors")
    save_file(tensors | {f"{MODULE}.{name}": tensor}, model / "model.safetensors")
    with pytest.raises(CheckpointError, match="is quantised by") as caught:
        open_checkpoint(model)
    assert method in str(caught.value)
    assert caught.value.tensor == f"{MODULE}.{name}"


def test_what_changes_no_number_is_read(int4_model: Path) -> None:
    """Columns sorted for the rounding alone, activations that another engine would round."""
    path = int4_model / "config.json"
    raw = json.loads(path.read_text())
    group = raw["quantization_config"]["config_groups"]["group_0"]
    group["weights"]["actorder"] = "weight"
    group["input_activations"] = {"num_bits": 8, "type": "int", "dynamic": True}
    path.write_text(json.dumps(raw))
    assert open_checkpoint(int4_model).is_int4
