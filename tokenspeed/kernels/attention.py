"""Attention of new tokens over their slots, split over positions, combined in the same kernel.

A slot is cut at fixed positions into splits, and a split into blocks, so the arithmetic of a row
follows from its own position alone. Short steps give each (token, kv head, split) a program, and
the last one of a token combines the parts in order. Long steps give a tile of tokens of one slot
to a program that goes through the splits itself and combines them with the same expressions.
Source: Dao et al. 2023, flash-decoding.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import dot, narrow, tanh
from tokenspeed.kernels.blocks import BLOCK as SHARED_BLOCK
from tokenspeed.kernels.blocks import narrow_rows, share_rows
from tokenspeed.kernels.launch import Launch, wait_for_inputs
from tokenspeed.kernels.slots import Cache, Places

SPLIT = 128  # positions that one program of a short step reads
BLOCK = 32  # positions of one inner step; with 64 the values of a head of 128 spill registers
WIDE_BLOCK = 16  # the same where heads are wider
STAGES = 3  # blocks in flight at once in a short step
_LOG2E = 1.4426950408889634
TILE_TOKENS = 16  # tokens of one slot that a program of a long step takes


class Tiles(NamedTuple):
    """Runs of rows of one slot that attend together.

    Attributes:
        starts, counts: [tiles] int32; not read where a tile is a row.
        num: [1] int32, tiles that exist.
    """

    starts: Any
    counts: Any
    num: Any


class AttentionScratch(NamedTuple):
    """Where programs of one step leave parts for each other; reused by each layer.

    Attributes:
        attended: [parts, head_dim] float32. stats: [parts, 2] float32, maximum and total.
        counters: [rows * kv_heads] int32, zero between kernels.
    """

    attended: Any
    stats: Any
    counters: Any

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in self)


class AttentionShape(NamedTuple):
    """The heads of a cache, and how a program walks over it: a constant of the kernel."""

    kv_heads: int
    group: int  # heads that share a kv head
    head_dim: int
    max_length: int
    tokens: int  # of a tile
    block_m: int
    block_d: int
    split: int  # positions
    block: int  # positions
    softcap: float = 0.0  # of scores, in log2; 0: none


def attention_scratch(
    rows: int, heads: int, kv_heads: int, head_dim: int, max_length: int, device: str
) -> AttentionScratch:
    """Allocate the scratch; holds NaN at first.

    Args:
        rows: most rows of a step whose tokens get programs of their own.
        heads, kv_heads, head_dim, max_length: of the cache.
    """
    parts = rows * heads * triton.cdiv(max_length, SPLIT)
    return AttentionScratch(
        torch.full((parts, head_dim), float("nan"), device=device),
        torch.full((parts, 2), float("nan"), device=device),
        torch.zeros(rows * kv_heads, dtype=torch.int32, device=device),
    )


def attention_ref(
    q: Tensor, cache: Cache, places: Places, scale: float | None = None, softcap: float = 0.0
) -> Tensor:
    """Plain torch; see `attention`. Returns the values [rows, heads, head_dim], dtype of q."""
    out = torch.empty_like(q)
    scale = scale or q.shape[2] ** -0.5
    group = q.shape[1] // cache.k.shape[1]
    for row, (slot, position) in enumerate(zip(*(p.tolist() for p in places), strict=True)):
        k = cache.k[slot, :, : position + 1].repeat_interleave(group, 0)
        v = cache.v[slot, :, : position + 1].repeat_interleave(group, 0)
        scores = (k @ q[row][:, :, None])[..., 0].float() * scale
        scores = softcap * torch.tanh(scores / softcap) if softcap else scores
        weights = scores.softmax(-1).to(q.dtype)  # [heads, position + 1]
        out[row] = (weights[:, None] @ v)[:, 0]
    return out


@triton.jit
def attend_split(
    q, k_ptr, v_ptr, row_positions, begin, last, scale_log2, at_d, SHAPE: tl.constexpr
):
    """Attend over positions begin .. begin + SPLIT - 1, up to `last`.

    Returns:
        maximum [BLOCK_M] of the scores in log2, total [BLOCK_M, 16] (16 equal columns), values
        [BLOCK_M, BLOCK_D], all float32 and relative to the maximum.
    """
    BLOCK_M: tl.constexpr = SHAPE.block_m
    BLOCK_D: tl.constexpr = SHAPE.block_d
    BLOCK: tl.constexpr = SHAPE.block
    maximum = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M, 16), tl.float32)
    values = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    ones = tl.full((BLOCK, 16), 1.0, q.dtype)
    at_block = tl.arange(0, BLOCK)
    d_mask = at_d < SHAPE.head_dim
    for start in tl.range(begin, tl.minimum(begin + SHAPE.split, last + 1), BLOCK):
        at = start + at_block
        inside = at <= last  # later positions were never written, or by another sequence
        offset = at[:, None] * SHAPE.head_dim + at_d[None, :]
        k = tl.load(k_ptr + offset, mask=inside[:, None] & d_mask[None, :], other=0.0)
        v = tl.load(v_ptr + offset, mask=inside[:, None] & d_mask[None, :], other=0.0)
        scores = dot(q, k.T, tl.zeros((BLOCK_M, BLOCK), tl.float32)) * scale_log2
        if SHAPE.softcap > 0.0:
            scores = tanh(scores) * SHAPE.softcap
        scores = tl.where(at[None, :] <= row_positions[:, None], scores, float("-inf"))
        new_maximum = tl.maximum(maximum, tl.max(scores, axis=1))
        # A row that sees nothing yet stays at -inf; 0 in its place avoids -inf minus -inf.
        finite = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
        weights = narrow(tl.exp2(scores - finite[:, None]), q.dtype)
        shrink = tl.exp2(maximum - finite)[:, None]
        values = dot(weights, v, values * shrink)
        # The sum as a product with ones: tl.sum's order follows the layout, a dot's does not.
        total = dot(weights, ones, total * shrink)
        maximum = new_maximum
    return maximum, total, values


@triton.jit
def merge(maximum, total, values, more_maximum, more_total, more_values):
    """Add one split's result to those of the splits before it."""
    new_maximum = tl.maximum(maximum, more_maximum)
    finite = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
    old, new = tl.exp2(maximum - finite), tl.exp2(more_maximum - finite)
    total = total * old + more_total * new
    values = values * old[:, None] + more_values * new[:, None]
    return new_maximum, total, values


