"""Directories in fewer bits: read by us and by others, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MakeModel
from tests.lazily import Lazily
from tests.tokenspeed.families import make_family
from tests.tokenspeed.steps import whole_sequence
from tokenspeed.backends.cpu import int8_blocks
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.errors import CheckpointError
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.mtp import MTP_FILE, Mtp, read_mtp, write_mtp
from tokenspeed.model.quantize import dequantize, quantize_int4
from tokenspeed.model.quantized import write_quantized

transformers = Lazily("transformers")


@pytest.fixture
def int4_model(make_model: MakeModel, tmp_path: Path) -> Path:
    source = make_model(
        hidden_size=128, intermediate_size=128, head_dim=32, tie_word_embeddings=False
    )
    write_quantized(source, tmp_path / "int4", 4)
    return tmp_path / "int4"


def test_an_int4_directory_opens_like_its_source(int4_model: Path) -> None:
    checkpoint = open_checkpoint(int4_model)
    assert checkpoint.is_int4
    assert not checkpoint.is_int8
    name = "model.layers.1.mlp.down_proj.weight"
    weight = checkpoint.weight(name)
    assert weight.shape == (128, 128)
    q, scale = quantize_int4(weight)
    assert (dequantize(q, scale) - weight).norm() < 0.03 * weight.norm()
    assert checkpoint.weight("model.embed_tokens.weight").shape == (96, 128)
    described = json.loads((int4_model / "config.json").read_text(encoding="utf-8"))
    assert described["quantization_config"]["format"] == "pack-quantized"


def test_a_layer_that_guesses_goes_along(make_model: MakeModel, tmp_path: Path) -> None:
    source = make_model()
    write_mtp(source / MTP_FILE, Mtp(open_checkpoint(source).config))
    write_quantized(source, tmp_path, 8)
    layer = read_mtp(tmp_path, open_checkpoint(tmp_path).config)
    assert layer is not None
    assert all(torch.equal(t, layer[name]) for name, t in load_file(source / MTP_FILE).items())


@pytest.mark.parametrize(
    ("part", "wrong", "problem"),
    [
        ("weight_scale", torch.ones(128, 3), r"has shape \(128, 3\), expected 128 rows"),
        ("weight_scale", torch.ones(128, 1, dtype=torch.int8), "has dtype I8"),
        ("weight_scale", None, "is missing"),
        ("weight_packed", torch.ones(128, 8, dtype=torch.int32), r"expected \(128, 16\)"),
    ],
)
def test_a_damaged_part_is_named(
    int4_model: Path, part: str, wrong: torch.Tensor | None, problem: str
) -> None:
    (path,) = int4_model.glob("*.safetensors")
    tensors = load_file(path)
    name = f"model.layers.0.mlp.up_proj.{part}"
    del tensors[name]
    if wrong is not None:
        tensors[name] = wrong
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=problem) as caught:
        open_checkpoint(int4_model)
    assert caught.value.tensor == name


def test_columns_that_128_does_not_divide_get_smaller_groups(
    make_model: MakeModel, tmp_path: Path
) -> None:
    source = make_model(hidden_size=96, intermediate_size=192, head_dim=16)
    write_quantized(source, tmp_path, 4)
    checkpoint = open_checkpoint(tmp_path)
    groups = {part: checkpoint.forms[f"model.layers.0.{part}.weight"].group for part in PARTS}
    assert groups == {"self_attn.q_proj": 32, "self_attn.o_proj": 64, "mlp.down_proj": 64}
    described = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    sizes = [g["weights"]["group_size"] for g in described["config_groups"].values()]
    assert sizes == [64, 32]


def test_the_finer_int8_is_what_a_cpu_makes_of_floats(
    make_model: MakeModel, tmp_path: Path
) -> None:
    source = make_model(hidden_size=96, intermediate_size=192, head_dim=16)
    write_quantized(source, tmp_path, 8, finer=True)
    stored, floats = open_checkpoint(tmp_path), open_checkpoint(source)
    groups = {part: stored.forms[f"model.layers.0.{part}.weight"].group for part in PARTS}
    assert groups == {"self_attn.q_proj": 96, "self_attn.o_proj": 64, "mlp.down_proj": 64}
    for part in PARTS[1:]:
        name = f"model.layers.1.{part}.weight"
        for mine, made in zip(int8_blocks(stored, name), int8_blocks(floats, name), strict=True):
            assert torch.equal(mine, made)
    described = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    weights = [group["weights"] for group in described["config_groups"].values()]
    assert [(w["strategy"], w.get("group_size")) for w in weights] == [
        ("group", 64),
        ("channel", None),
    ]


PARTS = ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj")


def test_what_cannot_be_written_is_refused_and_changes_nothing(
    make_model: MakeModel, tmp_path: Path
) -> None:
    write_quantized(make_model(), tmp_path, 8)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="has 60 columns, expected a multiple of 8"):
        write_quantized(make_model(intermediate_size=60), tmp_path, 4)
    with pytest.raises(ValueError, match="bits is 3, expected 8 or 4"):
        write_quantized(make_model(), tmp_path, 3)
    with pytest.raises(ValueError, match="int4 has no finer form"):
        write_quantized(make_model(), tmp_path, 4, finer=True)
    with pytest.raises(ValueError, match="expected at most"):
        write_quantized(make_model(), tmp_path, 8, max_shard_bytes=2**16 + 2000)
    with pytest.raises(ValueError, match="quantised already"):
        write_quantized(tmp_path, tmp_path / "again", 8)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


IDS = np.random.default_rng(1).integers(3, 96, 12).astype(np.int32)


@pytest.mark.parametrize(("bits", "finer"), [(8, False), (8, True), (4, False)])
@pytest.mark.parametrize("name", ["llama", "phi3", "qwen2"])
def test_transformers_reads_what_we_write(
    name: str, bits: int, finer: bool, tmp_path: Path
) -> None:
    make_family(name, tmp_path / "floats", hidden_size=128, intermediate_size=192)
    write_quantized(tmp_path / "floats", tmp_path / "small", bits, finer=finer)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "small", dtype=torch.float32
    )
    with torch.inference_mode():
        expected = model(torch.from_numpy(IDS).long()[None]).logits[0].numpy()
    checkpoint = open_checkpoint(tmp_path / "small")
    backend = ReferenceBackend(checkpoint, EngineConfig(num_slots=1, max_length=16))
    found = backend.logits(whole_sequence(IDS))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("form", "bits", "group"),
    [("int-quantized", 8, None), ("pack-quantized", 8, None), ("pack-quantized", 4, 64)],
)
def test_we_read_what_compressed_tensors_writes(
    make_model: MakeModel, tmp_path: Path, form: str, bits: int, group: int | None
) -> None:
    # Seconds of imports, which every worker of the tests would make if they stood above.
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    source = make_model(hidden_size=64, intermediate_size=128, head_dim=16)
    weights: dict[str, Any] = {"num_bits": bits, "strategy": "group" if group else "channel"}
    weights |= {"group_size": group, "symmetric": True, "type": "int"}
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights))
    compressor = BaseCompressor.get_value_from_registry(form)
    stored, exact = {}, {}
    for name, weight in load_file(source / "model.safetensors").items():
        module = name.removesuffix("weight")
        if "_proj" not in name:
            stored[name] = exact[name] = weight
            continue
        peak = weight.view(len(weight), -1, group or weight.shape[1]).abs().amax(-1)
        parts = {"weight": weight, "weight_scale": (peak / (2 ** (bits - 1) - 1)).bfloat16()}
        parts = compressor.compress(parts, scheme)
        stored |= {module + part: tensor for part, tensor in parts.items()}
        exact[name] = compressor.decompress(parts, scheme)["weight"].float()
    save_file(stored, tmp_path / "model.safetensors")
    raw = json.loads((source / "config.json").read_text())
    described: dict[str, Any] = {
        "quant_method": "compressed-tensors",
        "format": form,
        "ignore": ["lm_head"],
    }
    described |= {"config_groups": {"group_0": json.loads(scheme.model_dump_json())}}
    raw["quantization_config"] = described
    (tmp_path / "config.json").write_text(json.dumps(raw))
    checkpoint = open_checkpoint(tmp_path)
    assert (checkpoint.is_int8, checkpoint.is_int4) == (bits == 8, bits == 4)
    for name, weight in exact.items():
        assert (checkpoint.weight(name) - weight).abs().max() <= weight.abs().max() * 2**-8
