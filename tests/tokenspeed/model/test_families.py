"""Each family against transformers, each of its features switched off, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from tests.conftest import TINY
from tests.lazily import Lazily
from tests.tokenspeed.families import (
    BASE,
    FAMILIES,
    SOFT,
    TOKENS,
    change_config,
    make_family,
    peer_logits,
    whole,
    write_model,
)
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.errors import BackendUnavailable, CheckpointError
from tokenspeed.model.checkpoint import Checkpoint, open_checkpoint
from tokenspeed.model.config import DEFAULT_MODEL, EngineConfig, ModelConfig, Stored
from tokenspeed.model.families import load_model_config
from tokenspeed.model.rope import Rope
from tokenspeed.model.sources import find_sources

transformers = Lazily("transformers")

CONFIG = EngineConfig(num_slots=2, max_length=64)
CLOSE = 1e-4

# What each family is made of, with what takes its place when it is left out.
OFF: dict[str, dict[str, Any]] = {
    "llama-biases": {"biases": ()},
    "qwen2": {"biases": ()},
    "qwen3": {"qk_norm": ""},
    "gemma": {"activation": "silu", "embedding_scale": 1.0, "norm_offset": 0.0},
    "gemma2": {
        "activation": "silu",
        "attention_softcap": 0.0,
        "logit_softcap": 0.0,
        "embedding_scale": 1.0,
        "norms": "before",
        "attention_scale": 0.0,
        "norm_offset": 0.0,
    },
    "gemma3_text": {
        "activation": "silu",
        "qk_norm": "",
        "embedding_scale": 1.0,
        "norms": "before",
        "attention_scale": 0.0,
        "norm_offset": 0.0,
        "layer_ropes": (),
    },
    "phi3-partial": {"ropes": (Rope(),)},
    "granite": {
        "attention_scale": 0.0,
        "embedding_scale": 1.0,
        "residual_scale": 1.0,
        "logit_scale": 1.0,
    },
    "smollm3": {"layer_ropes": ()},
    "olmo2": {"qk_norm": "", "norms": "before"},
    "hunyuan_v1_dense": {"qk_norm": "", "qk_norm_rotated": False, "ropes": (Rope(),)},
    "seed_oss": {"biases": ("qkv",)},
}
STORED = ("norm_offset", "residual_scale", "logit_scale")


def logits(checkpoint: Checkpoint) -> NDArray[np.float32]:
    return ReferenceBackend(checkpoint, CONFIG).logits(whole())


def changed(checkpoint: Checkpoint, name: str, value: Any) -> Checkpoint:
    """Return the checkpoint as if its config said otherwise."""
    config = checkpoint.config
    if name in STORED:
        off: Any = {name: value}
        config = replace(config, stored=replace(config.stored, **off))
    else:
        off = {name: value}
        config = replace(config, **off)
    if config.norms == "before" and checkpoint.config.norms == "after":
        names = (
            ("input_layernorm", "post_attention_layernorm"),
            ("post_attention_layernorm", "post_feedforward_layernorm"),
        )
        config = replace(config, stored=Stored(names=names))
    names_in_file = {source.name for source in checkpoint.sources.values()}
    sources = find_sources(config, names_in_file)
    paths = set(checkpoint.files.values())
    files = {name: path for name in sources for path in paths}
    return replace(checkpoint, config=config, sources=sources, files=files)


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    expected = make_family(name, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert np.abs(logits(checkpoint) - expected).max() < CLOSE
    for switch, off in OFF.get(name, {}).items():
        without = np.abs(logits(changed(checkpoint, switch, off)) - expected).max()
        assert without > 20 * CLOSE, f"{switch} makes no difference"
    told = {switch for switch in checkpoint.config.switches if switch != "biases"}
    assert told <= set(OFF.get(name, {}))


def test_a_text_model_inside_a_multimodal_one(tmp_path: Path) -> None:
    text = transformers.Gemma3TextConfig(
        **(BASE | SOFT | {"layer_types": ["sliding_attention", "full_attention"]})
    )
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "image_size": 16}
    vision |= {"num_attention_heads": 2, "patch_size": 8}
    config = transformers.Gemma3Config(
        text_config=text.to_dict(), vision_config=vision, mm_tokens_per_image=4
    )
    torch.manual_seed(0)
    model = transformers.Gemma3ForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert any("vision" in name for name in load_file(tmp_path / "model.safetensors"))
    assert np.abs(logits(checkpoint) - peer_logits(model)).max() < CLOSE


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "gemma2", "granite", "smollm3", "olmo2"])
def test_a_family_that_is_called_llama_is_refused(name: str, tmp_path: Path) -> None:
    """Its tensors tell it; one whose tensors are LLaMA's, nothing can tell."""
    make_family(name, tmp_path)
    change_config(tmp_path, model_type="llama")
    if name in ("granite", "smollm3"):
        assert open_checkpoint(tmp_path).config.switches == ()
        return
    with pytest.raises(CheckpointError, match="is unknown: a llama model|is missing") as raised:
        open_checkpoint(tmp_path)
    assert raised.value.tensor


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mistral", {}),
        ("phi3", {"sliding_window": 48}),
        ("gemma3_text", {}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 48, "max_window_layers": 0}),
        ("smollm3", {"use_sliding_window": True, "sliding_window": 48, "layer_types": None}),
    ],
)
def test_slots_longer_than_a_window_are_refused(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    expected = make_family(name, tmp_path, **changes)
    checkpoint = open_checkpoint(tmp_path)
    window = checkpoint.config.window
    assert window in (48, 64)
    fits = ReferenceBackend(checkpoint, replace(CONFIG, max_length=window))
    assert np.abs(fits.logits(whole()) - expected).max() < CLOSE
    with pytest.raises(BackendUnavailable, match=f"layers of this model see {window} at most"):
        ReferenceBackend(checkpoint, replace(CONFIG, max_length=window + 1))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("qwen2", {"use_sliding_window": False, "sliding_window": 16}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 9}),
        ("mistral", {"sliding_window": None}),
    ],
)
def test_a_window_that_no_layer_uses_is_none(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    make_family(name, tmp_path, **changes)
    assert open_checkpoint(tmp_path).config.window == 0


LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0 + i / 8 for i in range(8)],
    "long_factor": [2.0 + i for i in range(8)],
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
ROPES: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.5}}),
    "dynamic": ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}),
    "yarn": ("qwen2", {"rope_parameters": YARN}),
    "yarn as deepseek": ("llama", {"rope_parameters": YARN | {"mscale": 0.7, "mscale_all_dim": 1}}),
    "yarn by hand": (
        "llama",
        {"rope_parameters": YARN | {"attention_factor": 1.3, "beta_fast": 16, "truncate": False}},
    ),
    "longrope": ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 32}),
    "longrope short": (
        "phi3",
        {"rope_parameters": LONG, "original_max_position_embeddings": 100},
    ),
    "gemma3 linear": (
        "gemma3_text",
        {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0}}},
    ),
}


