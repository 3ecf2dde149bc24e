"""int4 directories: packed without loss, readable as any other, refused when damaged."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.conftest import MakeModel
from tokenspeed.errors import CheckpointError
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.quantize import (
    dequantize_int4,
    pack_nibbles,
    quantize_fp8,
    quantize_int4,
    unpack_nibbles,
    write_quantized,
)


@given(st.lists(st.integers(-8, 7), min_size=16, max_size=16))
def test_unpacking_undoes_packing(values: list[int]) -> None:
    q = torch.tensor(values, dtype=torch.int8).view(2, 8)
    packed = pack_nibbles(q)
    assert packed.dtype == torch.int32
    assert torch.equal(unpack_nibbles(packed), q)


def test_int4_keeps_a_group_within_half_a_step() -> None:
    weight = torch.randn(20, 256, generator=torch.Generator().manual_seed(1))
    weight[3] = 0
    q, scale = quantize_int4(weight)
    assert q.abs().max() <= 8
    back = dequantize_int4(q, scale)
    assert (back - weight).norm() < 0.12 * weight.norm()
    assert not back[3].any()
    naive = (weight.view(20, 2, 128).abs().amax(-1) / 7).repeat_interleave(128, 1)
    rounded = (weight / naive.clamp(min=1e-6)).round() * naive
    assert (back - weight).norm() <= (rounded - weight).norm() * 1.001


def test_fp8_keeps_three_bits_of_mantissa() -> None:
    weight = torch.randn(20, 64, generator=torch.Generator().manual_seed(1))
    q, scale = quantize_fp8(weight)
    error = (q.float() * scale - weight).abs()
    assert (error <= weight.abs() / 16 + scale * 2**-9).all()


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
    assert (dequantize_int4(q, scale) - weight).norm() < 0.03 * weight.norm()
    assert checkpoint.weight("model.embed_tokens.weight").shape == (96, 128)
    described = json.loads((int4_model / "config.json").read_text(encoding="utf-8"))
    assert described["quantization_config"]["format"] == "pack-quantized"


@pytest.mark.parametrize(
    ("part", "wrong", "problem"),
    [
        ("weight_scale", torch.ones(128, 2), r"has shape \(128, 2\), expected \(128, 1\)"),
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


def test_what_cannot_be_written_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="down_proj.weight: weight has 64 columns"):
        write_quantized(make_model(), tmp_path, 4)
    with pytest.raises(ValueError, match="bits is 3, expected 8 or 4"):
        write_quantized(make_model(), tmp_path, 3)
