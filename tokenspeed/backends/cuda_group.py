"""Several GPUs of one host as one backend: each has its part of every layer, all run each step.

One process and one thread launch the graphs of all GPUs; the sums between them are taken inside
the kernels, over peer memory (`kernels.exchange`), so that the host takes no part in a step.
Launching on all GPUs in turn costs less than waking a second thread or process would. Where it
measured faster, a step of one row is one kernel on each of them (`cuda_persistent`).
Knows ranks and devices; does not know layers.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tokenspeed.backends import Step
from tokenspeed.backends.cuda import CudaBackend, check_device, persistent_rows
from tokenspeed.backends.cuda_ahead import Launches, StepsAhead
from tokenspeed.backends.cuda_memory import padded_rows
from tokenspeed.backends.cuda_weights import (
    Weights,
    load_weights,
    random_weights,
    stored_form,
)
from tokenspeed.errors import BackendUnavailable, DeviceLost
from tokenspeed.kernels.exchange import Group, join
from tokenspeed.model.checkpoint import Checkpoint
from tokenspeed.model.config import EngineConfig, ModelConfig
from tokenspeed.model.sharding import Shard


class Rank(Launches, Protocol):
    """One GPU of a group; see `CudaBackend`."""

    num_slots: int
    max_step_tokens: int
    weight_bytes: int
    cache_bytes: int

    def make_logits(self, batch: Step) -> Any: ...
    def launch_logits(self, batch: Step, out: Any) -> Any: ...
    def finish_logits(self, out: Any) -> NDArray[np.float32]: ...
    def copy_slot(self, source: int, target: int, length: int) -> None: ...
    def hold(self, is_held: bool) -> None: ...
    def forgive(self) -> None: ...
    def close(self) -> None: ...


class CudaGroup:
    """Runs steps on several GPUs that share each layer.

    Greedy output depends on the number of GPUs only through rounding; for a given number it is the
    same, bit for bit, at every width and in every batch.

    Args:
        ranks: in the order of their parts.
        config: of the whole model.
    """

    name = "cuda"

    def __init__(self, ranks: Sequence[Rank], config: ModelConfig) -> None:
        first = ranks[0]
        self.ranks, self.config = ranks, config
        self._ahead = StepsAhead()
        self.num_slots, self.max_length = first.num_slots, first.max_length
        self.max_step_tokens = first.max_step_tokens
        self.form = getattr(getattr(first, "weights", None), "form", "")
        self.weight_bytes = sum(rank.weight_bytes for rank in ranks)
        self.cache_bytes = sum(rank.cache_bytes for rank in ranks)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        config: EngineConfig,
        devices: Sequence[int],
        form: str = "auto",
        persistent: bool | None = None,
    ) -> "CudaGroup":
        """Load a checkpoint, all ranks side by side; each reads only its own part.

        Args:
            persistent: see `make_ranks`.
        Raises:
            CheckpointError: the checkpoint cannot be used.
            BackendUnavailable: no such GPUs, or they cannot share this model.
        """
        form = stored_form(checkpoint) if form == "auto" else form

        def load(shard: Shard, device: str) -> Weights:
            return load_weights(checkpoint.part(shard), form, device)

        return cls._open(load, checkpoint.config, config, devices, form, persistent)

    @classmethod
    def from_random(
        cls,
        model: ModelConfig,
        config: EngineConfig,
        form: str,
        devices: Sequence[int],
        persistent: bool | None = None,
    ) -> "CudaGroup":
        """Build a model of random weights, for benchmarks.

        Args:
            persistent: see `make_ranks`.
        Raises:
            BackendUnavailable: no such GPUs, or they cannot share this model.
        """

        def load(shard: Shard, device: str) -> Weights:
            return random_weights(model, form, device, shard=shard)

        return cls._open(load, model, config, devices, form, persistent)

    @classmethod
    def _open(
        cls,
        load: Callable[[Shard, str], Weights],
        model: ModelConfig,
        config: EngineConfig,
        devices: Sequence[int],
        form: str,
        persistent: bool | None,
    ) -> "CudaGroup":
        if not torch.cuda.is_available():
            check_device(form)
        check_devices(devices)
        for device in devices:
            check_device(form, device=device)
        count, places = len(devices), [f"cuda:{device}" for device in devices]
        shards = [Shard(rank, count) for rank in range(count)]
        with ThreadPoolExecutor(count) as pool:
            weights = list(pool.map(load, shards, places))
        return cls(make_ranks(weights, model, config, persistent), model)

    @property
    def memory_bytes(self) -> dict[str, int]:
        """What was allocated on all GPUs: weights, cache and workspace."""
        each = [rank.memory_bytes for rank in self.ranks if isinstance(rank, CudaBackend)]
        return {name: sum(one[name] for one in each) for name in each[0]}

    @property
    def was_ahead(self) -> bool:
        """Whether the last step had been launched before it was asked for."""
        return self._ahead.was_ahead

    @property
    def guessed(self) -> NDArray[np.int32] | None:
        """What is expected behind each token of the last step; see `Backend.guessed`."""
        return self._ahead.guessed(self.ranks)

    def step(self, batch: Step) -> NDArray[np.int32]:
        """Run one step; see `Backend.step`.

        Raises:
            DeviceLost: a GPU did not answer another one in time.
        """
        chosen = self._ahead.step(self.ranks, batch)
        if (chosen < 0).any():
            self._ahead.forget(self.ranks)
            for rank in self.ranks:
                rank.forgive()
            raise DeviceLost("a GPU waited in vain for another one of its group")
        return chosen

    def logits(self, batch: Step) -> NDArray[np.float32]:
        """Run one step and return its logits; see `Backend.logits`. Allocates: not for serving."""
        self._ahead.forget(self.ranks)
        # All are launched before any is waited for; the queue of a GPU holds about 1,000 kernels.
        made = [(rank, rank.make_logits(batch)) for rank in self.ranks]
        begun = [(rank, rank.launch_logits(batch, out)) for rank, out in made]
        parts = [rank.finish_logits(out) for rank, out in begun]
        return np.concatenate(parts, axis=1)

    def copy_slot(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        self._ahead.forget(self.ranks)
        for rank in self.ranks:
            rank.copy_slot(source, target, length)

    def hold(self, is_held: bool) -> None:
        """Let no step begin before it is asked for, or again let it; see `Backend.hold`."""
        for rank in self.ranks:
            rank.hold(is_held)

    def close(self) -> None:
        """Give graphs and memory back."""
        for rank in self.ranks:
            rank.close()


def group_of(
    rank: int, ranks: int, model: ModelConfig, config: EngineConfig, *, has_mtp: bool = False
) -> Group:
    """Return a rank's place in the group that runs a model: two exchanges a layer.

    Args:
        has_mtp: whether a layer that guesses tokens comes behind the model's.
    """
    exchanges = 2 * (model.num_layers + has_mtp)
    return Group(rank, ranks, exchanges, padded_rows(config), model.hidden_size)


def make_ranks(
    weights: Sequence[Weights],
    model: ModelConfig,
    config: EngineConfig,
    persistent: bool | None = None,
) -> list[CudaBackend]:
    """Build the backends of a group over the weights of its ranks, each on its GPU.

    Args:
        persistent: run steps of one row as one kernel on each GPU, with the same bits. None: where
            that measured faster, if all of the GPUs can: its words are not those of the graph.
    Raises:
        BackendUnavailable: it is wanted, but these GPUs or this model do not support it.
    """
    has_mtp = weights[0].mtp is not None
    groups = [
        group_of(rank, len(weights), model, config, has_mtp=has_mtp) for rank in range(len(weights))
    ]
    devices = [str(part.embedding.device) for part in weights]
    inboxes = [
        torch.zeros(group.inbox_words, dtype=torch.int64, device=device)
        for group, device in zip(groups, devices, strict=True)
    ]
    persistent = are_persistent(weights, persistent)
    for device in devices:
        torch.cuda.synchronize(device)  # no GPU may push into an inbox that is not yet zero
    return [
        CudaBackend(part, config, persistent=persistent, member=join(group, inboxes, device))
        for part, group, device in zip(weights, groups, devices, strict=True)
    ]


def are_persistent(weights: Sequence[Weights], wanted: bool | None) -> bool:
    """Return whether steps of one row run as one kernel on each GPU of a group; see `make_ranks`.

    Raises:
        BackendUnavailable: it is wanted, but these GPUs or this model do not support it.
    """
    devices = {part.embedding.device for part in weights}
    if len(devices) < len(weights):  # each kernel takes its GPU as a whole, and waits for the other
        if wanted:
            raise BackendUnavailable("no persistent kernel for ranks that have one GPU together")
        return False
    return all([persistent_rows(part, wanted, len(weights)) for part in weights])


def check_devices(devices: Sequence[int]) -> None:
    """Refuse GPUs that are missing or cannot reach each other's memory; enable that access.

    Raises:
        BackendUnavailable: names them.
    """
    found = torch.cuda.device_count()
    if len(set(devices)) != len(devices):
        raise BackendUnavailable(f"a GPU is named twice in {', '.join(map(str, devices))}")
    for device in devices:
        if device >= found:
            raise BackendUnavailable(f"GPU {device} was asked for, {found} were found")
    for one in devices:
        for other in devices:
            if one == other:
                continue
            if not torch.cuda.can_device_access_peer(one, other):
                raise BackendUnavailable(
                    f"GPU {one} cannot reach the memory of GPU {other}; use GPUs that NVLink or a "
                    f"PCIe switch connects, or one GPU"
                )
            # A copy makes torch enable the access, for memory that is allocated later too.
            there = torch.zeros(1, device=f"cuda:{other}")
            torch.empty(1, device=f"cuda:{one}").copy_(there)
