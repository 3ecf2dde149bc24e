"""TokenSpeed itself, in a process of its own like the others."""

from pathlib import Path
from typing import Any

import numpy as np

import tokenspeed
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.bench.engines.steps import decode_step, prefill_step, verify_step
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig


def prepare(source: Path, work: Path, dtype: str) -> Path:
    """Return the stored checkpoint, which the float copy in `source` names."""
    return Path((source / "stored").read_text(encoding="utf-8"))


def version() -> str:
    return tokenspeed.__version__


class Peer:
    left = 0  # tokens that are still to be decoded

    def __init__(self, model: Path, dtype: str, threads: int, streams: int) -> None:
        config = EngineConfig(num_slots=streams, max_length=128, max_step_tokens=64 * streams)
        checkpoint = open_checkpoint(model)
        self.backend: Any = CpuBackend(checkpoint, config, bits=int(dtype[3:]), threads=threads)

    def prefill(self, prompts: list[list[int]]) -> None:
        self.position = len(prompts[0])
        self.current = self.backend.step(prefill_step([np.array(p, np.int32) for p in prompts]))

    def expect(self, tokens: int) -> None:
        self.left = tokens

    def decode(self) -> None:
        self.left -= 1
        step = decode_step(self.current, self.position, is_last=self.left <= 0)
        self.current = self.backend.step(step)
        self.position += 1

    def verify(self, draft: list[int]) -> None:
        self.backend.step(verify_step(np.array(draft, np.int32), self.position))
