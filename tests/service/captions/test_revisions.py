"""Whose turn it is among the texts that wait."""

from hypothesis import given
from hypothesis import strategies as st

from service.captions.revisions import Revisions
from service.captions.segment import Segment


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4))))
def test_each_segment_waits_once_and_keeps_its_turn(steps: list[tuple[bool, int]]) -> None:
    segments = [Segment(f"s{n}", f"s{n}", first_arrival_s=0.0) for n in range(5)]
    revisions, expected = Revisions(), list[int]()
    for is_added, n in steps:
        if is_added:
            revisions.add(segments[n])
            expected += [] if n in expected else [n]
        else:
            revisions.drop(segments[n])
            expected = [other for other in expected if other != n]
        first = revisions.first()
        assert (first and first.segment) == (segments[expected[0]] if expected else None)
        assert [n for n in range(5) if segments[n] in revisions] == sorted(expected)
        assert len(revisions) == len(expected)


def test_a_newer_text_is_not_cut_yet() -> None:
    segment = Segment("a", "a", first_arrival_s=0.0)
    revisions = Revisions()
    revisions.add(segment)
    first = revisions.first()
    assert first is not None
    first.sources, first.num_taken = [], 3
    revisions.add(segment)
    again = revisions.first()
    assert again is not None
    assert (again.sources, again.num_taken) == (None, 0)
    revisions.clear()
    assert revisions.first() is None
