"""Parsers of Hugging Face's config.json, one for each family, all into one `ModelConfig`.

A new family is a parser here, its line in FAMILIES and a row in tests/tokenspeed/model/
test_families.py. Knows each family's fields and their defaults; does not know tensors.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tokenspeed.errors import CheckpointError
from tokenspeed.model.config import ModelConfig, Stored
from tokenspeed.model.rope import Rope, longrope_attention_factor, yarn_attention_factor

Raw = Mapping[str, Any]

_TANH = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_python_tanh")
_ACTIVATIONS = {"silu": "silu", "swish": "silu"} | dict.fromkeys(_TANH, "gelu_tanh")

# Defaults of what a configuration leaves out, from the classes of transformers.
_GEMMA: dict[str, Any] = {
    "head_dim": 256,
    "num_key_value_heads": 16,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "bos_token_id": 2,
    "eos_token_id": 1,
}
_GEMMA_AROUND: dict[str, Any] = {
    "hidden_activation": "gelu_pytorch_tanh",
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
}
_GEMMA3 = {
    "vocab_size": 262208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "max_position_embeddings": 131072,
}
_AROUND_NAMES = (
    ("self_attn.out_norm", "post_attention_layernorm"),
    ("post_attention_layernorm", "pre_feedforward_layernorm"),
    ("mlp.out_norm", "post_feedforward_layernorm"),
)


def load_model_config(directory: Path) -> ModelConfig:
    """Read `config.json`, and the end tokens of `generation_config.json` beside it.

    Raises:
        CheckpointError: a file is missing, is not JSON, lacks a field, or names a family or a
            feature that is not supported.
    """
    path = directory / "config.json"
    raw = read_object(path)
    family = raw.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise CheckpointError(
            path, f"model_type is {family!r}, supported: {', '.join(sorted(FAMILIES))}"
        )
    raw = _with_generation(raw, directory / "generation_config.json")
    try:
        return FAMILIES[family](raw)
    except KeyError as exc:
        raise CheckpointError(path, f"field {exc.args[0]!r} is missing") from exc
    except (TypeError, ValueError) as exc:
        raise CheckpointError(path, str(exc)) from exc


def read_object(path: Path) -> dict[str, Any]:
    """Read a file of a model directory that holds a JSON object.

    Raises:
        CheckpointError: it is missing, cannot be read, or is not a JSON object.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise CheckpointError(path, "not found; expected a Hugging Face model directory") from exc
    except OSError as exc:
        raise CheckpointError(path, f"cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise CheckpointError(path, f"not readable as JSON: {exc}") from exc
    if not isinstance(raw, dict):
        raise CheckpointError(path, "expected a JSON object")
    return raw


def _with_generation(raw: Raw, path: Path) -> dict[str, Any]:
    """Add the end tokens of generation_config.json: some models name theirs only there."""
    found = read_object(path).get("eos_token_id") if path.exists() else None
    if found is None:
        return dict(raw)
    text = raw.get("text_config")
    inner = text if isinstance(text, dict) else {}
    ends = _listed(raw.get("eos_token_id", inner.get("eos_token_id")))
    return {**raw, "eos_token_id": ends + [i for i in _listed(found) if i not in ends]}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _llama(raw: Raw) -> ModelConfig:
    _only(raw, pretraining_tp=1)
    raw = {"bos_token_id": 1, "eos_token_id": 2} | dict(raw)
    return _decoder(raw, biases=_biases(raw))


def _mistral(raw: Raw) -> ModelConfig:
    raw = {"bos_token_id": 1, "eos_token_id": 2, "sliding_window": 4096} | dict(raw)
    return _decoder(raw, window=_window(raw))


def _qwen2(raw: Raw) -> ModelConfig:
    return _decoder(raw, biases=("qkv",), window=_chosen_window(raw))


def _qwen3(raw: Raw) -> ModelConfig:
    raw = {"head_dim": 128} | dict(raw)
    return _decoder(raw, biases=_biases(raw), qk_norm="head", window=_chosen_window(raw))


def _gemma(raw: Raw) -> ModelConfig:
    raw = _GEMMA | dict(raw)
    # The first releases say "gelu" but mean its approximation by tanh.
    activation = raw.get("hidden_activation") or raw.get("hidden_act") or "gelu"
    raw["hidden_act"] = "gelu_pytorch_tanh" if activation == "gelu" else activation
    return _decoder(raw, **_gemma_features(raw))


def _gemma2(raw: Raw) -> ModelConfig:
    left_out = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
    raw = _GEMMA | _GEMMA_AROUND | left_out | dict(raw)
    return _decoder(raw, **_gemma_features(raw, _AROUND_NAMES), **_gemma_around(raw))


def _gemma3(raw: Raw) -> ModelConfig:
    _only(raw, use_bidirectional_attention=False)
    # The files of this family say little: the rest is only in its class.
    raw = _GEMMA | _GEMMA_AROUND | _GEMMA3 | dict(raw)
    count, pattern = _count(raw, "num_hidden_layers"), _count(raw, "sliding_window_pattern", 6)
    by_pattern = ["sliding" if (i + 1) % pattern else "full" for i in range(count)]
    types = raw.get("layer_types") or [f"{kind}_attention" for kind in by_pattern]
    kinds = _object(raw, "rope_parameters")
    full: dict[str, Any] = {"rope_theta": _number(raw, "rope_theta", 1e6)}
    full |= _object(kinds, "full_attention") | _object(raw, "rope_scaling")
    local: dict[str, Any] = {"rope_theta": _number(raw, "rope_local_base_freq", 1e4)}
    local |= _object(kinds, "sliding_attention")
    return _decoder(
        raw,
        **_gemma_features(raw, _AROUND_NAMES),
        **_gemma_around(raw | {"layer_types": types}),
        qk_norm="head",
        ropes=(_rope(raw, full), _rope(raw, local)),
        layer_ropes=tuple(int(kind == "sliding_attention") for kind in types),
    )


def _gemma3_multimodal(raw: Raw) -> ModelConfig:
    """Read the text part; the tensors of the other parts are left where they are."""
    outer = ("bos_token_id", "eos_token_id", "tie_word_embeddings")
    text = _object(raw, "text_config") | {n: raw[n] for n in outer if raw.get(n) is not None}
    return _gemma3(text | {"_ignored": ("vision_tower", "multi_modal_projector")})


def _phi3(raw: Raw) -> ModelConfig:
    left_out: dict[str, Any] = {"original_max_position_embeddings": 4096}
    left_out |= {"max_position_embeddings": 4096}
    left_out |= {"rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 32000}
    raw = left_out | dict(raw)
    given = _rope_words(raw)
    if given.get("rope_type", given.get("type")) in ("su", "yarn"):  # its older names
        given |= {"rope_type": "longrope"}
    stored = Stored(is_fused=True)
    return _decoder(raw, ropes=(_rope(raw, given),), window=_window(raw), stored=stored)


def _granite(raw: Raw) -> ModelConfig:
    raw = {"bos_token_id": 1, "eos_token_id": 2} | dict(raw)
    stored = Stored(
        residual_scale=_number(raw, "residual_multiplier", 1.0),
        logit_scale=1 / _number(raw, "logits_scaling", 1.0),
    )
    return _decoder(
        raw,
        biases=_biases(raw),
        attention_scale=_number(raw, "attention_multiplier", 1.0),
        embedding_scale=_number(raw, "embedding_multiplier", 1.0),
        stored=stored,
    )


def _smollm3(raw: Raw) -> ModelConfig:
    left_out: dict[str, Any] = {"num_key_value_heads": 4, "num_hidden_layers": 36}
    left_out |= {"tie_word_embeddings": True}
    left_out |= {"rope_theta": 2e6, "bos_token_id": 128000, "eos_token_id": 128001}
    raw = left_out | dict(raw)
    count, interval = _count(raw, "num_hidden_layers"), _count(raw, "no_rope_layer_interval", 4)
    # 1 means with rotation, despite the name.
    rotated = raw.get("no_rope_layers") or [int((i + 1) % interval != 0) for i in range(count)]
    return _decoder(
        raw,
        biases=_biases(raw),
        window=_window(raw) if _flag(raw, "use_sliding_window") else 0,
        ropes=(_rope(raw, _rope_words(raw)), Rope(kind="none")),
        layer_ropes=tuple(int(not rotates) for rotates in rotated),
    )


def _olmo2(raw: Raw) -> ModelConfig:
    raw = {"rms_norm_eps": 1e-5, "eos_token_id": 50279} | dict(raw)
    names = (
        ("self_attn.out_norm", "post_attention_layernorm"),
        ("mlp.out_norm", "post_feedforward_layernorm"),
    )
    stored = Stored(names=names)
    return _decoder(raw, biases=_biases(raw), qk_norm="width", norms="after", stored=stored)


def _hunyuan(raw: Raw) -> ModelConfig:
    _only(raw, use_qk_norm=True, use_cla=False)
    raw = {"rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2} | dict(raw)
    given = _rope_words(raw)
    if given.get("rope_type", given.get("type")) == "dynamic" and given.get("alpha"):
        # It is called dynamic, but is the same at every length.
        given |= {"rope_type": "alpha", "factor": given["alpha"]}
    names = (
        ("self_attn.q_norm", "self_attn.query_layernorm"),
        ("self_attn.k_norm", "self_attn.key_layernorm"),
    )
    return _decoder(
        raw,
        biases=_biases(raw),
        qk_norm="head",
        qk_norm_rotated=True,
        ropes=(_rope(raw, given),),
        stored=Stored(names=names),
    )


def _seed_oss(raw: Raw) -> ModelConfig:
    left_out = {"attention_bias": True, "head_dim": 128, "num_key_value_heads": 8}
    raw = left_out | {"bos_token_id": 0, "eos_token_id": 2} | dict(raw)
    return _decoder(raw, biases=_biases(raw, out="attention_out_bias"))


FAMILIES: dict[str, Callable[[Raw], ModelConfig]] = {
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3": _gemma3_multimodal,
    "gemma3_text": _gemma3,
    "granite": _granite,
    "hunyuan_v1_dense": _hunyuan,
    "llama": _llama,
    "mistral": _mistral,
    "olmo2": _olmo2,
    "phi3": _phi3,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "seed_oss": _seed_oss,
    "smollm3": _smollm3,
}


def _decoder(raw: Raw, **features: Any) -> ModelConfig:
    """Read the fields that all families share; `features` are what this one has besides."""
    heads = _count(raw, "num_attention_heads")
    activation = raw.get("hidden_activation") or raw.get("hidden_act") or "silu"
    if activation not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise ValueError(f"hidden_act is {activation!r}, supported: {known}")
    features.setdefault("ropes", (_rope(raw, _rope_words(raw)),))
    bos = raw.get("bos_token_id")
    ends = _listed(raw.get("eos_token_id"))
    return ModelConfig(
        vocab_size=_count(raw, "vocab_size"),
        hidden_size=_count(raw, "hidden_size"),
        intermediate_size=_count(raw, "intermediate_size"),
        num_layers=_count(raw, "num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=_count(raw, "num_key_value_heads", heads),
        head_dim=_head_dim(raw),
        rms_norm_eps=_number(raw, "rms_norm_eps", 1e-6),
        max_position_embeddings=_count(raw, "max_position_embeddings", 2048),
        tie_word_embeddings=_flag(raw, "tie_word_embeddings"),
        bos_token_id=None if bos is None else _count(raw, "bos_token_id", at_least=0),
        eos_token_ids=tuple(_count({"eos_token_id": i}, "eos_token_id", at_least=0) for i in ends),
        activation=_ACTIVATIONS[activation],  # type: ignore[arg-type]
        **features,
    )


def _gemma_features(raw: Raw, names: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    ignored = tuple(raw.get("_ignored", ()))
    stored = Stored(names=names, norm_offset=1.0, ignored=ignored)
    scale = _count(raw, "hidden_size") ** 0.5
    return {"biases": _biases(raw), "embedding_scale": scale, "stored": stored}


def _gemma_around(raw: Raw) -> dict[str, Any]:
    """Return what gemma2 and gemma3 share: norms on both sides of a branch, windows, caps."""
    return {
        "norms": "both",
        "window": _window(raw) if _slides(raw) else 0,
        "attention_scale": _number(raw, "query_pre_attn_scalar") ** -0.5,
        "attention_softcap": _number(raw, "attn_logit_softcapping", 0.0),
        "logit_softcap": _number(raw, "final_logit_softcapping", 0.0),
    }


def _only(raw: Raw, **supported: Any) -> None:
    """Refuse a feature that is not implemented.

    Raises:
        ValueError: names it.
    """
    for name, expected in supported.items():
        if raw.get(name) not in (None, expected):
            raise ValueError(f"{name} is {raw[name]!r}, only {expected!r} is supported")


def _biases(raw: Raw, out: str = "attention_bias") -> tuple[str, ...]:
    """Return which matrices have a bias. out: the field for that of attention's output."""
    fields = {"qkv": "attention_bias", "out": out, "gate_up": "mlp_bias", "down": "mlp_bias"}
    return tuple(matrix for matrix, name in fields.items() if _flag(raw, name))


def _window(raw: Raw) -> int:
    return 0 if raw.get("sliding_window") is None else _count(raw, "sliding_window")


def _slides(raw: Raw) -> bool:
    return "sliding_attention" in (raw.get("layer_types") or ["sliding_attention"])


def _chosen_window(raw: Raw) -> int:
    """Return the window of Qwen's models, whose files name one that is rarely used."""
    raw = {"sliding_window": 4096} | dict(raw)
    return _window(raw) if _flag(raw, "use_sliding_window") and _slides(raw) else 0


def _rope_words(raw: Raw) -> dict[str, Any]:
    """Return what a file says of its only rotation, in whichever fields."""
    # transformers 5 writes rope_parameters; earlier versions rope_theta and rope_scaling.
    apart = {"rope_theta": _number(raw, "rope_theta", 10000.0)}
    return apart | _object(raw, "rope_parameters") | _object(raw, "rope_scaling")


def _rope(raw: Raw, given: Raw) -> Rope:
    """Read one way of rotating.

    Args:
        given: its kind and numbers.
    Raises:
        KeyError: a number that its kind needs is missing. ValueError: the kind is unknown, or a
            number is not valid.
    """
    kind = given.get("rope_type", given.get("type", "default"))
    if kind not in _ROPES:
        raise ValueError(f"rope_type is {kind!r}, supported: {', '.join(_ROPES)}")
    head_dim = _head_dim(raw)
    share = _number(given, "partial_rotary_factor", _number(raw, "partial_rotary_factor", 1.0))
    dim = 0 if share == 1 else int(head_dim * share)
    numbers = _ROPES[kind](raw, given, dim or head_dim)
    return Rope(_number(given, "rope_theta", 10000.0), kind, dim, **numbers)


def _original(raw: Raw, given: Raw) -> int:
    longest = _count(raw, "max_position_embeddings", 2048)
    name = "original_max_position_embeddings"
    return _count(raw, name, _count(given, name, longest))


def _default(raw: Raw, given: Raw, dim: int) -> dict[str, Any]:
    return {}


def _linear(raw: Raw, given: Raw, dim: int) -> dict[str, Any]:
    return {"factor": _number(given, "factor")}


def _dynamic(raw: Raw, given: Raw, dim: int) -> dict[str, Any]:
    longest = _count(raw, "max_position_embeddings", 2048)
    return {"factor": _number(given, "factor"), "original": longest}


def _llama3(raw: Raw, given: Raw, dim: int) -> dict[str, Any]:
    return {
        "factor": _number(given, "factor"),
        "original": _original(raw, given),
        "low": _number(given, "low_freq_factor"),
        "high": _number(given, "high_freq_factor"),
    }


def _yarn(raw: Raw, given: Raw, dim: int) -> dict[str, Any]:
    original = _original(raw, given)
    longest = _count(raw, "max_position_embeddings", 2048)
    factor = _number(given, "factor", longest / original)
    mscales = (_at_least_0(given, "mscale"), _at_least_0(given, "mscale_all_dim"))
    by_default = yarn_attention_factor(factor, *mscales)
    return {
        "factor": factor,
        "original": original,
        "attention_factor": _number(given, "attention_factor", by_default),
        "low": _number(given, "beta_slow", 1.0),
        "high": _number(given, "beta_fast", 32.0),
        "is_truncated": given.get("truncate") is not False,
    }


def _longrope(raw: Raw, given: Raw, dim: int) -> dict[str, Any]:
    original = _original(raw, given)
    longest = _count(raw, "max_position_embeddings", 2048)
    factor = _number(given, "factor", longest / original)
    by_default = longrope_attention_factor(factor, original)
    return {
        "factor": factor,
        "original": original,
        "attention_factor": _number(given, "attention_factor", by_default),
        "short_factors": _numbers(given, "short_factor", dim // 2),
        "long_factors": _numbers(given, "long_factor", dim // 2),
    }


_ROPES: dict[str, Callable[[Raw, Raw, int], dict[str, Any]]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
    "alpha": _linear,
}


def _head_dim(raw: Raw) -> int:
    heads, hidden_size = _count(raw, "num_attention_heads"), _count(raw, "hidden_size")
    return _count(raw, "head_dim", max(hidden_size // heads, 1))


def _at_least_0(raw: Raw, name: str) -> float:
    return _number(raw, name) if raw.get(name) else 0.0


def _count(raw: Raw, name: str, default: int | None = None, at_least: int = 1) -> int:
    """Return a whole number; the default where it is left out or null.

    Raises:
        KeyError: there is neither. ValueError: it is not a whole number, or too small.
    """
    value: Any = raw[name] if default is None else raw.get(name)
    if value is None and default is not None:
        return default
    if type(value) is not int or value < at_least:
        raise ValueError(f"{name} is {value!r}, expected a whole number, at least {at_least}")
    return value


def _number(raw: Raw, name: str, default: float | None = None) -> float:
    """Return a number above 0; otherwise like `_count`."""
    value: Any = raw[name] if default is None else raw.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int | float) or value is True or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}, expected a number above 0")
    return float(value)


def _numbers(raw: Raw, name: str, count: int) -> tuple[float, ...]:
    value = raw[name]
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{name} is {value!r}, expected {count} numbers")
    return tuple(_number({name: part}, name) for part in value)


def _flag(raw: Raw, name: str) -> bool:
    value = raw.get(name)
    if value not in (None, True, False):
        raise ValueError(f"{name} is {value!r}, expected true or false")
    return bool(value)


def _object(raw: Raw, name: str) -> dict[str, Any]:
    value = raw.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}, expected an object")
    return value
