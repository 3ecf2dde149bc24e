"""RMSNorm, LM head and the choice of the next token, greedy or in favour of a draft.

The head leaves each program's best token and its sum of exponentials; a second, small kernel picks
the token of a row and puts it where the next step would read it. Logits are stored only on request.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.launch import Launch, main_loop_done, wait_for_inputs
from tokenspeed.kernels.matrix import Matrix, prefetch_weight
from tokenspeed.kernels.norm import inverse_rms, inverse_rms_ref
from tokenspeed.kernels.tile import TileConfig, multiply

_EXP_UNIT = tl.constexpr(2.0**-30)  # exponentials are at most 1, and at most 2**33 are summed
_LOG2E = tl.constexpr(1.4426950408889634)


def lm_head_ref(
    x: Tensor, square_sum: Tensor, weight: Tensor, drafts: Tensor, biases: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Plain torch; see `lm_head`. Returns logits [rows, vocab] float32 and tokens [rows]."""
    logits = (x @ weight.to(x.dtype).t()).float() * inverse_rms_ref(square_sum, x.shape[1], eps)
    best = logits.argmax(-1)
    p = logits.softmax(-1)
    gap = p.gather(1, best[:, None]) - p.gather(1, drafts.long().clamp(min=0)[:, None])
    accepted = (drafts >= 0) & (biases > 0) & (gap[:, 0] <= biases / (1 - biases))
    return logits, torch.where(accepted, drafts.long(), best).int()


