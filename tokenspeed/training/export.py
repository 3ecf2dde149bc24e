"""A trained model as a Hugging Face directory."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokenspeed.model.config import ModelConfig
from tokenspeed.model.shards import MAX_SHARD_BYTES, write_model_shards


def export_model(
    directory: Path,
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    vocabulary: Path,
    languages: Sequence[str],
    dtype: torch.dtype = torch.bfloat16,
    formality: Sequence[str] = (),
) -> None:
    """Write config.json, the sharded weights and tokenizer.model.

    Args:
        directory: made if needed.
        weights: by Hugging Face name.
        vocabulary: the sentencepiece model.
        languages: foreign languages, each paired with English in both directions.
        formality: those in which a form of address can be asked for.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {n: t.detach().to("cpu", dtype) for n, t in weights.items()}
    # A teacher's embedding alone may be larger than a shipped shard.
    largest = max(t.nbytes for t in tensors.values()) + 2**20
    write_model_shards(directory, tensors.items(), max(MAX_SHARD_BYTES, largest))
    (directory / "tokenizer.model").write_bytes(vocabulary.read_bytes())
    raw = hugging_face_config(config, languages)
    if formality:
        raw["tokenspeed"]["formality"] = list(formality)
    (directory / "config.json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")


def hugging_face_config(config: ModelConfig, languages: Sequence[str]) -> dict[str, Any]:
    """Return config.json of a model in the prompt format `marks`."""
    pairs = [pair for xx in languages for pair in (["en", xx], [xx, "en"])]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope.theta,
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_ids[0],
        "torch_dtype": "bfloat16",
        "tokenspeed": {"prompt": "marks", "pairs": pairs},
    }
