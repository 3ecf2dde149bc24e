"""Names of segments: one open at a time, none twice, and ours out of the client's way."""

import pytest

from service.captions.segment import Segment, digest_of
from service.captions.segments import Segments
from service.errors import ProtocolError


def test_a_name_stands_for_one_segment_until_that_is_committed() -> None:
    segments = Segments(max_open=4, max_chars=100)
    first = segments.open("a", 1.0)
    assert segments.open("a", 2.0) is first
    first.rev = 3
    segments.close(first)
    assert segments.is_closed("a")
    with pytest.raises(ProtocolError, match="'a' is committed already") as caught:
        segments.open("a", 3.0)
    assert (caught.value.code, caught.value.param) == ("unknown_segment", "segment_id")
    assert segments.get("a") is first  # its finals are awaited
    segments.forget(first)
    assert segments.get("a") is None
    assert len(segments) == 0


@pytest.mark.parametrize(
    ("rev", "text", "is_update_again", "is_commit_again"),
    [
        (2, "we go", True, False),  # the last update
        (3, "we go home", True, True),  # the commit
        (None, "we go home", False, True),
        (3, "we go", False, False),
        (2, "we go home", False, False),
        (0, "we", False, False),  # another utterance under a name that is used up
        (4, "we go home", False, True),
    ],
)
def test_what_a_closed_segment_said_is_known_again(
    rev: int | None, text: str, is_update_again: bool, is_commit_again: bool
) -> None:
    segments = Segments(max_open=4, max_chars=100)
    segment = segments.open("a", 1.0)
    segment.last_update = (2, digest_of("we go"))
    segment.rev, segment.stable, segment.committed_s = 3, "we go home", 2.0
    segments.close(segment)
    for is_forgotten in (False, True):
        closed = segments.closed("a")
        assert closed is not None
        assert (rev is not None and closed.repeats_update(rev, text)) == is_update_again
        assert closed.repeats_commit(rev, text) == is_commit_again
        assert closed.repeats_commit(rev, None) == (rev is None or rev >= 3)
        if not is_forgotten:
            segments.forget(segment)


def test_nothing_that_comes_late_for_a_withdrawn_segment_matters() -> None:
    segments = Segments(max_open=4, max_chars=100)
    segment = segments.open("a", 1.0)
    segment.rev = 3
    segments.close(segment)
    closed = segments.closed("a")
    assert closed is not None
    assert closed.repeats_update(3, "anything")
    assert not closed.repeats_update(4, "anything")
    assert closed.repeats_commit(7, "anything")


def test_segments_without_a_name_get_the_next_one_that_is_free() -> None:
    segments = Segments(max_open=4, max_chars=100)
    assert segments.open(None, 0.0).segment_id == "auto-1"
    assert segments.open(None, 0.0).segment_id == "auto-1"
    segments.close(segments.open(None, 0.0))
    segments.close(segments.open("auto-2", 0.0))  # the client's own
    assert segments.open(None, 0.0).segment_id == "auto-3"


def test_only_segments_that_are_not_committed_count() -> None:
    segments = Segments(max_open=2, max_chars=100)
    first = segments.open("a", 0.0)
    segments.open("b", 0.0)
    with pytest.raises(ProtocolError, match="2 segments are open already"):
        segments.open("c", 0.0)
    first.committed_s = 1.0
    assert segments.open("c", 1.0).segment_id == "c"


def cut(segments: Segments, segment: Segment) -> Segment:
    """Cut a long segment in as many steps as it takes."""
    steps = 1
    while (rest := segments.cut(segment, 1.0, is_spent=lambda: True)) is None:
        steps += 1
    assert steps > 1
    return rest


def test_a_long_segment_goes_on_under_another_name() -> None:
    segments = Segments(max_open=4, max_chars=40)
    segment = segments.open("a", 0.0)
    text = "This is a sentence. And this one goes on and on without an end"
    segment.stable = text
    assert not segments.check_length(segment)
    assert segments.next_long() is segment
    rest = cut(segments, segment)
    assert segments.next_long() is None
    assert (rest.client_id, segments.named("a")) == ("a", rest)
    assert rest.segment_id != segment.segment_id
    assert segment.text + rest.text == text
    assert 0 < len(segment.text) <= 40
    assert segments.of_name("a") == [segment, rest]


def test_a_long_text_is_cut_into_parts_as_long_as_may_be() -> None:
    segments = Segments(max_open=4, max_chars=100)
    first = segments.open("a", 1.0)
    first.stable = "a" * 250
    assert not segments.check_length(first)
    second = cut(segments, first)
    assert not segments.check_length(second)
    third = cut(segments, second)
    assert segments.check_length(third)
    assert [len(each.text) for each in (first, second, third)] == [100, 100, 50]
    assert [each.segment_id for each in (first, second, third)] == ["a", "a~2", "a~3"]
