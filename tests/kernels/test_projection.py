"""The projection kernel with residual and prepared norm against plain torch."""

import pytest
import torch

from tests.kernels.support import (
    CONFIG,
    DEVICE,
    FORMATS,
    LAUNCH,
    assert_as_exact,
    ints,
    matrix,
    nans,
    random,
)
from tokenspeed.kernels.projection import projection, projection_ref
from tokenspeed.kernels.tile import block_rows


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("rows", "exist", "n", "k"), [(1, 1, 100, 128), (17, 12, 64, 384), (63, 63, 200, 256)]
)
def test_it_equals_torch(form: str, rows: int, exist: int, n: int, k: int) -> None:
    x, norm = random(rows, k, seed=1), random(n, seed=2)
    weight = matrix(random(n, k, seed=3) * 0.1, form)
    before = random(rows, n, seed=4, dtype=torch.float32)
    hidden, scaled = before.clone(), nans(rows, n)
    sums = torch.zeros(rows, dtype=torch.int64, device=DEVICE)
    projection(x, weight, norm, ints(exist), hidden, scaled, sums,
               block_m=block_rows(rows), config=CONFIG, launch=LAUNCH)  # fmt: skip
    table = weight.dequantize()
    refs = projection_ref(x, table.bfloat16(), before, norm)
    exacts = projection_ref(x.float(), table, before, norm)
    for got, ref, exact in zip((hidden, scaled), refs, exacts, strict=False):
        assert_as_exact(got[:exist], ref[:exist], exact[:exist])
    assert torch.equal(hidden[exist:], before[exist:])
    assert torch.isnan(scaled[exist:]).all()
    # The integer sum belongs to the hidden states that were written, to the last unit.
    assert torch.equal(sums[:exist], projection_sums(hidden[:exist]))
    assert not sums[exist:].any()


def projection_sums(hidden: torch.Tensor) -> torch.Tensor:
    return (hidden.square() * 2.0**32).to(torch.int64).sum(-1)


def test_odd_columns_are_read_to_the_last() -> None:
    x, weight = random(3, 100, seed=1), matrix(random(37, 100, seed=2), "bf16")
    hidden = torch.zeros(3, 37, device=DEVICE)
    sums = torch.zeros(3, dtype=torch.int64, device=DEVICE)
    projection(x, weight, random(37), ints(3), hidden, nans(3, 37), sums,
               block_m=16, config=CONFIG, launch=LAUNCH)  # fmt: skip
    exact = x.double() @ weight.data.double().t()
    assert_as_exact(hidden, (x @ weight.data.t()).float(), exact)


def test_a_foreign_input_is_refused() -> None:
    weight = matrix(random(32, 128), "bf16")
    with pytest.raises(ValueError, match="x has 64 columns, expected 128"):
        projection(random(1, 64), weight, random(32), ints(1), random(1, 32), random(1, 32),
                   ints(0), block_m=16, config=CONFIG, launch=LAUNCH)  # fmt: skip
