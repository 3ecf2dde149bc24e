"""A Hugging Face directory on disk: checked files and memory-mapped tensors.

Everything is checked when the directory is opened, before a backend allocates anything: that each
tensor of the configuration is there with its shape and a dtype we read, that none is left over, and
that no file is cut short. Tensors are requested by the names of `weights`, whatever the family
calls them. Knows the stored formats; does not know devices or backends.
"""

import json
import re
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
from tokenspeed.model.foreign import described_layout, refusal
from tokenspeed.model.layouts import (
    AWQ_PARTS,
    FP8_SCALES,
    Layout,
    dequantised,
    integers,
    is_plain,
    shape_of,
    zeros_of,
)
from tokenspeed.model.mtp import MTP_FILE
from tokenspeed.model.quantize import dequantize, unpack_words
from tokenspeed.model.sharding import WHOLE, Shard
from tokenspeed.model.sources import OTHER_SUFFIXES, SUFFIXES, Source, find_sources, unknown
from tokenspeed.model.weights import EMBEDDING, FUSED, HEAD, layer_weight, weight_shapes

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # organisation/model
_FIRST = layer_weight(0, FUSED["gate_up"][1])  # stands for all matrices of the layers
_FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Form:
    """How the values of a tensor are stored.

    Attributes:
        bits: 8 or 4, with scales beside them; 16: floating point, of any width.
        group: columns of a row that share a scale; 0: floating point.
        is_packed: the integers are packed in words of 32 bits.
        layout: that of another method, whose matrices are unpacked when they are read.
    """

    bits: int = 16
    group: int = 0
    is_packed: bool = False
    layout: Layout | None = None


