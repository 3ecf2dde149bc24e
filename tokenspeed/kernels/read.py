"""A kernel that only reads: its rate is the most that the memory can deliver."""

import torch
import triton
import triton.language as tl
from torch import Tensor


def read_ref(x: Tensor) -> int:
    """Return the sum modulo 2**32 of an int32 tensor."""
    return int(x.sum(dtype=torch.int64)) % 2**32


@triton.jit
def read_kernel(
    x_ptr, out_ptr, NUM_BLOCKS: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr
):
    total = tl.zeros((BLOCK,), tl.int32)
    at = tl.arange(0, BLOCK)
    for i in tl.range(tl.program_id(0), NUM_BLOCKS, tl.num_programs(0), num_stages=STAGES):
        total += tl.load(x_ptr + tl.cast(i, tl.int64) * BLOCK + at)
    tl.store(out_ptr + tl.program_id(0), tl.sum(total))


def read(x: Tensor, out: Tensor, *, block: int, warps: int, stages: int) -> None:
    """Sum x in as many programs as `out` has places; the sums wrap around.

    Args:
        x: [elements] int32.
        out: [programs] int32, written.
    Raises:
        ValueError: x is not a whole number of blocks.
    """
    if x.numel() % block:
        raise ValueError(f"x has {x.numel()} elements, expected a multiple of {block}")
    read_kernel[(len(out),)](
        x, out, NUM_BLOCKS=x.numel() // block, BLOCK=block, STAGES=stages, num_warps=warps
    )
