"""RMSNorm, LM head and the choice of the next token, greedy or in favour of a draft.

The head leaves each program's best token and its sum of exponentials; a second, small kernel picks
the token of a row and puts it where the next step would read it. Logits are stored only on request.
Where GPUs share a model, each has the logits of some tokens, and all choose the same token.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import tanh
from tokenspeed.kernels.exchange import ALONE, Group, Peers, choice_of, exchange_choices
from tokenspeed.kernels.launch import Launch, main_loop_done, wait_for_inputs
from tokenspeed.kernels.matrix import Matrix
from tokenspeed.kernels.norm import Scaled, inverse_rms, inverse_rms_ref
from tokenspeed.kernels.plan import Plan
from tokenspeed.kernels.tile import multiply, start_tile, tile_rows

NO_TOKEN = tl.constexpr(-1)  # chosen where another GPU did not answer in time
COUNT_STRIDE = 4  # int32 between two counts: each is passed as an aligned pointer
MAX_STOPS = 128  # of a step that the next one may follow without the host
_MAX_STOPS = tl.constexpr(MAX_STOPS)
_EXP_UNIT = tl.constexpr(2.0**-30)  # exponentials are at most 1, and at most 2**33 are summed
_LOG2E = tl.constexpr(1.4426950408889634)


class Wanted(NamedTuple):
    """The rows whose tokens are wanted.

    Attributes:
        rows: [outputs] int32, which rows of the step.
        num: [1] int32, how many there are.
        drafts: [outputs] int32, the token that each is compared with; -1 for none.
    """

    rows: Any
    num: Any
    drafts: Any


class NextStep(NamedTuple):
    """What `select` changes so that the step can be run once more, one token further.

    Attributes:
        before: [rows] int32, the tokens of the step.
        tokens, positions: [rows] int32; at a wanted row the chosen token and the next position are
            written.
        parity: [outputs] int32, which half of the results is written; flipped.
    """

    before: Any
    tokens: Any
    positions: Any
    parity: Any


class Ahead(NamedTuple):
    """What decides whether the next step, which may have been launched already, is run.

    Attributes:
        previous, tokens: [MAX_STOPS] int32, what ends plain decoding; see `Step.stops`.
        hold: [1] int32, not 0: the host wants no step that it has not asked for.
        void: [1] int32, written: 1 if the next step is not to be run.
        ended: [2] int32, the same for the host, by the half of the results.
        launched: [32 * COUNT_STRIDE] int32, written: counts the steps of each width (`count_of`).
        turn: [1] int32, the number of this step. before: [1] int32, written: the same, for the next
            step (`embedding`).
    """

    previous: Any
    tokens: Any
    hold: Any
    void: Any
    ended: Any
    launched: Any
    turn: Any
    before: Any


class HeadScratch(NamedTuple):
    """What the head's programs leave for `select`: [outputs, blocks], draft_logit [outputs]."""

    best: Any
    index: Any
    exps: Any
    draft_logit: Any

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in self)


def head_scratch(rows: int, vocab_size: int, block_n: int, device: str) -> HeadScratch:
    """Allocate the scratch of a head whose tiles have block_n columns; holds NaN at first."""
    blocks = triton.cdiv(vocab_size, block_n)
    return HeadScratch(
        torch.full((rows, blocks), float("nan"), device=device),
        torch.zeros((rows, blocks), dtype=torch.int32, device=device),
        torch.full((rows, blocks), float("nan"), device=device),
        torch.full((rows,), float("nan"), device=device),
    )


