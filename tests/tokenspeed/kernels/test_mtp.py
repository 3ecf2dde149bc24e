"""What the MTP layer is given, against plain torch."""

import pytest
import torch

from tests.tokenspeed.kernels.support import (
    DEVICE,
    EPS,
    LAUNCH,
    assert_as_exact,
    ints,
    nans,
    random,
)
from tokenspeed.kernels.blocks import share_exponent_ref
from tokenspeed.kernels.mtp import (
    Following,
    Pairs,
    follow_pairs,
    follow_pairs_ref,
    join_rows,
    join_rows_ref,
)
from tokenspeed.kernels.norm import HiddenStates

SIZE = 128
TOKENS, SLOTS = [7, 8, 9, 30, 31, 5, 6], [2, 2, 2, 0, 0, 0, 1]
OUTPUTS, CHOSEN = [2, 4], {2: 40, 4: 41}
# A row goes with the one behind it in its slot, or with what was chosen; the last of a part of a
# prompt with itself.
NEXT = [8, 9, 40, 31, 41, 5, 6]


def following(rows: int = len(TOKENS)) -> Following:
    chosen = ints(*[CHOSEN.get(row, -7) for row in range(len(TOKENS))])
    outputs = ints(*OUTPUTS, 5, 0)  # behind the wanted rows lie those of another step
    return Following(ints(*TOKENS), ints(*SLOTS), ints(rows), chosen, outputs, ints(len(OUTPUTS)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("is_words", [False, True])
def test_a_row_is_joined_to_the_token_behind_it(dtype: torch.dtype, is_words: bool) -> None:
    rows, exist = len(TOKENS), len(TOKENS)
    table = random(50, SIZE, seed=1, dtype=dtype)
    norms = random(SIZE, seed=2, dtype=dtype), random(SIZE, seed=3, dtype=dtype)
    states = random(rows, SIZE, seed=4, dtype=torch.float32) * 30
    given = states
    if is_words:  # the tag of a step of few rows above the value
        given = (states.view(torch.int32).long() & 0xFFFFFFFF) | (0x1234567 << 32)
    hidden = HiddenStates(
        nans(rows, SIZE, dtype=torch.float32),
        nans(rows, SIZE, dtype=dtype),
        torch.full((3, rows + 2), -1, dtype=torch.int64, device=DEVICE),
    )
    joined = nans(rows, 2 * SIZE, dtype=dtype)
    join_rows(following(), table, given, norms, joined, hidden, eps=EPS, launch=LAUNCH)
    exact = join_rows_ref(states, table, ints(*NEXT), norms, EPS)
    assert_as_exact(joined, exact.to(dtype), exact)
    assert not hidden.states.any()
    assert not hidden.square_sum[:, :exist].any()
    assert (hidden.square_sum[:, exist:] == -1).all()


def test_rows_that_do_not_exist_stay_as_they_are() -> None:
    rows, exist = len(TOKENS), 3
    norms = random(SIZE, seed=2), random(SIZE, seed=3)
    states = random(rows, SIZE, seed=4, dtype=torch.float32)
    hidden = HiddenStates(
        nans(rows, SIZE, dtype=torch.float32),
        nans(rows, SIZE),
        torch.full((3, rows), -1, dtype=torch.int64, device=DEVICE),
    )
    joined, table = nans(rows, 2 * SIZE), random(50, SIZE, seed=1)
    join_rows(following(exist), table, states, norms, joined, hidden, eps=EPS, launch=LAUNCH)
    assert not torch.isnan(joined[:exist]).any()
    assert torch.isnan(joined[exist:]).all()
    assert torch.isnan(hidden.states[exist:]).all()
    assert (hidden.square_sum[:, exist:] == -1).all()


def test_rows_for_int4_share_exponents() -> None:
    rows = len(TOKENS)
    table, norms = (
        random(50, SIZE, seed=1, dtype=torch.float16),
        (random(SIZE, seed=2, dtype=torch.float16), random(SIZE, seed=3, dtype=torch.float16)),
    )
    states = random(rows, SIZE, seed=4, dtype=torch.float32)
    sums = torch.zeros(3, rows, dtype=torch.int64, device=DEVICE)
    hidden = HiddenStates(torch.zeros_like(states), states.half(), sums)
    made = []
    for in_blocks in (False, True):
        joined = nans(rows, 2 * SIZE, dtype=torch.float16)
        how = {"eps": EPS, "launch": LAUNCH, "in_blocks": in_blocks}
        join_rows(following(), table, states, norms, joined, hidden, **how)  # type: ignore[arg-type]
        made.append(joined)
    plain, shared = made
    assert torch.equal(share_exponent_ref(plain), shared)
    assert not torch.equal(plain, shared)


def test_blocks_have_to_fill_the_rows() -> None:
    table, states = random(50, 100, seed=1), random(1, 100, seed=4, dtype=torch.float32)
    sums = torch.zeros(3, 1, dtype=torch.int64, device=DEVICE)
    hidden = HiddenStates(states, states, sums)
    with pytest.raises(ValueError, match="100 columns"):
        join_rows(
            *(following(1), table, states, (table[0], table[1]), nans(1, 200), hidden),
            eps=EPS,
            launch=LAUNCH,
            in_blocks=True,
        )


def pairs(exist: int, outputs: int, verifies: int = 0) -> Pairs:
    """Three slots: a guess that holds, one that does not, and one behind what exists."""
    return Pairs(
        num_rows=ints(exist),
        num_outputs=ints(outputs),
        verifies=ints(verifies),
        tokens=ints(5, 6, 15, 16, 25, 26, 0),
        positions=ints(9, 10, 3, 4, 7, 8, 0),
        drafts=ints(6, -1, 16, -1, 26, -1, 0),
        parity=ints(*[1, 0] * 4),
        chosen=ints(6, 7, 17, 18, 26, 27, 0),
        guesses=ints(1, 2, 3, 4, 5, 6, 0),
        names=ints(40, 41, 42, 43, 44, 45, 46),
    )


@pytest.mark.parametrize(
    ("exist", "outputs", "verifies"), [(4, 4, 0), (5, 5, 0), (4, 2, 0), (0, 0, 0), (4, 4, 1)]
)
def test_the_next_step_goes_on_behind_what_holds(exist: int, outputs: int, verifies: int) -> None:
    given, rows = pairs(exist, outputs, verifies), 8
    follow_pairs(given, rows=rows, launch=LAUNCH)
    are_pairs = exist == outputs and not verifies
    kept, count = pairs(exist, outputs), exist // 2 if are_pairs else 0
    names = given.names[given.guesses.long()]
    shape = (slice(0, 2 * count), (-1, 2))
    tokens, positions = follow_pairs_ref(
        *(
            part[shape[0]].view(shape[1])
            for part in (kept.tokens, kept.positions, kept.chosen, names)
        )
    )
    assert torch.equal(given.tokens[: 2 * count].view(-1, 2), tokens)
    assert torch.equal(given.positions[: 2 * count].view(-1, 2), positions)
    if count:
        assert tokens.tolist() == [[7, 42], [17, 43]]
        assert positions.tolist() == [[11, 12], [4, 5]]
        assert given.drafts[:4].tolist() == [42, -1, 43, -1]
    for part in ("tokens", "positions", "drafts"):
        assert torch.equal(getattr(given, part)[2 * count :], getattr(kept, part)[2 * count :])
    assert torch.equal(given.parity, 1 - kept.parity)
