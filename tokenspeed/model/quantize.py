"""Weights in fewer bits: the arithmetic of the stored formats, and directories written in them.

int8 is symmetric with one scale for each output channel: w = q * scale, scale = max|row| / 127.
int4 has one scale for each group of 128 input columns; the embedding stays in bf16 there. Both are
stored by the names of compressed-tensors, so that other engines load them too.
Knows tensors and files; does not know devices or backends.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tokenspeed.model.weights import EMBEDDING

MAX_SHARD_BYTES = 16 * 2**20
_HEADER_BYTES = 2**16  # room for the names and offsets of one file
_INDEX = "model.safetensors.index.json"
_BESIDE = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "generation_config.json")


def quantize_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round a matrix to int8, one scale for each row.

    Args:
        weight: [out, in], floating point.
    Returns:
        q [out, in] int8 in -127..127, scale [out, 1] float32.
    """
    weight = weight.float()
    # A row of zeros has no scale of its own; any positive one gives zeros back.
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
    return (weight / scale).round().clamp(-127, 127).to(torch.int8), scale


def dequantize_int8(q: Tensor, scale: Tensor) -> Tensor:
    """Return q * scale: [out, in] float32."""
    return q.float() * scale.float()


def write_int8(
    source_dir: Path | str, target_dir: Path | str, max_shard_bytes: int = MAX_SHARD_BYTES
) -> None:
    """Write a model directory anew with its matrices in int8; see `write_quantized`."""
    write_quantized(source_dir, target_dir, 8, max_shard_bytes)


