"""Sums over the GPUs of a group, taken inside the kernels that need them.

Each rank pushes its part into the inboxes of the others, and all add the parts in the order of the
ranks: every rank gets the same bits, whichever part came first. A word of 64 bits holds a float32
and the number of its exchange, so a part itself shows that it has arrived: one trip over NVLink, no
fence, no flag. Successive exchanges alternate between two halves of an inbox. Two are enough: a
rank writes to a half again only after the exchange in between, for which it has received a part
that the other rank sent after reading that half.

Knows words and inboxes; does not know what is summed.
Source: the LL protocol of NCCL.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tokenspeed.kernels.arithmetic import INTERPRETED

MAX_POLLS = 1 << 24  # of an inbox, about ten seconds; then the step has failed
# Of a rank's candidate for a token: logit, token, sum of exponentials, the draft's logit, and
# whether its host wants no further step; three are not used.
CHOICE_WORDS = 8

# Constants of the kernels have to be constexpr.
_INTERPRETED = tl.constexpr(INTERPRETED)
_MAX_POLLS = tl.constexpr(MAX_POLLS)
_CHOICE_WORDS = tl.constexpr(CHOICE_WORDS)
# A store that other GPUs see, if the third operand is not 0; the persistent kernel has it too.
PUSH = tl.constexpr("""{
.reg .pred p;
setp.ne.s32 p, $3, 0;
@p st.relaxed.sys.global.b64 [$1], $2;
mov.u32 $0, 0;
}""")


class Group(NamedTuple):
    """A rank's place among those that share a step: a constant of the kernels."""

    rank: int
    ranks: int
    exchanges: int  # of a step; even, so that halves alternate over steps, too
    rows: int  # of a half of an inbox
    columns: int

    @property
    def inbox_words(self) -> int:
        """Words of 64 bits of an inbox: two halves of all ranks' parts, and their choices."""
        return self.ranks * self.rows * (2 * self.columns + CHOICE_WORDS)


ALONE = Group(0, 1, 0, 0, 0)


class Peers(NamedTuple):
    """What a kernel reads to exchange parts.

    Attributes:
        inboxes: [ranks] int64, the address of each rank's inbox as this rank reaches it.
        turn: [1] int32, the number of the step, from 1 on.
        number: [1] int32, of this exchange in a step.
        failed: [1] int32, set when another rank did not answer in time.
    """

    inboxes: Any
    turn: Any
    number: Any
    failed: Any


class Member(NamedTuple):
    """A rank's place in its group, and what its kernels read.

    Attributes:
        numbers: [exchanges, 4] int32, the number of each exchange, on an aligned line of its own.
        inbox: of this rank; inboxes hold its address.
    """

    group: Group
    inboxes: Tensor
    numbers: Tensor
    failed: Tensor
    inbox: Tensor

    def peers(self, turn: Tensor, exchange: int = 0) -> Peers:
        """Return what the kernel of one exchange gets."""
        number = self.numbers[exchange % len(self.numbers)]
        return Peers(self.inboxes, turn, number, self.failed)


def join(group: Group, inboxes: Sequence[Tensor], device: str) -> Member:
    """Return a rank's membership.

    Args:
        inboxes: of all ranks, [group.inbox_words] int64 each, zeroed, within reach of this GPU.
    """
    assert all(inbox.numel() >= group.inbox_words for inbox in inboxes)
    addresses = [0 if inbox.is_meta else inbox.data_ptr() for inbox in inboxes]
    numbers = torch.arange(max(1, group.exchanges), dtype=torch.int32)[:, None].repeat(1, 4)
    return Member(
        group,
        torch.tensor(addresses, dtype=torch.int64).to(device),
        numbers.to(device),
        torch.zeros(4, dtype=torch.int32, device=device),
        inboxes[group.rank],
    )


def alone(device: str) -> Member:
    """Return the membership of a GPU that shares nothing."""
    return join(ALONE, [torch.zeros(1, dtype=torch.int64, device=device)], device)


def rank_sum_ref(parts: Sequence[Tensor]) -> Tensor:
    """Plain torch; see `rank_sum`."""
    total = torch.zeros_like(parts[0])
    for part in parts:
        total = total + part
    return total


@triton.jit
def exchange_number(peers, GROUP: tl.constexpr):
    """Return the number of this exchange, which no other has; successive ones differ by one."""
    return tl.load(peers.turn) * GROUP.exchanges + tl.load(peers.number)


@triton.jit
def push(ptrs, words, mask):
    """Store words where another GPU polls for them."""
    if _INTERPRETED:
        tl.store(ptrs, words, mask=mask)
    else:
        tl.inline_asm_elementwise(
            PUSH,
            "=r,l,l,r",
            [ptrs, words, mask.to(tl.int32)],
            dtype=tl.int32,
            is_pure=False,
            pack=1,
        )


