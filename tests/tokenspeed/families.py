"""Tiny random checkpoints of every family, made by transformers' own classes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.lazily import Lazily
from tests.tokenspeed.steps import whole_sequence
from tokenspeed.backends import Step

transformers = Lazily("transformers")

VOCAB = 120
TOKENS: NDArray[np.int32] = np.random.default_rng(0).integers(3, VOCAB, 40).astype(np.int32)

BASE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
HEAD = {"head_dim": 16}
# A window that the tokens fit into, and more positions than they have.
WINDOW = {"sliding_window": 64}
SOFT = HEAD | WINDOW | {"query_pre_attn_scalar": 20}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "llama-biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("MistralConfig", HEAD | WINDOW),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {"head_dim": 32}),
    "gemma": ("GemmaConfig", HEAD),
    "gemma2": (
        "Gemma2Config",
        SOFT | {"attn_logit_softcapping": 8.0, "final_logit_softcapping": 6.0},
    ),
    "gemma3_text": (
        "Gemma3TextConfig",
        SOFT | {"layer_types": ["sliding_attention", "full_attention"]},
    ),
    "phi3": ("Phi3Config", {}),
    "phi3-partial": ("Phi3Config", {"partial_rotary_factor": 0.5}),
    "granite": (
        "GraniteConfig",
        {
            "embedding_multiplier": 12.0,
            "attention_multiplier": 0.1,
            "residual_multiplier": 0.2,
            "logits_scaling": 8.0,
        },
    ),
    "smollm3": ("SmolLM3Config", {"no_rope_layers": [1, 0]}),
    "olmo2": ("Olmo2Config", {}),
    "hunyuan_v1_dense": (
        "HunYuanDenseV1Config",
        HEAD
        | {
            "rope_parameters": {
                "rope_type": "dynamic",
                "alpha": 50.0,
                "factor": 1.0,
                "rope_theta": 1e4,
            }
        },
    ),
    "seed_oss": ("SeedOssConfig", HEAD | {"attention_out_bias": True}),
}

Make = Callable[[str], tuple[Path, NDArray[np.float32]]]


def make_family(name: str, directory: Path, **changes: Any) -> NDArray[np.float32]:
    """Write a checkpoint; return transformers' logits of TOKENS, in float32.

    Args:
        name: a key of FAMILIES.
        changes: of its config.
    """
    kind, features = FAMILIES[name]
    config = getattr(transformers, kind)(**(BASE | features | changes))
    return write_model(config, directory)


def write_model(config: Any, directory: Path) -> NDArray[np.float32]:
    """Write a random checkpoint of a config; return transformers' logits of TOKENS."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    randomise(model)
    model.save_pretrained(directory)
    return peer_logits(model)


def randomise(model: Any) -> None:
    """Draw weights with which no switch hides: sharp attention, norms and biases of their own."""
    text = getattr(model.config, "text_config", model.config)
    is_gemma = "gemma" in text.model_type
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape)
            if weight.dim() == 1:
                offset = 0 if name.endswith("bias") or is_gemma else 1
                weight.copy_(noise * 0.3 + offset)
            elif "embed" in name or "lm_head" in name:
                weight.copy_(noise * (0.1 if is_gemma else 0.3))
            else:
                sharp = 2 if "q_proj" in name or "k_proj" in name else 1.5
                weight.copy_(noise * sharp * weight.shape[-1] ** -0.5)


def peer_logits(model: Any) -> NDArray[np.float32]:
    """Return transformers' logits of TOKENS: [tokens, vocabulary]."""
    with torch.inference_mode():
        logits: NDArray[np.float32] = (
            model(torch.from_numpy(TOKENS).long()[None]).logits[0].float().numpy()
        )
    return logits


def change_config(directory: Path, **changes: Any) -> None:
    """Write config.json anew; a value of KeyError leaves its field out."""
    path = directory / "config.json"
    raw = json.loads(path.read_text()) | changes
    raw = {name: value for name, value in raw.items() if value is not KeyError}
    path.write_text(json.dumps(raw))


def whole(tokens: NDArray[np.int32] = TOKENS, slot: int = 0, start: int = 0) -> Step:
    """A step over consecutive tokens of one slot that answers every row."""
    return whole_sequence(tokens, slot, start)
