"""The arithmetic of drafts: for any draft, the output is what a deterministic model says alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.backends import ANY_TOKEN, NO_DRAFT
from tokenspeed.engine.request import Request, Rows, Sequence

EOS = 0
PROMPT = (5, 6, 7)
TARGETS = st.lists(st.integers(1, 4), max_size=30)
DRAFTS = st.lists(st.integers(0, 4), max_size=30)


def run(
    sequence: Sequence,
    target: list[int],
    max_rows: int = 1000,
    reused: int = 0,
    wrong: int | None = None,
) -> None:
    """Play the device: a model whose output is `target`, then the end mark.

    Args:
        wrong: it guesses, and one of so many guesses is wrong; 0: none, None: it does not guess.
    """
    sequence.begin(slot=0, reused=reused, now_s=0.0)
    held = list(sequence.tokens[: sequence.computed])
    while sequence.finish_reason is None:
        rows = sequence.rows(max_rows)
        assert 1 <= len(rows.tokens) <= max_rows
        assert rows.start == len(held) == sequence.computed, "rows must follow what the slot holds"
        seen = [*held, *rows.tokens]
        answers = range(len(seen) - len(rows.drafts) + 1, len(seen) + 1)
        predicted = [predict(seen[:end], target) for end in answers]
        sequence.advance(rows, predicted)
        if wrong is not None:
            behind = [[*seen[:end], token] for end, token in zip(answers, predicted, strict=True)]
            sequence.expect([guess(context, target, wrong) for context in behind])
        held = seen[: sequence.computed]
        assert held == sequence.tokens[: sequence.computed], "the slot must hold what it claims"


def predict(context: list[int], target: list[int]) -> int:
    """The token after a context: the target's where the context follows it, else something else."""
    output = context[len(PROMPT) :]
    if output == target[: len(output)]:
        return [*target, EOS][len(output)] if len(output) <= len(target) else EOS
    return 1 + sum(output) % 4


def guess(context: list[int], target: list[int], wrong: int) -> int:
    """The token after a context, or another one."""
    right = predict(context, target)
    is_wrong = wrong > 0 and (sum(context) + len(context)) % wrong == 0
    return (right + 1) % 5 if is_wrong else right


@given(
    target=TARGETS,
    draft=DRAFTS,
    max_rows=st.integers(1, 12),
    resync=st.integers(0, 3),
    wrong=st.integers(0, 4),
    most=st.integers(1, 40),
)
def test_no_guess_changes_the_output(
    target: list[int], draft: list[int], max_rows: int, resync: int, wrong: int, most: int
) -> None:
    request = Request(PROMPT, draft=tuple(draft), max_new_tokens=most, resync=resync)
    plain, sequence = (Sequence(request, frozenset([EOS])) for _ in range(2))
    run(plain, target, max_rows)
    run(sequence, target, max_rows, wrong=wrong)
    assert sequence.output == plain.output
    assert sequence.finish_reason == plain.finish_reason
    assert sequence.accepted + sequence.decoded == plain.accepted + plain.decoded
    assert sequence.draft_tokens >= sequence.accepted
    if not draft:
        assert sequence.steps == plain.steps - sequence.guessed


def test_guesses_that_hold_halve_the_steps() -> None:
    target = [1, 2, 3, 4, 1, 2, 3]
    sequence = Sequence(Request(PROMPT), frozenset([EOS]))
    run(sequence, target, wrong=0)
    # The prompt gives the first token; a token and a guess give two of each step.
    assert (sequence.steps, sequence.guessed, sequence.decoded) == (5, 3, 8)


def test_a_guess_is_verified_where_no_draft_is() -> None:
    sequence = Sequence(Request(PROMPT, draft=(1, 2)), frozenset([EOS]))
    sequence.begin(0, 0, 0.0)
    rows = sequence.rows(100)
    assert rows == Rows([5, 6, 7, 1, 2], 0, [1, 2, NO_DRAFT])
    sequence.advance(rows, [1, 3, 4])  # 2 is refuted: what is behind it is of no use
    sequence.expect([9, 4, 8])
    assert sequence.may_guess
    assert sequence.rows(1) == Rows([3], 4, [NO_DRAFT])
    rows = sequence.rows(2)
    assert rows == Rows([3, 4], 4, [4, NO_DRAFT], is_guess=True)
    assert sequence.advance(rows, [4, 1]) == (4, 1)
    sequence.expect([7, 2])
    assert sequence.rows(2).tokens == [1, 2]
    assert sequence.hypothesis() == (1, 3, 4, 1, 2)  # what a client hears of is the old draft


