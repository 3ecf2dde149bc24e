"""Timing on a GPU: events around graph replays, and the bandwidth that a plain read reaches."""

import statistics
from collections.abc import Callable

import torch

from tokenspeed.kernels.read import read, read_ref


def event_ms(run: Callable[[], object], repeats: int, warmup: int = 3) -> list[float]:
    """Time calls by device events; the queue is never empty between the two of a call."""
    for _ in range(warmup):
        run()
    torch.cuda.synchronize()
    pairs = []
    for _ in range(repeats):
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        pairs.append((start, end))
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in pairs]


def read_bandwidth(gib: int = 4, repeats: int = 10) -> float:
    """Return the best median rate of a few plain read kernels on the current GPU, in bytes/s.

    Raises:
        RuntimeError: a kernel did not read everything.
    """
    x = torch.randint(-(2**31), 2**31 - 1, (gib << 28,), dtype=torch.int32, device="cuda")
    want = read_ref(x)
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count
    best = 0.0
    for block, warps, per_processor, stages in ((4096, 8, 4, 3), (8192, 8, 4, 1), (4096, 4, 8, 1)):
        out = torch.zeros(processors * per_processor, dtype=torch.int32, device="cuda")

        def run(
            block: int = block, warps: int = warps, stages: int = stages, out: torch.Tensor = out
        ) -> None:
            read(x, out, block=block, warps=warps, stages=stages)

        seconds = statistics.median(event_ms(run, repeats)) / 1e3
        if read_ref(out) != want:
            raise RuntimeError("the read kernel's sum is off")
        best = max(best, x.nbytes / seconds)
    return best