@pytest.mark.parametrize(("name", "changes"), ROPES.values(), ids=ROPES)
def test_every_kind_of_rope(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    changes = json.loads(json.dumps(changes))  # transformers writes into what it is given
    expected = make_family(name, tmp_path, **changes)
    checkpoint = open_checkpoint(tmp_path)
    assert np.abs(logits(checkpoint) - expected).max() < CLOSE
    plain = replace(checkpoint, config=replace(checkpoint.config, ropes=(Rope(), Rope())))
    if "dynamic" not in str(changes):  # which changes nothing in the context that it was made for
        assert np.abs(logits(plain) - expected).max() > 20 * CLOSE


SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def load(directory: Path, **changes: Any) -> ModelConfig:
    raw = {name: value for name, value in (TINY | changes).items() if value is not KeyError}
    (directory / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    return load_model_config(directory)


def test_old_and_new_transformers_say_the_same(tmp_path: Path) -> None:
    old = load(tmp_path, rope_theta=5e5, rope_scaling=SCALING)
    new = load(tmp_path, rope_theta=None, rope_parameters={"rope_theta": 5e5, **SCALING})
    assert old == new
    assert old.rope == Rope(5e5, "llama3", factor=8.0, original=8192, low=1.0, high=4.0)


def test_what_is_left_out_follows_from_the_rest(tmp_path: Path) -> None:
    found = load(tmp_path, head_dim=None, num_key_value_heads=KeyError, eos_token_id=[2, 5])
    assert (found.head_dim, found.num_kv_heads) == (8, 4)
    assert found.eos_token_ids == (2, 5)


def test_what_gemma3_leaves_out_stands_in_its_class(tmp_path: Path) -> None:
    """As in the files that are given out: transformers writes no more of the text part."""
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240}
    text |= {"num_hidden_layers": 34, "sliding_window": 1024}
    text |= {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}}
    raw = {"model_type": "gemma3", "text_config": text, "eos_token_id": [1, 106]}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    found = load_model_config(tmp_path)
    peer = transformers.Gemma3TextConfig(**text)
    assert found.num_heads == peer.num_attention_heads
    assert found.num_kv_heads == peer.num_key_value_heads
    assert found.head_dim == peer.head_dim
    assert found.vocab_size == peer.vocab_size
    assert found.tie_word_embeddings
    assert found.eos_token_ids == (1, 106)
    kinds = ["sliding_attention" if rope else "full_attention" for rope in found.layer_ropes]
    assert kinds == peer.layer_types
    assert found.ropes == (Rope(1e6, "linear", factor=8.0), Rope(1e4))