@triton.jit
def attention_kernel(
    q_ptr,
    cache,
    places,
    tiles,
    scratch,
    out_ptr,
    scale_log2,
    SHAPE: tl.constexpr,
    ONE_TILE: tl.constexpr,
    IN_BLOCKS: tl.constexpr,
    PDL: tl.constexpr,
):
    wait_for_inputs(PDL)
    KV_HEADS: tl.constexpr = SHAPE.kv_heads
    GROUP: tl.constexpr = SHAPE.group
    HEAD_DIM: tl.constexpr = SHAPE.head_dim
    TOKENS: tl.constexpr = SHAPE.tokens
    BLOCK_M: tl.constexpr = SHAPE.block_m
    BLOCK_D: tl.constexpr = SHAPE.block_d
    SPLIT: tl.constexpr = SHAPE.split
    NUM_SPLITS: tl.constexpr = (SHAPE.max_length + SPLIT - 1) // SPLIT
    tile, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    if not ONE_TILE:
        if tile >= tl.load(tiles.num):
            return
    if TOKENS == 1:
        first_row, count = tile, 1
    else:
        first_row, count = tl.load(tiles.starts + tile), tl.load(tiles.counts + tile)
    last = tl.load(places.positions + first_row + count - 1)
    if TOKENS == 1 and split * SPLIT > last:
        return
    member = tl.arange(0, BLOCK_M)
    token = member // GROUP
    row_mask = token < count
    rows = first_row + tl.where(row_mask, token, 0)
    row_positions = tl.load(places.positions + rows)
    at_d = tl.arange(0, BLOCK_D)
    d_mask = at_d < HEAD_DIM
    heads = kv_head * GROUP + member % GROUP
    q_at = (rows * (KV_HEADS * GROUP) + heads)[:, None] * HEAD_DIM + at_d[None, :]
    q_mask = row_mask[:, None] & d_mask[None, :]
    q = tl.load(q_ptr + q_at, mask=q_mask, other=0.0)
    slot = tl.load(places.slots + first_row).to(tl.int64)
    head_at = (slot * KV_HEADS + kv_head) * (SHAPE.max_length * HEAD_DIM)
    k_ptr = cache.k + head_at
    v_ptr = cache.v + head_at

    maximum = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    values = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    finishes = True
    if TOKENS > 1:
        for begin in tl.range(0, last + 1, SPLIT):
            m, sums, v = attend_split(
                q, k_ptr, v_ptr, row_positions, begin, last, scale_log2, at_d, SHAPE
            )
            maximum, total, values = merge(maximum, total, values, m, tl.max(sums, axis=1), v)
    else:
        m, sums, v = attend_split(
            q, k_ptr, v_ptr, row_positions, split * SPLIT, last, scale_log2, at_d, SHAPE
        )
        t = tl.max(sums, axis=1)
        splits = last // SPLIT + 1
        if splits == 1:
            maximum, total, values = merge(maximum, total, values, m, t, v)
        else:
            # Store the part; the last program to arrive combines all parts, in order.
            number = tile * KV_HEADS + kv_head
            part = (number * NUM_SPLITS + split) * GROUP + member
            tl.store(scratch.attended + part[:, None] * HEAD_DIM + at_d[None, :], v, mask=q_mask)
            tl.store(scratch.stats + part * 2, m, mask=row_mask)
            tl.store(scratch.stats + part * 2 + 1, t, mask=row_mask)
            tl.debug_barrier()  # all threads have stored before one of them announces it
            finishes = tl.atomic_add(scratch.counters + number, 1, sem="acq_rel") == splits - 1
            tl.debug_barrier()
            if finishes:
                tl.store(scratch.counters + number, 0)  # for the next layer
                for i in tl.range(0, splits):
                    part = (number * NUM_SPLITS + i) * GROUP + member
                    part_at = part[:, None] * HEAD_DIM + at_d[None, :]
                    # .cg: another multiprocessor wrote these; this one's L1 may be stale.
                    v = tl.load(scratch.attended + part_at, q_mask, 0.0, cache_modifier=".cg")
                    stats = scratch.stats + part * 2
                    m = tl.load(stats, row_mask, 0.0, cache_modifier=".cg")
                    t = tl.load(stats + 1, row_mask, 1.0, cache_modifier=".cg")
                    maximum, total, values = merge(maximum, total, values, m, t, v)
    if finishes:
        out = narrow_rows(values / total[:, None], out_ptr.dtype.element_ty, IN_BLOCKS)
        tl.store(out_ptr + q_at, out, mask=q_mask)