@pytest.mark.parametrize(("bias", "said"), [(0.0, (4, 3)), (0.5, (4,))])
def test_a_draft_that_is_offered_behind_a_guess_keeps_its_favour(
    bias: float, said: tuple[int, ...]
) -> None:
    """The row of the guess had none: with a bias, the draft is verified in the step behind it."""
    request = Request(PROMPT, draft=(1, 2, 4, 9), bias=bias, resync=1)
    sequence = Sequence(request, frozenset([EOS]))
    sequence.begin(0, 0, 0.0)
    sequence.advance(sequence.rows(100), [3, 2, 4, 9, 8])
    sequence.expect([4, 0, 0, 0, 0])
    rows = sequence.rows(100)
    assert rows == Rows([3, 4], 3, [4, NO_DRAFT], is_guess=True)
    assert sequence.advance(rows, [4, 3]) == said
    if bias:
        assert sequence.rows(100) == Rows([4, 9], 4, [9, NO_DRAFT])


def test_a_part_of_a_prompt_leaves_a_guess_as_it_was() -> None:
    sequence = Sequence(Request(PROMPT), frozenset([EOS]))
    sequence.begin(0, 0, 0.0)
    sequence.advance(sequence.rows(2), [])
    sequence.expect([])
    assert not sequence.may_guess


@given(target=TARGETS, draft=DRAFTS, max_rows=st.integers(1, 12), resync=st.integers(0, 3))
def test_no_draft_changes_the_output(
    target: list[int], draft: list[int], max_rows: int, resync: int
) -> None:
    request = Request(PROMPT, draft=tuple(draft), max_new_tokens=100, resync=resync)
    sequence = Sequence(request, frozenset([EOS]))
    run(sequence, target, max_rows)
    assert sequence.output == tuple(target)
    assert sequence.finish_reason == "stop"
    assert sequence.accepted + sequence.decoded == len(target) + 1


@given(target=TARGETS, forced=st.integers(0, 30), cap=st.integers(1, 40), draft=DRAFTS)
def test_forced_is_kept_and_the_cap_holds(
    target: list[int], forced: int, cap: int, draft: list[int]
) -> None:
    prefix = tuple(target[:forced])
    request = Request(PROMPT, forced=prefix, draft=tuple(draft), max_new_tokens=cap)
    sequence = Sequence(request, frozenset([EOS]))
    if sequence.finish_reason is None:
        run(sequence, target)
    assert sequence.output[: len(prefix)] == prefix
    assert len(sequence.output) <= max(cap, len(prefix))
    assert sequence.output == tuple(target[: max(cap, len(prefix))])


@given(target=TARGETS, reused=st.integers(0, 10))
def test_reuse_skips_only_what_is_held(target: list[int], reused: int) -> None:
    sequence = Sequence(Request(PROMPT, max_new_tokens=100), frozenset([EOS]))
    run(sequence, target, reused=min(reused, len(PROMPT)))
    assert sequence.output == tuple(target)
    assert sequence.reused <= len(PROMPT) - 1


def test_a_draft_that_holds_costs_one_step() -> None:
    target = [1, 2, 3, 4, 1, 2]
    sequence = Sequence(Request(PROMPT, draft=tuple(target)), frozenset([EOS]))
    run(sequence, target)
    assert (sequence.steps, sequence.accepted, sequence.decoded) == (1, 6, 1)


def test_the_rest_of_a_draft_is_offered_again_after_an_insertion() -> None:
    old = [1, 2, 3, 4, 1, 1, 2, 2, 3, 3]
    new = [1, 2, 4, 4, 3, 4, 1, 1, 2, 2, 3, 3]
    sequence = Sequence(Request(PROMPT, draft=tuple(old), resync=2), frozenset([EOS]))
    run(sequence, new)
    assert sequence.output == tuple(new)
    plain = Sequence(Request(PROMPT, draft=tuple(old), resync=0), frozenset([EOS]))
    run(plain, new)
    # One pass to the difference, four tokens up to the meeting of "3 4", one pass for the rest.
    assert (sequence.steps, plain.steps) == (5, 11)


def test_a_successor_inherits_what_was_expected() -> None:
    sequence = Sequence(Request(PROMPT, draft=(1, 2, 3, 4)), frozenset([EOS]))
    sequence.begin(0, 0, 0.0)
    rows = sequence.rows(100)
    assert rows == Rows([5, 6, 7, 1, 2, 3, 4], 0, [1, 2, 3, 4, -1])
    assert sequence.advance(rows, [1, 4, 9, 9, 9]) == (1, 4)
    assert sequence.hypothesis() == (1, 4, 2, 3, 4)


