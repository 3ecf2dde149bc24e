"""LM head and the choice of tokens against plain torch."""

from typing import Any

import pytest
import torch

from tests.tokenspeed.kernels.support import (
    CONFIG,
    DEVICE,
    EPS,
    FORMATS,
    LAUNCH,
    ahead,
    assert_as_exact,
    ints,
    matrix,
    nans,
    plan,
    random,
    random_rows,
)
from tokenspeed.backends import ANY_TOKEN
from tokenspeed.kernels.lm_head import (
    NextStep,
    Wanted,
    count_of,
    head_scratch,
    lm_head,
    lm_head_ref,
    select,
)
from tokenspeed.kernels.matrix import Matrix
from tokenspeed.kernels.norm import Scaled, square_sum_ref


def choose(
    x: Scaled,
    weight: Matrix,
    outputs: torch.Tensor,
    drafts: torch.Tensor,
    biases: torch.Tensor,
    **how: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run both kernels; return logits, tokens, and where the next step would go on."""
    count, rows = len(outputs), len(outputs) + 2
    scratch = head_scratch(rows, weight.n, CONFIG.block_n, DEVICE)
    logits = nans(rows, weight.n, dtype=torch.float32)
    parity = torch.ones(rows, dtype=torch.int32, device=DEVICE)
    chosen = torch.full((2, rows), -7, dtype=torch.int32, device=DEVICE)
    tokens, positions = ints(*[-1] * len(x.states)), ints(*range(len(x.states)))
    wanted, following = (
        Wanted(outputs, ints(count), drafts),
        NextStep(tokens, tokens, positions, parity),
    )
    how = {"eps": EPS} | how
    lm_head(x, weight, wanted, scratch, logits, rows=rows, plan=plan(rows), **how)
    tokens_here = range(weight.n)
    state = ahead()
    select(
        *(scratch, wanted, biases, following, state, chosen),
        rows=rows,
        launch=LAUNCH,
        tokens=tokens_here,
    )
    assert not state.void.any()
    assert not state.ended.any()
    assert state.before.item() == 7
    counts = [count_of(state.launched, 1 << i).item() for i in range(8)]
    assert counts == [5 + (i == (rows - 1).bit_length()) for i in range(8)]
    assert not parity.any()
    assert (chosen[0] == -7).all()
    assert (chosen[1, count:] == -7).all()
    assert torch.isnan(logits[count:]).all()
    return logits[:count], chosen[1, :count], tokens, positions


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("rows", "vocab"), [(1, 1000), (20, 1100), (63, 463)])
def test_it_equals_torch(form: str, rows: int, vocab: int) -> None:
    x = random_rows(form, rows + 3, 128, seed=1)
    sums = square_sum_ref(random(rows + 3, 128, seed=2, dtype=torch.float32))
    weight = matrix(random(vocab, 128, seed=3) * 0.3, form)
    outputs = torch.arange(rows, dtype=torch.int32, device=DEVICE) + 2
    table = weight.dequantize()
    wanted = outputs.long()

    def reference(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        rows = Scaled(x[wanted].to(dtype), sums[wanted])
        return lm_head_ref(rows, table.to(dtype), drafts, biases, EPS)

    drafts = torch.full((rows,), -1, dtype=torch.int32, device=DEVICE)
    biases = torch.zeros(rows, device=DEVICE)
    logits, tokens, next_tokens, next_positions = choose(
        Scaled(x, sums), weight, outputs, drafts, biases
    )
    assert_as_exact(logits, reference(x.dtype)[0], reference(torch.float32)[0])
    assert torch.equal(tokens.long(), logits.argmax(-1))
    assert torch.equal(next_tokens[wanted], tokens)
    assert torch.equal(next_positions[wanted], outputs + 1)
    assert next_tokens[:2].tolist() == [-1, -1]

    # Drafts near the top, with biases from exactly greedy to nearly always.
    drafts = logits.argsort(-1, descending=True)[:, 1].int().contiguous()
    biases = torch.linspace(0, 0.9, rows, device=DEVICE)
    _, tokens, _, _ = choose(Scaled(x, sums), weight, outputs, drafts, biases)
    p = logits.double().softmax(-1)
    gap = p.max(-1).values - p.gather(1, drafts.long()[:, None])[:, 0]
    threshold = (biases / (1 - biases)).double()
    clear = (gap - threshold).abs() > 1e-5
    held = torch.where((gap <= threshold) & (biases > 0), drafts.long(), logits.argmax(-1))
    assert clear.any()
    assert torch.equal(tokens.long()[clear], held[clear])


def test_a_tie_goes_to_the_lowest_id() -> None:
    row = random(1, 128, seed=1)
    weight = matrix(row.repeat(300, 1), "bf16")
    x = row.repeat(2, 1)
    drafts, biases = ints(-1, 250), torch.tensor([0.0, 0.1], device=DEVICE)
    _, tokens, _, _ = choose(Scaled(x, square_sum_ref(x)), weight, ints(0, 1), drafts, biases)
    assert tokens.tolist() == [0, 250]


def test_capped_logits_are_those_that_are_compared() -> None:
    """A cap makes the top less likely, so that a draft is accepted that would not be."""
    x = Scaled(random(2, 128, seed=1), torch.zeros(2, dtype=torch.int64, device=DEVICE))
    weight, cap = matrix(random(100, 128, seed=3), "bf16"), 2.0
    drafts, biases = ints(7, 7), torch.tensor([0.0, 0.1], device=DEVICE)
    logits, tokens, _, _ = choose(x, weight, ints(0, 1), drafts, biases, eps=None, softcap=cap)
    table, wide = weight.dequantize(), x._replace(states=x.states.float())
    exact, _ = lm_head_ref(wide, table, drafts, biases, None, cap)
    plain, held = lm_head_ref(wide, table, drafts, biases, None)
    assert_as_exact(logits, lm_head_ref(x, table, drafts, biases, None, cap)[0], exact)
    assert logits.abs().max() <= cap
    assert (exact - plain).abs().max() > cap
    assert tokens.tolist() == lm_head_ref(wide, table, drafts, biases, None, cap)[1].tolist()
    assert tokens[1] == 7
    assert held[1] != 7


def test_scratch_of_another_size_is_refused() -> None:
    weight, x = matrix(random(64, 128), "bf16"), random(1, 128)
    scratch = head_scratch(1, 1000, CONFIG.block_n, DEVICE)
    args = Scaled(x, square_sum_ref(x)), weight, Wanted(ints(0), ints(1), ints(-1)), scratch, None
    with pytest.raises(ValueError, match="scratch has 32 blocks, expected 2"):
        lm_head(*args, rows=1, eps=EPS, plan=plan(1))


@pytest.mark.parametrize(
    ("stops", "held", "is_void"),
    [
        ([], 0, False),
        ([(5, 250)], 0, False),  # the best token, after another one
        ([(9, 200)], 0, False),
        ([(8, 1), (9, 250)], 0, True),
        ([(ANY_TOKEN, 250)], 0, True),
        ([], 1, True),
    ],
)
def test_the_next_step_is_void_where_a_row_ends_or_the_host_asks_for_it(
    stops: list[tuple[int, int]], held: int, is_void: bool
) -> None:
    scratch, rows = head_scratch(3, 320, CONFIG.block_n, DEVICE), 3
    for each, value in zip(scratch, (0.0, 3, 1.0, 0.0), strict=True):
        each.fill_(value)
    scratch.best[1, 4], scratch.index[1, 4] = 5.0, 250  # of the second row
    tokens = ints(4, 9, 4)
    following = NextStep(tokens, tokens, ints(0, 1, 2), ints(1, 1, 1))
    state = ahead(*stops)._replace(hold=ints(held))
    chosen = torch.full((2, rows), -7, dtype=torch.int32, device=DEVICE)
    wanted = Wanted(ints(0, 1, 2), ints(rows), ints(-1, -1, -1))
    biases = torch.zeros(rows, device=DEVICE)
    select(
        *(scratch, wanted, biases, following, state, chosen),
        rows=rows,
        launch=LAUNCH,
        tokens=range(320),
    )
    assert chosen[1].tolist() == tokens.tolist() == [3, 250, 3]
    assert state.void.item() == is_void
    assert state.ended.tolist() == [0, int(is_void)]
