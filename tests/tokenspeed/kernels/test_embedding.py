"""The embedding kernel against plain torch: a copy, so bit for bit."""

import pytest
import torch

from tests.tokenspeed.kernels.support import DEVICE, EPS, LAUNCH, ints, nans, random
from tokenspeed.kernels.embedding import embedding, embedding_ref
from tokenspeed.kernels.norm import HiddenStates, normed_ref


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


@pytest.mark.parametrize("has_norm", [True, False])
def test_rows_are_scaled_and_normed_where_whole_rows_are(has_norm: bool) -> None:
    table, norm, size = random(90, 100, seed=1), random(100, seed=2), 100
    tokens, scale = ints(89, 0, 7), 12.5
    hidden, scaled = nans(3, size, dtype=torch.float32), nans(3, size, dtype=torch.float32)
    sums = torch.zeros(5, 3, dtype=torch.int64, device=DEVICE)
    states = HiddenStates(hidden, scaled, sums)
    how = {"launch": LAUNCH, "scale": scale, "row_eps": EPS}
    embedding(tokens, table, norm if has_norm else None, ints(3), states, **how)  # type: ignore[arg-type]
    rows = table[tokens.long()].float() * scale
    assert torch.equal(hidden, rows)
    expected = normed_ref(rows, norm, EPS) if has_norm else rows
    assert (scaled - expected).abs().max() < 1e-5
