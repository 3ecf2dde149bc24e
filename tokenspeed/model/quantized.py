"""Writes a model directory again in fewer bits, tensor by tensor.

It has the names and the description of compressed-tensors, so that other engines load it too:
integers packed in words, symmetric, a scale for each channel (int8) or group of columns (int4, and
int8 in its finer form). The embedding stays as it is. Knows directories; does not know backends.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from tokenspeed.model.checkpoint import Checkpoint, open_checkpoint
from tokenspeed.model.mtp import MTP_FILE
from tokenspeed.model.quantize import pack_words, quantize_int4, quantize_int8
from tokenspeed.model.shards import MAX_SHARD_BYTES, write_model_shards
from tokenspeed.model.weights import EMBEDDING, weight_shapes

_BESIDE = (
    *("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "generation_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "LICENSE"),
    MTP_FILE,
)
_GROUPS = (128, 64, 32, 16, 8)  # columns that share a scale: the first that divides all columns
_FINER = 64  # the same for int8: what the CPU backend makes of floats

Names = Iterable[tuple[str, Path]]  # tensors, and the files that hold them


def write_int8(
    source_dir: Path | str, target_dir: Path | str, max_shard_bytes: int = MAX_SHARD_BYTES
) -> None:
    """Write all matrices in int8, the embedding too: the smallest form, which only we read."""
    source = _opened(Path(source_dir))
    matrices = _matrices(source) | {source.sources[EMBEDDING].name: 0}

    def converted() -> Iterator[tuple[str, Tensor]]:
        for name, path in _stored(source):
            tensor = _read(path, name)
            if name in matrices:
                tensor, scale = quantize_int8(tensor)
                yield f"{name}_scale", scale
            yield name, tensor

    described = _description("int-quantized", [_group(8, ["Linear", "Embedding"])], [])
    _write(source, Path(target_dir), converted(), described, max_shard_bytes)


def write_quantized(
    source_dir: Path | str,
    target_dir: Path | str,
    bits: int,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    tracked: Callable[[list[tuple[str, Path]]], Names] = iter,
    finer: bool = False,
) -> None:
    """Write a model directory again with its matrices in int8 or int4.

    Args:
        source_dir: a Hugging Face directory in floating point.
        target_dir: made if needed; its weights are replaced when all are written.
        bits: 8 or 4.
        max_shard_bytes: no file gets larger.
        tracked: iterates over the tensors, and may show progress.
        finer: in int8, a scale for 64 columns of a row; for all of a row where 64 does not divide
            them.
    Raises:
        CheckpointError: source_dir cannot be used.
        ValueError: a tensor alone is larger than a shard, source_dir is quantised already, a matrix
            has no whole groups of columns, or `finer` is given with int4.
    """
    if bits not in (8, 4):
        raise ValueError(f"bits is {bits}, expected 8 or 4")
    if finer and bits != 8:
        raise ValueError("int4 has no finer form: its groups are as small as they must be")
    source = _opened(Path(source_dir))
    groups = _matrices(source)
    for name, columns in groups.items():
        sizes = _GROUPS if bits == 4 else (_FINER,) * finer
        groups[name] = next((g for g in sizes if columns % g == 0), 0)
        if columns % 8:
            raise ValueError(f"{name} has {columns} columns, expected a multiple of 8")

    def converted() -> Iterator[tuple[str, Tensor]]:
        for name, path in tracked(_stored(source)):
            yield from _converted(name, _read(path, name), bits, groups.get(name))

    described = _description("pack-quantized", _groups(bits, groups), _ignored(source))
    _write(source, Path(target_dir), converted(), described, max_shard_bytes)


def _opened(directory: Path) -> Checkpoint:
    source = open_checkpoint(directory)
    if "quantization_config" in source.raw_config:
        raise ValueError(f"{directory} is quantised already, expected floating point")
    return source


def _matrices(source: Checkpoint) -> dict[str, int]:
    """Return the columns of each matrix that gets smaller, by its name in the files."""
    shapes = weight_shapes(source.config)
    return {
        source.sources[name].name: shape[1]
        for name, shape in shapes.items()
        if len(shape) == 2 and name != EMBEDDING
    }


def _stored(source: Checkpoint) -> list[tuple[str, Path]]:
    """Return all tensors of the files that are read, those of other parts of the model too."""
    found = []
    for path in sorted(set(source.files.values())):
        with safe_open(path, framework="pt") as file:
            found += [(name, path) for name in file.keys()]
    return found


def _read(path: Path, name: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name)


def _converted(
    name: str, tensor: Tensor, bits: int, group: int | None
) -> Iterator[tuple[str, Tensor]]:
    """Yield what to store of a tensor. group: columns that share a scale; None: stored as it is."""
    if group is None:
        yield name, tensor
        return
    if bits == 4:
        q, scale = quantize_int4(tensor, group)
    else:
        q, scale = quantize_int8(tensor.reshape(-1, group or tensor.shape[1]))
        q, scale = q.view(tensor.shape), scale.view(len(tensor), -1)
    yield f"{name}_packed", pack_words(q, bits)
    yield f"{name}_scale", scale
    yield f"{name}_shape", torch.tensor(tensor.shape)


def _write(
    source: Checkpoint,
    target_dir: Path,
    tensors: Iterable[tuple[str, Tensor]],
    described: dict[str, Any],
    max_shard_bytes: int,
) -> None:
    target_dir.mkdir(parents=True, exist_ok=True)
    write_model_shards(target_dir, tensors, max_shard_bytes)
    raw = source.raw_config | {"quantization_config": described}
    (target_dir / "config.json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    for name in _BESIDE:
        if (source.directory / name).exists() and source.directory != target_dir:
            shutil.copyfile(source.directory / name, target_dir / name)


def _groups(bits: int, groups: dict[str, int]) -> list[dict[str, Any]]:
    """Describe the matrices; where groups of columns differ in size, matrices go by their names."""
    sizes = sorted(set(groups.values()), reverse=True)
    if len(sizes) == 1:
        return [_group(bits, ["Linear"], sizes[0])]
    described = []
    for size in sizes:
        ends = sorted({name.split(".")[-2] for name, group in groups.items() if group == size})
        described.append(_group(bits, [f"re:(.*[.])?{end}$" for end in ends], size))
    return described


def _group(bits: int, targets: list[str], group_size: int = 0) -> dict[str, Any]:
    weights: dict[str, Any] = {"num_bits": bits, "type": "int", "symmetric": True, "dynamic": False}
    weights |= {"strategy": "channel"}
    if group_size:
        weights |= {"strategy": "group", "group_size": group_size}
    unused = {"input_activations": None, "output_activations": None}
    return {"targets": targets, "weights": weights} | unused


def _ignored(source: Checkpoint) -> list[str]:
    """Name the linear modules that stay as they are."""
    tied = ["lm_head"] if source.config.tie_word_embeddings else []
    return tied + [f"re:.*{word}.*" for word in source.config.stored.ignored]


def _description(form: str, groups: list[dict[str, Any]], ignored: list[str]) -> dict[str, Any]:
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "ignore": ignored,
        "config_groups": {f"group_{i}": group for i, group in enumerate(groups)},
    }
