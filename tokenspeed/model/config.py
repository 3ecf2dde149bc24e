"""What a model is (`ModelConfig`, from config.json) and how much of it to run (`EngineConfig`).

Knows the words of Hugging Face configurations; does not know weights or devices.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenspeed.errors import CheckpointError

DEFAULT_MODEL = Path(__file__).parents[1] / "models" / "default"  # the shipped one


@dataclass(frozen=True)
class RopeScaling:
    """LLaMA-3 scaling of the rotary frequencies (`rope_type: llama3`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a LLaMA model."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    max_position_embeddings: int = 2048
    tie_word_embeddings: bool = False
    bos_token_id: int = 1
    eos_token_ids: tuple[int, ...] = (2,)

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads is {self.num_heads}, expected a multiple of "
                f"num_kv_heads ({self.num_kv_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}, expected an even number")


@dataclass(frozen=True)
class EngineConfig:
    """How much the engine sets aside and how wide its steps may be."""

    num_slots: int = 16  # sequences whose keys and values are kept at the same time
    max_length: int = 512  # positions of one slot, prompt and output together
    max_step_tokens: int = 256  # rows of one step; longer prompts are computed in chunks
    max_step_ms: float = 60.0  # a step takes no more rows than fit this time, where it can be told


def load_model_config(directory: Path) -> ModelConfig:
    """Read `config.json` of a LLaMA checkpoint.

    Raises:
        CheckpointError: the file is missing, is not JSON, lacks a field, or is no LLaMA model.
    """
    path = directory / "config.json"
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
    family = raw.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        raise CheckpointError(
            path, f"model_type is {family!r}, supported: {', '.join(sorted(_FAMILIES))}"
        )
    try:
        return _FAMILIES[family](raw)
    except KeyError as exc:
        raise CheckpointError(path, f"field {exc.args[0]!r} is missing") from exc
    except (TypeError, ValueError) as exc:
        raise CheckpointError(path, str(exc)) from exc


def _llama(raw: dict[str, Any]) -> ModelConfig:
    unsupported = {
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "pretraining_tp": 1,
    }
    for name, expected in unsupported.items():
        if raw.get(name, expected) != expected:
            raise ValueError(f"{name} is {raw[name]!r}, only {expected!r} is supported")
    # transformers 5 writes rope_parameters; before, rope_theta and rope_scaling stood apart.
    rope = _object(raw, "rope_parameters")
    scaling = _object(raw, "rope_scaling") or rope
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise ValueError(f"rope_type is {kind!r}, supported: default, llama3")
    heads, hidden_size = _count(raw, "num_attention_heads"), _count(raw, "hidden_size")
    eos = raw.get("eos_token_id", 2)
    ends = eos if isinstance(eos, list) else [eos]
    return ModelConfig(
        vocab_size=_count(raw, "vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=_count(raw, "intermediate_size"),
        num_layers=_count(raw, "num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=_count(raw, "num_key_value_heads", heads),
        head_dim=_count(raw, "head_dim", max(hidden_size // heads, 1)),
        rms_norm_eps=_number(raw, "rms_norm_eps", 1e-6),
        rope_theta=_number(rope, "rope_theta", _number(raw, "rope_theta", 10000.0)),
        rope_scaling=RopeScaling(
            factor=_number(scaling, "factor"),
            low_freq_factor=_number(scaling, "low_freq_factor"),
            high_freq_factor=_number(scaling, "high_freq_factor"),
            original_max_position_embeddings=_count(scaling, "original_max_position_embeddings"),
        )
        if kind == "llama3"
        else None,
        max_position_embeddings=_count(raw, "max_position_embeddings", 2048),
        tie_word_embeddings=_flag(raw, "tie_word_embeddings"),
        bos_token_id=_count(raw, "bos_token_id", 1, at_least=0),
        eos_token_ids=tuple(_count({"eos_token_id": i}, "eos_token_id", at_least=0) for i in ends),
    )


def _count(raw: Mapping[str, Any], name: str, default: int | None = None, at_least: int = 1) -> int:
    """Return a whole number; the default where it is left out or null.

    Raises:
        KeyError: there is neither. ValueError: it is something else.
    """
    value: Any = raw[name] if default is None else raw.get(name)
    if value is None and default is not None:
        return default
    if type(value) is not int or value < at_least:
        raise ValueError(f"{name} is {value!r}, expected a whole number from {at_least} on")
    return value


def _number(raw: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """Return a number above 0; as `_count` does."""
    value: Any = raw[name] if default is None else raw.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int | float) or value is True or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}, expected a number above 0")
    return float(value)


def _flag(raw: Mapping[str, Any], name: str) -> bool:
    value = raw.get(name)
    if value not in (None, True, False):
        raise ValueError(f"{name} is {value!r}, expected true or false")
    return bool(value)


def _object(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}, expected an object")
    return value


_FAMILIES = {"llama": _llama}
