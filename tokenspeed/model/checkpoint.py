"""A Hugging Face LLaMA directory on disk: checked files and memory-mapped tensors.

Everything is checked when the directory is opened, before a backend allocates anything: that each
tensor of the configuration is there, has its shape and a dtype we read, and that no file is cut
short. Knows the stored int8 format; does not know devices or backends.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tokenspeed.errors import CheckpointError
from tokenspeed.model.config import ModelConfig, load_model_config
from tokenspeed.model.quantize import dequantize_int4, dequantize_int8, unpack_nibbles
from tokenspeed.model.weights import EMBEDDING, FUSED, layer_weight, weight_shapes

_FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Checkpoint:
    """An opened model directory. Tensors stay on disk until they are asked for."""

    directory: Path
    config: ModelConfig
    raw_config: dict[str, Any]
    files: dict[str, Path]  # tensor name -> file that holds it

    @property
    def is_int8(self) -> bool:
        """Whether the matrices are stored as int8 with a scale for each output channel."""
        return f"{EMBEDDING}_scale" in self.files

    @property
    def is_int4(self) -> bool:
        """Whether the layers' matrices are stored as packed int4 with scales for groups."""
        return f"{layer_weight(0, FUSED['gate_up'][1])}_packed" in self.files

    def tensor(self, name: str) -> Tensor:
        """Return a tensor as stored, backed by the memory-mapped file.

        Raises:
            CheckpointError: there is no such tensor, or the file cannot be read.
        """
        path = self.files.get(name)
        if path is None:
            raise CheckpointError(self.directory, "is missing", name)
        try:
            with safe_open(path, framework="pt") as file:
                return file.get_tensor(name)
        except (SafetensorError, OSError) as exc:
            raise CheckpointError(path, f"cannot be read: {exc}", name) from exc

    def weight(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return a tensor as floating point, dequantised where it is stored in int8 or int4.

        Raises:
            CheckpointError: it is missing, unreadable, or holds NaN or infinity.
        """
        if f"{name}_packed" in self.files:
            q = unpack_nibbles(self.tensor(f"{name}_packed"))
            tensor = dequantize_int4(q, self.tensor(f"{name}_scale"))
        else:
            tensor = self.tensor(name)
        if tensor.dtype == torch.int8:
            tensor = dequantize_int8(tensor, self.tensor(f"{name}_scale"))
        tensor = tensor.to(dtype)
        if not torch.isfinite(tensor).all():
            path = self.files.get(name, self.directory)
            raise CheckpointError(path, "holds NaN or infinity", name)
        return tensor


def open_checkpoint(directory: Path | str) -> Checkpoint:
    """Open a model directory and check that it is whole.

    Raises:
        CheckpointError: names the file, and the tensor where one is at fault.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise CheckpointError(directory, "not found; expected a Hugging Face model directory")
    try:
        next(directory.iterdir(), None)
    except OSError as exc:
        raise CheckpointError(directory, f"cannot be read: {exc.strerror}") from exc
    config = load_model_config(directory)
    raw_config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    headers = _read_headers(directory)
    files = {name: path for name, (path, _, _) in headers.items()}
    checkpoint = Checkpoint(directory, config, raw_config, files)
    for name, shape in weight_shapes(config).items():
        _check_tensor(directory, headers, name, shape)
    return checkpoint


_Header = tuple[Path, tuple[int, ...], str]  # file, shape, dtype


def _read_headers(directory: Path) -> dict[str, _Header]:
    headers: dict[str, _Header] = {}
    for path in _weight_files(directory):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():
                    part = file.get_slice(name)
                    headers[name] = (path, tuple(part.get_shape()), part.get_dtype())
        except (SafetensorError, OSError) as exc:
            check_readable(path)  # the library calls unreadable files missing, too
            raise CheckpointError(path, f"damaged or cut short: {exc}") from exc
    return headers


def check_readable(path: Path) -> None:
    """Find out why a file cannot be read, where it cannot.

    Raises:
        CheckpointError: it is missing, or may not be read.
    """
    try:
        path.open("rb").close()
    except FileNotFoundError as exc:
        raise CheckpointError(path, "not found, but the index names it") from exc
    except OSError as exc:
        raise CheckpointError(path, f"cannot be read: {exc.strerror}") from exc


def _weight_files(directory: Path) -> list[Path]:
    index = directory / "model.safetensors.index.json"
    if index.exists():
        try:
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return sorted({directory / str(name) for name in weight_map.values()})
        except OSError as exc:
            raise CheckpointError(index, f"cannot be read: {exc.strerror}") from exc
        except (ValueError, KeyError, AttributeError, TypeError) as exc:
            raise CheckpointError(index, "expected a JSON object with a weight_map") from exc
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise CheckpointError(directory, "holds no *.safetensors file")
    return files


def _check_tensor(
    directory: Path, headers: dict[str, _Header], name: str, shape: tuple[int, ...]
) -> None:
    if f"{name}_packed" in headers and len(shape) == 2:
        _check_int4(headers, name, shape)
        return
    if name not in headers:
        raise CheckpointError(directory, "is missing", name)
    path, found, dtype = headers[name]
    if found != shape:
        raise CheckpointError(path, f"has shape {found}, expected {shape}", name)
    if dtype in _FLOATS:
        return
    if dtype != "I8" or len(shape) != 2:
        raise CheckpointError(path, f"has dtype {dtype}, supported: F32, F16, BF16, I8", name)
    scale = headers.get(f"{name}_scale")
    if scale is None:
        raise CheckpointError(path, "is int8 but has no scale", f"{name}_scale")
    if scale[1] != (shape[0], 1):
        raise CheckpointError(
            scale[0], f"has shape {scale[1]}, expected {(shape[0], 1)}", f"{name}_scale"
        )


def _check_int4(headers: dict[str, _Header], name: str, shape: tuple[int, ...]) -> None:
    rows, columns = shape
    wanted = {
        f"{name}_packed": ((rows, columns // 8), ("I32",)),
        f"{name}_scale": ((rows, columns // 128), ("F16", "BF16", "F32")),
    }
    for part, (expected, dtypes) in wanted.items():
        if part not in headers:
            raise CheckpointError(headers[f"{name}_packed"][0], "is missing", part)
        path, found, dtype = headers[part]
        if found != expected:
            raise CheckpointError(path, f"has shape {found}, expected {expected}", part)
        if dtype not in dtypes:
            raise CheckpointError(path, f"has dtype {dtype}, supported: {', '.join(dtypes)}", part)
