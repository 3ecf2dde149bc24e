"""Shapes that are measured by name, with random weights."""

from dataclasses import replace
from typing import Any

from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.config import ModelConfig
from tokenspeed.model.families import FAMILIES
from tokenspeed.model.rope import Rope
from tokenspeed.model.sharding import Shard

# The classes of families, as transformers names them, and others after it.
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "hunyuan_v1_dense": "HunYuanDenseV1ForCausalLM",
}
# Models of other families, by their config.json.
_GEMMA_3 = {
    "model_type": "gemma3_text", "head_dim": 256, "sliding_window": 1024,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
}  # fmt: skip
FAMILY_WORDS: dict[str, dict[str, Any]] = {
    "eurollm-9b": {
        "model_type": "llama", "vocab_size": 128000, "hidden_size": 4096,
        "intermediate_size": 12288, "num_hidden_layers": 42, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    },
    "qwen3-8b": {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 4096,
        "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "rope_theta": 1000000.0,
        "max_position_embeddings": 40960,
    },
    "gemma-3-4b": _GEMMA_3 | {
        "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
        "num_attention_heads": 8, "num_key_value_heads": 4,
    },
    "gemma-3-12b": _GEMMA_3 | {
        "hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48,
        "num_attention_heads": 16, "num_key_value_heads": 8,
    },
    "hunyuan-mt-7b": {
        "model_type": "hunyuan_v1_dense", "vocab_size": 128256, "hidden_size": 4096,
        "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 32768,
        "rope_scaling": {"rope_type": "dynamic", "alpha": 1000.0, "factor": 1.0},
        "tie_word_embeddings": True,
    },
}  # fmt: skip

SHAPES = {
    "llama-3-8b": ModelConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_layers=32, num_heads=32,
        num_kv_heads=8, head_dim=128, ropes=(Rope(500000.0),), max_position_embeddings=8192,
    ),
    "llama-3-70b": ModelConfig(
        vocab_size=128256, hidden_size=8192, intermediate_size=28672, num_layers=80, num_heads=64,
        num_kv_heads=8, head_dim=128, ropes=(Rope(500000.0),), max_position_embeddings=8192,
    ),
    "llama-3.2-1b": ModelConfig(
        vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_layers=16, num_heads=32,
        num_kv_heads=8, head_dim=64, max_position_embeddings=131072, tie_word_embeddings=True,
        ropes=(Rope(500000.0, "llama3", factor=32.0, original=8192),),
    ),
    **{name: FAMILIES[words["model_type"]](words) for name, words in FAMILY_WORDS.items()},
    "default-38m": ModelConfig(
        vocab_size=16000, hidden_size=512, intermediate_size=1408, num_layers=10, num_heads=8,
        num_kv_heads=4, head_dim=64, max_position_embeddings=1024, tie_word_embeddings=True,
    ),
    "default-40m": ModelConfig(
        vocab_size=17024, hidden_size=512, intermediate_size=1536, num_layers=10, num_heads=8,
        num_kv_heads=4, head_dim=64, max_position_embeddings=1024, tie_word_embeddings=True,
    ),
}  # fmt: skip


def named_shape(name: str) -> ModelConfig:
    """Return a shape.

    Raises:
        BackendUnavailable: there is no shape of that name.
    """
    if name not in SHAPES:
        raise BackendUnavailable(f"shape is {name!r}, known: {', '.join(SHAPES)}")
    return SHAPES[name]


def part_of(name: str, gpus: int) -> ModelConfig:
    """Return what each of several GPUs has of a shape, with its part of the LM head.

    Raises:
        BackendUnavailable: there is no such shape, or that many GPUs cannot share it.
    """
    whole, shard = named_shape(name), Shard(0, gpus)
    try:
        part = shard.config(whole)
    except ValueError as exc:
        raise BackendUnavailable(str(exc)) from exc
    return replace(part, vocab_size=shard.tokens(whole.vocab_size).stop)


def step_weights(config: ModelConfig) -> int:
    """Return how many weights one step reads: all matrices and the head, without the embedding."""
    q, kv = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    layer = config.hidden_size * (2 * q + 2 * kv + 3 * config.intermediate_size)
    return config.num_layers * layer + config.vocab_size * config.hidden_size