def lm_head_ref(
    x: Scaled,
    weight: Tensor,
    drafts: Tensor,
    biases: Tensor,
    eps: float | None,
    softcap: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Plain torch; see `lm_head`. Returns logits [rows, vocab] float32 and tokens [rows]."""
    inverse = inverse_rms_ref(x.square_sum, x.states.shape[1], eps)
    logits = (x.states @ weight.to(x.states.dtype).t()).float() * inverse
    logits = softcap * torch.tanh(logits / softcap) if softcap else logits
    best = logits.argmax(-1)
    p = logits.softmax(-1)
    gap = p.gather(1, best[:, None]) - p.gather(1, drafts.long().clamp(min=0)[:, None])
    accepted = (drafts >= 0) & (biases > 0) & (gap[:, 0] <= biases / (1 - biases))
    return logits, torch.where(accepted, drafts.long(), best).int()


@triton.jit
def lm_head_kernel(
    x,
    weight,
    wanted,
    scratch,
    logits_ptr,
    MATRIX: tl.constexpr,
    EPS: tl.constexpr,
    SOFTCAP: tl.constexpr,
    NUM_BLOCKS: tl.constexpr,
    STORE_LOGITS: tl.constexpr,
    FIRST_TOKEN: tl.constexpr,
    TILE: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    col_start, num_outputs = start_tile(weight, wanted.num, MATRIX, TILE, OVERLAP, False)
    if tl.program_id(0) * TILE.block_m >= num_outputs:
        return
    outs, out_mask = tile_rows(num_outputs, TILE)
    N: tl.constexpr = MATRIX.n
    block = tl.program_id(1)
    rows = tl.load(wanted.rows + outs, mask=out_mask, other=0)
    acc = multiply(x.states, rows, out_mask, weight, col_start, MATRIX, TILE)
    main_loop_done(OVERLAP.pdl)
    logits = acc * inverse_rms(x.square_sum, rows, out_mask, MATRIX.k, EPS)[:, None]
    if SOFTCAP > 0.0:
        logits = tanh(logits * (1.0 / SOFTCAP)) * SOFTCAP
    cols = col_start + tl.arange(0, TILE.block_n)
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
    tl.store(scratch.best + at, best, mask=out_mask)
    tl.store(scratch.index + at, index + FIRST_TOKEN, mask=out_mask)
    tl.store(scratch.exps + at, total.to(tl.float32) * _EXP_UNIT, mask=out_mask)
    draft = tl.load(wanted.drafts + outs, mask=out_mask, other=-1) - FIRST_TOKEN
    mine = out_mask & (draft >= col_start) & (draft < col_start + TILE.block_n)
    is_draft = cols[None, :] == draft[:, None]
    draft_logit = tl.max(tl.where(is_draft, logits, float("-inf")), axis=1)
    tl.store(scratch.draft_logit + outs, draft_logit, mask=mine)


def count_of(launched: Tensor, width: int) -> Tensor:
    """Return the number of steps of a width that were launched, [1]; see `Ahead`."""
    at = _count_at(width)
    return launched[at : at + 1]


def _count_at(width: int) -> int:
    return (width - 1).bit_length() * COUNT_STRIDE


@triton.jit
def select_kernel(
    scratch,
    wanted,
    biases_ptr,
    next_step,
    ahead,
    chosen_ptr,
    peers,
    NUM_BLOCKS: tl.constexpr,
    MAX_ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    COUNT_AT: tl.constexpr,
    FIRST_TOKEN: tl.constexpr,
    NUM_TOKENS: tl.constexpr,
    GROUP: tl.constexpr,
    PDL: tl.constexpr,
):
    wait_for_inputs(PDL)
    out = tl.program_id(0)
    parity = tl.load(next_step.parity + out)
    tl.store(next_step.parity + out, 1 - parity)  # one for each program: no race
    if out == 0:
        tl.store(ahead.launched + COUNT_AT, tl.load(ahead.launched + COUNT_AT) + 1)
    if out >= tl.load(wanted.num):
        return
    # Asked for at once, as the host's memory is far. One program is enough, for all rows.
    held = tl.load(ahead.hold, mask=out == 0, other=0, volatile=True)
    row = tl.load(wanted.rows + out)
    stop = tl.arange(0, _MAX_STOPS)
    stop_previous = tl.load(ahead.previous + stop)
    stop_tokens = tl.load(ahead.tokens + stop)
    previous = tl.load(next_step.before + row)
    best = float("-inf")
    index = 2147483647
    total = 0.0
    for start in tl.range(0, NUM_BLOCKS, BLOCK):
        at = start + tl.arange(0, BLOCK)
        mask = at < NUM_BLOCKS
        at += out * NUM_BLOCKS
        bests = tl.load(scratch.best + at, mask=mask, other=float("-inf"))
        indices = tl.load(scratch.index + at, mask=mask, other=2147483647)
        exps = tl.load(scratch.exps + at, mask=mask, other=0.0)
        new_best = tl.maximum(best, tl.max(bests))
        # Blocks come in the order of their tokens: on a tie the earlier index is the lower one.
        here = tl.min(tl.where(bests == new_best, indices, 2147483647))
        index = tl.where(new_best > best, here, index)
        part = tl.sum(exps * tl.exp2((bests - new_best) * _LOG2E))
        total = total * tl.exp2((best - new_best) * _LOG2E) + part
        best = new_best
    draft = tl.load(wanted.drafts + out)
    bias = tl.load(biases_ptr + out)
    mine = (draft >= FIRST_TOKEN) & (draft < FIRST_TOKEN + NUM_TOKENS)
    draft_logit = tl.load(scratch.draft_logit + out, mask=mine, other=float("-inf"))
    if GROUP.ranks > 1:
        exchange_choices(best, index, total, draft_logit, held, out, peers, GROUP)
        best, index, total, draft_logit, held = merge_choices(
            best, index, total, draft_logit, held, out, peers, GROUP
        )
    gap = (1.0 - tl.exp2((draft_logit - best) * _LOG2E)) / total
    accepted = (draft >= 0) & (bias > 0.0) & (gap <= bias / (1.0 - bias))
    token = tl.where(accepted, draft, index)
    if GROUP.ranks > 1:
        token = tl.where(tl.load(peers.failed, volatile=True) != 0, NO_TOKEN, token)
    tl.store(chosen_ptr + parity * MAX_ROWS + out, token)
    # If all sequences simply decode on, the next step is this one, one token further.
    tl.store(next_step.tokens + row, token)
    tl.store(next_step.positions + row, tl.load(next_step.positions + row) + 1)
    stops = (stop_tokens == token) & ((stop_previous == previous) | (stop_previous < 0))
    if (tl.max(stops.to(tl.int32), 0) > 0) | (held != 0) | (token < 0):
        tl.store(ahead.void, 1)
        tl.store(ahead.ended + parity, 1)
    if out == 0:
        tl.store(ahead.before, tl.load(ahead.turn))


@triton.jit
def merge_choices(best, index, total, draft_logit, held, out, peers, GROUP: tl.constexpr):
    """Put the ranks' candidates for a token together, in the order of the ranks.

    held: whether this rank's host wants no further step; returned, whether any rank's does.
    """
    RANK: tl.constexpr = GROUP.rank
    RANKS: tl.constexpr = GROUP.ranks
    own_best, own_index, own_total, own_draft = best, index, total, draft_logit
    best, index, total, draft_logit = float("-inf"), 2147483647, 0.0, float("-inf")
    for rank in tl.static_range(RANKS):
        if rank == RANK:
            b, i, t, d = own_best, own_index, own_total, own_draft
        else:
            b, i, t, d, h = choice_of(rank, out, peers, GROUP)
            held |= h
        new_best = tl.maximum(best, b)
        # Ranks come in the order of their tokens: on a tie the earlier index is the lower one.
        index = tl.where(b > best, i, index)
        total = total * tl.exp2((best - new_best) * _LOG2E) + t * tl.exp2((b - new_best) * _LOG2E)
        best = new_best
        draft_logit = tl.maximum(draft_logit, d)
    return best, index, total, draft_logit, held


def lm_head(
    x: Scaled,
    weight: Matrix,
    wanted: Wanted,
    scratch: HeadScratch,
    logits: Tensor | None,
    *,
    rows: int,
    eps: float | None,
    plan: Plan,
    first_token: int = 0,
    softcap: float = 0.0,
) -> None:
    """Compute the logits of the wanted rows and, from each block of them, what `select` needs.

    Args:
        weight: [vocab_size, hidden].
        logits: [rows, vocab_size] float32, written; None: not stored.
        rows: how many programs are started for.
        eps: None: x is normed already.
        first_token: of this weight, where it has only some rows of the vocabulary.
        softcap: of the logits; 0 is none.
    Raises:
        ValueError: the scratch was made for other blocks.
    """
    blocks = triton.cdiv(weight.n, plan.config.block_n)
    if scratch.best.shape[1] != blocks:
        raise ValueError(f"scratch has {scratch.best.shape[1]} blocks, expected {blocks}")
    plan.start(
        lm_head_kernel,
        weight,
        rows,
        x,
        weight.arrays,
        wanted,
        scratch,
        scratch.best if logits is None else logits,
        EPS=eps,
        SOFTCAP=softcap,
        NUM_BLOCKS=blocks,
        STORE_LOGITS=logits is not None,
        FIRST_TOKEN=first_token,
    )


def select(
    scratch: HeadScratch,
    wanted: Wanted,
    biases: Tensor,
    next_step: NextStep,
    ahead: Ahead,
    chosen: Tensor,
    *,
    rows: int,
    launch: Launch,
    tokens: range,
    peers: Peers | None = None,
    group: Group = ALONE,
) -> None:
    """Choose each wanted row's token, and make the step ready to be run once more.

    Args:
        biases: [outputs] float32 in [0, 1).
        chosen: [2, max_rows] int32, written; may be pinned memory of the host. NO_TOKEN where
            another GPU did not answer.
        rows: how many programs are started for.
        tokens: whose logits this GPU has.
        peers, group: other GPUs, which have the other tokens; all of them run this.
    """
    launch.start(
        select_kernel,
        (rows,),
        scratch,
        wanted,
        biases,
        next_step,
        ahead,
        chosen,
        peers or Peers(next_step.positions, wanted.num, wanted.num, wanted.num),  # not read
        NUM_BLOCKS=scratch.best.shape[1],
        MAX_ROWS=chosen.shape[1],
        BLOCK=1024,
        COUNT_AT=_count_at(rows),
        FIRST_TOKEN=tokens.start,
        NUM_TOKENS=len(tokens),
        GROUP=group,
        PDL=launch.pdl,
        num_warps=4,
    )
