"""A GGUF file made into a directory in Hugging Face's form: config.json, weights, tokenizer.

Values are those that the file stands for, in floating point. What cannot come out right is refused
by its name: an architecture, a tokenizer or a rotation that is not in the tables here. Needs the
package `gguf`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers
from torch import Tensor

from tokenspeed.errors import CheckpointError
from tokenspeed.model.shards import write_model_shards

# general.architecture, which model_type names alike. llama's file has Mistral's models too.
_ARCHITECTURES = ("llama", "qwen2", "qwen3")
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
_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
# How a text is cut before merges, by tokenizer.ggml.pre; digits apart are what differs.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS = {"llama-bpe": _WORDS.replace("DIGITS", "{1,3}"), "qwen2": _WORDS.replace("DIGITS", "")}
_CONTROL, _USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type


def import_gguf(
    source: Path,
    target: Path,
    tracked: Callable[[list[Any]], Iterable[Any]] = iter,
    max_shard_bytes: int = 4 << 30,
) -> None:
    """Write a directory that `open_checkpoint` reads.

    Args:
        tracked: goes through the tensors, and may show how far.
    Raises:
        CheckpointError: the file cannot be read, or holds what would not come out right.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(source)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except (OSError, ValueError, IndexError) as exc:
        raise CheckpointError(source, f"is no readable GGUF file: {exc}") from exc
    try:
        config = _config(fields, [tensor.name for tensor in reader.tensors])
        files = _tokenizer(fields)
        for tensor in reader.tensors:
            if tensor.tensor_type.name not in _TYPES:
                kind = tensor.tensor_type.name
                raise ValueError(f"{tensor.name} is {kind}, supported: {', '.join(_TYPES)}")
            _name(tensor.name)
    except KeyError as exc:
        raise CheckpointError(source, f"field {exc.args[0]!r} is missing") from exc
    except ValueError as exc:
        raise CheckpointError(source, str(exc)) from exc
    target.mkdir(parents=True, exist_ok=True)
    write_model_shards(target, _tensors(tracked(list(reader.tensors)), config), max_shard_bytes)
    files["config.json"] = _json(config)
    for name, content in files.items():
        (target / name).write_bytes(content)


def _config(fields: dict[str, Any], tensors: list[str]) -> dict[str, Any]:
    architecture = fields["general.architecture"]
    if architecture not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise ValueError(f"is of the architecture {architecture!r}, supported: {known}")
    own = {
        name.removeprefix(f"{architecture}."): value
        for name, value in fields.items()
        if name.startswith(f"{architecture}.")
    }
    scaling = own.get("rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in tensors:
        raise ValueError("has a scaled rotation, which is not imported; use the original weights")
    if "expert_count" in own and own["expert_count"]:
        raise ValueError("is a mixture of experts, which is not supported")
    heads, hidden = own["attention.head_count"], own["embedding_length"]
    head_dim = own.get("attention.key_length", own.get("rope.dimension_count", hidden // heads))
    if own.get("rope.dimension_count", head_dim) != head_dim:
        raise ValueError("rotates a part of each head, which is not imported")
    ends = [fields["tokenizer.ggml.eos_token_id"]]
    ends += [e for e in [fields.get("tokenizer.ggml.eot_token_id")] if e not in (None, *ends)]
    return {
        "model_type": architecture,
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


def _name(name: str) -> str:
    """Return Hugging Face's name of a tensor.

    Raises:
        ValueError: it is unknown.
    """
    if name in _TOP:
        return _TOP[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _LAYER:
        return f"model.layers.{parts[1]}.{_LAYER[parts[2]]}.{parts[3]}"
    raise ValueError(f"holds the tensor {name!r}, which no supported model has")


def _tensors(tensors: Iterable[Any], config: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    from gguf import dequantize

    pairs = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    for stored in tensors:
        values = np.array(dequantize(stored.data, stored.tensor_type), np.float32)
        tensor = torch.from_numpy(values)
        part = stored.name.split(".")[-2]
        if part in pairs and config["model_type"] == "llama":
            # Its file has the two of a rotated pair side by side, Hugging Face half a head apart.
            heads = config[pairs[part]]
            turned = tensor.view(heads, len(tensor) // heads // 2, 2, *tensor.shape[1:])
            tensor = turned.transpose(1, 2).reshape(tensor.shape)
        if stored.tensor_type.name != "F32":
            # 11 bits hold a value of few bits times its scale better than the 8 of bfloat16.
            is_bf16 = stored.tensor_type.name == "BF16" or tensor.abs().max() > 65504
            tensor = tensor.to(torch.bfloat16 if is_bf16 else torch.float16)
        yield _name(stored.name), tensor


def _tokenizer(fields: dict[str, Any]) -> dict[str, bytes]:
    """Return the files of the tokenizer, by name."""
    kind = fields["tokenizer.ggml.model"]
    if kind != "gpt2":
        raise ValueError(
            f"has a tokenizer of the kind {kind!r}, supported: gpt2; use the original weights"
        )
    files = {"tokenizer.json": _byte_pairs(fields).to_str().encode()}
    described: dict[str, Any] = {"add_bos_token": fields.get("tokenizer.ggml.add_bos_token", True)}
    if (template := fields.get("tokenizer.chat_template")) is not None:
        described["chat_template"] = template
    return files | {"tokenizer_config.json": _json(described)}


def _byte_pairs(fields: dict[str, Any]) -> tokenizers.Tokenizer:
    cut = fields.get("tokenizer.ggml.pre", "default")
    if cut not in (*_PATTERNS, "gpt-2", "smollm"):
        known = ", ".join((*_PATTERNS, "gpt-2", "smollm"))
        raise ValueError(f"cuts text by the rule {cut!r}, supported: {known}")
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    is_llama = cut == "llama-bpe"  # whole words of the vocabulary need no merges there
    made = tokenizers.Tokenizer(models.BPE(vocabulary, merges, ignore_merges=is_llama))
    if cut == "qwen2":
        made.normalizer = normalizers.NFC()
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if cut == "smollm" else []
    if cut in _PATTERNS:
        pattern = tokenizers.Regex(_PATTERNS[cut])
        steps.append(pre_tokenizers.Split(pattern, "isolated"))
    by_gpt2 = cut not in _PATTERNS
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=by_gpt2))
    made.pre_tokenizer = pre_tokenizers.Sequence(steps)
    made.decoder = decoders.ByteLevel()
    kinds = list(zip(tokens, fields["tokenizer.ggml.token_type"], strict=True))
    for special in (True, False):
        wanted = _CONTROL if special else _USER_DEFINED
        added = [
            tokenizers.AddedToken(token, special=special, normalized=False)
            for token, kind in kinds
            if kind == wanted
        ]
        (made.add_special_tokens if special else made.add_tokens)(added)
    return made


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
