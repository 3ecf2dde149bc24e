"""llama.cpp through llama-cpp-python's plain bindings; the GGUF file is written here."""

import ctypes
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

llama: Any = importlib.import_module("llama_cpp")

_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OUTER = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def version() -> str:
    return f"llama-cpp-python {llama.__version__}"


def prepare(source: Path, work: Path, dtype: str) -> Path:
    """Write the GGUF file of one precision once."""
    gguf: Any = importlib.import_module("gguf")
    target = work / f"{dtype}.gguf"
    if target.exists():
        return target
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(str(target), "llama")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_tokenizer_model("no_vocab")
    kind = getattr(gguf.GGMLQuantizationType, dtype.upper())
    for name, tensor in load_file(source / "model.safetensors").items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor = _interleave(tensor, heads if "q_proj" in name else kv_heads)
        if tensor.ndim == 1:
            writer.add_tensor(_renamed(name), tensor.astype(np.float32))
        else:
            data = gguf.quants.quantize(tensor.astype(np.float32), kind)
            writer.add_tensor(_renamed(name), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _renamed(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in _OUTER:
        return f"{_OUTER[stem]}.weight"
    layer, _, part = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_NAMES[part]}.weight"


def _interleave(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    # llama.cpp rotates neighbours, the checkpoint rotates halves.
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


class Peer:
    def __init__(
        self, model: Path, dtype: str, threads: int, streams: int, length: int = 128
    ) -> None:
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(
            str(model).encode(), llama.llama_model_default_params()
        )
        params = llama.llama_context_default_params()
        params.n_ctx = length * streams
        params.n_seq_max = streams
        params.n_batch = params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = threads
        self.context = llama.llama_init_from_model(self.model, params)
        vocab = llama.llama_model_get_vocab(self.model)
        self.vocab_size = llama.llama_vocab_n_tokens(vocab)
        self.batch = llama.llama_batch_init(512, 0, 1)

    def prefill(self, prompts: list[list[int]]) -> None:
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        self.position = len(prompts[0])
        rows = [
            (token, slot, i, i == len(prompt) - 1)
            for slot, prompt in enumerate(prompts)
            for i, token in enumerate(prompt)
        ]
        self.current = self._run(rows)

    def decode(self) -> None:
        rows = [(token, slot, self.position, True) for slot, token in enumerate(self.current)]
        self.current = self._run(rows)
        self.position += 1

    def verify(self, draft: list[int]) -> None:
        self._run([(token, 0, self.position + i, True) for i, token in enumerate(draft)])

    def logits(self, ids: list[int]) -> NDArray[np.float32]:
        """Return the logits after each token of a text: [tokens, vocab_size]."""
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        return np.stack(self._decode([(token, 0, i, True) for i, token in enumerate(ids)]))

    def _run(self, rows: list[tuple[int, int, int, bool]]) -> list[int]:
        return [int(row.argmax()) for row in self._decode(rows)]

    def _decode(self, rows: list[tuple[int, int, int, bool]]) -> list[NDArray[np.float32]]:
        """Return the requested logits; the next step overwrites them."""
        wanted = []
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (token, slot, position, asked) in enumerate(rows):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, slot
            batch.logits[i] = asked
            if asked:
                wanted.append(i)
        failed = llama.llama_decode(self.context, batch)
        if failed:
            raise RuntimeError(f"llama_decode returned {failed}")
        size = (self.vocab_size,)
        rows_of = (llama.llama_get_logits_ith(self.context, i) for i in wanted)
        pointers = (ctypes.cast(row, ctypes.POINTER(ctypes.c_float)) for row in rows_of)
        return [np.ctypeslib.as_array(row, size) for row in pointers]
