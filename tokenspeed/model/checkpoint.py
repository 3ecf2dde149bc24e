"""A Hugging Face directory on disk: checked files and memory-mapped tensors.

Everything is checked when the directory is opened, before a backend allocates anything: that each
tensor of the configuration is there, has its shape and a dtype we read, that none is left over, and
that no file is cut short. Tensors are asked for by the names of `weights`, whatever the family
calls them. Knows the stored formats; does not know devices or backends.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tokenspeed.errors import CheckpointError
from tokenspeed.model.config import ModelConfig
from tokenspeed.model.families import load_model_config
from tokenspeed.model.quantize import dequantize_int4, dequantize_int8, unpack_nibbles
from tokenspeed.model.sharding import WHOLE, Shard
from tokenspeed.model.sources import SUFFIXES, Source, find_sources, unknown
from tokenspeed.model.weights import EMBEDDING, FUSED, HEAD, layer_weight, weight_shapes

_FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Checkpoint:
    """An opened model directory. Tensors stay on disk until they are asked for.

    Attributes:
        files: our name of a tensor, also of a quantised one's parts -> the file that holds it.
        sources: our name, without such a suffix -> where it stands.
    """

    directory: Path
    config: ModelConfig
    raw_config: dict[str, Any]
    files: dict[str, Path]
    sources: dict[str, Source]
    shard: Shard = WHOLE  # the part of each tensor that is read

    def part(self, shard: Shard) -> "Checkpoint":
        """Return the same directory as one rank reads it; `config` stays that of the whole."""
        return replace(self, shard=shard)

    @property
    def is_int8(self) -> bool:
        """Whether the matrices are stored as int8 with a scale for each output channel."""
        return f"{EMBEDDING}_scale" in self.files

    @property
    def is_int4(self) -> bool:
        """Whether the layers' matrices are stored as packed int4 with scales for groups."""
        return f"{layer_weight(0, FUSED['gate_up'][1])}_packed" in self.files

    def tensor(self, name: str) -> Tensor:
        """Return a tensor as stored, backed by the memory-mapped file where nothing is folded in.

        Of a rank it is its part. What is folded into a quantised matrix is folded into its scales.

        Raises:
            CheckpointError: there is no such tensor, or the file cannot be read.
        """
        path = self.files.get(name)
        if path is None:
            raise CheckpointError(self.directory, "is missing", name)
        plain, suffix = _split(name, self.sources)
        source = self.sources[plain]
        try:
            with safe_open(path, framework="pt") as file:
                if suffix == "_shape":
                    tensor = file.get_tensor(source.name + suffix)
                elif source.rows is None and self.shard.ranks == 1:
                    tensor = file.get_tensor(source.name + suffix)
                else:
                    stored = file.get_slice(source.name + suffix)
                    tensor = stored[_place(stored.get_shape(), source.rows, name, self.shard)]
        except (SafetensorError, OSError) as exc:
            raise CheckpointError(path, f"cannot be read: {exc}", source.name + suffix) from exc
        if suffix == "_shape":
            return tensor
        tensor = source.ordered(tensor)
        return source.folded(tensor) if tensor.is_floating_point() else tensor

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


def _place(
    stored: list[int], rows: tuple[int, int] | None, name: str, shard: Shard
) -> tuple[slice, ...]:
    """Return where a shard's part of a tensor lies in what is stored.

    Args:
        stored: its shape. rows: of the tensor in it; None: all.
    """
    begin, end = rows or (0, stored[0])
    first, *others = shard.part(name, (end - begin, *stored[1:]))
    return slice(begin + first.start, begin + first.stop), *others


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
    sources = find_sources(config, headers)
    files = {
        name + suffix: headers[source.name + suffix][0]
        for name, source in sources.items()
        for suffix in SUFFIXES
        if source.name + suffix in headers
    }
    checkpoint = Checkpoint(directory, config, raw_config, files, sources)
    checkpoint = replace(checkpoint, config=_with_head(checkpoint))
    shapes = weight_shapes(checkpoint.config)
    for name, shape in shapes.items():
        _check_tensor(directory, headers, sources[name], shape)
    read = [sources[name] for name in (*shapes, HEAD)]
    for name in unknown(headers, read, config.stored.ignored):
        family = raw_config["model_type"]
        problem = f"is unknown: a {family} model of this config.json has no such tensor"
        raise CheckpointError(headers[name][0], problem, name)
    return checkpoint


def _with_head(checkpoint: Checkpoint) -> ModelConfig:
    """Say whether the head is the embedding: the file has the last word, as in transformers."""
    config, has_head = checkpoint.config, any(HEAD + s in checkpoint.files for s in SUFFIXES)
    if not has_head and checkpoint.raw_config.get("tie_word_embeddings") is None:
        return replace(config, tie_word_embeddings=True)  # there is nothing else that it could be
    if has_head and config.tie_word_embeddings:
        same = all(_is_same(checkpoint, HEAD + suffix, EMBEDDING + suffix) for suffix in SUFFIXES)
        return replace(config, tie_word_embeddings=same)
    return config


def _is_same(checkpoint: Checkpoint, a: str, b: str) -> bool:
    if a not in checkpoint.files or b not in checkpoint.files:
        return a not in checkpoint.files and b not in checkpoint.files
    return torch.equal(checkpoint.tensor(a), checkpoint.tensor(b))


def _split(name: str, sources: Mapping[str, Source]) -> tuple[str, str]:
    """Part our name of a tensor from the suffix of a quantised form."""
    for suffix in SUFFIXES:
        plain = name.removesuffix(suffix)
        if plain in sources and plain + suffix == name:
            return plain, suffix
    raise KeyError(name)


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
    single = directory / "model.safetensors"
    # Some releases carry the same weights once more, by other names.
    files = [single] if single.exists() else sorted(directory.glob("*.safetensors"))
    if not files:
        raise CheckpointError(directory, "holds no *.safetensors file")
    return files


def _check_tensor(
    directory: Path, headers: dict[str, _Header], source: Source, shape: tuple[int, ...]
) -> None:
    name = source.name
    shape = (source.height or shape[0], *shape[1:])
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
