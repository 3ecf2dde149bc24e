"""Checkpoints of a run: everything that the next step depends on, in files below 16 MiB."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tokenspeed.model.shards import MAX_SHARD_BYTES, write_shards

_META = "state.json"


def save_state(directory: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write tensors, then their metadata; a directory without metadata is unfinished."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _META).unlink(missing_ok=True)
    pieces = {}
    for name, tensor in tensors.items():
        rows = max(1, MAX_SHARD_BYTES // 2 // max(1, tensor[:1].nbytes)) if tensor.dim() else 1
        parts = torch.split(tensor, rows) if tensor.dim() else (tensor,)
        for i, part in enumerate(parts):
            pieces[f"{name}#{i:04d}"] = part.contiguous().cpu()
    write_shards(directory, pieces.items(), "state")
    (directory / _META).write_text(json.dumps(meta, indent=1), encoding="utf-8")


def load_state(directory: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_state` wrote.

    Raises:
        FileNotFoundError: there is no finished state.
    """
    meta = json.loads((directory / _META).read_text(encoding="utf-8"))
    pieces: dict[str, Tensor] = {}
    for path in sorted(directory.glob("state-*.safetensors")):
        pieces.update(load_file(path, device=str(device)))
    parts: dict[str, list[Tensor]] = {}
    for key in sorted(pieces):
        parts.setdefault(key.rpartition("#")[0], []).append(pieces[key])
    tensors = {
        name: found[0] if len(found) == 1 else torch.cat(found) for name, found in parts.items()
    }
    return tensors, meta


def has_state(directory: Path) -> bool:
    """Return whether there is a finished state."""
    return (directory / _META).exists()
