"""Pieces of captions hold all words, in lines that fit."""

from hypothesis import given
from hypothesis import strategies as st

from tokenspeed_client.sinks.cues import clock, pieces, vtt_text


@given(st.lists(st.text("abc", min_size=1, max_size=12)), st.integers(12, 42), st.integers(1, 3))
def test_pieces_hold_every_word_in_lines_that_fit(
    words: list[str], max_chars: int, max_lines: int
) -> None:
    found = pieces(" ".join(words), max_chars, max_lines)
    assert [word for piece in found for line in piece for word in line.split()] == words
    assert all(len(line) <= max_chars for piece in found for line in piece)
    assert all(0 < len(piece) <= max_lines for piece in found)


def test_times_and_text_of_webvtt() -> None:
    assert clock(3_723_004, ".") == "01:02:03.004"
    assert clock(3_723_004, ",") == "01:02:03,004"
    assert vtt_text(["a < b", "& c"]) == "a &lt; b\n&amp; c"
