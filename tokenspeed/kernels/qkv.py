"""RMSNorm, the q, k and v projections, rotation, and the write of k and v to their slots.

The rows of the weight are interleaved so that the two halves of a rotated pair are neighbours.
Where q and k are normed, which needs whole heads, they are stored raw: `head_norm` does the rest.
Knows nothing of attention.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import narrow
from tokenspeed.kernels.matrix import Matrix, add_bias
from tokenspeed.kernels.norm import Scaled, inverse_rms, inverse_rms_ref
from tokenspeed.kernels.plan import Plan
from tokenspeed.kernels.slots import Cache, Places
from tokenspeed.kernels.split_k import SplitScratch, multiply_split
from tokenspeed.kernels.tile import start_tile, tile_rows


class Rotation(NamedTuple):
    """Cosine and sine of each position's angles: [max_length, head_dim / 2] float32."""

    cos: Any
    sin: Any


class Heads(NamedTuple):
    """The heads that the rows of the weight belong to, and a slot's length: a constant."""

    heads: int
    kv_heads: int
    head_dim: int
    max_length: int
    is_raw: bool = False  # q and k are stored before norm and rotation


def interleave_heads(weight: Tensor, head_dim: int) -> Tensor:
    """Order the rows of each head as 0, d/2, 1, d/2 + 1, ...: [heads * head_dim, hidden]."""
    heads = weight.view(-1, 2, head_dim // 2, weight.shape[1])
    return heads.transpose(1, 2).reshape(weight.shape)


def qkv_ref(
    x: Scaled,
    weight: Tensor,
    rotation: Rotation,
    places: Places,
    cache: Cache,
    eps: float | None,
    bias: Tensor | None = None,
) -> Tensor:
    """Plain torch; see `qkv`. `weight` is [(heads + 2 * kv_heads) * head_dim, hidden], floats."""
    kv_heads, head_dim = cache.k.shape[1], cache.k.shape[3]
    slots, positions = places
    inverse = inverse_rms_ref(x.square_sum, x.states.shape[1], eps)
    out = (x.states @ weight.to(x.states.dtype).t()).float() * inverse
    out = out if bias is None else out + bias
    first, second = out.view(len(out), -1, head_dim // 2, 2).unbind(-1)
    heads = first.shape[1] - 2 * kv_heads
    cos, sin = (table[positions][:, None] for table in rotation)  # each [rows, 1, head_dim / 2]
    rotated = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
    plain = torch.cat((first, second), -1)[:, heads + kv_heads :]
    cache.k[slots, :, positions] = rotated[:, heads : heads + kv_heads].to(cache.k.dtype)
    cache.v[slots, :, positions] = plain.to(cache.v.dtype)
    return rotated[:, :heads].to(x.states.dtype)


@triton.jit
def qkv_kernel(
    x,
    weight,
    rotation,
    places,
    num_rows_ptr,
    q_ptr,
    cache,
    scratch,
    MATRIX: tl.constexpr,
    HEADS: tl.constexpr,
    EPS: tl.constexpr,
    TILE: tl.constexpr,
    SPLIT: tl.constexpr,
    OVERLAP: tl.constexpr,
    ONE_ROW: tl.constexpr,
):
    col_start, num_rows = start_tile(weight, num_rows_ptr, MATRIX, TILE, OVERLAP, ONE_ROW)
    if tl.program_id(0) * TILE.block_m >= num_rows:
        return
    rows, row_mask = tile_rows(num_rows, TILE)
    HEAD_DIM: tl.constexpr = HEADS.head_dim
    HALF: tl.constexpr = HEADS.head_dim // 2
    ROTATED: tl.constexpr = HEADS.heads + HEADS.kv_heads
    BLOCK_M: tl.constexpr = TILE.block_m
    PAIRS: tl.constexpr = TILE.block_n // 2
    # Loaded before the weights, so that nothing is left to wait for after them.
    inverse = inverse_rms(x.square_sum, rows, row_mask, MATRIX.k, EPS)
    pair = col_start // 2 + tl.arange(0, PAIRS)
    head, at = pair // HALF, pair % HALF
    rotates = row_mask[:, None] & (head < ROTATED)[None, :]
    slots = tl.load(places.slots + rows, mask=row_mask, other=0).to(tl.int64)
    positions = tl.load(places.positions + rows, mask=row_mask, other=0)
    if not HEADS.is_raw:
        angle = positions[:, None] * HALF + at[None, :]
        cos = tl.load(rotation.cos + angle, mask=rotates, other=1.0)
        sin = tl.load(rotation.sin + angle, mask=rotates, other=0.0)
    acc, has_sum = multiply_split(
        x.states, rows, row_mask, weight, col_start, scratch, MATRIX, TILE, SPLIT, OVERLAP.pdl
    )
    if SPLIT.is_shared:
        if not has_sum:
            return
    acc = acc * inverse[:, None]
    acc = add_bias(acc, weight, col_start + tl.arange(0, TILE.block_n), MATRIX)
    first, second = tl.split(tl.reshape(acc, (BLOCK_M, PAIRS, 2)))
    if HEADS.is_raw:
        raw_at = rows[:, None] * (ROTATED * HEAD_DIM) + (head * HEAD_DIM + at)[None, :]
        tl.store(q_ptr + raw_at, first, mask=rotates)
        tl.store(q_ptr + raw_at + HALF, second, mask=rotates)
        turned = narrow(first, cache.v.dtype.element_ty)
        turned_second = narrow(second, cache.v.dtype.element_ty)
    else:
        turned = narrow(first * cos - second * sin, q_ptr.dtype.element_ty)
        turned_second = narrow(second * cos + first * sin, q_ptr.dtype.element_ty)

        is_q = row_mask[:, None] & (head < HEADS.heads)[None, :]
        q_at = rows[:, None] * (HEADS.heads * HEAD_DIM) + (head * HEAD_DIM + at)[None, :]
        tl.store(q_ptr + q_at, turned, mask=is_q)
        tl.store(q_ptr + q_at + HALF, turned_second, mask=is_q)
    is_k = rotates & (head >= HEADS.heads)[None, :]
    is_v = row_mask[:, None] & ((head >= ROTATED) & (head < ROTATED + HEADS.kv_heads))[None, :]
    # int64: a cache of many long slots holds more than 2**31 elements.
    kv_head = (head - HEADS.heads) % HEADS.kv_heads
    slot_at = slots * (HEADS.kv_heads * HEADS.max_length * HEAD_DIM) + positions * HEAD_DIM
    cache_at = slot_at[:, None] + (kv_head * (HEADS.max_length * HEAD_DIM) + at)[None, :]
    if not HEADS.is_raw:
        tl.store(cache.k + cache_at, turned, mask=is_k)
        tl.store(cache.k + cache_at + HALF, turned_second, mask=is_k)
    tl.store(cache.v + cache_at, turned, mask=is_v)
    tl.store(cache.v + cache_at + HALF, turned_second, mask=is_v)


def qkv(
    x: Scaled,
    weight: Matrix,
    rotation: Rotation,
    places: Places,
    num_rows: Tensor,
    q: Tensor,
    cache: Cache,
    *,
    eps: float | None,
    plan: Plan,
    is_raw: bool = False,
) -> None:
    """Project scaled hidden states to q, k and v, rotate q and k, write k and v to their slots.

    Args:
        weight: [(heads + 2 * kv_heads) * head_dim, hidden]; q, k, v, each `interleave_heads`.
        num_rows: [1] int32, rows that exist.
        q: [rows, heads, head_dim], written. Where is_raw: [rows, heads + kv_heads, head_dim]
            float32, q and k before norm and rotation.
        cache: written at each row's place; where is_raw, only v.
        eps: None: x is normed already.
        is_raw: `head_norm` follows.
    Raises:
        ValueError: the weight does not fit the cache's heads, or the plan's parts.
    """
    _, kv_heads, max_length, head_dim = cache.k.shape
    heads, rows = q.shape[1] - (kv_heads if is_raw else 0), len(x.states)
    if weight.n != (heads + 2 * kv_heads) * head_dim:
        raise ValueError(
            f"weight has {weight.n} rows, expected {(heads + 2 * kv_heads) * head_dim}"
        )
    args = x, weight.arrays, rotation, places, num_rows, q, cache
    plan.start_split(
        qkv_kernel,
        weight,
        rows,
        *args,
        unused=SplitScratch(x.square_sum, num_rows),
        HEADS=Heads(heads, kv_heads, head_dim, max_length, is_raw),
        EPS=eps,
        ONE_ROW=rows == 1,
    )