def test_end_tokens_come_from_both_files(tmp_path: Path) -> None:
    generation = tmp_path / "generation_config.json"
    generation.write_text(json.dumps({"eos_token_id": [107, 2]}))
    assert load(tmp_path, eos_token_id=1).eos_token_ids == (1, 107, 2)
    assert load(tmp_path, eos_token_id=None).eos_token_ids == (107, 2)
    assert load(tmp_path, eos_token_id=KeyError).eos_token_ids == (107, 2)
    generation.write_text("{}")
    assert load(tmp_path, eos_token_id=None).eos_token_ids == ()
    assert load(tmp_path, eos_token_id=KeyError).eos_token_ids == (2,)
    generation.write_text("[]")
    with pytest.raises(CheckpointError, match="generation_config.json: expected a JSON object"):
        load(tmp_path)


@pytest.mark.parametrize(("told", "found"), [(0, 0), (5, 5), (None, None), (KeyError, 1)])
def test_the_begin_token_is_what_is_said(tmp_path: Path, told: Any, found: int | None) -> None:
    assert load(tmp_path, bos_token_id=told).bos_token_id == found


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba', supported: "),
        ({"hidden_size": KeyError}, "field 'hidden_size' is missing"),
        ({"hidden_act": "relu2"}, "hidden_act is 'relu2', supported: silu, "),
        ({"pretraining_tp": 2}, "pretraining_tp is 2, only 1 is supported"),
        ({"rope_scaling": {"rope_type": "mrope"}}, "rope_type is 'mrope', supported: default, "),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 0}}, "factor is 0, expected a number"),
        ({"rope_scaling": {"rope_type": "linear"}}, "field 'factor' is missing"),
        (
            {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": []}},
            r"short_factor is \[1.0\], expected 4 numbers",
        ),
        ({"num_key_value_heads": 3}, r"num_heads is 4, expected a multiple of num_kv_heads \(3\)"),
        ({"head_dim": 7}, "head_dim is 7, expected an even number"),
        ({"model_type": ["llama"]}, r"model_type is \['llama'\], supported: "),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1, expected a whole number, at least 1"),
        ({"hidden_size": 0}, "hidden_size is 0, expected a whole number, at least 1"),
        ({"num_key_value_heads": 0}, "num_key_value_heads is 0, expected a whole number"),
        ({"vocab_size": "a"}, "vocab_size is 'a', expected a whole number"),
        ({"vocab_size": True}, "vocab_size is True, expected a whole number"),
        ({"intermediate_size": 1.5}, "intermediate_size is 1.5, expected a whole number"),
        ({"rope_theta": "a"}, "rope_theta is 'a', expected a number above 0"),
        ({"rope_theta": float("nan")}, "rope_theta is nan, expected a number above 0"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0, expected a number above 0"),
        ({"rope_scaling": 5}, "rope_scaling is 5, expected an object"),
        ({"rope_scaling": SCALING | {"factor": None}}, "factor is None, expected a number"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no', expected true or false"),
        ({"attention_bias": 2}, "attention_bias is 2, expected true or false"),
        ({"eos_token_id": [2, None]}, "eos_token_id is None, expected a whole number, at least 0"),
        ({"bos_token_id": -1}, "bos_token_id is -1, expected a whole number, at least 0"),
        ({"model_type": "smollm3", "no_rope_layers": [1]}, "1 layers are described, expected 2"),
        ({"model_type": "hunyuan_v1_dense", "use_cla": True}, "use_cla is True, only False"),
    ],
)
def test_what_cannot_run_is_named(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem):
        load(tmp_path, **changes)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not found"):
        load_model_config(tmp_path)
    for text, problem in (("{", "not readable as JSON"), ("[]", "expected a JSON object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=problem):
            load_model_config(tmp_path)


def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        load_model_config(tmp_path)


def test_the_shipped_model_can_be_read() -> None:
    assert load_model_config(DEFAULT_MODEL).num_layers > 0


def test_the_first_gemmas_say_gelu_and_mean_tanh(tmp_path: Path) -> None:
    expected = make_family("gemma", tmp_path)
    change_config(tmp_path, hidden_act="gelu", hidden_activation=None)
    assert np.abs(logits(open_checkpoint(tmp_path)) - expected).max() < CLOSE


def test_a_head_of_its_own_wins_over_the_flag(tmp_path: Path) -> None:
    """As in transformers: tied is a head that the file has not, or has twice."""
    expected = make_family("llama", tmp_path)
    change_config(tmp_path, tie_word_embeddings=True)
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    checkpoint = open_checkpoint(tmp_path)
    assert not checkpoint.config.tie_word_embeddings
    assert np.abs(logits(checkpoint) - expected).max() < CLOSE
    assert np.abs(peer_logits(peer) - expected).max() < CLOSE
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, path)
    assert open_checkpoint(tmp_path).config.tie_word_embeddings
    del tensors["lm_head.weight"]
    save_file(tensors, path)
    assert open_checkpoint(tmp_path).config.tie_word_embeddings
    change_config(tmp_path, tie_word_embeddings=KeyError)
    assert open_checkpoint(tmp_path).config.tie_word_embeddings
    change_config(tmp_path, tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match="lm_head.weight': is missing"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("prefix", ["", "language_model.model.", "model.language_model."])
def test_other_prefixes_are_found(prefix: str, tmp_path: Path) -> None:
    expected = make_family("qwen3", tmp_path)
    path = tmp_path / "model.safetensors"
    renamed = {
        prefix + name.removeprefix("model."): tensor
        for name, tensor in load_file(path).items()
        if name != "lm_head.weight"
    }
    head = load_file(path)["lm_head.weight"]
    save_file(renamed | {f"{prefix.partition('model.')[0]}lm_head.weight": head}, path)
    assert np.abs(logits(open_checkpoint(tmp_path)) - expected).max() < CLOSE


def test_transformers_has_written_what_is_compared(tmp_path: Path) -> None:
    """The peer's logits are finite, differ by position, and favour different tokens."""
    found = write_model(transformers.LlamaConfig(**BASE), tmp_path)
    assert np.isfinite(found).all()
    assert len(set(found.argmax(-1).tolist())) > len(TOKENS) // 4
