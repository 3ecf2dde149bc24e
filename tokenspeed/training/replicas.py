"""Several processes of one host, a GPU each, that learn from different batches and stay equal.

A launcher such as `torchrun` starts them and says in the environment who they are. Knows tensors;
does not know models.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Replicas:
    """How many processes train together, and which of them this one is.

    Attributes:
        rank: of this process; the first one, 0, writes the files of a run.
        count: 1 where it trains alone, and nothing is exchanged.
    """

    rank: int = 0
    count: int = 1

    @staticmethod
    def join() -> "Replicas":
        """Meet the others that RANK and WORLD_SIZE tell of, and take the GPU of LOCAL_RANK."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return Replicas()
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        if not dist.is_initialized():
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return Replicas(dist.get_rank(), count)

    @property
    def is_first(self) -> bool:
        """Whether this process writes what all would write alike."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            dist.barrier()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one kind and device by their mean over all processes, in place."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        torch._foreach_copy_(
            list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)]
        )

    def agree(self, value: float) -> float:
        """Return the first process's value: clocks differ, and rates must not."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(shared, 0)
        return float(shared)
