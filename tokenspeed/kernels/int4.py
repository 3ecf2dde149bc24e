"""The product of a tile of int4 weights: exact in blocks, so that any instruction gives its bits.

The products of a block of 64 columns are summed without a rounding (see `blocks`). What is rounded
is this, for each group of 128 columns in turn: the sum of its two blocks, then that times the
group's scale added to the sum of the groups before it, at once. So a kernel that counts in integers
gives the same bits. Knows one part of K; does not know how parts are summed.
"""

import triton
import triton.language as tl

from tokenspeed.kernels.arithmetic import dot, fma
from tokenspeed.kernels.matrix import GROUP_SIZE, PANEL, WORDS, unpack_int4

# Constants of the kernels have to be constexpr.
_GROUP = tl.constexpr(GROUP_SIZE)
_BLOCK = tl.constexpr(GROUP_SIZE // 2)
_PANEL = tl.constexpr(PANEL)
_WORDS = tl.constexpr(WORDS)


@triton.jit
def multiply_int4(
    x_ptr,
    rows,
    row_mask,
    weight,
    col_start,
    begin,
    PART_K: tl.constexpr,
    MATRIX: tl.constexpr,
    TILE: tl.constexpr,
):
    """Return `tile.multiply_part` of int4, transposed: [BLOCK_N, BLOCK_M] float32."""
    N: tl.constexpr = MATRIX.n
    K: tl.constexpr = MATRIX.k
    BLOCK_M: tl.constexpr = TILE.block_m
    BLOCK_N: tl.constexpr = TILE.block_n
    GROUPS: tl.constexpr = TILE.block_k // _GROUP
    EXACT: tl.constexpr = PART_K % TILE.block_k == 0  # else BLOCK_K may reach past the part
    acc = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
    cols = col_start + tl.arange(0, BLOCK_N)
    w_ptrs = weight.data + (cols // _PANEL).to(tl.int64)[:, None] * (K // _GROUP * _PANEL * _WORDS)
    word, at = tl.arange(0, _WORDS), tl.arange(0, _BLOCK)
    w_ptrs += (cols % _PANEL)[:, None] * _WORDS + word[None, :]
    x_ptrs = x_ptr + rows[:, None].to(tl.int64) * K + at[None, :]
    for start in tl.range(begin, begin + PART_K, TILE.block_k, num_stages=TILE.stages):
        for i in tl.static_range(GROUPS):
            group = start // _GROUP + i
            w_mask = (cols < N)[:, None]
            x_mask = row_mask[:, None]
            if not EXACT:
                left = begin + PART_K - group * _GROUP
                w_mask = w_mask & (word < left)[None, :]
                x_mask = x_mask & (at < left)[None, :]
            if EXACT and N % BLOCK_N == 0:
                words = tl.load(w_ptrs + group * (_PANEL * _WORDS))
            else:
                words = tl.load(w_ptrs + group * (_PANEL * _WORDS), mask=w_mask, other=0)
            if i % 2 == 0:
                number = group // 2 if EXACT else tl.minimum(group // 2, (K - 1) // (2 * _GROUP))
                if N % BLOCK_N == 0:
                    pair = tl.load(weight.scale + number * N + cols)
                else:
                    pair = tl.load(weight.scale + number * N + cols, mask=cols < N, other=0)
            first = tl.load(x_ptrs + group * _GROUP, mask=x_mask, other=0.0)
            second = tl.load(x_ptrs + group * _GROUP + _BLOCK, mask=x_mask, other=0.0)
            zeros = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
            w = unpack_int4(words, False, first.dtype, TILE.fast_unpack)
            sum1 = dot(w, first.T, zeros)
            w = unpack_int4(words, True, first.dtype, TILE.fast_unpack)
            sum2 = dot(w, second.T, zeros)
            # With one group to a turn, which half of the word it has is known only then.
            shift = 16 * (group % 2 if GROUPS == 1 else i % 2)
            scale = (pair >> shift).to(tl.int16).to(tl.float16, bitcast=True)
            # No +: Triton would let the second product go on from the first, and a tensor core
            # rounds what it sums in a way of its own.
            sums = fma(sum1, tl.full(acc.shape, 1.0, tl.float32), sum2)
            acc = fma(sums, tl.broadcast_to(scale.to(tl.float32)[:, None], acc.shape), acc)
    return acc