def write_quantized(
    source_dir: Path | str,
    target_dir: Path | str,
    bits: int,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a model directory anew with its matrices in int8 or int4.

    Args:
        source_dir: a Hugging Face directory in floating point.
        target_dir: made if needed; its weights are replaced.
        bits: 8 or 4.
        max_shard_bytes: no file gets larger.
    Raises:
        ValueError: a tensor alone is larger than a shard, source_dir is quantised already, or a
            matrix has no whole groups of columns.
    """
    if bits not in _ADD:
        raise ValueError(f"bits is {bits}, expected 8 or 4")
    source_dir, target_dir = Path(source_dir), Path(target_dir)
    raw = json.loads((source_dir / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in raw:
        raise ValueError(f"{source_dir} is quantised already, expected floating point")
    tensors: dict[str, Tensor] = {}
    for path in sorted(source_dir.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                _ADD[bits](tensors, name, file.get_tensor(name))
    target_dir.mkdir(parents=True, exist_ok=True)
    for old in target_dir.glob("*.safetensors"):
        old.unlink()
    write_model_shards(target_dir, tensors, max_shard_bytes)
    raw["quantization_config"] = _quantization_config(bits)
    (target_dir / "config.json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    for name in _BESIDE:
        if (source_dir / name).exists() and source_dir != target_dir:
            shutil.copyfile(source_dir / name, target_dir / name)


def write_model_shards(
    directory: Path, tensors: Mapping[str, Tensor], max_shard_bytes: int = MAX_SHARD_BYTES
) -> None:
    """Write `model-0000x-of-0000y.safetensors` and their index.

    Raises:
        ValueError: a tensor alone is larger than a shard.
    """
    weight_map = write_shards(directory, tensors, "model", max_shard_bytes)
    total = sum(t.nbytes for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / _INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def write_shards(
    directory: Path,
    tensors: Mapping[str, Tensor],
    stem: str,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> dict[str, str]:
    """Write tensors, in order, into as few files as their order allows.

    Returns:
        The name of the file that holds each tensor.
    Raises:
        ValueError: a tensor alone is larger than a shard.
    """
    shards: list[dict[str, Tensor]] = [{}]
    room = max_shard_bytes - _HEADER_BYTES
    used = 0
    for name, tensor in tensors.items():
        if tensor.nbytes > room:
            raise ValueError(f"{name} has {tensor.nbytes} bytes, expected at most {room}")
        if used + tensor.nbytes > room:
            shards.append({})
            used = 0
        shards[-1][name] = tensor.contiguous()
        used += tensor.nbytes
    weight_map = {}
    for i, shard in enumerate(shards, 1):
        file = f"{stem}-{i:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, directory / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))
    return weight_map


def _add_int8(tensors: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    if tensor.dim() != 2:
        tensors[name] = tensor
        return
    tensors[name], tensors[f"{name}_scale"] = quantize_int8(tensor)


def _add_int4(tensors: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    if tensor.dim() != 2 or name == EMBEDDING:
        tensors[name] = tensor.to(torch.bfloat16)
        return
    try:
        q, scale = quantize_int4(tensor)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from exc
    tensors[f"{name}_packed"] = pack_nibbles(q)
    tensors[f"{name}_scale"] = scale
    tensors[f"{name}_shape"] = torch.tensor(tensor.shape)


_ADD = {8: _add_int8, 4: _add_int4}


def _quantization_config(bits: int) -> dict[str, Any]:
    weights: dict[str, Any] = {"num_bits": bits, "type": "int", "symmetric": True, "dynamic": False}
    weights |= {"strategy": "channel"} if bits == 8 else {"strategy": "group", "group_size": 128}
    return {
        "quant_method": "compressed-tensors",
        "format": "int-quantized" if bits == 8 else "pack-quantized",
        "quantization_status": "compressed",
        "ignore": [],
        "config_groups": {
            "group_0": {
                "targets": ["Linear", "Embedding"] if bits == 8 else ["Linear"],
                "weights": weights,
                "input_activations": None,
                "output_activations": None,
            }
        },
    }


def quantize_fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round a matrix to float8 e4m3, one scale for each row.

    Args:
        weight: [out, in], floating point.
    Returns:
        q [out, in] float8_e4m3fn, scale [out, 1] float32.
    """
    weight = weight.float()
    limit = torch.finfo(torch.float8_e4m3fn).max
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / limit
    return (weight / scale).to(torch.float8_e4m3fn), scale


def quantize_int4(weight: Tensor, group_size: int = 128) -> tuple[Tensor, Tensor]:
    """Round a matrix to int4, one scale for each group of columns of a row.

    Of a few scales below max|group| / 7 the one with the least squared error is taken: clipping a
    rare large weight costs less than rounding all others more coarsely.

    Args:
        weight: [out, in], floating point.
        group_size: columns that share a scale; divides `in`.
    Returns:
        q [out, in] int8 in -8..7, scale [out, in / group_size] float16.
    Raises:
        ValueError: group_size does not divide the columns.
    """
    out_features, in_features = weight.shape
    if in_features % group_size:
        raise ValueError(f"weight has {in_features} columns, expected a multiple of {group_size}")
    groups = weight.float().view(out_features, -1, group_size)
    largest = groups.abs().amax(-1, keepdim=True)
    best_q = best_scale = best_error = None
    for share in (1.0, 0.95, 0.9, 0.85, 0.8, 0.75):
        # float16 keeps the scale to 11 bits; 1e-6 is far below any used weight's step.
        scale = (largest * share / 7).clamp(min=1e-6).half()
        q = (groups / scale.float()).round().clamp(-8, 7)
        error = (q * scale.float() - groups).square().sum(-1, keepdim=True)
        if best_q is None or best_scale is None or best_error is None:
            best_q, best_scale, best_error = q, scale, error
            continue
        better = error < best_error
        best_q = torch.where(better, q, best_q)
        best_scale = torch.where(better, scale, best_scale)
        best_error = torch.where(better, error, best_error)
    assert best_q is not None
    assert best_scale is not None
    return best_q.to(torch.int8).view(weight.shape), best_scale.squeeze(-1)


def dequantize_int4(q: Tensor, scale: Tensor) -> Tensor:
    """Return q times its group's scale: [out, in] float32."""
    groups = q.float().view(*scale.shape, -1)
    return (groups * scale.float()[..., None]).view(q.shape)


def pack_nibbles(q: Tensor) -> Tensor:
    """Pack int4 values, each plus 8, eight to a word, the first in the lowest bits.

    Args:
        q: [out, in] int8 in -8..7, `in` a multiple of 8.
    Returns:
        [out, in / 8] int32.
    """
    words = (q.to(torch.int64) + 8).view(len(q), -1, 8)
    packed = (words << torch.arange(0, 32, 4, device=q.device)).sum(-1)
    return torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32)


def unpack_nibbles(packed: Tensor) -> Tensor:
    """Undo `pack_nibbles`: [out, in] int8."""
    shifts = torch.arange(0, 32, 4, dtype=torch.int32, device=packed.device)
    return ((packed[..., None] >> shifts) & 15).sub(8).to(torch.int8).view(len(packed), -1)
