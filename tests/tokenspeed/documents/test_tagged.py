"""Tags among words: none is lost, whatever a translator does."""

from collections.abc import Callable

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.documents.translators import ALL
from tokenspeed.documents.tagged import Tag, Tagged, parse, raw

_TAG = regex.compile(r"<[^<>]*>")
WORDS = st.text("ab c.", min_size=1, max_size=8)
TEXTS = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(" ".join),
        st.tuples(st.sampled_from("bi"), inner).map(lambda t: f"<{t[0]}>{t[1]}</{t[0]}>"),
        inner.map(lambda text: f"{text}<br>"),
    ),
    max_leaves=6,
)


@given(TEXTS)
def test_an_unchanged_text_comes_back(text: str) -> None:
    tagged = parse(text, _TAG)
    assert raw(tagged.restored(tagged.text)) == text
    assert raw(tagged.restored(tagged.text, in_order=True)) == text


@given(TEXTS, st.sampled_from(ALL), st.booleans())
def test_no_tag_is_lost_and_pairs_stay_pairs(
    text: str, translator: Callable[[str], str], in_order: bool
) -> None:
    tagged = parse(text, _TAG)
    found = tagged.restored(translator(tagged.text), in_order=in_order)
    tags = [piece for piece in found if isinstance(piece, Tag)]
    assert sorted(tag.raw for tag in tags) == sorted(_TAG.findall(text))
    assert [tag.raw for tag in tags] == _TAG.findall(text) or not in_order
    opened = []
    for tag in tags:
        if tag.kind == "start":
            opened.append(tag.number)
        elif tag.kind == "end":
            assert opened.pop() == tag.number
    assert opened == []


@given(TEXTS, st.text("<>/gx12 ab", max_size=30))
def test_whatever_is_answered_no_tag_is_lost(text: str, answer: str) -> None:
    found = parse(text, _TAG).restored(answer)
    tags = [piece.raw for piece in found if isinstance(piece, Tag)]
    assert sorted(tags) == sorted(_TAG.findall(text))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Die <g1>große</g1> Katze", "Die <b>große</b> Katze"),
        ("<g1>Große</g1> Katze", "<b>Große</b> Katze"),  # words round a tag may go
        ("Die große Katze", "Die <b>große</b> Katze"),  # by its share of the text
        ("Die <g1></g1> große Katze", "Die <b>große</b> Katze"),
        ("Die </g1>große<g1> Katze", "Die <b>große</b> Katze"),
        ("Die <g1>große</g1> <g1>Katze</g1>", "Die <b>große</b> Katze"),
        ("DIE <G1>GROSSE</G1> KATZE", "DIE <b>GROSSE</b> KATZE"),
        ("", "<b></b>"),
    ],
)
def test_a_tag_stands_at_its_words(answer: str, expected: str) -> None:
    tagged = parse("The <b>large</b> cat", _TAG)
    assert tagged.text == "The <g1>large</g1> cat"
    assert raw(tagged.restored(answer)) == expected


def test_words_may_change_places_unless_they_must_not() -> None:
    tagged = parse("<i>red</i> <b>house</b> ", _TAG)
    answer = "<g3>maison</g3> <g1>rouge</g1>"
    assert raw(tagged.restored(answer)) == "<b>maison</b> <i>rouge</i>"
    assert raw(tagged.restored(answer, in_order=True)) == "<i>maison</i> <b>rouge</b>"


def test_a_single_tag_keeps_its_space() -> None:
    tagged = Tagged(["see ", Tag("<img>", "single", 1), " here"])
    assert raw(tagged.restored("siehe hier")) == "siehe <img> hier"
