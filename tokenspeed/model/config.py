"""What a model is (`ModelConfig`, from config.json) and how much of it to run (`EngineConfig`).

Knows the words of Hugging Face configurations; does not know weights or devices.
"""

import json
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
    except (ValueError, OSError) as exc:
        raise CheckpointError(path, f"not readable as JSON: {exc}") from exc
    if not isinstance(raw, dict):
        raise CheckpointError(path, "expected a JSON object")
    family = raw.get("model_type")
    if family not in _FAMILIES:
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
    rope = raw.get("rope_parameters") or {}
    scaling = raw.get("rope_scaling") or rope
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise ValueError(f"rope_type is {kind!r}, supported: default, llama3")
    heads = int(raw["num_attention_heads"])
    eos = raw.get("eos_token_id", 2)
    return ModelConfig(
        vocab_size=int(raw["vocab_size"]),
        hidden_size=int(raw["hidden_size"]),
        intermediate_size=int(raw["intermediate_size"]),
        num_layers=int(raw["num_hidden_layers"]),
        num_heads=heads,
        num_kv_heads=int(raw.get("num_key_value_heads") or heads),
        head_dim=int(raw.get("head_dim") or int(raw["hidden_size"]) // heads),
        rms_norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
        rope_theta=float(rope.get("rope_theta") or raw.get("rope_theta") or 10000.0),
        rope_scaling=RopeScaling(
            factor=float(scaling["factor"]),
            low_freq_factor=float(scaling["low_freq_factor"]),
            high_freq_factor=float(scaling["high_freq_factor"]),
            original_max_position_embeddings=int(scaling["original_max_position_embeddings"]),
        )
        if kind == "llama3"
        else None,
        max_position_embeddings=int(raw.get("max_position_embeddings", 2048)),
        tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
        bos_token_id=int(raw.get("bos_token_id") or 1),
        eos_token_ids=tuple(int(i) for i in (eos if isinstance(eos, list) else [eos])),
    )


_FAMILIES = {"llama": _llama}
