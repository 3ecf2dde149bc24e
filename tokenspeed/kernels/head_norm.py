"""RMSNorm of heads of q and k, before or after their rotation, and the write of k to its slot.

Runs after `qkv` where a model norms q and k, as a tile of that kernel holds only parts of heads.
Each program takes a head of a row, laid out the same in every step, so its sums are the same at
every width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import narrow
from tokenspeed.kernels.launch import Launch, wait_for_inputs
from tokenspeed.kernels.norm import normed_ref
from tokenspeed.kernels.qkv import Heads, Rotation
from tokenspeed.kernels.slots import Cache, Places

BLOCK = 1024  # elements of a row that are summed at once where all heads share a norm


def head_norm_ref(
    raw: Tensor,
    norms: Tensor,
    rotation: Rotation,
    places: Places,
    cache: Cache,
    *,
    eps: float,
    kind: str,
    after: bool,
) -> Tensor:
    """Plain torch; see `head_norm`. Returns q [rows, heads, head_dim], dtype of the cache."""
    kv_heads = cache.k.shape[1]
    slots, positions = places
    heads = raw.shape[1] - kv_heads
    weights = norms.view(raw.shape[1:])

    def norm(x: Tensor) -> Tensor:
        if kind == "head":
            return normed_ref(x, weights, eps)
        parts = (slice(0, heads), slice(heads, None))
        done = [normed_ref(x[:, p].flatten(1), weights[p].flatten(), eps) for p in parts]
        return torch.cat(done, 1).view(raw.shape)

    x = raw if after else norm(raw)
    first, second = x.chunk(2, -1)
    cos, sin = (table[positions][:, None] for table in rotation)
    x = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
    x = norm(x) if after else x
    cache.k[slots, :, positions] = x[:, heads:].to(cache.k.dtype)
    return x[:, :heads].to(cache.k.dtype)


@triton.jit
def head_norm_kernel(
    raw_ptr,
    norms_ptr,
    rotation,
    places,
    num_rows_ptr,
    q_ptr,
    k_ptr,
    HEADS: tl.constexpr,
    KIND: tl.constexpr,
    AFTER: tl.constexpr,
    EPS: tl.constexpr,
    PAIRS: tl.constexpr,
    BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    wait_for_inputs(PDL)
    row, head = tl.program_id(0), tl.program_id(1)
    if row >= tl.load(num_rows_ptr):
        return
    HEAD_DIM: tl.constexpr = HEADS.head_dim
    HALF: tl.constexpr = HEAD_DIM // 2
    Q_HEADS: tl.constexpr = HEADS.heads
    ALL: tl.constexpr = (HEADS.heads + HEADS.kv_heads) * HEAD_DIM
    at = tl.arange(0, PAIRS)
    mask = at < HALF
    raw = raw_ptr + row * ALL
    first = tl.load(raw + head * HEAD_DIM + at, mask=mask, other=0.0)
    second = tl.load(raw + head * HEAD_DIM + HALF + at, mask=mask, other=0.0)
    if KIND == "head":
        mean = tl.sum(first * first + second * second, axis=0) / HEAD_DIM
    else:
        begin = tl.where(head < Q_HEADS, 0, Q_HEADS * HEAD_DIM)
        end = tl.where(head < Q_HEADS, Q_HEADS * HEAD_DIM, ALL)
        squares = tl.zeros((BLOCK,), tl.float32)
        for start in tl.range(begin, end, BLOCK):
            place = start + tl.arange(0, BLOCK)
            x = tl.load(raw + place, mask=place < end, other=0.0)
            squares += x * x
        mean = tl.sum(squares, axis=0) / (end - begin)
    inverse = tl.rsqrt(mean + EPS)
    weights = norms_ptr + head * HEAD_DIM + at
    weight = tl.load(weights, mask=mask, other=0.0) * inverse
    weight_second = tl.load(weights + HALF, mask=mask, other=0.0) * inverse
    slot = tl.load(places.slots + row).to(tl.int64)
    position = tl.load(places.positions + row)
    cos = tl.load(rotation.cos + position * HALF + at, mask=mask, other=1.0)
    sin = tl.load(rotation.sin + position * HALF + at, mask=mask, other=0.0)
    if not AFTER:  # a rotation leaves the sum of squares as it is
        first *= weight
        second *= weight_second
    turned = first * cos - second * sin
    turned_second = second * cos + first * sin
    if AFTER:
        turned *= weight
        turned_second *= weight_second
    turned = narrow(turned, q_ptr.dtype.element_ty)
    turned_second = narrow(turned_second, q_ptr.dtype.element_ty)
    q_at = (row * Q_HEADS + head) * HEAD_DIM + at
    of_q = mask & (at * 0 + head < Q_HEADS)
    tl.store(q_ptr + q_at, turned, mask=of_q)
    tl.store(q_ptr + q_at + HALF, turned_second, mask=of_q)
    # int64: a cache of many long slots holds more than 2**31 elements.
    kv_head = slot * HEADS.kv_heads + head - Q_HEADS
    k_at = (kv_head * HEADS.max_length + position) * HEAD_DIM + at
    of_k = mask & (at * 0 + head >= Q_HEADS)
    tl.store(k_ptr + k_at, turned, mask=of_k)
    tl.store(k_ptr + k_at + HALF, turned_second, mask=of_k)


def head_norm(
    raw: Tensor,
    norms: Tensor,
    rotation: Rotation,
    places: Places,
    num_rows: Tensor,
    q: Tensor,
    cache: Cache,
    *,
    eps: float,
    kind: str,
    after: bool,
    launch: Launch,
) -> None:
    """Norm and rotate q and k, and write k to its slots.

    Args:
        raw: [rows, heads + kv_heads, head_dim] float32, q and k as `qkv` leaves them.
        norms: [(heads + kv_heads) * head_dim] float32, the weight of each element.
        num_rows: [1] int32, rows that exist.
        q: [rows, heads, head_dim], written.
        cache: its k is written at each row's place.
        kind: "head": each head is normed by itself; "width": all heads of q together, and all of k.
        after: norm after the rotation, which keeps the sums of squares, but not what each weight
            multiplies.
    """
    _, kv_heads, max_length, head_dim = cache.k.shape
    launch.start(
        head_norm_kernel,
        (len(raw), raw.shape[1]),
        *(raw, norms, rotation, places, num_rows, q, cache.k),
        HEADS=Heads(raw.shape[1] - kv_heads, kv_heads, head_dim, max_length),
        KIND=kind,
        AFTER=after,
        EPS=eps,
        PAIRS=triton.next_power_of_2(head_dim // 2),
        BLOCK=BLOCK,
        PDL=launch.pdl,
        num_warps=1 if kind == "head" else 4,
    )