def attention(
    q: Tensor,
    cache: Cache,
    places: Places,
    tiles: Tiles,
    scratch: AttentionScratch,
    out: Tensor,
    *,
    tile_tokens: int,
    max_tiles: int,
    launch: Launch,
    scale: float | None = None,
    softcap: float = 0.0,
    in_blocks: bool = False,
) -> None:
    """Let each row attend to its own slot, up to and including its own position.

    Args:
        q: [rows, heads, head_dim], dtype of the cache.
        tiles: runs of at most `tile_tokens` rows; where that is 1, a tile is a row.
        out: [rows, heads, head_dim], written.
        max_tiles: tiles that programs are started for.
        scale: of scores; None is head_dim ** -0.5.
        softcap: of scores; 0 is none.
        in_blocks: an int4 matrix reads out; see `blocks`.
    Raises:
        ValueError: heads is not a multiple of kv_heads.
    """
    _, kv_heads, max_length, head_dim = cache.k.shape
    if q.shape[1] % kv_heads:
        raise ValueError(f"q has {q.shape[1]} heads, expected a multiple of {kv_heads}")
    group = q.shape[1] // kv_heads
    block_m = max(16, triton.next_power_of_2(tile_tokens * group))
    block_d = max(16, triton.next_power_of_2(head_dim))
    shape = AttentionShape(
        kv_heads,
        group,
        head_dim,
        max_length,
        tile_tokens,
        block_m,
        block_d,
        SPLIT,
        BLOCK if block_d <= 128 else WIDE_BLOCK,
        softcap * _LOG2E,
    )
    scale = scale or head_dim**-0.5
    is_whole = head_dim % SHARED_BLOCK == 0  # else heads share blocks, which no program has whole
    launch.start(
        attention_kernel,
        (max_tiles, kv_heads, triton.cdiv(max_length, SPLIT) if tile_tokens == 1 else 1),
        q,
        cache,
        places,
        tiles,
        scratch,
        out,
        scale / softcap if softcap else scale * _LOG2E,
        SHAPE=shape,
        ONE_TILE=max_tiles == 1,
        IN_BLOCKS=in_blocks and is_whole,
        PDL=launch.pdl,
        num_warps=4 if tile_tokens == 1 else 8,
        num_stages=STAGES if tile_tokens == 1 else 2,
    )
    if in_blocks and not is_whole:
        share_rows(out.flatten(1), launch=launch)
