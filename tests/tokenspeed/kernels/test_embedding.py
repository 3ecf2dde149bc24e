"""The embedding kernel against plain torch: a copy, so bit for bit."""

import torch

from tests.tokenspeed.kernels.support import DEVICE, LAUNCH, ints, nans, random
from tokenspeed.kernels.embedding import embedding, embedding_ref
from tokenspeed.kernels.norm import HiddenStates


def test_it_equals_torch_and_zeroes_the_sums() -> None:
    table, norm, exist, size = random(90, 100, seed=1), random(100, seed=2), 4, 100
    tokens = ints(89, 0, 7, 7, 5)
    hidden, scaled = nans(6, size, dtype=torch.float32), nans(6, size)
    sums = torch.full((5, 6), -1, dtype=torch.int64, device=DEVICE)
    states = HiddenStates(hidden, scaled, sums)
    embedding(tokens, table, norm, ints(exist), states, launch=LAUNCH)
    refs = embedding_ref(tokens[:exist].long(), table, norm)
    for got, ref in zip((hidden, scaled, sums[0]), refs, strict=True):
        assert torch.equal(got[:exist], ref)
    assert torch.isnan(hidden[exist:]).all()
    assert not sums[1:, :exist].any()
    assert (sums[:, exist:] == -1).all()
