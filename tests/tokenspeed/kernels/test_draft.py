"""The step behind one that verified a draft, against plain torch."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.kernels.support import DEVICE, LAUNCH, ints
from tokenspeed.backends import ANY_TOKEN, NO_DRAFT
from tokenspeed.kernels.draft import (
    MAX_OUTPUTS,
    Drafted,
    Guessed,
    follow_draft,
    follow_draft_ref,
)
from tokenspeed.kernels.lm_head import MAX_STOPS, NO_TOKEN

SLOT, FIRST = 3, 40  # position of the first row
ROWS = MAX_OUTPUTS + 8


def padded(values: list[int], count: int = ROWS) -> torch.Tensor:
    return ints(*values, *[77] * (count - len(values)))


def stops_of(*pairs: tuple[int, int]) -> list[torch.Tensor]:
    """No stop in the first half, these in the second."""
    empty = [(ANY_TOKEN, NO_TOKEN.value)]
    rows = [*empty * MAX_STOPS, *pairs, *empty * (MAX_STOPS - len(pairs))]
    return [ints(*column) for column in zip(*rows, strict=True)]


def verified(
    prompt: list[int],
    drafts: list[int],
    chosen: list[int],
    *stops: tuple[int, int],
    num_ends: int = 0,
    guesses: bool = False,
    bias: float = 0.0,
) -> Drafted:
    """A step of a prompt's last tokens and a draft, as `select` leaves it: of each wanted row the
    chosen token, and where nothing is guessed, the next position.
    """
    tokens = [*prompt, *drafts[:-1]]
    first = len(prompt) - 1
    positions = [FIRST + i + (i >= first and not guesses) for i in range(len(tokens))]
    lines = padded([*[78] * first, *chosen])
    sides = stops_of(*stops)
    return Drafted(
        tokens=padded(tokens) if guesses else padded([*tokens[:first], *chosen]),
        slots=padded([SLOT] * len(tokens)),
        positions=padded(positions),
        outputs=padded(list(range(first, len(tokens)))),
        drafts=padded(drafts),
        biases=torch.full((ROWS,), bias, device=DEVICE),
        parity=ints(1, *[0] * ROWS),
        chosen=lines,
        num_rows=ints(len(tokens)),
        num_outputs=ints(len(drafts)),
        num_tiles=ints(1),
        verifies=ints(1),
        stop_previous=sides[0],
        stop_tokens=sides[1],
        ends=ints(num_ends),
        previous=ints(tokens[first]),
        void=ints(0),
    )


def run(step: Drafted, *, guesses: bool) -> Drafted:
    """Run the kernel; without guesses, the chosen tokens are those of the rows."""
    behind = Guessed(ints(*range(ROWS)), ints(*range(100, 100 + ROWS))) if guesses else None
    if not guesses:
        step = step._replace(chosen=step.tokens)
    follow_draft(step, behind, launch=LAUNCH)
    return step


TOKENS = st.integers(0, 3)


@given(
    prompt=st.lists(TOKENS, min_size=1, max_size=3),
    draft=st.lists(TOKENS, max_size=9),
    is_cut=st.booleans(),
    held=st.integers(0, 10),
    other=TOKENS,
    stops=st.lists(st.tuples(st.integers(ANY_TOKEN, 3), TOKENS), max_size=8),
    num_ends=st.integers(0, 3),
    guesses=st.booleans(),
)
def test_it_goes_on_behind_what_holds(
    prompt: list[int],
    draft: list[int],
    is_cut: bool,
    held: int,
    other: int,
    stops: list[tuple[int, int]],
    num_ends: int,
    guesses: bool,
) -> None:
    drafts = draft if is_cut and draft else [*draft, NO_DRAFT]
    num_ends = min(num_ends, len(stops))
    chosen = [token if i < held else other for i, token in enumerate(drafts)]
    chosen = [other if token == NO_DRAFT else token for token in chosen]
    step = verified(prompt, drafts, chosen, *stops, num_ends=num_ends, guesses=guesses, bias=0.25)
    run(step, guesses=guesses)
    pairs = torch.tensor(stops, dtype=torch.int32).reshape(-1, 2)
    said = torch.tensor([prompt[-1], *drafts[:-1]])
    end, is_void, stays = follow_draft_ref(
        said, torch.tensor(drafts), torch.tensor(chosen), pairs, num_ends
    )
    count, row = 1 + guesses, len(prompt) - 1 + end
    assert step.void.item() == is_void
    assert step.verifies.item() == 0
    for part in (step.num_rows, step.num_outputs, step.num_tiles):
        assert part.item() == count
    guess = 100 + row
    assert step.tokens[:count].tolist() == [chosen[end], guess][:count]
    assert step.positions[:count].tolist() == [FIRST + row + 1, FIRST + row + 2][:count]
    assert step.slots[:count].tolist() == [SLOT] * count
    assert step.outputs[:count].tolist() == [0, 1][:count]
    assert step.drafts[:count].tolist() == ([guess, NO_DRAFT] if guesses else [NO_DRAFT])
    assert step.biases[:count].tolist() == ([0.0, 0.0] if guesses else [0.25])
    assert step.parity[:count].tolist() == [1] * count
    left = torch.stack((step.stop_previous, step.stop_tokens), 1)[:MAX_STOPS].cpu()
    assert torch.equal(left[left[:, 1] != NO_TOKEN.value], pairs[stays])


@pytest.mark.parametrize("guesses", [False, True])
def test_the_longest_draft_and_all_stops(guesses: bool) -> None:
    draft = [i % 90 for i in range(MAX_OUTPUTS - 1)]
    places: Any = list(zip(draft, draft[1:-1], strict=False))
    drafts = [*draft, NO_DRAFT]
    for end in (0, 1, 60, MAX_OUTPUTS - 1):
        chosen = [*draft[:end], 95, *[0] * (MAX_OUTPUTS - 1 - end)]
        step = run(
            verified([7], drafts, chosen, (ANY_TOKEN, 0), *places, num_ends=1, guesses=guesses),
            guesses=guesses,
        )
        assert step.void.item() == 0
        assert step.tokens[0].item() == 95
        assert step.positions[0].item() == FIRST + end + 1
        known = (step.stop_tokens[:MAX_STOPS] >= 0).sum().item()
        assert known == 1 + max(0, len(places) - end)


@pytest.mark.parametrize(
    ("chosen", "is_void"),
    [
        ([5, 6, 0], True),  # an end mark behind all of the draft
        ([5, 0, 0], True),
        ([5, 9, 0], False),  # one behind a row that does not count
        ([7, 9, 0], True),  # the rest of the draft would be offered again
        ([5, 7, 9], False),  # that place is before what was refuted
    ],
)
def test_only_what_counts_makes_the_next_step_void(chosen: list[int], is_void: bool) -> None:
    stops = [(ANY_TOKEN, 0), (4, 7), (5, 6)]
    step = verified([3, 4], [5, 6, NO_DRAFT], chosen, *stops, num_ends=1)
    assert run(step, guesses=False).void.item() == is_void


def test_a_step_without_rows_changes_nothing() -> None:
    step = verified([4], [5, NO_DRAFT], [5, 6])._replace(num_outputs=ints(0))
    before = [part.clone() for part in step]
    follow_draft(step, None, launch=LAUNCH)
    assert all(torch.equal(a, b) for a, b in zip(step, before, strict=True))
