"""The arithmetic of drafts: for any draft, the output is what a deterministic model says alone."""

from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.backends import ANY_TOKEN, NO_DRAFT
from tokenspeed.engine.request import Request, Rows, Sequence

EOS = 0
PROMPT = (5, 6, 7)
TARGETS = st.lists(st.integers(1, 4), max_size=30)
DRAFTS = st.lists(st.integers(0, 4), max_size=30)


def run(sequence: Sequence, target: list[int], max_rows: int = 1000, reused: int = 0) -> None:
    """Play the device: a model whose output is `target`, then the end mark."""
    sequence.begin(slot=0, reused=reused, now_s=0.0)
    held = list(sequence.tokens[: sequence.computed])
    while sequence.finish_reason is None:
        rows = sequence.rows(max_rows)
        assert 1 <= len(rows.tokens) <= max_rows
        assert rows.start == len(held) == sequence.computed, "rows must follow what the slot holds"
        seen = [*held, *rows.tokens]
        answers = range(len(seen) - len(rows.drafts) + 1, len(seen) + 1)
        sequence.advance(rows, [predict(seen[:end], target) for end in answers])
        held = seen[: sequence.computed]
        assert held == sequence.tokens[: sequence.computed], "the slot must hold what it claims"


def predict(context: list[int], target: list[int]) -> int:
    """The token after a context: the target's where the context follows it, else something else."""
    output = context[len(PROMPT) :]
    if output == target[: len(output)]:
        return [*target, EOS][len(output)] if len(output) <= len(target) else EOS
    return 1 + sum(output) % 4


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
