"""XML: which tags part sentences, and that all of them stay."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.documents.translators import ALL, same, shout, translate
from tokenspeed.documents.markup import tokens
from tokenspeed.documents.xml import open_text

XML = st.recursive(
    st.text("ab .", min_size=1, max_size=6),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(st.sampled_from(["p", "x:b", "k"]), inner).map(
            lambda t: f"<{t[0]} n='1'>{t[1]}</{t[0]}>"
        ),
        inner.map(lambda t: f"{t}<nl/>"),
    ),
    max_leaves=8,
)


@given(XML)
def test_an_unchanged_text_survives(text: str) -> None:
    assert same(open_text(text)).decode() == text
    assert same(open_text(text, ["p"], ["k"], is_outline_seen=False)).decode() == text


@given(XML, st.sampled_from(ALL), st.booleans())
def test_no_tag_is_lost(text: str, translator: Callable[[str], str], is_outline_seen: bool) -> None:
    written = translate(open_text(text, ignored=["k"], is_outline_seen=is_outline_seen), translator)

    def tags(source: str) -> list[str]:
        found = tokens(source, 0, len(source))
        return sorted(source[t.start : t.end] for t in found if t.kind != "text")

    assert tags(written) == tags(text)


@pytest.mark.parametrize(
    ("text", "options", "texts"),
    [
        ("Hello <b>world</b>", {}, ["Hello <g1>world</g1>"]),
        ("<d><p>One.</p><p>Two <i>x</i></p></d>", {}, ["One.", "Two <g1>x</g1>"]),
        ("<p>One.</p><p>Two</p>", {"is_outline_seen": False}, ["<g1>One.</g1><g2>Two</g2>"]),
        ("One <br/> two", {"splitting": ["br"]}, ["One", "two"]),
        ("One <par>two</par>", {"splitting": ["par"], "is_outline_seen": False}, ["One", "two"]),
        ("<p>One</p><p>two</p>", {"joining": ["p"]}, ["<g1>One</g1><g2>two</g2>"]),
        ("Open <x>Name</x> now", {"ignored": ["x"]}, ["Open {x1} now"]),
        ("a &amp; b<!-- c -->", {}, ["a & b"]),
    ],
)
def test_texts_of_elements(text: str, options: dict[str, list[str]], texts: list[str]) -> None:
    document = open_text(text, **options)  # type: ignore[arg-type]
    assert list(document.texts) == texts
    assert same(document).decode() == text
    assert translate(document, shout).replace("&AMP;", "&amp;").lower() == text.lower()
