"""Sums over ranks: parts that came before, numbers that tell exchanges apart.

Ranks that really wait for each other are in tests/tokenspeed/backends/test_cuda_group.py.
"""

import pytest
import torch

from tests.tokenspeed.kernels.support import DEVICE, ints, matrix, nans, plan, random
from tokenspeed.kernels.exchange import Group, alone, join, rank_sum_ref
from tokenspeed.kernels.norm import HiddenStates
from tokenspeed.kernels.projection import projection


def words(part: torch.Tensor, number: int) -> torch.Tensor:
    """Return float32 values as another rank would send them."""
    return part.view(torch.int32).long() & 0xFFFFFFFF | number << 32


@pytest.mark.parametrize(("rank", "number"), [(0, 4), (1, 5)])
def test_parts_are_added_in_the_order_of_the_ranks(rank: int, number: int) -> None:
    rows, n, k = 5, 64, 128
    groups = [Group(i, 2, 4, 16, n) for i in range(2)]
    inboxes = [torch.zeros(one.inbox_words, dtype=torch.int64, device=DEVICE) for one in groups]
    member = join(groups[rank], inboxes, DEVICE)
    x, weight = random(rows, k, seed=1), matrix(random(n, k, seed=2), "bf16")
    before, norm = random(rows, n, seed=3, dtype=torch.float32), random(n, seed=4)

    def run(group: Group, exchange: int) -> torch.Tensor:
        hidden, sums = before.clone(), torch.zeros(rows, dtype=torch.int64, device=DEVICE)
        states = HiddenStates(hidden, nans(rows, n), sums)
        peers = member.peers(ints(1), exchange)
        projection(x, weight, norm, ints(rows), states, plan=plan(rows), peers=peers, group=group)
        return hidden

    theirs = random(rows, n, seed=5, dtype=torch.float32)
    # What the other rank has sent: half, sender, row, column.
    halves = inboxes[rank][: 2 * 2 * 16 * n].view(2, 2, 16, n)
    halves[number % 2, 1 - rank, :rows] = words(theirs, number)
    before_them = before
    before = torch.zeros_like(before_them)
    mine = run(alone(DEVICE).group, 0)
    before = before_them
    total = run(groups[rank], number - 4)
    parts = [mine, theirs] if rank == 0 else [theirs, mine]
    assert torch.equal(total, before + rank_sum_ref(parts))
    # And what this rank has sent to the other.
    sent = inboxes[1 - rank][: 2 * 2 * 16 * n].view(2, 2, 16, n)
    assert torch.equal(sent[number % 2, rank, :rows], words(mine, number))
    assert not sent[1 - number % 2].any()
    assert not member.failed.any()
