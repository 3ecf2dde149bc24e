"""transformers on a GPU with its static cache, each decode step replayed as a CUDA graph.

Its cache counts positions by itself; positions and mask are passed anyway, as tensors that a replay
changes, so that nothing in a captured step needs the host.
"""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

# Name of the cache: "cache" in newer versions.
_ARGUMENTS = inspect.signature(transformers.LlamaForCausalLM.forward).parameters
CACHE = "cache" if "cache" in _ARGUMENTS else "past_key_values"
MAX_LENGTH = 256  # positions of the static cache


def prepare(source: Path, work: Path, dtype: str) -> Path:
    return source


def version() -> str:
    return str(transformers.__version__)


@dataclass
class _Batch:
    """Cache and decode step of so many streams."""

    cache: Any
    tokens: Tensor  # [streams, 1], the newest of each
    position: Tensor  # [1]
    graph: Any = None


class Peer:
    def __init__(self, model: Path, dtype: str, threads: int, streams: int) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        kind = getattr(torch, dtype)
        if any(model.glob("*.safetensors")):
            load: Any = transformers.AutoModelForCausalLM.from_pretrained
            self.model = load(model, dtype=kind).to(self.device).eval()
        else:
            config: Any = transformers.AutoConfig.from_pretrained(model)
            make: Any = transformers.AutoModelForCausalLM.from_config
            torch.set_default_dtype(kind)
            with torch.device(self.device):
                self.model = make(config).eval()
            torch.set_default_dtype(torch.float32)
        self.batches: dict[int, _Batch] = {}

    def prefill(self, prompts: list[list[int]]) -> None:
        self.now = self._batch(len(prompts))
        self._rewind(self.now, 0)
        chosen = self._run(self.now, torch.tensor(prompts, device=self.device), 1)
        self.now.tokens.copy_(chosen)
        self.now.position.fill_(len(prompts[0]))
        self.current: list[list[int]] = chosen.tolist()

    def decode(self) -> None:
        batch = self.now
        if batch.graph is None and self.device == "cuda":
            batch.graph = self._capture(batch)
        if batch.graph is None:
            self._step(batch)
        else:
            batch.graph.replay()
        self.current = batch.tokens.tolist()

    def verify(self, draft: list[int]) -> None:
        batch, position = self._batch(1), int(self.now.position)
        self._rewind(batch, position)
        self._run(batch, torch.tensor([draft], device=self.device), len(draft)).tolist()

    def memory_mib(self) -> float:
        return torch.cuda.max_memory_allocated() / 2**20

    def _batch(self, streams: int) -> _Batch:
        if streams not in self.batches:
            cache = transformers.StaticCache(config=self.model.config, max_cache_len=MAX_LENGTH)
            tokens = torch.zeros(streams, 1, dtype=torch.int64, device=self.device)
            position = torch.zeros(1, dtype=torch.int64, device=self.device)
            self.batches[streams] = _Batch(cache, tokens, position)
        return self.batches[streams]

    def _rewind(self, batch: _Batch, position: int) -> None:
        batch.position.fill_(position)
        for layer in batch.cache.layers:
            layer.cumulative_length.fill_(position)

    @torch.no_grad()
    def _run(self, batch: _Batch, tokens: Tensor, keep: int) -> Tensor:
        """Run tokens [streams, new] from the batch's position on; return the chosen ones."""
        at = batch.position + torch.arange(tokens.shape[1], device=self.device)
        mask = torch.arange(MAX_LENGTH, device=self.device)[None, :] <= at[:, None]
        out = self.model(
            tokens,
            position_ids=at[None].expand(len(tokens), -1),
            **{CACHE: batch.cache},
            attention_mask=mask[None, None].expand(len(tokens), -1, -1, -1),
            logits_to_keep=keep,
        )
        chosen: Tensor = out.logits.argmax(-1)
        return chosen

    def _step(self, batch: _Batch) -> None:
        batch.tokens.copy_(self._run(batch, batch.tokens, 1))
        batch.position.add_(1)

    def _capture(self, batch: _Batch) -> Any:
        """Capture one step, and restore the state that warming up changed."""
        kept, position = batch.tokens.clone(), int(batch.position)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._step(batch)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(batch)
        batch.tokens.copy_(kept)
        self._rewind(batch, position)
        return graph
