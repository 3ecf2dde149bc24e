"""CTranslate2: the model is written through its own specification."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

ctranslate2: Any = importlib.import_module("ctranslate2")


def version() -> str:
    return str(ctranslate2.__version__)


def prepare(source: Path, work: Path, dtype: str) -> Path:
    """Write the weights in CTranslate2's format once; it quantises them when it loads them."""
    import json

    target = work / "ctranslate2"
    if (target / "model.bin").exists():
        return target
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    weights = load_file(source / "model.safetensors")
    specs = ctranslate2.specs
    spec = specs.TransformerDecoderModelSpec.from_config(
        config["num_hidden_layers"],
        config["num_attention_heads"],
        activation=specs.Activation.SWISH,
        pre_norm=True,
        ffn_glu=True,
        rms_norm=True,
        rotary_dim=0,
        rotary_interleave=False,
        rotary_base=config["rope_theta"],
        num_heads_kv=config["num_key_value_heads"],
        head_dim=config["head_dim"],
    )
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = weights["model.embed_tokens.weight"]
    decoder.layer_norm.gamma = weights["model.norm.weight"]
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    decoder.projection.weight = head
    for i, layer in enumerate(decoder.layer):
        part = {
            name.split(f"layers.{i}.")[1].removesuffix(".weight"): tensor
            for name, tensor in weights.items()
            if f"layers.{i}." in name
        }
        layer.self_attention.layer_norm.gamma = part["input_layernorm"]
        layer.ffn.layer_norm.gamma = part["post_attention_layernorm"]
        layer.self_attention.linear[0].weight = np.concatenate(
            [part[f"self_attn.{name}_proj"] for name in "qkv"]
        )
        layer.self_attention.linear[1].weight = part["self_attn.o_proj"]
        layer.ffn.linear_0.weight = part["mlp.gate_proj"]
        layer.ffn.linear_0_noact.weight = part["mlp.up_proj"]
        layer.ffn.linear_1.weight = part["mlp.down_proj"]
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "0", "1", "2"
    spec.config.layer_norm_epsilon = config["rms_norm_eps"]
    spec.register_vocabulary([str(i) for i in range(config["vocab_size"])])
    spec.validate()
    target.mkdir(parents=True, exist_ok=True)
    spec.save(str(target))
    return target


class Peer:
    def __init__(self, model: Path, dtype: str, threads: int, streams: int) -> None:
        self.generator = ctranslate2.Generator(
            str(model), device="cpu", compute_type=dtype, intra_threads=threads
        )

    def generate(self, prompts: list[list[int]], new_tokens: int) -> None:
        self.generator.generate_batch(
            [[str(token) for token in prompt] for prompt in prompts],
            max_length=new_tokens,
            min_length=new_tokens,
            sampling_topk=1,
            include_prompt_in_result=False,
        )
