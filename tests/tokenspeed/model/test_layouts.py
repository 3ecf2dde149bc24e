"""AWQ, GPTQ and FP8: the logits of the model that their matrices stand for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.lazily import Lazily
from tests.tokenspeed.families import change_config, make_family, peer_logits, whole
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.errors import CheckpointError
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.sharding import Shard

transformers = Lazily("transformers")

CONFIG = EngineConfig(num_slots=1, max_length=64, max_step_tokens=64)


def packed(values: Tensor, order: tuple[int, ...] = tuple(range(8))) -> Tensor:
    """Pack 4-bit values of the last dimension into words, the first of `order` lowest."""
    words = values.contiguous().long().view(*values.shape[:-1], -1, 8)[..., list(order)]
    total = (words << torch.arange(0, 32, 4)).sum(-1)
    return torch.where(total >= 2**31, total - 2**32, total).to(torch.int32).contiguous()


def rounded(weight: Tensor, group: int, symmetric: bool, where: Tensor) -> tuple[Tensor, ...]:
    """Round [out, in] to 0..15 in groups; return q, zeros, scales [out, groups], and the values."""
    groups = [weight[:, where == i] for i in range(weight.shape[1] // group)]
    low = torch.stack([g.amin(1).clamp(max=0) for g in groups], 1)
    high = torch.stack([g.amax(1).clamp(min=0) for g in groups], 1)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    scale = ((high - low) / 15).half().float()
    zeros = torch.full_like(scale, 8) if symmetric else (-low / scale).round().clamp(1, 15)
    q = (weight / scale[:, where] + zeros[:, where]).round().clamp(0, 15)
    return q, zeros, scale, (q - zeros[:, where]) * scale[:, where]


def of_gptq(
    weight: Tensor, group: int, symmetric: bool, act_order: bool, offset: int = 1
) -> tuple[dict[str, Tensor], Tensor]:
    columns = weight.shape[1]
    where = torch.arange(columns) // group
    if act_order:
        where = where[torch.randperm(columns, generator=torch.Generator().manual_seed(3))]
    q, zeros, scale, exact = rounded(weight, group, symmetric, where)
    parts = {
        "qweight": packed(q).T.contiguous(),
        "qzeros": packed(zeros.T - offset),
        "scales": scale.T.half().contiguous(),
        "g_idx": where.int(),
    }
    return parts, exact


def of_awq(weight: Tensor, group: int, symmetric: bool) -> tuple[dict[str, Tensor], Tensor]:
    where = torch.arange(weight.shape[1]) // group
    q, zeros, scale, exact = rounded(weight, group, symmetric, where)
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    parts = {
        "qweight": packed(q.T, order),
        "qzeros": packed(zeros.T, order),
        "scales": scale.T.half().contiguous(),
    }
    return parts, exact


def of_fp8(weight: Tensor, by: str) -> tuple[dict[str, Tensor], Tensor]:
    limit, (rows, columns) = 448.0, weight.shape
    if by == "block":
        scale = torch.rand(-(-rows // 16), -(-columns // 32)) * 0.01 + 0.01
        spread = scale.repeat_interleave(16, 0)[:rows].repeat_interleave(32, 1)[:, :columns]
    else:
        peak = weight.abs().amax(1, keepdim=True) if by == "channel" else weight.abs().max()
        scale = spread = peak / limit
    q = (weight / spread).clamp(-limit, limit).to(torch.float8_e4m3fn)
    suffix = "weight_scale_inv" if by == "block" else "weight_scale"
    return {"weight": q, suffix: scale}, q.float() * spread


def quantised(
    name: str, directory: Path, described: dict[str, Any], pack: Any, **sizes: Any
) -> np.ndarray[Any, Any]:
    """Write a family with its matrices packed; return transformers' logits of what they mean."""
    make_family(name, directory, **sizes)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    tensors = load_file(directory / "model.safetensors")
    for module, linear in model.named_modules():
        if isinstance(linear, torch.nn.Linear) and module != "lm_head":
            parts, exact = pack(linear.weight.detach())
            with torch.no_grad():
                linear.weight.copy_(exact)
            del tensors[f"{module}.weight"]
            tensors |= {f"{module}.{part}": tensor for part, tensor in parts.items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    change_config(directory, quantization_config=described)
    return peer_logits(model)


def check(directory: Path, expected: np.ndarray[Any, Any], tolerance: float = 1e-4) -> None:
    checkpoint = open_checkpoint(directory)
    found = ReferenceBackend(checkpoint, CONFIG).logits(whole())
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    backend = CpuBackend(checkpoint, CONFIG)
    near = backend.logits(whole())
    backend.close()
    assert np.abs(near - expected).mean() < 0.03 * np.abs(expected).max()


SIZES = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32}


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize(
    ("symmetric", "act_order", "second"),
    [(True, False, False), (False, False, False), (False, True, False), (True, True, True)],
)
def test_gptq(group: int, symmetric: bool, act_order: bool, second: bool, tmp_path: Path) -> None:
    described = {"quant_method": "gptq", "bits": 4, "group_size": group, "desc_act": act_order}
    described |= {"checkpoint_format": "gptq_v2"} if second else {}

    def pack(weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        parts, exact = of_gptq(weight, group, symmetric, act_order, 0 if second else 1)
        return parts | {"bias": torch.zeros(len(weight))}, exact  # as AutoGPTQ wrote them

    check(tmp_path, quantised("llama", tmp_path, described, pack, **SIZES))
    form = open_checkpoint(tmp_path).forms["model.layers.0.mlp.up_proj.weight"]
    plain = symmetric and (not act_order or group == 128)  # of 128 columns
    assert (form.bits, form.group) == ((4, group) if plain else (16, 0))


@pytest.mark.parametrize("name", ["qwen2", "phi3"])
@pytest.mark.parametrize(("group", "symmetric"), [(32, False), (64, True), (128, False)])
def test_awq(name: str, group: int, symmetric: bool, tmp_path: Path) -> None:
    described = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True}
    described |= {"version": "gemm"}
    check(
        tmp_path,
        quantised(name, tmp_path, described, lambda w: of_awq(w, group, symmetric), **SIZES),
    )
    is_int4 = open_checkpoint(tmp_path).is_int4
    assert is_int4 == symmetric
    notice = open_checkpoint(tmp_path).notice
    assert ("matrices of AWQ are unpacked" in notice) == (not symmetric)


