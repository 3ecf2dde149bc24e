"""RMSNorm of a branch's output, its addition to the hidden states, and the norm that comes next.

Runs after `projection` where a model norms the output of its branches, which needs whole rows. Each
program takes one row, laid out the same in every step, so its sums are the same at every width.
"""

import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.blocks import check_blocks, narrow_rows
from tokenspeed.kernels.launch import Launch, wait_for_inputs
from tokenspeed.kernels.norm import HiddenStates, normed, normed_ref


def branch_norm_ref(
    branch: Tensor, norm: Tensor, next_norm: Tensor | None, hidden: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Plain torch; see `branch_norm`. Returns hidden (new) and scaled, both float32."""
    new = hidden + normed_ref(branch, norm, eps)
    return new, new if next_norm is None else normed_ref(new, next_norm, eps)


@triton.jit
def branch_norm_kernel(
    branch_ptr,
    norm_ptr,
    next_norm_ptr,
    num_rows_ptr,
    hidden,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
    EPS: tl.constexpr,
    IN_BLOCKS: tl.constexpr,
    PDL: tl.constexpr,
):
    wait_for_inputs(PDL)
    row = tl.program_id(0)
    if row >= tl.load(num_rows_ptr):
        return
    at = tl.arange(0, BLOCK)
    mask = at < SIZE
    branch = tl.load(branch_ptr + row * SIZE + at, mask=mask, other=0.0)
    states = tl.load(hidden.states + row * SIZE + at, mask=mask, other=0.0)
    norm = tl.load(norm_ptr + at, mask=mask, other=0.0).to(tl.float32)
    states += normed(branch, SIZE, EPS) * norm
    tl.store(hidden.states + row * SIZE + at, states, mask=mask)
    scaled = states
    if next_norm_ptr is not None:
        next_norm = tl.load(next_norm_ptr + at, mask=mask, other=0.0).to(tl.float32)
        scaled = normed(states, SIZE, EPS) * next_norm
    scaled = narrow_rows(scaled, hidden.scaled.dtype.element_ty, IN_BLOCKS)
    tl.store(hidden.scaled + row * SIZE + at, scaled, mask=mask)


def branch_norm(
    branch: Tensor,
    norm: Tensor,
    next_norm: Tensor | None,
    num_rows: Tensor,
    hidden: HiddenStates,
    *,
    eps: float,
    launch: Launch,
    in_blocks: bool = False,
) -> None:
    """Add norm(branch) to the hidden states, and norm them for the next kernel.

    Args:
        branch: [rows, hidden_size] float32, the product of `projection`.
        norm, next_norm: [hidden_size]; None: no norm comes next.
        num_rows: [1] int32, rows that exist.
        hidden: states are updated and scaled is written; square_sum is not, since readers of
            normed rows do not need it.
        in_blocks: an int4 matrix reads the normed rows; see `blocks`.
    Raises:
        ValueError: blocks do not fill the rows.
    """
    if in_blocks:
        check_blocks(branch.shape[1], "branch")
    launch.start(
        branch_norm_kernel,
        (len(branch),),
        *(branch, norm, next_norm, num_rows, hidden),
        SIZE=branch.shape[1],
        BLOCK=triton.next_power_of_2(branch.shape[1]),
        EPS=eps,
        IN_BLOCKS=in_blocks,
        PDL=launch.pdl,
        num_warps=4,
    )
