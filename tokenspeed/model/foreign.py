"""Refuses quantised checkpoints that are not supported, and names their method.

Many have names and shapes that could pass for ours but mean other numbers: columns in another
order, a zero that is not 0, a rotated basis. `layouts` has the other methods that are supported.
Knows the words of quantization_config and the names of tensors; does not know files.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tokenspeed.model.layouts import Layout, layout_of

_ADVICE = "use the original weights, and `tokenspeed quantize` to make them smaller"

# quant_method -> the name that people know it by.
_METHODS = {
    "awq": "AWQ",
    "bitnet": "BitNet",
    "bitsandbytes": "bitsandbytes",
    "fbgemm_fp8": "FP8 (fbgemm)",
    "fp8": "FP8",
    "gptq": "GPTQ",
    "hqq": "HQQ",
    "modelopt": "ModelOpt",
    "mxfp4": "MXFP4",
}

# Where the configuration says nothing, the end of a tensor's name or its dtype -> the method. The
# first match is reported.
_ENDS = {
    ".g_idx": "GPTQ (g_idx: columns in another order)",
    ".weight_g_idx": "compressed-tensors with act-order (weight_g_idx: columns in another order)",
    ".weight_zero_point": "compressed-tensors with zero points (asymmetric)",
    ".weight_global_scale": "compressed-tensors with global scales (NVFP4)",
    ".weight_scale_inv": "FP8 by block (weight_scale_inv)",
    ".qzeros": "AWQ or GPTQ (qweight and qzeros)",
    ".qweight": "AWQ or GPTQ (qweight)",
    ".quant_state.bitsandbytes__nf4": "bitsandbytes NF4",
    ".quant_state.bitsandbytes__fp4": "bitsandbytes FP4",
    ".SCB": "bitsandbytes int8",
    ".weight.absmax": "bitsandbytes",
    "_blocks": "MXFP4 (blocks and scales)",
}
_DTYPES = {
    "F8_E4M3": "FP8",
    "F8_E5M2": "FP8",
    "F8_E8M0": "MXFP8",
    "F4": "FP4",
    "U8": "a method that packs values in bytes, such as bitsandbytes or MXFP4",
}


# The entries of the tables above that are expected in a supported layout.
_EXPLAINED = {
    "awq": (".qweight", ".qzeros"),
    "gptq": (".qweight", ".qzeros", ".g_idx"),
    "fp8": (".weight_scale_inv", "F8_E4M3"),
}


def described_layout(raw: Mapping[str, Any]) -> Layout | None:
    """Return the layout of another method that is read here, if config.json names one."""
    given = next((given for _, given in _places(raw) if given is not None), None)
    return layout_of(given) if isinstance(given, Mapping) else None


def refusal(raw: Mapping[str, Any], dtypes: Mapping[str, str]) -> tuple[str, str | None] | None:
    """Return why quantised weights cannot be read, and the tensor that shows it; None: they can.

    Args:
        raw: config.json.
        dtypes: names of tensors -> their dtypes in the files.
    """
    if (method := _described(raw)) is not None:
        return _sentence(method), None
    layout = described_layout(raw)
    explained = _EXPLAINED[layout.method] if layout else ()
    for end, method in _ENDS.items():
        if end in explained:
            continue
        for name in sorted(dtypes):
            if name.endswith(end):
                return _sentence(method), name
    for name in sorted(dtypes):
        if dtypes[name] in _DTYPES and dtypes[name] not in explained:
            return _sentence(_DTYPES[dtypes[name]]), name
    return None


def _sentence(method: str) -> str:
    return f"is quantised by {method}, which is not read here; {_ADVICE}"


def _described(raw: Mapping[str, Any]) -> str | None:
    """Return the method that a configuration names, if it is not supported."""
    for field, given in _places(raw):
        if given is None:
            continue
        if not isinstance(given, Mapping):
            return f"something unknown ({field} is {given!r})"
        if (method := _method(given)) is not None:
            return method
    return None


def _places(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each field that may describe quantised weights: its name and its value."""
    text = raw.get("text_config")
    for place in (raw, text) if isinstance(text, Mapping) else (raw,):
        for field in ("quantization_config", "compression_config"):
            yield field, place.get(field)


def _method(given: Mapping[str, Any]) -> str | None:
    method = str(given.get("quant_method", "compressed-tensors")).lower()
    if given.get("load_in_4bit") or given.get("load_in_8bit"):
        method = "bitsandbytes"
    elif layout_of(given) is not None:
        return None
    if method in ("awq", "gptq"):
        bits = given.get("bits", given.get("w_bit", 4))
        form = given.get("version", given.get("checkpoint_format", ""))
        return f"{_METHODS[method]} with {bits} bits{form and f' ({form})'}"
    if method != "compressed-tensors":
        return _METHODS.get(method, method)
    return next(_unreadable(given), None)


def _unreadable(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the features of compressed-tensors that are not supported."""
    groups = given.get("config_groups")
    groups = groups if isinstance(groups, Mapping) else {}
    forms = [given.get("format"), *(_object(g).get("format") for g in groups.values())]
    for form in forms:
        if form not in (None, "dense", "int-quantized", "pack-quantized", "naive-quantized"):
            yield f"compressed-tensors {form}"
    if _object(given.get("transform_config")).get("config_groups"):
        yield "compressed-tensors with transforms (rotated weights)"
    sparsity = _object(given.get("sparsity_config")).get("format", "dense")
    if sparsity != "dense":
        yield f"compressed-tensors with sparsity ({sparsity})"
    for group in groups.values():
        weights = _object(_object(group).get("weights"))
        if not weights:
            continue
        kind, bits = weights.get("type", "int"), weights.get("num_bits", 8)
        if kind != "int" or bits not in (4, 8):
            yield f"compressed-tensors {kind}{bits}"
        if weights.get("symmetric") is False:
            yield "compressed-tensors with zero points (asymmetric)"
        if weights.get("actorder") in (True, "group", "dynamic"):
            yield "compressed-tensors with act-order (columns in another order)"
        if weights.get("strategy") not in (None, "channel", "group"):
            yield f"compressed-tensors by {weights['strategy']}"


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
