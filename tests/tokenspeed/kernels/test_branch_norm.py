"""The norm behind a branch against plain torch."""

import pytest
import torch

from tests.tokenspeed.kernels.support import DEVICE, EPS, LAUNCH, assert_as_exact, ints, random
from tokenspeed.kernels.branch_norm import branch_norm, branch_norm_ref
from tokenspeed.kernels.norm import HiddenStates


@pytest.mark.parametrize("has_next", [True, False])
@pytest.mark.parametrize(("rows", "exist", "size"), [(1, 1, 100), (6, 4, 64)])
def test_it_equals_torch(has_next: bool, rows: int, exist: int, size: int) -> None:
    branch = random(rows, size, seed=1, dtype=torch.float32) * 5
    norm, following = random(size, seed=2), random(size, seed=3, dtype=torch.float32)
    next_norm = following if has_next else None
    before = random(rows, size, seed=4, dtype=torch.float32)
    hidden = before.clone()
    scaled = torch.full((rows, size), float("nan"), dtype=torch.bfloat16, device=DEVICE)
    sums = torch.full((rows,), -1, dtype=torch.int64, device=DEVICE)
    states = HiddenStates(hidden, scaled, sums)
    branch_norm(branch, norm, next_norm, ints(exist), states, eps=EPS, launch=LAUNCH)
    ref, ref_scaled = branch_norm_ref(branch, norm, next_norm, before, EPS)
    assert (hidden[:exist] - ref[:exist]).abs().max() < 1e-5
    assert_as_exact(scaled[:exist], ref_scaled[:exist].bfloat16(), ref_scaled[:exist])
    assert torch.equal(hidden[exist:], before[exist:])
    assert torch.isnan(scaled[exist:]).all()
    assert (sums == -1).all()


def test_hidden_states_too_large_for_a_sum_of_integers_are_normed() -> None:
    """Gemma's reach 1e5: their squares would not fit the sums of other models, nor float16."""
    size = 64
    before = random(1, size, seed=1, dtype=torch.float32) * 3e5
    scaled = torch.zeros(1, size, dtype=torch.float16, device=DEVICE)
    sums = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    states = HiddenStates(before.clone(), scaled, sums)
    ones = torch.ones(size, device=DEVICE)
    branch_norm(before, ones, ones, ints(1), states, eps=EPS, launch=LAUNCH)
    exact = branch_norm_ref(before.double(), ones, ones, before.double(), EPS)[1]
    assert (scaled.double() - exact).abs().max() < 4e-3
