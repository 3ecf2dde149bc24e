"""transformers, eager, with its dynamic cache."""

import inspect
from pathlib import Path
from typing import Any

import torch
import transformers

# Name of the cache, as an argument and in the output: "cache" in newer versions.
_ARGUMENTS = inspect.signature(transformers.LlamaForCausalLM.forward).parameters
CACHE = "cache" if "cache" in _ARGUMENTS else "past_key_values"


def prepare(source: Path, work: Path, dtype: str) -> Path:
    return source


def version() -> str:
    return str(transformers.__version__)


class Peer:
    def __init__(self, model: Path, dtype: str, threads: int, streams: int) -> None:
        torch.set_num_threads(threads)
        load: Any = transformers.LlamaForCausalLM.from_pretrained
        self.model = load(model, dtype=getattr(torch, dtype)).eval()

    def prefill(self, prompts: list[list[int]]) -> None:
        self.cache = None
        self._run(torch.tensor(prompts))

    def decode(self) -> None:
        self._run(self.current[:, None])

    def verify(self, draft: list[int]) -> None:
        self.cache.batch_select_indices(torch.tensor([0]))  # type: ignore[attr-defined]
        self._run(torch.tensor([draft]), keep=len(draft))

    @torch.no_grad()
    def _run(self, tokens: torch.Tensor, keep: int = 1) -> None:
        kept = {CACHE: self.cache}
        out = self.model(tokens, use_cache=True, logits_to_keep=keep, **kept)
        self.cache = out[CACHE]
        self.current = out.logits[:, -1].argmax(-1)
