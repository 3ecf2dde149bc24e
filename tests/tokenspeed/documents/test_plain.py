"""Plain text: paragraphs and lines stay."""

from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.documents.translators import same, shout, translate
from tokenspeed.documents.plain import open_plain

TEXT = """A title

This is a long paragraph that somebody has wrapped at
the end of a line, as people do. It goes on
and ends here.

- one item
- another item
  1. a number

> quoted words
Roses are red
Violets are blue
***
"""


def test_wrapped_sentences_are_one_and_items_are_not() -> None:
    assert open_plain(TEXT.encode(), "de").texts == (
        "A title",
        "This is a long paragraph that somebody has wrapped at the end of a line, as people do."
        " It goes on and ends here.",
        "one item",
        "another item",
        "a number",
        "quoted words",
        "Roses are red",
        "Violets are blue",
    )
    assert translate(open_plain(TEXT.encode(), "de"), shout) == TEXT.upper()


@given(st.text("ab. -*1)\r\n\t>", max_size=60))
def test_any_text_survives(text: str) -> None:
    document = open_plain(text.encode(), "de")
    assert same(document) == text.encode()
    assert all(each == each.strip() != "" for each in document.texts)
    assert translate(document, shout).count("\n") == text.count("\n")


@given(st.binary(max_size=40))
def test_any_bytes_survive(data: bytes) -> None:
    assert same(open_plain(data, "de")) == data
