"""Sentences over several lines: joined, and shared out again."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.documents.document import SpanDocument, read
from tokenspeed.documents.flow import MAX_JOINED_CHARS, goes_on, groups, line_unit, share_out
from tokenspeed.documents.tagged import parse

TAG = regex.compile(r"<[^<>]*>")
LINES = st.lists(
    st.lists(st.text("abcÄ.,!", min_size=1, max_size=6), min_size=1, max_size=5).map(" ".join),
    min_size=1,
    max_size=6,
)


@given(LINES)
def test_an_unchanged_text_is_cut_where_it_was(lines: list[str]) -> None:
    assert share_out(lines, " ".join(lines)) == lines


@given(LINES, st.lists(st.text("xyz.,", min_size=1, max_size=8), max_size=30))
def test_all_words_come_once_in_order_and_no_line_is_empty(
    lines: list[str], words: list[str]
) -> None:
    parts = share_out(lines, " ".join(words))
    assert len(parts) == len(lines)
    assert " ".join(part for part in parts if part).split() == words
    assert sum(map(bool, parts)) == min(len(lines), len(words))
    assert parts == sorted(parts, key=lambda part: part == "")  # empty ones are the last


def test_a_cut_at_a_mark_stays_at_a_mark() -> None:
    lines = ["Good morning. We have a lot,", "and more, to talk about."]
    translation = "Guten Morgen. Wir haben heute sehr viel, und noch mehr, zu besprechen."
    assert share_out(lines, translation) == [
        "Guten Morgen. Wir haben heute sehr viel,",
        "und noch mehr, zu besprechen.",
    ]


def test_no_cut_is_in_a_tag() -> None:
    tags = '<v Bob Ray Lee Smith>x <font color="red">y</font>'
    for source in ("a\nb", "a\nb c d e f g h i j", "a b c d e f g h i j\nk"):
        first = source.index("\n")
        spans = [(0, first), (first + 1, len(source))]
        unit = line_unit(source, spans, [True, True], lambda _: parse(tags, TAG))
        document = SpanDocument(read(source.encode()), [unit])
        assert document.translated([unit.text.upper()]).decode() == (
            '<v Bob Ray Lee Smith>X\n<font color="red">Y</font>'
        )


@pytest.mark.parametrize(
    ("line", "following", "is_one"),
    [
        ("We have a lot", "to talk about.", True),
        ("We met", "John there.", True),
        ("We met.", "John left.", False),
        ("“Really?”", "“Yes.”", True),  # said as one, both get marks of one kind
        ("Well...", "that is it.", True),
        ("Well...", "That is it.", False),
        ("She said:", "Go.", False),
        ("We met Mr.", "Brown there", True),
        ("I said No.", "He left", False),
        ("Er kam am 3.", "Mai an", True),
        ("", "a", False),
    ],
)
def test_what_goes_on(line: str, following: str, is_one: bool) -> None:
    assert goes_on(line, following) is is_one


@given(st.lists(st.sampled_from(["and so", "it ends.", "It goes"]), max_size=9), st.data())
def test_groups_are_all_lines_in_order(lines: list[str], data: st.DataObject) -> None:
    breaks = [data.draw(st.booleans()) for _ in lines]
    found = groups(lines, breaks)
    assert [i for group in found for i in group] == list(range(len(lines)))
    starts = {group.start for group in found}
    assert all(i in starts for i, is_break in enumerate(breaks) if is_break)


def test_lines_without_any_mark_are_not_joined_for_ever() -> None:
    lines = ["and so we went on"] * 100
    assert all(
        sum(len(lines[i]) for i in group) < MAX_JOINED_CHARS + 40
        for group in groups(lines, [False] * 100)
    )


@pytest.mark.parametrize(
    ("fills", "expected"),
    [([True, True], "- Ja /\n- Ja /"), ([True, False], "- Ja /-  /")],
)
def test_of_fewer_words_a_line_is_filled_or_goes_away(fills: list[bool], expected: str) -> None:
    source = "- Well, so /\n- it is /"
    unit = line_unit(source, [(2, 10), (15, 20)], fills)
    assert unit.text == "Well, so it is"
    assert SpanDocument(read(source.encode()), [unit]).translated(["Ja"]).decode() == expected