@given(
    target=TARGETS,
    draft=DRAFTS,
    resync=st.integers(0, 3),
    most=st.integers(1, 30),
    wrong=st.integers(0, 3),
)
def test_where_guesses_end_is_foreseen(
    target: list[int], draft: list[int], resync: int, most: int, wrong: int
) -> None:
    """A token and a guess are followed by what holds of them and a guess, unless that was said."""
    request = Request(PROMPT, draft=tuple(draft), resync=resync, max_new_tokens=most)
    sequence = Sequence(request, frozenset({EOS}))
    sequence.begin(slot=0, reused=0, now_s=0.0)
    held = list[int]()
    while sequence.finish_reason is None:
        rows = sequence.rows(1000)
        stops, seen = sequence.stops(rows), [*held, *rows.tokens]
        answers = range(len(seen) - len(rows.drafts) + 1, len(seen) + 1)
        predicted = [predict(seen[:end], target) for end in answers]
        sequence.advance(rows, predicted)
        behind = [[*seen[:end], token] for end, token in zip(answers, predicted, strict=True)]
        guesses = [guess(context, target, wrong) for context in behind]
        sequence.expect(guesses)
        held = seen[: sequence.computed]
        if stops is None or not rows.is_guess:
            continue
        is_held = int(predicted[0] == rows.drafts[0])
        said = zip(rows.tokens, predicted, strict=True)
        ends = {pair for a, b in said for pair in ((ANY_TOKEN, b), (a, b))}
        is_foreseen = ends & {(int(a), int(b)) for a, b in stops}
        expected = [predicted[is_held], guesses[is_held]]
        goes_on = sequence.finish_reason is None and sequence.rows(1000) == Rows(
            expected, rows.start + 1 + is_held, [expected[1], NO_DRAFT], is_guess=True
        )
        assert is_foreseen or goes_on


@given(target=TARGETS, draft=DRAFTS, resync=st.integers(0, 3), most=st.integers(1, 30))
def test_where_plain_decoding_ends_is_foreseen(
    target: list[int], draft: list[int], resync: int, most: int
) -> None:
    request = Request(PROMPT, draft=tuple(draft), resync=resync, max_new_tokens=most)
    sequence = Sequence(request, frozenset({EOS}))
    sequence.begin(slot=0, reused=0, now_s=0.0)
    held = list[int]()
    while sequence.finish_reason is None:
        rows = sequence.rows(1000)
        stops, seen = sequence.stops(rows), [*held, *rows.tokens]
        is_plain = len(rows.tokens) == 1 and rows.drafts == [NO_DRAFT]
        assert is_plain or stops is None
        answers = range(len(seen) - len(rows.drafts) + 1, len(seen) + 1)
        predicted = [predict(seen[:end], target) for end in answers]
        sequence.advance(rows, predicted)
        held = seen[: sequence.computed]
        if stops is None:
            continue
        pairs = [tuple(pair) for pair in stops.tolist()]
        is_foreseen = {(ANY_TOKEN, predicted[0]), (rows.tokens[0], predicted[0])} & set(pairs)
        goes_on = sequence.finish_reason is None and sequence.rows(1000).tokens == predicted
        assert is_foreseen or goes_on


@given(
    target=TARGETS,
    draft=DRAFTS,
    resync=st.integers(0, 3),
    most=st.integers(1, 30),
    room=st.integers(3, 40),
    wrong=st.sampled_from([None, 0, 2]),
)
def test_where_decoding_on_behind_a_draft_ends_is_foreseen(
    target: list[int], draft: list[int], resync: int, most: int, room: int, wrong: int | None
) -> None:
    """Behind the first answer that differs it decodes on, or one of the stops there says no."""
    request = Request(PROMPT, draft=tuple(draft), resync=resync, max_new_tokens=most)
    sequence = Sequence(request, frozenset({EOS}))
    sequence.begin(slot=0, reused=0, now_s=0.0)
    held = list[int]()
    while sequence.finish_reason is None:
        rows = sequence.rows(room)
        behind, seen = sequence.stops_behind_draft(rows), [*held, *rows.tokens]
        is_plain = len(rows.tokens) == 1 and rows.drafts == [NO_DRAFT]
        assert behind is None or not (is_plain or rows.is_guess)
        answers = range(len(seen) - len(rows.drafts) + 1, len(seen) + 1)
        predicted = [predict(seen[:end], target) for end in answers]
        sequence.advance(rows, predicted)
        said = [[*seen[:end], token] for end, token in zip(answers, predicted, strict=True)]
        guesses = [guess(context, target, wrong or 0) for context in said]
        if wrong is not None:
            sequence.expect(guesses)
        held = seen[: sequence.computed]
        pairs = zip(predicted, rows.drafts, strict=True)
        ends = [i for i, (token, expected) in enumerate(pairs) if token != expected]
        if behind is None or not ends:
            continue  # if all of it held, more of the draft may come
        stops, num_ends = behind
        end, first = ends[0], len(rows.tokens) - len(rows.drafts)
        token, before = predicted[end], seen[answers[end] - 1]
        stops = np.concatenate((stops[:num_ends], stops[num_ends + end :]))
        is_foreseen = {(ANY_TOKEN, token), (before, token)} & {(int(a), int(b)) for a, b in stops}
        following = [token] if wrong is None else [token, guesses[end]]
        drafts = [*following[1:], NO_DRAFT]
        goes_on = sequence.finish_reason is None and sequence.rows(room) == Rows(
            following, rows.start + first + end + 1, drafts, is_guess=wrong is not None
        )
        assert is_foreseen or goes_on
        if goes_on:  # and what ends that is known, too
            again = sequence.stops(sequence.rows(room))
            assert again is None or again.tolist() == stops.tolist()