@triton.jit
def await_words(ptrs, mask, number, failed_ptr):
    """Wait for words of this number, MAX_POLLS at most; after a failure no wait takes time."""
    words = tl.load(ptrs, mask=mask, other=0, volatile=True)
    late = tl.max((mask & ((words >> 32).to(tl.int32) != number)).to(tl.int32))
    if late > 0:
        polls = tl.where(tl.load(failed_ptr, volatile=True) != 0, _MAX_POLLS, 0)
        while (late > 0) & (polls < _MAX_POLLS):
            words = tl.load(ptrs, mask=mask, other=0, volatile=True)
            late = tl.max((mask & ((words >> 32).to(tl.int32) != number)).to(tl.int32))
            polls += 1
        if late > 0:
            tl.store(failed_ptr, 1)
    return words


@triton.jit
def inbox_of(peers, rank: tl.constexpr):
    """Return the address of a rank's inbox."""
    return tl.load(peers.inboxes + rank).to(tl.pointer_type(tl.int64))


@triton.jit
def rank_sum(part, rows, cols, mask, peers, number, GROUP: tl.constexpr):
    """Return the sum of all ranks' parts, in the order of the ranks.

    Args:
        part: [M, N] float32, of this rank.
        rows, cols: [M], [N], of the hidden states; mask: [M, N], which of them exist.
    """
    RANK: tl.constexpr = GROUP.rank
    RANKS: tl.constexpr = GROUP.ranks
    PART: tl.constexpr = GROUP.rows * GROUP.columns
    HALF: tl.constexpr = RANKS * PART
    at = rows[:, None].to(tl.int64) * GROUP.columns + cols[None, :]
    at += (number & 1).to(tl.int64) * HALF
    words = part.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
    words |= number.to(tl.int64) << 32
    for i in tl.static_range(1, RANKS):
        to: tl.constexpr = (RANK + i) % RANKS
        push(inbox_of(peers, to) + at + RANK * PART, words, mask)
    inbox = inbox_of(peers, RANK) + at
    total = tl.zeros_like(part)
    for rank in tl.static_range(RANKS):
        if rank == RANK:
            total += part
        else:
            came = await_words(inbox + rank * PART, mask, number, peers.failed)
            total += came.to(tl.int32).to(tl.float32, bitcast=True)
    return total


@triton.jit
def exchange_choices(best, index, total, draft, held, row, peers, GROUP: tl.constexpr):
    """Send the other ranks this one's candidate for a row's token; see `choice_of`.

    Args:
        best, total, draft: float32; index, held: int32. row: of the results.
    """
    RANK: tl.constexpr = GROUP.rank
    RANKS: tl.constexpr = GROUP.ranks
    number = exchange_number(peers, GROUP)
    field = tl.arange(0, _CHOICE_WORDS)
    bits = tl.where(field == 0, best.to(tl.int32, bitcast=True), index)
    bits = tl.where(field == 2, total.to(tl.int32, bitcast=True), bits)
    bits = tl.where(field == 3, draft.to(tl.int32, bitcast=True), bits)
    bits = tl.where(field == 4, held, bits)
    words = (bits.to(tl.int64) & 0xFFFFFFFF) | (number.to(tl.int64) << 32)
    at = 2 * RANKS * GROUP.rows * GROUP.columns + field
    at += (RANK * GROUP.rows + row) * _CHOICE_WORDS
    for i in tl.static_range(1, RANKS):
        to: tl.constexpr = (RANK + i) % RANKS
        push(inbox_of(peers, to) + at, words, field >= 0)


@triton.jit
def choice_of(rank: tl.constexpr, row, peers, GROUP: tl.constexpr):
    """Wait for another rank's candidate: best, index, total, draft, held."""
    field = tl.arange(0, _CHOICE_WORDS)
    at = 2 * GROUP.ranks * GROUP.rows * GROUP.columns + field
    at += (rank * GROUP.rows + row) * _CHOICE_WORDS
    RANK: tl.constexpr = GROUP.rank
    ptrs = inbox_of(peers, RANK) + at
    number = exchange_number(peers, GROUP)
    bits = await_words(ptrs, field >= 0, number, peers.failed).to(tl.int32)
    best = tl.sum(tl.where(field == 0, bits, 0)).to(tl.float32, bitcast=True)
    index = tl.sum(tl.where(field == 1, bits, 0))
    total = tl.sum(tl.where(field == 2, bits, 0)).to(tl.float32, bitcast=True)
    draft = tl.sum(tl.where(field == 3, bits, 0)).to(tl.float32, bitcast=True)
    held = tl.sum(tl.where(field == 4, bits, 0))
    return best, index, total, draft, held
