"""vLLM on a GPU, offline: its own batching, graphs and compilation, without its prefix cache."""

import importlib
import os
from pathlib import Path
from typing import Any

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

CACHE_BYTES = 4 << 30


def prepare(source: Path, work: Path, dtype: str) -> Path:
    return source


def version() -> str:
    return str(vllm.__version__)


class Peer:
    def __init__(self, model: Path, dtype: str, threads: int, streams: int) -> None:
        is_stored = any(model.glob("*.safetensors"))
        self.llm: Any = vllm.LLM(
            model=str(model),
            dtype=dtype,
            skip_tokenizer_init=True,
            max_model_len=1024,
            max_num_seqs=max(2, streams),
            enable_prefix_caching=False,
            disable_log_stats=True,
            load_format="auto" if is_stored else "dummy",
            kv_cache_memory_bytes=CACHE_BYTES,
            seed=0,
            # It refuses to start if less than this is free, and other engines are loaded, too.
            gpu_memory_utilization=0.3,
            tensor_parallel_size=threads,  # on a GPU, `threads` is the number of GPUs
        )

    def generate(self, prompts: list[list[int]], new_tokens: int) -> None:
        wanted = vllm.SamplingParams(
            temperature=0.0, max_tokens=new_tokens, ignore_eos=True, detokenize=False
        )
        asked = [{"prompt_token_ids": prompt} for prompt in prompts]
        done = self.llm.generate(asked, wanted, use_tqdm=False)
        assert all(len(one.outputs[0].token_ids) == new_tokens for one in done)

    def memory_mib(self) -> float:
        return 0.0  # its memory is in another process, and is a setting rather than a need