@dataclass(frozen=True)
class Checkpoint:
    """An opened model directory. Tensors stay on disk until they are read.

    Attributes:
        files: our name of a tensor, or of a part of a quantised one -> the file that holds it.
        sources: our name of a tensor, without the suffix of a part -> where it is stored.
        forms: our name of each tensor of the model -> how its values are stored.
    """

    directory: Path
    config: ModelConfig
    raw_config: dict[str, Any]
    files: dict[str, Path]
    sources: dict[str, Source]
    forms: dict[str, Form]
    shard: Shard = WHOLE  # the part of each tensor that is read

    def part(self, shard: Shard) -> "Checkpoint":
        """Return the same directory as one rank reads it; `config` stays that of the whole."""
        return replace(self, shard=shard)

    @property
    def is_int8(self) -> bool:
        """Whether the matrices are stored as int8 with a scale for each output channel."""
        return self.forms[_FIRST].bits == 8

    @property
    def is_int4(self) -> bool:
        """Whether the layers' matrices are stored as packed int4 with scales for groups."""
        return self.forms[_FIRST].bits == 4

    @property
    def notice(self) -> str:
        """What a user should know about the form of the weights; usually empty."""
        unpacked = [form.layout for form in self.forms.values() if form.layout and not form.group]
        if not unpacked:
            return ""
        method = unpacked[0].method.upper()
        return (
            f"matrices of {method} are unpacked ({len(unpacked)}), as they have zero points, "
            "columns in another order or floats of 8 bits, and run in int8"
        )

    def integers(self, name: str) -> tuple[Tensor, Tensor]:
        """Return a quantised matrix as it is stored: int8 [out, in], scales [out, groups].

        Raises:
            CheckpointError: it is unreadable, or its scales hold NaN or infinity.
        """
        form = self.forms[name]
        if form.layout:
            q, scale = self._unpacked_integers(name, form.layout)
        elif form.is_packed:
            q = unpack_words(self.tensor(f"{name}_packed"), form.bits)
        else:
            q = self.tensor(name)
        if not form.layout:
            scale = self.tensor(f"{name}_scale")
        self._check_finite(scale, f"{name}_scale")
        return q, scale

    def tensor(self, name: str) -> Tensor:
        """Return a tensor as stored, backed by the memory-mapped file where nothing is folded in.

        A rank gets its part of it. In a quantised matrix, factors are folded into its scales.

        Raises:
            CheckpointError: there is no such tensor, or the file cannot be read.
        """
        if layout := self.forms.get(name, Form()).layout:
            return self._unpacked(name, layout)
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
        if self.forms.get(name, Form()).group:
            tensor = dequantize(*self.integers(name)).to(dtype)
        else:
            tensor = self.tensor(name).to(dtype)
        self._check_finite(tensor, name)
        return tensor

    def parts(
        self, name: str, wanted: tuple[str, ...] = ("", *OTHER_SUFFIXES)
    ) -> dict[str, Tensor]:
        """Return what another method stores of a matrix, by the suffixes of names."""
        source, found = self.sources[name], {}
        for suffix in wanted:
            if (path := self.files.get(name + suffix)) is not None:
                try:
                    with safe_open(path, framework="pt") as file:
                        found[suffix] = file.get_tensor(source.part(suffix))
                except (SafetensorError, OSError) as exc:
                    raise CheckpointError(path, f"cannot be read: {exc}", name + suffix) from exc
        return found

    def _unpacked(self, name: str, layout: Layout) -> Tensor:
        try:
            tensor = dequantised(layout, self.parts(name))
        except ValueError as exc:
            raise CheckpointError(self.directory, str(exc), name) from exc
        return self.sources[name].folded(self._placed(name, tensor))

    def _unpacked_integers(self, name: str, layout: Layout) -> tuple[Tensor, Tensor]:
        q, _, scale, _ = integers(layout, self.parts(name))
        q = (q - 2 ** (layout.bits - 1)).to(torch.int8)
        scale = self.sources[name].folded(self._placed(f"{name}_scale", scale))
        return self._placed(name, q), scale

    def _placed(self, name: str, tensor: Tensor) -> Tensor:
        """Take a shard's part of a whole matrix, or of its scales, in the table's order."""
        source = self.sources[name.removesuffix("_scale")]
        return source.ordered(tensor[_place(list(tensor.shape), source.rows, name, self.shard)])

    def _check_finite(self, tensor: Tensor, name: str) -> None:
        if not torch.isfinite(tensor).all():
            path = self.files.get(name, self.directory)
            raise CheckpointError(path, "holds NaN or infinity", name)


