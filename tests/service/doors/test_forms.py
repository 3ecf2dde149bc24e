"""Forms are read as the standard library reads them, at the cost of their runs of escapes."""

from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.doors.forms import PIECE_BYTES, parse_form

PARTS = st.sampled_from(
    ["a", "=", "&", "+", "%", "%4", "%41", "%2B", "%26", "%zz", "你", "%e4%bd%a0"]
)


@given(st.lists(PARTS, max_size=20).map("".join))
def test_it_is_what_the_standard_library_finds(text: str) -> None:
    wanted = parse_qs(text, keep_blank_values=True)
    assert parse_form(text.encode(), 1000) == wanted


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_what_is_sent_arrives(fields: list[tuple[str, str]]) -> None:
    sent: dict[str, list[str]] = {}
    for name, value in fields:
        sent.setdefault(name, []).append(value)
    assert parse_form(urlencode(fields).encode("ascii", "surrogatepass"), 1000) == sent


@given(st.lists(PARTS, min_size=1, max_size=8).map("".join), st.integers(0, 9))
def test_it_does_not_matter_where_a_long_text_is_cut(text: str, shift: int) -> None:
    long = "x" * shift + text * (3 * PIECE_BYTES // len(text))
    assert parse_form(long.encode(), 1 << 20) == parse_qs(long, keep_blank_values=True)


def test_bytes_that_are_no_text_are_marked() -> None:
    assert parse_form(b"q=a%ffb\xff%e4", 9) == {"q": ["a\ufffdb\ufffd\ufffd"]}


def test_too_many_fields_are_refused_before_they_are_read() -> None:
    assert parse_form(b"a&b", 2) == {"a": [""], "b": [""]}
    with pytest.raises(ValueError, match="more than 2 fields"):
        parse_form(b"a&b&", 2)
