"""RMSNorm, the MLP's gate and up projections, and silu(gate) * up, or gelu(gate) * up.

Rows of gate and up alternate in the weight, so that one tile holds both of a pair.
"""

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.blocks import check_blocks, narrow_rows
from tokenspeed.kernels.matrix import Matrix, add_bias
from tokenspeed.kernels.norm import Scaled, inverse_rms, inverse_rms_ref
from tokenspeed.kernels.plan import Plan
from tokenspeed.kernels.split_k import SplitScratch, multiply_split
from tokenspeed.kernels.tile import start_tile, tile_rows


def interleave_gate_up(gate: Tensor, up: Tensor) -> Tensor:
    """Return the rows gate 0, up 0, gate 1, up 1, ...: [2 * intermediate, hidden]."""
    return torch.stack((gate, up), dim=1).reshape(-1, gate.shape[1])


_GELU = tl.constexpr(2 * 0.7978845608028654)  # 2 sqrt(2 / pi)


def gate_up_ref(
    x: Scaled,
    weight: Tensor,
    eps: float | None,
    bias: Tensor | None = None,
    activation: str = "silu",
) -> Tensor:
    """Plain torch; see `gate_up`. `weight` is [2 * intermediate, hidden], floats."""
    inverse = inverse_rms_ref(x.square_sum, x.states.shape[1], eps)
    out = (x.states @ weight.to(x.states.dtype).t()).float() * inverse
    out = out if bias is None else out + bias
    gate, up = out.view(len(out), -1, 2).unbind(-1)
    gate = F.silu(gate) if activation == "silu" else F.gelu(gate, approximate="tanh")
    return (gate * up).to(x.states.dtype)


@triton.jit
def gated(gate, up, ACTIVATION: tl.constexpr):
    """Return activation(gate) * up, float32."""
    if ACTIVATION == "silu":
        return gate / (1.0 + tl.exp(-gate)) * up
    else:
        # (1 + tanh(u)) / 2 is 1 / (1 + exp(-2 u)).
        twice = _GELU * (gate + 0.044715 * gate * gate * gate)
        return gate / (1.0 + tl.exp(tl.minimum(-twice, 80.0))) * up  # e^80 does not overflow


@triton.jit
def gate_up_kernel(
    x,
    weight,
    num_rows_ptr,
    out_ptr,
    scratch,
    MATRIX: tl.constexpr,
    EPS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    IN_BLOCKS: tl.constexpr,
    TILE: tl.constexpr,
    SPLIT: tl.constexpr,
    OVERLAP: tl.constexpr,
    ONE_ROW: tl.constexpr,
):
    col_start, num_rows = start_tile(weight, num_rows_ptr, MATRIX, TILE, OVERLAP, ONE_ROW)
    if tl.program_id(0) * TILE.block_m >= num_rows:
        return
    rows, row_mask = tile_rows(num_rows, TILE)
    # Loaded before the weights, so that nothing is left to wait for after them.
    inverse = inverse_rms(x.square_sum, rows, row_mask, MATRIX.k, EPS)
    acc, has_sum = multiply_split(
        x.states, rows, row_mask, weight, col_start, scratch, MATRIX, TILE, SPLIT, OVERLAP.pdl
    )
    if SPLIT.is_shared:
        if not has_sum:
            return
    acc = acc * inverse[:, None]
    acc = add_bias(acc, weight, col_start + tl.arange(0, TILE.block_n), MATRIX)
    BLOCK_M: tl.constexpr = TILE.block_m
    HALF: tl.constexpr = TILE.block_n // 2
    gate, up = tl.split(tl.reshape(acc, (BLOCK_M, HALF, 2)))
    out = gated(gate, up, ACTIVATION)
    cols = col_start // 2 + tl.arange(0, HALF)
    at = rows[:, None].to(tl.int64) * (MATRIX.n // 2) + cols[None, :]
    mask = row_mask[:, None] & (cols < MATRIX.n // 2)[None, :]
    tl.store(out_ptr + at, narrow_rows(out, out_ptr.dtype.element_ty, IN_BLOCKS), mask=mask)


def gate_up(
    x: Scaled,
    weight: Matrix,
    num_rows: Tensor,
    out: Tensor,
    *,
    eps: float | None,
    plan: Plan,
    activation: str = "silu",
    in_blocks: bool = False,
) -> None:
    """Write activation(gate(norm(x))) * up(norm(x)).

    Args:
        weight: [2 * intermediate, hidden], `interleave_gate_up`.
        num_rows: [1] int32, rows that exist.
        out: [rows, intermediate], written.
        eps: None: x is normed already.
        activation: "silu" or "gelu_tanh".
        in_blocks: an int4 matrix reads out; see `blocks`.
    Raises:
        ValueError: out does not fit the weight, K cannot be cut into the plan's parts, or blocks
            do not fill what a tile makes of it.
    """
    if out.shape[1] * 2 != weight.n:
        raise ValueError(f"out has {out.shape[1]} columns, expected {weight.n // 2}")
    if in_blocks:
        check_blocks(plan.config.block_n // 2, "half a tile")
        check_blocks(out.shape[1], "out")
    rows = len(x.states)
    plan.start_split(
        gate_up_kernel,
        weight,
        rows,
        *(x, weight.arrays, num_rows, out),
        unused=SplitScratch(x.square_sum, num_rows),
        EPS=eps,
        ACTIVATION=activation,
        IN_BLOCKS=in_blocks,
        ONE_ROW=rows == 1,
    )
