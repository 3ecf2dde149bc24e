"""RMSNorm, the q, k and v projections, rotation, and the write of k and v to their slots.

The rows of the weight are interleaved so that the two halves of a rotated pair are neighbours.
Knows nothing of attention.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import narrow
from tokenspeed.kernels.launch import Launch, main_loop_done, wait_for_inputs
from tokenspeed.kernels.matrix import Matrix, prefetch_weight
from tokenspeed.kernels.norm import inverse_rms, inverse_rms_ref
from tokenspeed.kernels.split_k import (
    SplitScratch,
    check_split,
    multiply_split,
    split_grid,
    sum_parts,
)
from tokenspeed.kernels.tile import TileConfig, multiply_part


def interleave_heads(weight: Tensor, head_dim: int) -> Tensor:
    """Order the rows of each head as 0, d/2, 1, d/2 + 1, ...: [heads * head_dim, hidden]."""
    heads = weight.view(-1, 2, head_dim // 2, weight.shape[1])
    return heads.transpose(1, 2).reshape(weight.shape)


def qkv_ref(
    x: Tensor, square_sum: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, slots: Tensor,
    positions: Tensor, k_cache: Tensor, v_cache: Tensor, eps: float,
) -> Tensor:  # fmt: skip
    """Plain torch; see `qkv`. `weight` is [(heads + 2 * kv_heads) * head_dim, hidden], floats."""
    kv_heads, head_dim = k_cache.shape[1], k_cache.shape[3]
    out = (x @ weight.to(x.dtype).t()).float() * inverse_rms_ref(square_sum, x.shape[1], eps)
    first, second = out.view(len(x), -1, head_dim // 2, 2).unbind(-1)
    heads = first.shape[1] - 2 * kv_heads
    cos, sin = cos[positions][:, None], sin[positions][:, None]  # [rows, 1, head_dim / 2]
    rotated = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
    plain = torch.cat((first, second), -1)[:, heads + kv_heads :]
    k_cache[slots, :, positions] = rotated[:, heads : heads + kv_heads].to(k_cache.dtype)
    v_cache[slots, :, positions] = plain.to(v_cache.dtype)
    return rotated[:, :heads].to(x.dtype)


@triton.jit
def qkv_kernel(
    x_ptr, sum_ptr, w_ptr, scale_ptr, cos_ptr, sin_ptr, slots_ptr, positions_ptr, num_rows_ptr,
    q_ptr, k_ptr, v_ptr, parts_ptr, counters_ptr,
    K: tl.constexpr, SPLIT_K: tl.constexpr, IS_SHARED: tl.constexpr,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr,
    MAX_LENGTH: tl.constexpr, EPS: tl.constexpr, FORMAT: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, STAGES: tl.constexpr, FAST: tl.constexpr,
    ONE_ROW: tl.constexpr, PDL: tl.constexpr, PREFETCH: tl.constexpr,
):  # fmt: skip
    N: tl.constexpr = (HEADS + 2 * KV_HEADS) * HEAD_DIM
    HALF: tl.constexpr = HEAD_DIM // 2
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
    pair = col_start // 2 + tl.arange(0, BLOCK_N // 2)
    head, at = pair // HALF, pair % HALF
    rotates = row_mask[:, None] & (head < HEADS + KV_HEADS)[None, :]
    slots = tl.load(slots_ptr + rows, mask=row_mask, other=0).to(tl.int64)
    positions = tl.load(positions_ptr + rows, mask=row_mask, other=0)
    angle = positions[:, None] * HALF + at[None, :]
    cos = tl.load(cos_ptr + angle, mask=rotates, other=1.0)
    sin = tl.load(sin_ptr + angle, mask=rotates, other=0.0)
    if IS_SHARED:
        part = tl.program_id(2)
        acc = multiply_part(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start,
                            part * (K // SPLIT_K), N, K, K // SPLIT_K, FORMAT, BLOCK_M, BLOCK_N,
                            BLOCK_K, STAGES, FAST)  # fmt: skip
        main_loop_done(PDL)
        tile = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
        acc, last = sum_parts(acc, row_mask, parts_ptr, counters_ptr, tile, part, SPLIT_K, BLOCK_M,
                              BLOCK_N)  # fmt: skip
        if not last:
            return
    else:
        acc = multiply_split(x_ptr, rows, row_mask, w_ptr, scale_ptr, col_start, N, K, SPLIT_K,
                             FORMAT, BLOCK_M, BLOCK_N, BLOCK_K, STAGES, FAST)  # fmt: skip
        main_loop_done(PDL)
    acc = acc * inverse[:, None]
    first, second = tl.split(tl.reshape(acc, (BLOCK_M, BLOCK_N // 2, 2)))
    turned = narrow(first * cos - second * sin, q_ptr.dtype.element_ty)
    turned_second = narrow(second * cos + first * sin, q_ptr.dtype.element_ty)

    is_q = row_mask[:, None] & (head < HEADS)[None, :]
    q_at = rows[:, None] * (HEADS * HEAD_DIM) + (head * HEAD_DIM + at)[None, :]
    tl.store(q_ptr + q_at, turned, mask=is_q)
    tl.store(q_ptr + q_at + HALF, turned_second, mask=is_q)
    is_k = rotates & (head >= HEADS)[None, :]
    is_v = row_mask[:, None] & ((head >= HEADS + KV_HEADS) & (head < HEADS + 2 * KV_HEADS))[None, :]
    # int64: a cache of many long slots holds more than 2**31 elements.
    kv_head = (head - HEADS) % KV_HEADS
    slot_at = slots * (KV_HEADS * MAX_LENGTH * HEAD_DIM) + positions * HEAD_DIM
    cache_at = slot_at[:, None] + (kv_head * (MAX_LENGTH * HEAD_DIM) + at)[None, :]
    tl.store(k_ptr + cache_at, turned, mask=is_k)
    tl.store(k_ptr + cache_at + HALF, turned_second, mask=is_k)
    tl.store(v_ptr + cache_at, turned, mask=is_v)
    tl.store(v_ptr + cache_at + HALF, turned_second, mask=is_v)


def qkv(
    x: Tensor, square_sum: Tensor, weight: Matrix, cos: Tensor, sin: Tensor, slots: Tensor,
    positions: Tensor, num_rows: Tensor, q: Tensor, k_cache: Tensor, v_cache: Tensor, *,
    eps: float, block_m: int, config: TileConfig, launch: Launch, split_k: int = 1,
    scratch: SplitScratch | None = None,
) -> None:  # fmt: skip
    """Project scaled hidden states to q, k and v, rotate q and k, write k and v to their slots.

    Args:
        x: [rows, hidden], hidden states times the norm's weight, bf16.
        square_sum: [rows] int64, of the hidden states, in units of SUM_UNIT.
        weight: [(heads + 2 * kv_heads) * head_dim, hidden]; q, k, v, each `interleave_heads`.
        cos, sin: [max_length, head_dim / 2] float32.
        slots, positions: [rows] int32; num_rows: [1] int32, rows that exist.
        q: [rows, heads, head_dim], written. k_cache, v_cache: [slots, kv_heads, max_length,
            head_dim], written at (slot, position).
        split_k, scratch: see `projection`.
    Raises:
        ValueError: the weight does not fit the cache's heads, or the parts.
    """
    _, kv_heads, max_length, head_dim = k_cache.shape
    heads = q.shape[1]
    if weight.n != (heads + 2 * kv_heads) * head_dim:
        raise ValueError(
            f"weight has {weight.n} rows, expected {(heads + 2 * kv_heads) * head_dim}"
        )
    check_split(weight, split_k)
    grid, parts, counters = split_grid(len(x), weight.n, block_m, config, split_k, scratch)
    launch.start(
        qkv_kernel, grid,
        x, square_sum, weight.data, weight.scale, cos, sin, slots, positions, num_rows,
        q, k_cache, v_cache, square_sum if parts is None else parts,
        num_rows if counters is None else counters,
        K=weight.k, SPLIT_K=split_k, IS_SHARED=parts is not None,
        HEADS=heads, KV_HEADS=kv_heads, HEAD_DIM=head_dim, MAX_LENGTH=max_length,
        EPS=eps, FORMAT=weight.format, BLOCK_M=block_m, BLOCK_N=config.block_n,
        BLOCK_K=config.block_k, STAGES=config.stages, FAST=launch.fast_unpack, ONE_ROW=len(x) == 1,
        PDL=launch.pdl, PREFETCH=launch.prefetch_bytes, num_warps=config.warps,
    )  # fmt: skip
