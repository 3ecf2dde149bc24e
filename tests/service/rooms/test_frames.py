"""Frames: written once for each form, kept for a while, and each reader told only what is news."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rooms.frames import Channel, Frame
from service.wire import protocol as p

DELTA = p.TranslationDelta("1", "de", 1, "Hallo", " du")


def test_a_frame_is_written_once_for_each_form() -> None:
    frame = Frame(7, DELTA)
    assert frame.text("captions") is frame.text("captions")
    assert frame.text("append_only") is frame.text("append_only")
    assert p.parse_server(frame.text("captions") or "") == DELTA


@pytest.mark.parametrize(
    ("event", "append_only"),
    [
        (DELTA, p.TranslationDelta("1", "de", 1, "Hallo", "")),
        (p.TranslationDelta("1", "de", 1, "", " du"), None),
        (p.SourceDelta("1", "hello", ""), None),
        (p.SourceFinal("1", "hello"), p.SourceFinal("1", "hello")),
        (p.TranslationRetracted("1", "de"), p.TranslationRetracted("1", "de")),
    ],
)
def test_who_reads_appended_text_alone_gets_nothing_that_may_change(
    event: p.ServerEvent, append_only: p.ServerEvent | None
) -> None:
    text = Frame(1, event).text("append_only")
    assert (None if text is None else p.parse_server(text)) == append_only


@given(st.integers(1, 5), st.integers(0, 9), st.integers(-1, 10))
def test_a_channel_keeps_the_newest_and_says_what_it_dropped(
    max_frames: int, count: int, since: int
) -> None:
    channel = Channel(max_frames, dropped=-1)
    for number in range(count):
        channel.append(Frame(number, DELTA))
    kept = range(max(count - max_frames, 0), count)
    assert [frame.number for frame in channel.after(since)] == [n for n in kept if n > since]
    assert channel.dropped == kept.start - 1
