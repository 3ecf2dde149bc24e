"""Names of segments: one open at a time, none twice, and ours out of the client's way."""

import pytest

from service.captions.segments import Segments
from service.errors import ProtocolError


def test_a_name_stands_for_one_segment_until_that_is_committed() -> None:
    segments = Segments(max_open=4, max_chars=100)
    first = segments.open("a", 1.0)
    assert segments.open("a", 2.0) is first
    first.rev = 3
    segments.close(first)
    assert segments.is_closed("a")
    assert segments.is_stale("a", 3)
    assert not segments.is_stale("a", 4)
    with pytest.raises(ProtocolError, match="'a' is committed already") as caught:
        segments.open("a", 3.0)
    assert (caught.value.code, caught.value.param) == ("unknown_segment", "segment_id")
    assert segments.get("a") is first  # its finals are awaited
    segments.forget(first)
    assert segments.get("a") is None
    assert len(segments) == 0


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


def test_a_long_segment_goes_on_under_another_name() -> None:
    segments = Segments(max_open=4, max_chars=40)
    segment = segments.open("a", 0.0)
    text = "This is a sentence. And this one goes on and on without an end"
    segment.stable = text
    assert not segments.check_length(segment)
    assert segments.next_long() is segment
    rest = segments.cut(segment, 1.0)
    assert segments.next_long() is None
    assert (rest.client_id, segments.named("a")) == ("a", rest)
    assert rest.segment_id != segment.segment_id
    assert segment.text + rest.text == text
    assert 0 < len(segment.text) <= 40
    assert segments.of_name("a") == [segment, rest]
