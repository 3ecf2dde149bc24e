"""TokenSpeed on a GPU, in a process of its own like the others."""

from pathlib import Path
from typing import Any

import numpy as np

from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_group import CudaGroup
from tokenspeed.bench.engines.peers import own
from tokenspeed.bench.engines.steps import prefill_step
from tokenspeed.bench.engines.update import one_update
from tokenspeed.engine.engine import Engine
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.families import load_model_config


def prepare(source: Path, work: Path, dtype: str) -> Path:
    """Return the stored checkpoint, or a folder with only a config.json, for random weights."""
    stored = source / "stored"
    return Path(stored.read_text(encoding="utf-8")) if stored.exists() else source


version = own.version


class Peer(own.Peer):
    engine: Engine | None = None  # once updates are asked for; from then on it alone runs steps
    updates = 0

    def __init__(self, model: Path, dtype: str, threads: int, streams: int) -> None:
        config = EngineConfig(num_slots=streams, max_length=512, max_step_tokens=256)
        gpus = range(threads)
        if any(model.glob("*.safetensors")):
            checkpoint = open_checkpoint(model)
            self.backend: Any = (
                CudaBackend.from_checkpoint(checkpoint, config, dtype)
                if len(gpus) == 1
                else CudaGroup.from_checkpoint(checkpoint, config, gpus, dtype)
            )
        else:
            shape = load_model_config(model)
            self.backend = (
                CudaBackend.from_random(shape, config, dtype)
                if len(gpus) == 1
                else CudaGroup.from_random(shape, config, dtype, gpus)
            )

    def prefill(self, prompts: list[list[int]]) -> None:
        self.position = len(prompts[0])
        whole = [np.array(prompt, np.int32) for prompt in prompts]
        at_once = max(1, self.backend.max_step_tokens // self.position)
        steps = [whole[i : i + at_once] for i in range(0, len(whole), at_once)]
        chosen = [
            self.backend.step(prefill_step(step, i * at_once)) for i, step in enumerate(steps)
        ]
        self.current = np.concatenate(chosen)

    def update(self, source: list[int], **_: Any) -> dict[str, float]:
        """Time one caption update, in ms; which tokens of the draft hold is found out."""
        self.engine = self.engine or Engine(self.backend, eos_token_ids=())
        self.updates += 1
        ms, _completion = one_update(self.engine, source, key=self.updates)
        return {"update_ms": ms}

    def memory_mib(self) -> float:
        return sum(self.backend.memory_bytes.values()) / 2**20
