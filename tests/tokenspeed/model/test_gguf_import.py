"""GGUF files: the same logits and the same ids from the directory that is made of them."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tokenizers
from safetensors.torch import load_file

from tests.tokenspeed.families import make_family
from tests.tokenspeed.model.test_llama import whole_sequence
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.errors import CheckpointError
from tokenspeed.model import gguf_import
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.gguf_import import import_gguf

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "lm_head": "output",
}
IDS = np.random.default_rng(1).integers(3, 100, 20).astype(np.int32)
BYTES = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def write_gguf(
    path: Path, source: Path, kind: gguf.GGMLQuantizationType, changes: dict[str, Any]
) -> None:
    """Write what llama.cpp's converter writes of a checkpoint, rotated pairs side by side."""
    config = open_checkpoint(source).config
    family = open_checkpoint(source).raw_config["model_type"]
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(128)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_layers)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope.theta)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = [f"<{i}>" if i >= 110 else BYTES[i] for i in range(config.vocab_size)]
    tokens[109] = BYTES[0] + BYTES[1]
    writer.add_token_list(tokens)
    writer.add_token_types([3 if i >= 110 else 1 for i in range(config.vocab_size)])
    writer.add_token_merges([f"{BYTES[0]} {BYTES[1]}"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    for name, value in changes.items():
        writer.add_key_value(name, value, gguf.GGUFValueType.STRING)
    for name, weight in load_file(source / "model.safetensors").items():
        values = weight.float().numpy()
        *where, part, suffix = name.removeprefix("model.").split(".")
        layer = where[:2] if where else []
        part = ".".join([*where[2:], part])
        heads = {"self_attn.q_proj": config.num_heads, "self_attn.k_proj": config.num_kv_heads}
        if part in heads and family == "llama":
            apart = values.reshape(heads[part], 2, -1, values.shape[1])
            values = np.ascontiguousarray(apart.swapaxes(1, 2)).reshape(values.shape)
        stored = ".".join([*(["blk", layer[1]] if layer else []), NAMES[part], suffix])
        if values.ndim == 1:
            writer.add_tensor(stored, values)
        else:
            writer.add_tensor(stored, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("name", "kind", "limit"),
    [
        ("llama", "F16", 5e-3),
        ("llama", "Q8_0", 0.1),
        ("llama", "Q4_0", 0.9),
        ("qwen2", "BF16", 0.05),
        ("qwen3", "F16", 5e-3),
    ],
)
def test_the_directory_has_the_logits_of_the_model(
    name: str, kind: str, limit: float, tmp_path: Path
) -> None:
    make_family(name, tmp_path / "source")
    write_gguf(tmp_path / "model.gguf", tmp_path / "source", gguf.GGMLQuantizationType[kind], {})
    import_gguf(tmp_path / "model.gguf", tmp_path / "out")
    logits = []
    for directory in ("source", "out"):
        checkpoint = open_checkpoint(tmp_path / directory)
        backend = ReferenceBackend(checkpoint, EngineConfig(num_slots=1, max_length=32))
        logits.append(backend.logits(whole_sequence(IDS)))
    difference = np.linalg.norm(logits[1] - logits[0]) / np.linalg.norm(logits[0])
    assert difference < limit
    exact = load_file(tmp_path / "source" / "model.safetensors")
    for tensor, weight in exact.items():
        found = open_checkpoint(tmp_path / "out").weight(tensor)
        assert (found - weight).norm() < 0.12 * weight.norm()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"llama.rope.scaling.type": "yarn"}, "has a scaled rotation"),
        ({"tokenizer.ggml.pre": "tekken"}, "cuts text by the rule 'tekken'"),
        ({"tokenizer.ggml.model": "llama"}, "a tokenizer of the kind 'llama'"),
        ({"general.architecture": "mamba"}, "of the architecture 'mamba', supported: llama"),
    ],
)
def test_what_would_not_come_out_right_is_refused(
    changes: dict[str, str], problem: str, tmp_path: Path
) -> None:
    fields = {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2"} | changes
    with pytest.raises(ValueError, match=problem):  # noqa: PT012
        if any(name.startswith("tokenizer") for name in changes):
            gguf_import._tokenizer(fields)
        gguf_import._config(fields, [])


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"GGU" + bytes(100))
    with pytest.raises(CheckpointError, match="no.gguf: is no readable GGUF file"):
        import_gguf(tmp_path / "no.gguf", tmp_path / "out")
