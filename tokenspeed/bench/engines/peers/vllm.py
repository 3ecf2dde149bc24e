"""vLLM on a GPU, offline: its own batching, graphs and compilation.

Random weights may be quantised: int8 and int4 are its W8A16 and W4A16, in groups of 128, and fp8 is
what it makes of 16 bits when it starts, of stored weights too. Stored int8 and int4 it takes as
they are. "ngram" is bf16 that guesses up to 20 tokens from those before them; random weights soon
repeat themselves, which is its best case. Its prefix cache is on, as it is by default; only caption
updates read from it, as rounds repeat their prompts.
"""

import importlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

# Otherwise it would access the network, or compile kernels that are not needed here.
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
os.environ.setdefault("VLLM_USE_DEEP_GEMM", "0")
# NVLink multicast can put the GPUs of a shared host out of service.
os.environ.setdefault("VLLM_ALLREDUCE_USE_SYMM_MEM", "0")
os.environ.setdefault("NCCL_NVLS_ENABLE", "0")

vllm: Any = importlib.import_module("vllm")

CACHE_BYTES = 1 << 30  # 3,276 positions of a model of 70 billion weights
BITS = {"int8": 8, "int4": 4}
GUESSING = {
    "method": "ngram", "num_speculative_tokens": 20, "prompt_lookup_max": 3, "prompt_lookup_min": 1,
}  # fmt: skip
_LINEAR = [f"self_attn.{name}_proj" for name in "qkvo"]
_LINEAR += [f"mlp.{name}_proj" for name in ("gate", "up", "down")]


def prepare(source: Path, work: Path, dtype: str) -> Path:
    """Return the folder to load; for quantised random weights one with another config.json.

    Raises:
        ValueError: stored weights would have to be quantised.
    """
    if dtype not in BITS:
        return source
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if any(source.glob("*.safetensors")):
        if "quantization_config" in config:
            return source
        raise ValueError(f"vLLM gets {dtype} of random weights only, or of such a checkpoint")
    config["quantization_config"] = {
        "quant_method": "gptq", "bits": BITS[dtype], "group_size": 128, "desc_act": False,
        "sym": True, "lm_head": False,
        # Without files of weights it finds no quantised layer by itself, and runs all in 16 bits.
        "modules_in_block_to_quantize": [_LINEAR],
    }  # fmt: skip
    folder = work / f"vllm-{dtype}"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def version() -> str:
    return str(vllm.__version__)


class Peer:
    def __init__(self, model: Path, dtype: str, threads: int, streams: int) -> None:
        is_stored = any(model.glob("*.safetensors"))
        self.llm: Any = vllm.LLM(
            model=str(model),
            dtype="float16" if dtype in BITS else "bfloat16",
            quantization="fp8" if dtype == "fp8" else None,
            speculative_config=GUESSING if dtype == "ngram" else None,
            skip_tokenizer_init=True,
            max_logprobs=-1,
            max_model_len=1024,
            max_num_seqs=max(2, streams),
            enable_prefix_caching=True,
            disable_log_stats=True,
            load_format="auto" if is_stored else "dummy",
            kv_cache_memory_bytes=CACHE_BYTES,
            seed=0,
            # It refuses to start if less than this is free, and other engines are loaded, too.
            gpu_memory_utilization=0.15,
            tensor_parallel_size=threads,  # on a GPU, `threads` is the number of GPUs
        )

    def generate(self, prompts: list[list[int]], new_tokens: int) -> None:
        self._run(prompts, new_tokens, is_cached=False)

    def update(
        self, source: list[int], other: list[int], held: list[int], grown: int, new_tokens: int
    ) -> dict[str, float]:
        """Time caption updates, in ms: one translated afresh, one with its first tokens given.

        Args:
            source, other: of the two; a request before each leaves all but the last `grown` tokens
                in the prefix cache.
            held: output tokens that are given to the second, which then decodes the rest. No client
                can know them: this is what could be reached by guessing.
            new_tokens: of the whole output.
        """

        def timed(tokens: list[int], given: list[int]) -> float:
            self._run([tokens[:-grown]], 4, is_cached=True)
            began = time.perf_counter()
            self._run([tokens + given], new_tokens - len(given), is_cached=True)
            return (time.perf_counter() - began) * 1e3

        return {
            "update_ms": timed(source, []),
            "update_told_which_hold_ms": timed(other, held),
        }

    def logprobs(self, prompts: list[list[int]], file: str) -> None:
        """Save log-probabilities of all tokens after each token but the last, float32.

        Args:
            prompts: of equal length.
            file: gets [prompts * (tokens - 1), vocab_size].
        """
        wanted = vllm.SamplingParams(
            temperature=0.0, max_tokens=1, detokenize=False, prompt_logprobs=-1, flat_logprobs=True
        )
        asked = [{"prompt_token_ids": prompt} for prompt in prompts]
        found = [one.prompt_logprobs for one in self.llm.generate(asked, wanted, use_tqdm=False)]
        # In front of all tokens, the most likely first, is the one that the prompt goes on with.
        rows = len(prompts) * (len(prompts[0]) - 1)
        ids, values = (
            np.concatenate([np.array(part, dtype) for part in parts]).reshape(rows, -1)[:, 1:]
            for parts, dtype in (
                ([one.token_ids for one in found], np.int32),
                ([one.logprobs for one in found], np.float32),
            )
        )
        np.save(file, np.take_along_axis(values, ids.argsort(-1), -1))

    def _run(self, prompts: list[list[int]], new_tokens: int, is_cached: bool) -> None:
        wanted = vllm.SamplingParams(
            temperature=0.0,
            max_tokens=new_tokens,
            ignore_eos=True,
            detokenize=False,
            skip_reading_prefix_cache=not is_cached,
        )
        asked = [{"prompt_token_ids": prompt} for prompt in prompts]
        done = self.llm.generate(asked, wanted, use_tqdm=False)
        assert all(len(one.outputs[0].token_ids) == new_tokens for one in done)

    def memory_mib(self) -> float:
        return 0.0  # its memory is in another process, and is a setting rather than a need