def _place(
    stored: list[int], rows: tuple[int, int] | None, name: str, shard: Shard
) -> tuple[slice, ...]:
    """Return where a shard's part of a tensor lies in the stored one.

    Args:
        stored: shape of the stored one. rows: those of the tensor in it; None: all.
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
    if problem := not_a_model(directory):
        raise CheckpointError(directory, problem)
    try:
        next(directory.iterdir(), None)
    except OSError as exc:
        raise CheckpointError(directory, f"cannot be read: {exc.strerror}") from exc
    config = load_model_config(directory)
    raw_config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    headers = _read_headers(directory)
    if refused := refusal(raw_config, {name: header[2] for name, header in headers.items()}):
        problem, tensor = refused
        place = headers[tensor][0] if tensor else directory / "config.json"
        raise CheckpointError(place, problem, tensor)
    sources, layout = find_sources(config, headers), described_layout(raw_config)
    files = {
        name + suffix: headers[source.part(suffix)][0]
        for name, source in sources.items()
        for suffix in (*SUFFIXES, *OTHER_SUFFIXES)
        if source.part(suffix) in headers
    }
    checkpoint = Checkpoint(directory, config, raw_config, files, sources, {})
    checkpoint = replace(checkpoint, config=_with_head(checkpoint))
    shapes = weight_shapes(checkpoint.config)
    for name, shape in shapes.items():
        checkpoint.forms[name] = (
            _check_layout(checkpoint, layout, name, shape)
            if layout and len(shape) == 2 and not _is_float(headers, sources[name].name)
            else _check_tensor(directory, headers, sources[name], shape)
        )
    read = [sources[name] for name in (*shapes, HEAD)]
    for name in unknown(headers, read, config.stored.ignored):
        if layout and name.endswith(".bias") and _is_zero(headers[name][0], name):
            continue  # some quantisers write biases even for models without any
        family = raw_config["model_type"]
        problem = f"is unknown: a {family} model of this config.json has no such tensor"
        raise CheckpointError(headers[name][0], problem, name)
    return checkpoint


def not_a_model(path: Path) -> str:
    """Return why a path cannot be a model directory; "" where it may be one."""
    if path.suffix == ".gguf":
        return "is a GGUF file: make a directory of it with tokenspeed import FILE.gguf OUT"
    if path.is_file():
        return "is a file; expected a Hugging Face model directory"
    if not path.exists():
        if _HUB_NAME.fullmatch(str(path)) and not path.parent.exists():
            return (
                "not found; if this is a name on the Hugging Face hub, it is fetched with "
                "pip install 'tokenspeed-live[hub]'"
            )
        return "not found; expected a Hugging Face model directory"
    if (path / "adapter_config.json").exists() and not (path / "config.json").exists():
        return (
            "holds an adapter (adapter_config.json) and no model; merge it into its base with "
            "peft (merge_and_unload) and save that"
        )
    if not (path / "config.json").exists() and any(path.glob("*.gguf")):
        return "holds GGUF files: make a directory of one with tokenspeed import FILE.gguf OUT"
    return ""


def _with_head(checkpoint: Checkpoint) -> ModelConfig:
    """Decide whether the head is the embedding; the weights decide, as in transformers."""
    config, has_head = checkpoint.config, any(HEAD + s in checkpoint.files for s in SUFFIXES)
    if not has_head and checkpoint.raw_config.get("tie_word_embeddings") is None:
        return replace(config, tie_word_embeddings=True)  # it can be nothing else
    if has_head and config.tie_word_embeddings:
        same = all(_is_same(checkpoint, HEAD + suffix, EMBEDDING + suffix) for suffix in SUFFIXES)
        return replace(config, tie_word_embeddings=same)
    return config


def _is_same(checkpoint: Checkpoint, a: str, b: str) -> bool:
    if a not in checkpoint.files or b not in checkpoint.files:
        return a not in checkpoint.files and b not in checkpoint.files
    return torch.equal(checkpoint.tensor(a), checkpoint.tensor(b))


def _split(name: str, sources: Mapping[str, Source]) -> tuple[str, str]:
    """Separate our name of a tensor from the suffix of a quantised form."""
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
            check_readable(path)  # the library reports unreadable files as missing
            raise CheckpointError(path, f"damaged or cut short: {exc}") from exc
    return headers


def check_readable(path: Path) -> None:
    """Check that a file can be opened.

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
    # Some releases contain the same weights twice, under other names.
    files = [single] if single.exists() else sorted(directory.glob("*.safetensors"))
    files = [path for path in files if path.name != MTP_FILE]
    if not files:
        raise CheckpointError(directory, "holds no *.safetensors file")
    return files


def _check_tensor(
    directory: Path, headers: dict[str, _Header], source: Source, shape: tuple[int, ...]
) -> Form:
    name = source.name
    shape = (source.height or shape[0], *shape[1:])
    if f"{name}_packed" in headers and len(shape) == 2:
        return _check_packed(headers, name, shape)
    if name not in headers:
        raise CheckpointError(directory, "is missing", name)
    path, found, dtype = headers[name]
    if found != shape:
        raise CheckpointError(path, f"has shape {found}, expected {shape}", name)
    if dtype in _FLOATS:
        return Form()
    if dtype != "I8" or len(shape) != 2:
        raise CheckpointError(path, f"has dtype {dtype}, supported: F32, F16, BF16, I8", name)
    scale = headers.get(f"{name}_scale")
    if scale is None:
        raise CheckpointError(path, "is int8 but has no scale", f"{name}_scale")
    if scale[1] != (shape[0], 1):
        raise CheckpointError(
            scale[0], f"has shape {scale[1]}, expected {(shape[0], 1)}", f"{name}_scale"
        )
    return Form(8, shape[1])


