"""Makes a GGUF file into a directory in Hugging Face's form: config.json, weights, tokenizer.

Values are dequantised to floating point. What cannot be imported correctly is refused by name: an
architecture, a tokenizer or a rotation that is not in the tables here. Needs the package `gguf`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tokenspeed.errors import CheckpointError
from tokenspeed.model.gguf_tokenizer import tokenizer_files
from tokenspeed.model.rope import Rope, rope_frequencies
from tokenspeed.model.shards import write_model_shards

# general.architecture -> model_type. Mistral's models are "llama" there.
_ARCHITECTURES = {
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
}
# Layers of the largest Gemma, whose scores are scaled by hidden size / heads; no field says so.
_LARGEST = {"gemma2": 46, "gemma3": 62}
_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_AROUND = _LAYER | {  # norms on both sides of a branch: gemma2, gemma3
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_FACTORS = "rope_freqs.weight"  # what each pair's frequency is divided by: Llama 3.1
_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def import_gguf(
    source: Path,
    target: Path,
    tracked: Callable[[list[Any]], Iterable[Any]] = iter,
    max_shard_bytes: int = 4 << 30,
) -> None:
    """Write a directory that `open_checkpoint` reads.

    Args:
        tracked: iterates over the tensors, and may show progress.
    Raises:
        CheckpointError: the file cannot be read, or cannot be imported correctly.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(source)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except (OSError, ValueError, IndexError) as exc:
        raise CheckpointError(source, f"is not a readable GGUF file: {exc}") from exc
    try:
        config = _config(fields, {tensor.name: tensor for tensor in reader.tensors})
        files = tokenizer_files(fields)
        weights = [tensor for tensor in reader.tensors if tensor.name != _FACTORS]
        for tensor in weights:
            if tensor.tensor_type.name not in _TYPES:
                kind = tensor.tensor_type.name
                raise ValueError(f"{tensor.name} is {kind}, supported: {', '.join(_TYPES)}")
            _name(tensor.name, config)
    except KeyError as exc:
        raise CheckpointError(source, f"field {exc.args[0]!r} is missing") from exc
    except ValueError as exc:
        raise CheckpointError(source, str(exc)) from exc
    target.mkdir(parents=True, exist_ok=True)
    write_model_shards(target, _tensors(tracked(weights), config), max_shard_bytes)
    files["config.json"] = _json(config)
    for name, content in files.items():
        (target / name).write_bytes(content)


