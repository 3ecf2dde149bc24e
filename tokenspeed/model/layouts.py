"""Matrices as other quantisers lay them out, AWQ, GPTQ and FP8, unpacked.

AWQ and GPTQ pack integers in words of 32 bits, input by output, with a zero and a scale for each
group of inputs; a value is (q - zero) * scale. FP8 has a scale for a tensor, a row or a block.
Knows tensors and the words of quantization_config; does not know files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

# The parts of a matrix: suffixes of the module's name, and (FP8) of the weight's name.
AWQ_PARTS = (".qweight", ".qzeros", ".scales")
GPTQ_PARTS = (*AWQ_PARTS, ".g_idx")
FP8_SCALES = ("_scale_inv", "_scale")
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # which output each of a word's eight values belongs to


@dataclass(frozen=True)
class Layout:
    """How a checkpoint's quantised matrices are laid out.

    Attributes:
        bits: of an integer; 8 for fp8.
        group: inputs that share a scale; -1: all.
        zero_offset: added to a stored zero: the first version of GPTQ stores one less.
        block: rows and columns that share a scale of fp8.
    """

    method: Literal["awq", "gptq", "fp8"]
    bits: int = 8
    group: int = -1
    zero_offset: int = 0
    block: tuple[int, int] = (128, 128)


def layout_of(given: Mapping[str, Any]) -> Layout | None:
    """Return the layout that a quantization_config names, if it is one of these."""
    method = str(given.get("quant_method", "")).lower()
    group = given.get("group_size", given.get("q_group_size", -1))
    bits = given.get("bits", given.get("w_bit", 4))
    if method == "awq" and bits == 4 and given.get("version", "gemm").lower() == "gemm":
        return Layout("awq", bits, group)
    if method == "gptq" and bits in (4, 8):
        is_second = given.get("checkpoint_format") == "gptq_v2"
        return Layout("gptq", bits, group, 0 if is_second else 1)
    if method in ("fp8", "fbgemm_fp8") or _is_float8(given):
        block = given.get("weight_block_size") or _block(given) or (128, 128)
        return Layout("fp8", block=(int(block[0]), int(block[1])))
    return None


def _weights(given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    groups = given.get("config_groups")
    described = groups.values() if isinstance(groups, Mapping) else []
    return [g["weights"] for g in described if isinstance(g, Mapping) and g.get("weights")]


def _is_float8(given: Mapping[str, Any]) -> bool:
    """Return whether compressed-tensors describes only FP8 in plain tensors."""
    kinds = {(weights.get("type"), weights.get("num_bits")) for weights in _weights(given)}
    forms = (
        given.get("format"),
        *(g.get("format") for g in (given.get("config_groups") or {}).values() if g.get("format")),
    )
    named = given.get("quant_method", "compressed-tensors") == "compressed-tensors"
    plain = all(form in (None, "float-quantized", "naive-quantized") for form in forms)
    return named and kinds == {("float", 8)} and plain


def _block(given: Mapping[str, Any]) -> Any:
    return next((w["block_structure"] for w in _weights(given) if w.get("block_structure")), None)


def integers(layout: Layout, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unpack a matrix of AWQ or GPTQ.

    Args:
        parts: the stored tensors, by the suffixes of their names.
    Returns:
        q [out, in] and zeros [out, groups], both int16 and at least 0; scale [out, groups] in
        float32; group of each column, [in] int64.
    Raises:
        ValueError: the shapes do not belong to this layout.
    """
    packed, scale = parts[".qweight"], parts[".scales"].float().T
    q = _by_rows(layout, packed) if layout.method == "awq" else _unpacked(packed.T, layout.bits)
    q, zeros = q.flatten(1), zeros_of(layout, parts[".qzeros"])
    rows, columns = q.shape
    if zeros.shape != scale.shape or len(scale) != rows or columns % scale.shape[1]:
        found = f"{tuple(zeros.shape)} and {tuple(scale.shape)}"
        raise ValueError(f"has zeros and scales {found}, expected {rows} rows of groups")
    where = group_of(columns, scale.shape[1])
    return q, zeros, scale, parts.get(".g_idx", where).long()


def zeros_of(layout: Layout, stored: Tensor) -> Tensor:
    """Return the zeros of a matrix: [out, groups] int16."""
    if layout.method == "awq":
        return _by_rows(layout, stored).flatten(1)
    return _unpacked(stored, layout.bits).flatten(1).T + layout.zero_offset


def group_of(columns: int, groups: int) -> Tensor:
    """Return each column's group where columns are in order: [columns] int64."""
    return torch.arange(columns) // (columns // groups)


def shape_of(layout: Layout, stored: tuple[int, ...]) -> tuple[int, int]:
    """Return [out, in] of a matrix that is stored in this shape."""
    per_word = 32 // layout.bits
    if layout.method == "fp8":
        return stored[0], stored[1]
    if layout.method == "awq":
        return stored[1] * per_word, stored[0]
    return stored[1], stored[0] * per_word


def is_plain(layout: Layout, zeros: Tensor, where: Tensor | None, columns: int) -> bool:
    """Return whether a matrix is symmetric with its columns in order: int4 or int8 like ours.

    Args:
        where: the group of each column; None: they are in order.
    """
    in_order = where is None or torch.equal(where.long(), group_of(columns, zeros.shape[1]))
    return in_order and bool((zeros == 2 ** (layout.bits - 1)).all())


def dequantised(layout: Layout, parts: Mapping[str, Tensor]) -> Tensor:
    """Return the values of a stored matrix: [out, in] float32.

    Raises:
        ValueError: the shapes do not belong to this layout.
    """
    if layout.method == "fp8":
        (scale,) = (parts[end] for end in FP8_SCALES if end in parts)
        weight = parts[""].float()
        return weight * _spread(scale.float(), (weight.shape[0], weight.shape[1]), layout.block)
    q, zeros, scale, where = integers(layout, parts)
    return (q - zeros[:, where]).float() * scale[:, where]


def _spread(scale: Tensor, shape: tuple[int, int], block: tuple[int, int]) -> Tensor:
    """Return scales that multiply a matrix, from one, one a row, or one a block."""
    if scale.numel() == 1:
        return scale.reshape(1, 1)
    if scale.numel() == shape[0] and scale.shape[-1] in (1, shape[0]):
        return scale.reshape(-1, 1)
    if tuple(scale.shape) != (-(-shape[0] // block[0]), -(-shape[1] // block[1])):
        raise ValueError(f"has scales {tuple(scale.shape)} for {shape}, in blocks of {block}")
    rows = scale.repeat_interleave(block[0], 0)[: shape[0]]
    return rows.repeat_interleave(block[1], 1)[:, : shape[1]]


def _unpacked(words: Tensor, bits: int) -> Tensor:
    """Return the values of words, the lowest bits first: [..., 32 / bits] int16."""
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    return ((words[..., None] >> shifts) & (2**bits - 1)).to(torch.int16)


def _by_rows(layout: Layout, words: Tensor) -> Tensor:
    """Unpack words of AWQ, [in, out / 8]: [out, in, 1]."""
    order = [_AWQ_ORDER.index(i) for i in range(len(_AWQ_ORDER))]
    return _unpacked(words, layout.bits)[..., order].flatten(1).T[..., None]
