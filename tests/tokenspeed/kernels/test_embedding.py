"""The embedding kernel against plain torch: a copy, so bit for bit."""

import pytest
import torch

from tests.tokenspeed.kernels.support import DEVICE, EPS, LAUNCH, begin, ints, nans, random
from tokenspeed.kernels.embedding import embedding, embedding_ref
from tokenspeed.kernels.norm import HiddenStates, normed_ref


def test_it_equals_torch_and_zeroes_the_sums() -> None:
    table, norm, exist, size = random(90, 100, seed=1), random(100, seed=2), 4, 100
    tokens = ints(89, 0, 7, 7, 5)
    hidden, scaled = nans(6, size, dtype=torch.float32), nans(6, size)
    sums = torch.full((5, 6), -1, dtype=torch.int64, device=DEVICE)
    states = HiddenStates(hidden, scaled, sums)
    embedding(tokens, table, norm, begin(exist), states, launch=LAUNCH)
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
    embedding(tokens, table, norm if has_norm else None, begin(3), states, **how)  # type: ignore[arg-type]
    rows = table[tokens.long()].float() * scale
    assert torch.equal(hidden, rows)
    expected = normed_ref(rows, norm, EPS) if has_norm else rows
    assert (scaled - expected).abs().max() < 1e-5


@pytest.mark.parametrize("rows", [1, 3])
def test_steps_count_themselves(rows: int) -> None:
    table, counts = random(90, 64, seed=1), begin(rows)._replace(before=ints(41))
    sums = torch.zeros(1, rows, dtype=torch.int64, device=DEVICE)
    states = HiddenStates(nans(rows, 64, dtype=torch.float32), nans(rows, 64), sums)
    embedding(ints(*range(rows)), table, None, counts, states, launch=LAUNCH)
    assert counts.turn.item() == 42
    assert [count.item() for count in counts[:3]] == [rows] * 3
    assert not torch.isnan(states.states).any()


@pytest.mark.parametrize("rows", [1, 3])
def test_a_void_step_has_no_rows_for_any_kernel(rows: int) -> None:
    table, counts = random(90, 64, seed=1), begin(rows)._replace(void=ints(1))
    sums = torch.full((1, rows), -1, dtype=torch.int64, device=DEVICE)
    states = HiddenStates(nans(rows, 64, dtype=torch.float32), nans(rows, 64), sums)
    embedding(ints(*range(rows)), table, None, counts, states, launch=LAUNCH)
    assert [count.item() for count in counts[:3]] == [0] * 3
    assert torch.isnan(states.states).all()
    assert (sums == -1).all()