def _config(fields: dict[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of config.json.

    Raises:
        KeyError: a field is missing. ValueError: the model cannot be imported correctly.
    """
    architecture = fields["general.architecture"]
    if architecture not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise ValueError(f"is of the architecture {architecture!r}, supported: {known}")
    own = {
        name.removeprefix(f"{architecture}."): value
        for name, value in fields.items()
        if name.startswith(f"{architecture}.")
    }
    if own.get("expert_count"):
        raise ValueError("is a mixture of experts, which is not supported")
    heads, hidden = own["attention.head_count"], own["embedding_length"]
    head_dim = own.get("attention.key_length", own.get("rope.dimension_count", hidden // heads))
    if own.get("rope.dimension_count", head_dim) != head_dim:
        raise ValueError("rotates only a part of each head, which is not supported")
    ends = [fields["tokenizer.ggml.eos_token_id"]]
    ends += [e for e in [fields.get("tokenizer.ggml.eot_token_id")] if e not in (None, *ends)]
    config = {
        "model_type": _ARCHITECTURES[architecture],
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": hidden,
        "intermediate_size": own["feed_forward_length"],
        "num_hidden_layers": own["block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": own.get("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": float(f"{own['attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_theta": own.get("rope.freq_base", 10000.0),
        "max_position_embeddings": own["context_length"],
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": fields.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": ends,
    }
    if (scaling := _scaling(own, tensors, head_dim)) is not None:
        config["rope_scaling"] = scaling
    if architecture.startswith("gemma"):
        config |= _gemma(architecture, own)
    elif own.get("attention.sliding_window"):
        config |= {"model_type": "mistral", "sliding_window": own["attention.sliding_window"]}
    return config


def _gemma(architecture: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that only Gemma's configurations have."""
    said: dict[str, Any] = {"hidden_act": "gelu_pytorch_tanh"}
    said |= {"hidden_activation": "gelu_pytorch_tanh"}
    if architecture == "gemma":
        return said
    scaled_by = own["attention.key_length"]
    if own["block_count"] == _LARGEST[architecture]:
        scaled_by = own["embedding_length"] // own["attention.head_count"]
    said |= {
        "query_pre_attn_scalar": scaled_by,
        "sliding_window": own.get("attention.sliding_window", 4096),
        "attn_logit_softcapping": own.get("attn_logit_softcapping"),
        "final_logit_softcapping": own.get("final_logit_softcapping"),
    }
    if architecture == "gemma3":
        said |= {"rope_local_base_freq": own.get("rope.freq_base_swa", 10000.0)}
        pattern = own.get("attention.sliding_window_pattern")
        if isinstance(pattern, list):
            kinds = ("full_attention", "sliding_attention")
            said |= {"layer_types": [kinds[bool(slides)] for slides in pattern]}
        elif pattern is not None:
            said |= {"sliding_window_pattern": pattern}
    return said


def _scaling(
    own: Mapping[str, Any], tensors: Mapping[str, Any], head_dim: int
) -> dict[str, Any] | None:
    """Return how the rotation is scaled, in Hugging Face's words; None: it is not.

    Raises:
        ValueError: it is scaled in a way that is not supported.
    """
    kind = own.get("rope.scaling.type", "none")
    original = own.get("rope.scaling.original_context_length", own["context_length"])
    if _FACTORS in tensors:
        stored = tensors[_FACTORS]
        factors = torch.from_numpy(np.array(stored.data, np.float32)).flatten()
        return _by_factors(factors, own.get("rope.freq_base", 10000.0), head_dim, original)
    if kind == "none":
        return None
    if kind not in ("linear", "yarn"):
        raise ValueError(f"has a rotation scaled by {kind!r}, supported: linear, yarn")
    scaling = {"rope_type": kind, "factor": own["rope.scaling.factor"]}
    if kind == "yarn":
        scaling |= {"original_max_position_embeddings": original}
        for ours, theirs in (("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow")):
            if f"rope.scaling.{theirs}" in own:
                scaling |= {ours: own[f"rope.scaling.{theirs}"]}
    return scaling


def _by_factors(factors: Tensor, theta: float, head_dim: int, original: int) -> dict[str, Any]:
    """Describe factors for each pair: as Llama 3.1's scaling if they equal it, else listed."""
    if len(factors) != head_dim // 2:
        raise ValueError(f"{_FACTORS} holds {len(factors)} factors, expected {head_dim // 2}")
    plain = rope_frequencies(Rope(theta), head_dim, original)
    largest = round(factors.max().item(), 4)
    for context in (8192, original):
        rope = Rope(theta, "llama3", factor=largest, original=context)
        if torch.allclose(plain / factors, rope_frequencies(rope, head_dim, original), rtol=1e-4):
            numbers = {
                "factor": largest,
                "low_freq_factor": rope.low,
                "high_freq_factor": rope.high,
            }
            return {
                "rope_type": "llama3",
                "original_max_position_embeddings": context,
            } | numbers
    listed = factors.tolist()
    return {
        "rope_type": "longrope",
        "original_max_position_embeddings": original,
        "factor": 1.0,
        "attention_factor": 1.0,
        "short_factor": listed,
        "long_factor": listed,
    }


def _name(name: str, config: Mapping[str, Any]) -> str:
    """Return Hugging Face's name of a tensor.

    Raises:
        ValueError: it is unknown.
    """
    if name in _TOP:
        return _TOP[name]
    table = _AROUND if config["model_type"] in ("gemma2", "gemma3_text") else _LAYER
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in table:
        return f"model.layers.{parts[1]}.{table[parts[2]]}.{parts[3]}"
    raise ValueError(f"holds the tensor {name!r}, which no supported model has")


def _tensors(tensors: Iterable[Any], config: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    from gguf import dequantize

    pairs = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    family = config["model_type"]
    for stored in tensors:
        values = np.array(dequantize(stored.data, stored.tensor_type), np.float32)
        tensor = torch.from_numpy(values)
        part = stored.name.split(".")[-2]
        if part in pairs and family in ("llama", "mistral"):
            # GGUF has the two rows of a rotated pair side by side, Hugging Face half a head apart.
            heads = config[pairs[part]]
            turned = tensor.view(heads, len(tensor) // heads // 2, 2, *tensor.shape[1:])
            tensor = turned.transpose(1, 2).reshape(tensor.shape)
        if part.endswith("norm") and family.startswith("gemma"):
            tensor = tensor - 1  # GGUF has it added to Gemma's norms
        if stored.tensor_type.name != "F32":
            # float16's 11 bits hold a quantised value times its scale better than bfloat16's 8.
            is_bf16 = stored.tensor_type.name == "BF16" or tensor.abs().max() > 65504
            tensor = tensor.to(torch.bfloat16 if is_bf16 else torch.float16)
        yield _name(stored.name, config), tensor


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
