"""GGUF files: the same logits and the same ids from the directory that is made of them."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tokenizers
import torch
from safetensors.torch import load_file

from tests.tokenspeed.families import change_config, make_family
from tests.tokenspeed.steps import whole_sequence
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.errors import CheckpointError
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.gguf_import import import_gguf
from tokenspeed.model.rope import Rope, rope_factor, rope_frequencies

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
AROUND = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
ARCHITECTURES = {"gemma3_text": "gemma3", "mistral": "llama"}
IDS = np.random.default_rng(1).integers(3, 100, 20).astype(np.int32)
BYTES = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def write_gguf(
    path: Path,
    source: Path,
    kind: gguf.GGMLQuantizationType,
    changes: dict[str, Any] | None = None,
    tensors: dict[str, Any] | None = None,
) -> None:
    """Write what llama.cpp's converter writes of a checkpoint, rotated pairs side by side.

    Args:
        changes: fields beyond those that all have.
        tensors: in float32, beyond those of the checkpoint.
    """
    checkpoint = open_checkpoint(source)
    config, raw = checkpoint.config, checkpoint.raw_config
    family = raw["model_type"]
    architecture = ARCHITECTURES.get(family, family)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_layers)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope.theta)
    if raw.get("sliding_window") and not family.startswith("qwen"):
        writer.add_sliding_window(raw["sliding_window"])
    if raw.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(raw["attn_logit_softcapping"])
    if raw.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(raw["final_logit_softcapping"])
    if family == "gemma3_text":
        slides = [kind == "sliding_attention" for kind in raw["layer_types"]]
        writer.add_sliding_window_pattern(slides)
        writer.add_rope_freq_base_swa(config.ropes[1].theta)
    add_vocabulary(writer, config.vocab_size)
    for name, value in (changes or {}).items():
        writer.add_key_value(name, value, gguf.GGUFValueType.get_type(value))
    for name, values in (tensors or {}).items():
        writer.add_tensor(name, values)
    names = NAMES | (AROUND if family in ("gemma2", "gemma3_text") else {})
    for name, weight in load_file(source / "model.safetensors").items():
        values = weight.float().numpy()
        *where, part, suffix = name.removeprefix("model.").split(".")
        layer = where[:2] if where else []
        part = ".".join([*where[2:], part])
        heads = {"self_attn.q_proj": config.num_heads, "self_attn.k_proj": config.num_kv_heads}
        if part in heads and architecture == "llama":
            apart = values.reshape(heads[part], 2, -1, values.shape[1])
            values = np.ascontiguousarray(apart.swapaxes(1, 2)).reshape(values.shape)
        if "norm" in part and architecture.startswith("gemma"):
            values = values + 1
        stored = ".".join([*(["blk", layer[1]] if layer else []), names[part], suffix])
        if values.ndim == 1:
            writer.add_tensor(stored, values)
        else:
            writer.add_tensor(stored, gguf.quantize(values, kind), raw_dtype=kind)
    finish(writer)


def add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """Add a byte-level vocabulary with one merge."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = [f"<{i}>" if i >= 110 else BYTES[i] for i in range(size)]
    tokens[109] = BYTES[0] + BYTES[1]
    writer.add_token_list(tokens)
    writer.add_token_types([3 if i >= 110 else 1 for i in range(size)])
    writer.add_token_merges([f"{BYTES[0]} {BYTES[1]}"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)


def copy_gguf(
    source: Path,
    target: Path,
    changes: dict[str, Any],
    replaced: dict[str, tuple[Any, gguf.GGMLQuantizationType]] | None = None,
) -> None:
    """Write a file anew with other fields (None: without it) and other tensors."""
    reader = gguf.GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    writer = gguf.GGUFWriter(target, (fields | changes)["general.architecture"])
    for name, value in (fields | changes).items():
        if value is None or name.startswith("GGUF.") or name == "general.architecture":
            continue
        types = reader.fields[name].types if name in reader.fields else []
        kind = types[0] if types else gguf.GGUFValueType.get_type(value)
        writer.add_key_value(name, value, kind, types[-1] if len(types) > 1 else None)
    for tensor in reader.tensors:
        stored = np.array(tensor.data), tensor.tensor_type
        values, quantised = (replaced or {}).get(tensor.name, stored)
        writer.add_tensor(tensor.name, values, raw_dtype=quantised)
    finish(writer)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def reference_logits(directory: Path) -> Any:
    backend = ReferenceBackend(open_checkpoint(directory), EngineConfig(num_slots=1, max_length=32))
    return backend.logits(whole_sequence(IDS))


def distance(directory: Path, other: Path) -> float:
    """How far the logits of one are from those of the other, of their length."""
    found, expected = reference_logits(directory), reference_logits(other)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(
    ("name", "kind", "limit"),
    [
        ("llama", "F16", 5e-3),
        ("llama", "Q8_0", 0.1),
        ("llama", "Q4_0", 0.9),
        ("mistral", "F16", 5e-3),
        ("qwen2", "BF16", 0.05),
        ("qwen3", "F16", 5e-3),
        ("gemma", "F16", 5e-3),
        ("gemma2", "F16", 5e-3),
        ("gemma3_text", "F16", 5e-3),
    ],
)
def test_the_directory_has_the_logits_of_the_model(
    name: str, kind: str, limit: float, tmp_path: Path
) -> None:
    around = {"query_pre_attn_scalar": 16} if name in ("gemma2", "gemma3_text") else {}
    make_family(name, tmp_path / "source", **around)
    write_gguf(tmp_path / "model.gguf", tmp_path / "source", gguf.GGMLQuantizationType[kind])
    import_gguf(tmp_path / "model.gguf", tmp_path / "out")
    assert distance(tmp_path / "out", tmp_path / "source") < limit
    found, exact = open_checkpoint(tmp_path / "out"), open_checkpoint(tmp_path / "source")
    assert found.config.window == exact.config.window
    for tensor in exact.forms:
        weight = exact.weight(tensor)
        assert (found.weight(tensor) - weight).norm() < 0.12 * weight.norm()


# Numbers of a block of 256, in order: [bytes of them, whether they are a scale in float16].
BLOCKS = {
    "Q4_K": ((2, True), (2, True), (12, False), (128, False)),
    "Q5_K": ((2, True), (2, True), (12, False), (32, False), (128, False)),
    "Q6_K": ((128, False), (64, False), (16, False), (2, True)),
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_blocks_of_256_hold_the_values_that_gguf_says(kind: str, tmp_path: Path) -> None:
    """No file of this kind can be written in Python: blocks of random bits, with small scales."""
    random = np.random.default_rng(2)
    make_family("llama", tmp_path / "source", hidden_size=256, head_dim=16)
    rows = 120 * 256 // 256
    parts = [
        (random.random((rows, 1)) * 0.002 + 1e-4).astype(np.float16).view(np.uint8)
        if is_scale
        else random.integers(0, 256, (rows, size)).astype(np.uint8)
        for size, is_scale in BLOCKS[kind]
    ]
    stored = np.concatenate(parts, axis=1)
    write_gguf(tmp_path / "floats.gguf", tmp_path / "source", gguf.GGMLQuantizationType.F16)
    replaced = {"token_embd.weight": (stored, gguf.GGMLQuantizationType[kind])}
    copy_gguf(tmp_path / "floats.gguf", tmp_path / "model.gguf", {}, replaced)
    import_gguf(tmp_path / "model.gguf", tmp_path / "out")
    expected = gguf.dequantize(stored, gguf.GGMLQuantizationType[kind])
    found = open_checkpoint(tmp_path / "out").weight("model.embed_tokens.weight").numpy()
    assert np.abs(found - expected).max() <= np.abs(expected).max() * 2**-11


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize("changed", [0.0, 0.3])
def test_factors_of_a_rotation_are_found_again(changed: float, tmp_path: Path) -> None:
    make_family("llama", tmp_path / "source")
    rope = Rope(10000.0, "llama3", factor=32.0, original=8192)
    exact = rope_frequencies(rope, 16, 128)
    factors = rope_frequencies(Rope(10000.0), 16, 128) / exact
    factors[3] += changed
    change_config(tmp_path / "source", rope_parameters=LLAMA3 | {"rope_theta": 10000.0})
    kind, tensors = gguf.GGMLQuantizationType.F16, {"rope_freqs.weight": factors.numpy()}
    write_gguf(tmp_path / "model.gguf", tmp_path / "source", kind, tensors=tensors)
    import_gguf(tmp_path / "model.gguf", tmp_path / "out")
    found = open_checkpoint(tmp_path / "out").config.rope
    assert found.kind == ("longrope" if changed else "llama3")
    expected = rope_frequencies(Rope(10000.0), 16, 128) / factors
    assert torch.allclose(rope_frequencies(found, 16, 128), expected, rtol=1e-5)
    assert rope_factor(found) == 1


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_a_scaled_rotation_has_the_logits_of_the_model(kind: str, tmp_path: Path) -> None:
    scaling = {"rope_type": kind, "factor": 4.0, "original_max_position_embeddings": 32}
    parameters = scaling | {"rope_theta": 10000.0}
    make_family("qwen2", tmp_path / "source", rope_parameters=parameters)
    fields = {"qwen2.rope.scaling.type": kind, "qwen2.rope.scaling.factor": 4.0}
    fields |= {"qwen2.rope.scaling.original_context_length": 32}
    source, path = tmp_path / "source", tmp_path / "model.gguf"
    write_gguf(path, source, gguf.GGMLQuantizationType.F16, fields)
    import_gguf(path, tmp_path / "out")
    assert distance(tmp_path / "out", source) < 5e-3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"llama.rope.scaling.type": "longrope"}, "has a rotation scaled by 'longrope'"),
        ({"llama.expert_count": 8}, "is a mixture of experts"),
        ({"llama.rope.dimension_count": 8}, "rotates only a part of each head"),
        ({"tokenizer.ggml.pre": "viking"}, "cuts text by the rule 'viking'"),
        ({"tokenizer.ggml.model": "t5"}, "a tokenizer of the kind 't5', supported: gpt2, llama"),
        ({"general.architecture": "mamba"}, "of the architecture 'mamba', supported: gemma"),
        ({"llama.embedding_length": None}, "field 'embedding_length' is missing"),
    ],
)
def test_what_would_not_come_out_right_is_refused(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    make_family("llama", tmp_path / "source")
    whole, path = tmp_path / "whole.gguf", tmp_path / "model.gguf"
    write_gguf(whole, tmp_path / "source", gguf.GGMLQuantizationType.F16)
    copy_gguf(whole, path, changes)
    with pytest.raises(CheckpointError, match=problem):
        import_gguf(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tensor_that_no_model_has_is_named(tmp_path: Path) -> None:
    make_family("llama", tmp_path / "source")
    tensors = {"blk.0.attn_sinks.weight": np.ones(4, np.float32)}
    path = tmp_path / "model.gguf"
    write_gguf(path, tmp_path / "source", gguf.GGMLQuantizationType.F16, tensors=tensors)
    with pytest.raises(CheckpointError, match="holds the tensor 'blk.0.attn_sinks.weight'"):
        import_gguf(path, tmp_path / "out")


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"GGU" + bytes(100))
    with pytest.raises(CheckpointError, match="no.gguf: is not a readable GGUF file"):
        import_gguf(tmp_path / "no.gguf", tmp_path / "out")
