"""Cues: every word, lines within their bound, and time to read each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.captions.cues import CHARS_PER_S, MIN_MS, cues_of

TEXTS = st.lists(
    st.text(st.characters(categories=("L", "N", "P", "M")), min_size=1, max_size=60), max_size=40
).map(" ".join)


@given(TEXTS, st.integers(1, 60), st.integers(1, 4), st.floats(0, 1e6), st.floats(0, 1e5))
def test_nothing_is_lost_and_all_can_be_read(
    text: str, max_chars: int, max_lines: int, start_ms: float, length_ms: float
) -> None:
    cues = cues_of(text, start_ms, start_ms + length_ms, max_chars, max_lines)
    said = "".join("".join(cue.lines) for cue in cues)
    assert "".join(said.split()) == "".join(text.split())
    at_ms = start_ms
    for cue in cues:
        assert 1 <= len(cue.lines) <= max_lines
        assert all(1 <= len(line) <= max_chars for line in cue.lines)
        assert cue.start_ms >= at_ms - 1e-2
        chars = sum(map(len, cue.lines))
        assert cue.end_ms - cue.start_ms >= max(MIN_MS, chars / CHARS_PER_S * 1e3) - 1e-2
        at_ms = cue.end_ms


def test_lines_are_about_equal() -> None:
    (cue,) = cues_of("we want to show you the new slides of today", 0, 4000, 42, 2)
    assert cue.lines == ("we want to show you the", "new slides of today")


def test_text_without_spaces_breaks_anywhere() -> None:
    (cue,) = cues_of("今日の新しいスライドをお見せします", 0, 4000, 10, 2)
    assert cue.lines == ("今日の新しいスライ", "ドをお見せします")


def test_bounds_are_checked() -> None:
    with pytest.raises(ValueError, match="max_lines 0"):
        cues_of("a", 0, 1, 10, 0)
