"""TokenSpeed on a GPU, in a process of its own like the others."""

from pathlib import Path

import numpy as np

import tokenspeed
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.bench.engines.steps import decode_step, prefill_step, verify_step
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig, load_model_config


def prepare(source: Path, work: Path, dtype: str) -> Path:
    """Return the checkpoint as it is, or a folder of a configuration alone: random weights."""
    stored = source / "stored"
    return Path(stored.read_text(encoding="utf-8")) if stored.exists() else source


def version() -> str:
    return tokenspeed.__version__


class Peer:
    def __init__(self, model: Path, dtype: str, threads: int, streams: int) -> None:
        config = EngineConfig(num_slots=streams, max_length=512, max_step_tokens=256)
        if any(model.glob("*.safetensors")):
            self.backend = CudaBackend.from_checkpoint(open_checkpoint(model), config, dtype)
        else:
            self.backend = CudaBackend.from_random(load_model_config(model), config, dtype)

    def prefill(self, prompts: list[list[int]]) -> None:
        self.position = len(prompts[0])
        whole = [np.array(prompt, np.int32) for prompt in prompts]
        at_once = max(1, self.backend.max_step_tokens // self.position)
        steps = [whole[i : i + at_once] for i in range(0, len(whole), at_once)]
        chosen = [self.backend.step(prefill_step(step, i * at_once))
                  for i, step in enumerate(steps)]  # fmt: skip
        self.current = np.concatenate(chosen)

    def decode(self) -> None:
        self.current = self.backend.step(decode_step(self.current, self.position))
        self.position += 1

    def verify(self, draft: list[int]) -> None:
        self.backend.step(verify_step(np.array(draft, np.int32), self.position))

    def memory_mib(self) -> float:
        return sum(self.backend.memory_bytes.values()) / 2**20
