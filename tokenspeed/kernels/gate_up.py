"""RMSNorm, the MLP's gate and up projections, and silu(gate) * up.

Rows of gate and up alternate in the weight, so that one tile holds both of a pair.
"""

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import narrow
from tokenspeed.kernels.launch import Launch, main_loop_done, wait_for_inputs
from tokenspeed.kernels.matrix import Matrix, prefetch_weight
from tokenspeed.kernels.norm import inverse_rms, inverse_rms_ref
from tokenspeed.kernels.tile import TileConfig, multiply


def interleave_gate_up(gate: Tensor, up: Tensor) -> Tensor:
    """Return the rows gate 0, up 0, gate 1, up 1, ...: [2 * intermediate, hidden]."""
    return torch.stack((gate, up), dim=1).reshape(-1, gate.shape[1])


def gate_up_ref(x: Tensor, square_sum: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Plain torch; see `gate_up`. `weight` is [2 * intermediate, hidden], floats."""
    out = (x @ weight.to(x.dtype).t()).float() * inverse_rms_ref(square_sum, x.shape[1], eps)
    gate, up = out.view(len(x), -1, 2).unbind(-1)
    return (F.silu(gate) * up).to(x.dtype)


@triton.jit
def gate_up_kernel(
    x_ptr, sum_ptr, w_ptr, scale_ptr, num_rows_ptr, out_ptr,
    N: tl.constexpr, K: tl.constexpr, EPS: tl.constexpr, FORMAT: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, STAGES: tl.constexpr,
    FAST: tl.constexpr, ONE_ROW: tl.constexpr, PDL: tl.constexpr, PREFETCH: tl.constexpr,
):  # fmt: skip
    col_start = tl.program_id(1) * BLOCK_N
    if PREFETCH:
        prefetch_weight(w_ptr, col_start, N, K, FORMAT, BLOCK_N, PREFETCH)
    wait_for_inputs(PDL)
    num_rows = 1 if ONE_ROW else tl.load(num_rows_ptr)
    if tl.program_id(0) * BLOCK_M >= num_rows:
        return
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    row_mask = rows < num_rows
    # Asked for before the weights, so that nothing is waited for after them.
    inverse = inverse_rms(sum_ptr, rows, row_mask, K, EPS)
    acc = multiply(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start, N, K, FORMAT,
                   BLOCK_M, BLOCK_N, BLOCK_K, STAGES, FAST)  # fmt: skip
    main_loop_done(PDL)
    acc = acc * inverse[:, None]
    gate, up = tl.split(tl.reshape(acc, (BLOCK_M, BLOCK_N // 2, 2)))
    out = gate / (1.0 + tl.exp(-gate)) * up
    cols = col_start // 2 + tl.arange(0, BLOCK_N // 2)
    at = rows[:, None].to(tl.int64) * (N // 2) + cols[None, :]
    mask = row_mask[:, None] & (cols < N // 2)[None, :]
    tl.store(out_ptr + at, narrow(out, out_ptr.dtype.element_ty), mask=mask)


def gate_up(
    x: Tensor, square_sum: Tensor, weight: Matrix, num_rows: Tensor, out: Tensor, *,
    eps: float, block_m: int, config: TileConfig, launch: Launch,
) -> None:  # fmt: skip
    """Write silu(gate(norm(x))) * up(norm(x)).

    Args:
        x: [rows, hidden], hidden states times the norm's weight, bf16.
        square_sum: [rows] int64, of the hidden states, in units of SUM_UNIT.
        weight: [2 * intermediate, hidden], `interleave_gate_up`.
        num_rows: [1] int32, rows that exist.
        out: [rows, intermediate], written.
    Raises:
        ValueError: out does not fit the weight.
    """
    if out.shape[1] * 2 != weight.n:
        raise ValueError(f"out has {out.shape[1]} columns, expected {weight.n // 2}")
    grid = (triton.cdiv(len(x), block_m), triton.cdiv(weight.n, config.block_n))
    launch.start(
        gate_up_kernel, grid,
        x, square_sum, weight.data, weight.scale, num_rows, out,
        N=weight.n, K=weight.k, EPS=eps, FORMAT=weight.format, BLOCK_M=block_m,
        BLOCK_N=config.block_n, BLOCK_K=config.block_k, STAGES=config.stages,
        FAST=launch.fast_unpack, ONE_ROW=len(x) == 1, PDL=launch.pdl,
        PREFETCH=launch.prefetch_bytes, num_warps=config.warps,
    )  # fmt: skip