def _is_float(headers: dict[str, _Header], name: str) -> bool:
    return name in headers and headers[name][2] in _FLOATS


def _is_zero(path: Path, name: str) -> bool:
    with safe_open(path, framework="pt") as file:
        return not file.get_tensor(name).any()


def _check_layout(
    checkpoint: Checkpoint, layout: Layout, name: str, shape: tuple[int, ...]
) -> Form:
    """Check a matrix of another method, and whether it can be run like one of ours."""
    source = checkpoint.sources[name]
    expected = (source.height or shape[0], *shape[1:])
    needed = {"awq": AWQ_PARTS, "gptq": AWQ_PARTS, "fp8": ("",)}[layout.method]
    for suffix in needed:
        if name + suffix not in checkpoint.files:
            raise CheckpointError(checkpoint.directory, "is missing", source.part(suffix))
    place, first = checkpoint.files[name + needed[0]], source.part(needed[0])
    if layout.method == "fp8" and not any(name + s in checkpoint.files for s in FP8_SCALES):
        raise CheckpointError(place, "is FP8 but has no scale", source.part(FP8_SCALES[1]))
    with safe_open(place, framework="pt") as file:
        found = shape_of(layout, tuple(file.get_slice(first).get_shape()))
    if found != expected:
        raise CheckpointError(place, f"has shape {found}, expected {expected}", first)
    if layout.method == "fp8":
        return Form(layout=layout)
    parts = checkpoint.parts(name, (".qzeros", ".g_idx"))
    zeros = zeros_of(layout, parts[".qzeros"])
    groups = zeros.shape[1]
    if len(zeros) != expected[0] or expected[1] % groups:
        raise CheckpointError(
            place, f"has zeros {tuple(zeros.shape)}, expected whole groups", first
        )
    where = parts.get(".g_idx")
    if where is not None and (
        len(where) != expected[1] or not 0 <= where.min() <= where.max() < groups
    ):
        raise CheckpointError(
            place, f"names other groups than 0 to {groups - 1}", source.part(".g_idx")
        )
    if is_plain(layout, zeros, where, expected[1]):
        return Form(layout.bits, expected[1] // groups, layout=layout)
    return Form(layout=layout)


def _check_packed(headers: dict[str, _Header], name: str, shape: tuple[int, ...]) -> Form:
    """Check integers packed in words, of 8 bits or of 4, with scales for groups of columns."""
    rows, columns = shape
    path, packed, dtype = headers[f"{name}_packed"]
    bits = 8 if packed == (rows, -(-columns // 4)) != (rows, -(-columns // 8)) else 4
    if packed != (rows, -(-columns * bits // 32)):
        expected = rows, -(-columns // 8)
        raise CheckpointError(path, f"has shape {packed}, expected {expected}", f"{name}_packed")
    if dtype != "I32":
        raise CheckpointError(path, f"has dtype {dtype}, supported: I32", f"{name}_packed")
    if columns * bits % 32:
        problem = f"has {columns} columns, which fill no whole words"
        raise CheckpointError(path, problem, f"{name}_packed")
    part = f"{name}_scale"
    if part not in headers:
        raise CheckpointError(path, "is missing", part)
    path, found, dtype = headers[part]
    if dtype not in _FLOATS:
        raise CheckpointError(path, f"has dtype {dtype}, supported: {', '.join(_FLOATS)}", part)
    if len(found) != 2 or found[0] != rows or not found[1] or columns % found[1]:
        problem = f"has shape {found}, expected {rows} rows and a divisor of {columns} columns"
        raise CheckpointError(path, problem, part)
    return Form(bits, columns // found[1], is_packed=True)
