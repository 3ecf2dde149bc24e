"""Data parallelism: processes of one host, with a GPU each, that train on different batches.

A launcher such as `torchrun` starts them and sets their ranks in the environment. Knows tensors;
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
        count: 1 if it trains alone, and exchanges nothing.
    """

    rank: int = 0
    count: int = 1

    @staticmethod
    def join() -> "Replicas":
        """Join the processes of RANK and WORLD_SIZE, and use the GPU of LOCAL_RANK."""
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
        """Whether this process writes the files, which would be the same for all."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait for all processes."""
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
        """Return the value of the first process: clocks differ, and learning rates must not."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(shared, 0)
        return float(shared)