@pytest.mark.parametrize("name", ["llama", "phi3", "granite"])
@pytest.mark.parametrize("by", ["tensor", "channel", "block"])
def test_fp8(name: str, by: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    described: dict[str, Any] = {"quant_method": "fp8", "activation_scheme": "dynamic"}
    if by == "block":
        described["weight_block_size"] = [16, 32]
    elif by == "channel":
        weights = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
        groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
        described = {"quant_method": "compressed-tensors", "format": "float-quantized"}
        described |= {"config_groups": groups}

    def pack(weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        parts, exact = of_fp8(weight, by)
        return parts | {"input_scale": torch.ones(1)}, exact

    check(tmp_path, quantised(name, tmp_path, described, pack, **SIZES))


def test_a_rank_reads_its_part(tmp_path: Path) -> None:
    described = {"quant_method": "gptq", "bits": 4, "group_size": 64}
    quantised("llama", tmp_path, described, lambda w: of_gptq(w, 64, True, False)[:2], **SIZES)
    checkpoint = open_checkpoint(tmp_path)
    for part, dim in (("mlp.up_proj", 0), ("mlp.down_proj", 1)):
        name = f"model.layers.0.{part}.weight"
        halves = [checkpoint.part(Shard(rank, 2)).integers(name) for rank in (0, 1)]
        for i, all_of_it in enumerate(checkpoint.integers(name)):
            assert torch.equal(torch.cat([half[i] for half in halves], dim), all_of_it)


@pytest.mark.parametrize(
    ("described", "changed", "problem"),
    [
        ({"bits": 3}, None, "is quantised by GPTQ with 3 bits"),
        ({"quant_method": "awq", "version": "gemv"}, None, r"AWQ with 4 bits \(gemv\)"),
        ({}, ("qzeros", torch.zeros(4, 16, dtype=torch.int32)), "has zeros .*whole groups"),
        ({}, ("qweight", torch.zeros(8, 256, dtype=torch.int32)), "has shape .256, 64., expected"),
        ({}, ("g_idx", torch.full((128,), 2, dtype=torch.int32)), "names other groups than 0 to 1"),
        ({}, ("scales", None), "is missing"),
        ({}, ("bias", torch.ones(256)), "is unknown"),
    ],
)
def test_what_cannot_be_right_is_named(
    described: dict[str, Any], changed: Any, problem: str, tmp_path: Path
) -> None:
    whole_one = {"quant_method": "gptq", "bits": 4, "group_size": 64}
    quantised("llama", tmp_path, whole_one, lambda w: of_gptq(w, 64, True, False), **SIZES)
    change_config(tmp_path, quantization_config=whole_one | described)
    if changed:
        tensors = load_file(tmp_path / "model.safetensors")
        name = f"model.layers.0.mlp.up_proj.{changed[0]}"
        tensors.pop(name, None)
        if changed[1] is not None:
            tensors[name] = changed[1]
        save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=problem):
        open_checkpoint(tmp_path)


def test_fp8_without_a_scale_is_named(tmp_path: Path) -> None:
    described = {"quant_method": "fp8"}
    quantised("llama", tmp_path, described, lambda w: of_fp8(w, "channel"), **SIZES)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight_scale"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="is FP8 but has no scale"):
        open_checkpoint(tmp_path)
    assert (
        "fp8" in json.loads((tmp_path / "config.json").read_text())["quantization_config"].values()
    )
