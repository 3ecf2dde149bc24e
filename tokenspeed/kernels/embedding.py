"""Token embedding: the hidden states that the first layer starts from. First kernel of a step."""

import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import narrow
from tokenspeed.kernels.launch import Launch, wait_for_inputs
from tokenspeed.kernels.norm import square_sum, square_sum_ref


def embedding_ref(tokens: Tensor, table: Tensor, norm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Plain torch; see `embedding`. Returns hidden, scaled, square_sum of the rows."""
    hidden = table[tokens].float()
    return hidden, (hidden * norm.float()).to(table.dtype), square_sum_ref(hidden)


@triton.jit
def embedding_kernel(
    tokens_ptr, table_ptr, norm_ptr, num_rows_ptr, hidden_ptr, scaled_ptr, sums_ptr,
    NUM_SUMS: tl.constexpr, MAX_ROWS: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):  # fmt: skip
    wait_for_inputs(PDL)
    row = tl.program_id(0)
    if row >= tl.load(num_rows_ptr):
        return
    for start in tl.static_range(0, NUM_SUMS, 32):  # the sums that the layers will add to
        number = start + tl.arange(0, 32)
        zeros = tl.zeros((32,), tl.int64)
        tl.store(sums_ptr + number * MAX_ROWS + row, zeros, mask=(number > 0) & (number < NUM_SUMS))
    token = tl.load(tokens_ptr + row).to(tl.int64)
    at = tl.arange(0, BLOCK)
    mask = at < SIZE
    hidden = tl.load(table_ptr + token * SIZE + at, mask=mask, other=0.0).to(tl.float32)
    norm = tl.load(norm_ptr + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(hidden_ptr + row * SIZE + at, hidden, mask=mask)
    tl.store(scaled_ptr + row * SIZE + at, narrow(hidden * norm, scaled_ptr.dtype.element_ty), mask)
    squares = square_sum(tl.reshape(hidden, (1, BLOCK)))
    tl.store(sums_ptr + row + tl.arange(0, 1), squares)


def embedding(
    tokens: Tensor, table: Tensor, norm: Tensor, num_rows: Tensor, hidden: Tensor, scaled: Tensor,
    sums: Tensor, *, launch: Launch,
) -> None:  # fmt: skip
    """Look up the rows of the table and prepare the first norm.

    Args:
        tokens: [rows] int32. num_rows: [1] int32, rows that exist.
        table: [vocab_size, hidden_size], bf16. norm: [hidden_size], of the first layer.
        hidden: [max_rows, hidden_size] float32, written.
        scaled: [max_rows, hidden_size], dtype of the table, written: hidden * norm.
        sums: [norms, max_rows] int64; row 0 is written, the others are zeroed.
    """
    launch.start(
        embedding_kernel, (len(tokens),),
        tokens, table, norm, num_rows, hidden, scaled, sums,
        NUM_SUMS=sums.shape[0], MAX_ROWS=sums.shape[1], SIZE=table.shape[1],
        BLOCK=triton.next_power_of_2(table.shape[1]), PDL=launch.pdl,
        num_warps=4,
    )  # fmt: skip
