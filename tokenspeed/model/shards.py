"""Writes tensors, as they come, into a few files of bounded size with an index.

Knows safetensors files and their names; does not know what a model is.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

MAX_SHARD_BYTES = 16 * 2**20
_HEADER_BYTES = 2**16  # room for the names and offsets of one file
_INDEX = "model.safetensors.index.json"


def write_model_shards(
    directory: Path,
    tensors: Iterable[tuple[str, Tensor]],
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write `model-0000x-of-0000y.safetensors` and their index, replacing all that were there.

    Raises:
        ValueError: a tensor alone is larger than a shard.
    """
    total = 0

    def counted() -> Iterable[tuple[str, Tensor]]:
        nonlocal total
        for name, tensor in tensors:
            total += tensor.nbytes
            yield name, tensor

    weight_map = write_shards(directory, counted(), "model", max_shard_bytes)
    for old in directory.glob("*.safetensors"):
        if old.name not in weight_map.values():
            old.unlink()
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / _INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def write_shards(
    directory: Path,
    tensors: Iterable[tuple[str, Tensor]],
    stem: str,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> dict[str, str]:
    """Write tensors, in order, into as few files as their order allows.

    Holds the tensors of one file at a time. Existing files change only after all is written.

    Returns:
        The name of the file that holds each tensor.
    Raises:
        ValueError: a tensor alone is larger than a shard.
    """
    room = max_shard_bytes - _HEADER_BYTES
    parts: list[tuple[Path, list[str]]] = []
    shard: dict[str, Tensor] = {}

    def flush() -> None:
        path = directory / f"{stem}-{len(parts) + 1:05d}.part"
        parts.append((path, list(shard)))
        save_file(shard, path, metadata={"format": "pt"})
        shard.clear()

    used = 0
    try:
        for name, tensor in tensors:
            if tensor.nbytes > room:
                raise ValueError(f"{name} has {tensor.nbytes} bytes, expected at most {room}")
            if used + tensor.nbytes > room:
                flush()
                used = 0
            shard[name] = tensor.contiguous()
            used += tensor.nbytes
        flush()
        weight_map = {}
        for i, (path, names) in enumerate(parts, 1):
            file = f"{stem}-{i:05d}-of-{len(parts):05d}.safetensors"
            path.replace(directory / file)
            weight_map.update(dict.fromkeys(names, file))
        return weight_map
    finally:
        for path, _ in parts:
            path.unlink(missing_ok=True)