@triton.jit
def lm_head_kernel(
    x_ptr, sum_ptr, w_ptr, scale_ptr, outputs_ptr, num_outputs_ptr, drafts_ptr,
    best_ptr, index_ptr, exps_ptr, draft_logit_ptr, logits_ptr,
    N: tl.constexpr, K: tl.constexpr, EPS: tl.constexpr, NUM_BLOCKS: tl.constexpr,
    FORMAT: tl.constexpr, STORE_LOGITS: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, STAGES: tl.constexpr, FAST: tl.constexpr,
    PDL: tl.constexpr, PREFETCH: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(1)
    col_start = block * BLOCK_N
    if PREFETCH:
        prefetch_weight(w_ptr, col_start, N, K, FORMAT, BLOCK_N, PREFETCH)
    wait_for_inputs(PDL)
    num_outputs = tl.load(num_outputs_ptr)
    if tl.program_id(0) * BLOCK_M >= num_outputs:
        return
    outs = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    out_mask = outs < num_outputs
    rows = tl.load(outputs_ptr + outs, mask=out_mask, other=0)
    acc = multiply(x_ptr, rows, out_mask, w_ptr, scale_ptr, col_start, N, K, FORMAT,
                   BLOCK_M, BLOCK_N, BLOCK_K, STAGES, FAST)  # fmt: skip
    main_loop_done(PDL)
    logits = acc * inverse_rms(sum_ptr, rows, out_mask, K, EPS)[:, None]
    cols = col_start + tl.arange(0, BLOCK_N)
    if STORE_LOGITS:
        at = outs[:, None].to(tl.int64) * N + cols[None, :]
        tl.store(logits_ptr + at, logits, mask=out_mask[:, None] & (cols < N)[None, :])
    logits = tl.where((cols < N)[None, :], logits, float("-inf"))
    best = tl.max(logits, axis=1)
    index = tl.min(tl.where(logits == best[:, None], cols[None, :], N), axis=1)
    # Fixed point again, so that the sum does not depend on the layout of the tile.
    exps = tl.exp2((logits - best[:, None]) * _LOG2E)
    total = tl.sum((exps * (1.0 / _EXP_UNIT)).to(tl.int64), axis=1)
    at = outs * NUM_BLOCKS + block
    tl.store(best_ptr + at, best, mask=out_mask)
    tl.store(index_ptr + at, index, mask=out_mask)
    tl.store(exps_ptr + at, total.to(tl.float32) * _EXP_UNIT, mask=out_mask)
    draft = tl.load(drafts_ptr + outs, mask=out_mask, other=-1)
    mine = out_mask & (draft >= col_start) & (draft < col_start + BLOCK_N)
    is_draft = cols[None, :] == draft[:, None]
    draft_logit = tl.max(tl.where(is_draft, logits, float("-inf")), axis=1)
    tl.store(draft_logit_ptr + outs, draft_logit, mask=mine)


@triton.jit
def select_kernel(
    best_ptr, index_ptr, exps_ptr, draft_logit_ptr, outputs_ptr, num_outputs_ptr, drafts_ptr,
    biases_ptr, tokens_ptr, positions_ptr, parity_ptr, chosen_ptr,
    NUM_BLOCKS: tl.constexpr, MAX_ROWS: tl.constexpr, BLOCK: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    wait_for_inputs(PDL)
    out = tl.program_id(0)
    parity = tl.load(parity_ptr + out)
    tl.store(parity_ptr + out, 1 - parity)  # one for each program: no race
    if out >= tl.load(num_outputs_ptr):
        return
    best = float("-inf")
    index = 2147483647
    total = 0.0
    for start in tl.range(0, NUM_BLOCKS, BLOCK):
        at = start + tl.arange(0, BLOCK)
        mask = at < NUM_BLOCKS
        at += out * NUM_BLOCKS
        bests = tl.load(best_ptr + at, mask=mask, other=float("-inf"))
        indices = tl.load(index_ptr + at, mask=mask, other=2147483647)
        exps = tl.load(exps_ptr + at, mask=mask, other=0.0)
        new_best = tl.maximum(best, tl.max(bests))
        # Blocks come in the order of their tokens: on a tie the earlier index is the lower one.
        here = tl.min(tl.where(bests == new_best, indices, 2147483647))
        index = tl.where(new_best > best, here, index)
        part = tl.sum(exps * tl.exp2((bests - new_best) * _LOG2E))
        total = total * tl.exp2((best - new_best) * _LOG2E) + part
        best = new_best
    draft = tl.load(drafts_ptr + out)
    bias = tl.load(biases_ptr + out)
    draft_logit = tl.load(draft_logit_ptr + out, mask=draft >= 0, other=float("-inf"))
    gap = (1.0 - tl.exp2((draft_logit - best) * _LOG2E)) / total
    accepted = (draft >= 0) & (bias > 0.0) & (gap <= bias / (1.0 - bias))
    token = tl.where(accepted, draft, index)
    tl.store(chosen_ptr + parity * MAX_ROWS + out, token)
    # If only decoding goes on, the next step is this one, a token further.
    row = tl.load(outputs_ptr + out)
    tl.store(tokens_ptr + row, token)
    tl.store(positions_ptr + row, tl.load(positions_ptr + row) + 1)


class HeadScratch:
    """What the head's programs leave for `select`: [rows, blocks] each."""

    def __init__(self, rows: int, vocab_size: int, block_n: int, device: str) -> None:
        blocks = triton.cdiv(vocab_size, block_n)
        self.best = torch.full((rows, blocks), float("nan"), device=device)
        self.index = torch.zeros((rows, blocks), dtype=torch.int32, device=device)
        self.exps = torch.full((rows, blocks), float("nan"), device=device)
        self.draft_logit = torch.full((rows,), float("nan"), device=device)

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in (self.best, self.index, self.exps, self.draft_logit))


def lm_head(
    x: Tensor, square_sum: Tensor, weight: Matrix, outputs: Tensor, num_outputs: Tensor,
    drafts: Tensor, scratch: HeadScratch, logits: Tensor | None, *, rows: int, eps: float,
    block_m: int, config: TileConfig, launch: Launch,
) -> None:  # fmt: skip
    """Compute the logits of the wanted rows, and of each block of them what `select` needs.

    Args:
        x: [*, hidden], hidden states times the final norm's weight, bf16.
        square_sum: [*] int64, of the hidden states, in units of SUM_UNIT.
        weight: [vocab_size, hidden].
        outputs: [rows] int32, the wanted rows of x. num_outputs: [1] int32, how many there are.
        drafts: [rows] int32, -1 for none.
        logits: [rows, vocab_size] float32, written; None: not stored.
        rows: how many programs are started for.
    Raises:
        ValueError: the scratch was made for other blocks.
    """
    blocks = triton.cdiv(weight.n, config.block_n)
    if scratch.best.shape[1] != blocks:
        raise ValueError(f"scratch has {scratch.best.shape[1]} blocks, expected {blocks}")
    launch.start(
        lm_head_kernel, (triton.cdiv(rows, block_m), blocks),
        x, square_sum, weight.data, weight.scale, outputs, num_outputs, drafts,
        scratch.best, scratch.index, scratch.exps, scratch.draft_logit,
        scratch.best if logits is None else logits,
        N=weight.n, K=weight.k, EPS=eps, NUM_BLOCKS=blocks, FORMAT=weight.format,
        STORE_LOGITS=logits is not None, BLOCK_M=block_m, BLOCK_N=config.block_n,
        BLOCK_K=config.block_k, STAGES=config.stages, FAST=launch.fast_unpack, PDL=launch.pdl,
        PREFETCH=launch.prefetch_bytes, num_warps=config.warps,
    )  # fmt: skip


def select(
    scratch: HeadScratch, outputs: Tensor, num_outputs: Tensor, drafts: Tensor, biases: Tensor,
    tokens: Tensor, positions: Tensor, parity: Tensor, chosen: Tensor, *, rows: int,
    launch: Launch,
) -> None:  # fmt: skip
    """Choose each wanted row's token, and make the step ready to be run once more.

    Args:
        outputs, num_outputs, drafts: as for `lm_head`. biases: [rows] float32 in [0, 1).
        tokens, positions: [*] int32; at a wanted row the chosen token and the next position are
            written.
        parity: [rows] int32, which half of `chosen` is written; flipped.
        chosen: [2, max_rows] int32, written; may be pinned memory of the host.
        rows: how many programs are started for.
    """
    launch.start(
        select_kernel, (rows,),
        scratch.best, scratch.index, scratch.exps, scratch.draft_logit, outputs, num_outputs,
        drafts, biases, tokens, positions, parity, chosen,
        NUM_BLOCKS=scratch.best.shape[1], MAX_ROWS=chosen.shape[1], BLOCK=1024, PDL=launch.pdl,
        num_warps=4,
    )  # fmt: skip
