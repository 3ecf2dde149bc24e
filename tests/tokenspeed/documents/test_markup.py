"""Tokens of HTML and XML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.documents.markup import Token, escaped, partners, tokens, whole_elements

ALONE, RAW = frozenset({"br"}), frozenset({"script"})


def cut(text: str) -> list[tuple[str, str]]:
    found = tokens(text, 0, len(text), ALONE, RAW)
    return [(token.kind, text[token.start : token.end]) for token in found]


@given(st.text("<>/!-ab='\"br sript?[]CDT", max_size=40))
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(part for _, part in cut(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a<b x='1>2'>c</b>",
            [("text", "a"), ("start", "<b x='1>2'>"), ("text", "c"), ("end", "</b>")],
        ),
        ("<BR><x/>", [("single", "<BR>"), ("single", "<x/>")]),
        ("1 < 2", [("text", "1 "), ("text", "<"), ("text", " 2")]),
        ("<a title=it's>x", [("start", "<a title=it's>"), ("text", "x")]),
        ("<script>a<b></script>", [("start", "<script>"), ("other", "a<b>"), ("end", "</script>")]),
        ("<!-- a > b -->c", [("other", "<!-- a > b -->"), ("text", "c")]),
        ("<![CDATA[ a > b ]]>c", [("other", "<![CDATA[ a > b ]]>"), ("text", "c")]),
        ("a<!doctype html>", [("text", "a"), ("other", "<!doctype html>")]),
        ("a<b c", [("text", "a"), ("other", "<b c")]),
        ("<ns:é>x", [("start", "<ns:é>"), ("text", "x")]),
    ],
)
def test_what_a_part_is(text: str, expected: list[tuple[str, str]]) -> None:
    assert cut(text) == expected


def test_pairs_are_found_from_the_inside() -> None:
    text = "<b>x<i>y</i></b><b></i>"
    assert partners(list(tokens(text, 0, len(text)))) == {0: 5, 5: 0, 2: 4, 4: 2}


def test_an_element_becomes_one_token_to_its_own_end() -> None:
    text = "a<k>b<k>c</k></k>d<k>e"

    def is_kept(token: Token) -> str | None:
        return "word" if token.name == "k" else None

    found = whole_elements(list(tokens(text, 0, len(text))), is_kept)  # type: ignore[arg-type]
    assert [(token.kind, text[token.start : token.end]) for token in found] == [
        ("text", "a"),
        ("word", "<k>b<k>c</k></k>"),
        ("text", "d"),
        ("word", "<k>e"),
    ]


def test_nothing_of_a_text_is_read_as_a_tag() -> None:
    assert escaped("a < b & <c>\xa0") == "a &lt; b &amp; &lt;c&gt;\xa0"
    assert escaped("\xa0", has_nbsp=True) == "&nbsp;"
