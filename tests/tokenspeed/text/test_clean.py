"""Characters as a model knows them: a table of what is removed, and what holds of any text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.clean import clean, compose, fold, read_entities

# Characters that change one another: joiners, marks, pictures, tags, spaces, halves of pairs.
TROUBLE = st.text(
    st.sampled_from(
        "ab é1.,👍🏳🏴👩क\u0627\u05d0ไ\u200b\u200c\u200d\u200e\ufe0f\ufe0e\xad\u0301\u0308\U0001f3fb"
        "\U000e0067\U000e007f\xa0\0\u2028\ud83d\udc4d\ufffd\ufeff\ue001\u094d\u20e3\u0340\u3000\u2011"
    ),
    max_size=8,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We are\nhappy\tto\r\nsee\xa0you\u2003here", "We are happy to see you here"),
        ("Hello\u200bworld", "Hello world"),  # the end of a word, as in web pages
        ("Hello\u200b, world\u200b", "Hello, world"),
        ("ภาษา\u200bไทย", "ภาษาไทย"),
        ("The \xadhyphen and co\xadoperate", "The hyphen and cooperate"),
        ("\ufeffText", "Text"),
        ("a\0b\x07", "ab"),
        ("\u202bright\u202c to \u2066left\u2069\u200e", "right to left"),
        ("שלום\u200f!", "שלום\u200f!"),
        ("👩\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3", "👩\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3"),
        ("a\u200db\ufe0f", "ab"),
        ("क्\u200dष می\u200cخواهم", "क्\u200dष می\u200cخواهم"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0062\U000e007f"),
        ("hi\U000e0067\U000e0062\U000e007f", "hi"),
        ("mine \ue001\uf8ff\U000f0000!", "mine !"),
        ("Ko\u0308nnen", "Können"),
        ("\ud83d\ude00 and \ud83d", "😀 and \ufffd"),
    ],
)
def test_each_kind_of_character_is_treated_by_the_table(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("non\u2011breaking", "-", "non-breaking"),
        ("non\u2011breaking", "-\u2011", "non\u2011breaking"),
        ("\u22125 \u2015 x", "-–", "-5 – x"),
        ("5 ⁄ 7 ﷼", "/", "5 / 7 ﷼"),  # nothing better is known
        ("L'Île", "île", "L'île"),
        ("ﬁn ＡＢ", "finAB", "fin AB"),
        ("don´t", "'", "don't"),
    ],
)
def test_a_variant_is_folded_only_where_the_vocabulary_lacks_it(
    text: str, known: str, expected: str
) -> None:
    assert clean(text, lambda sign: sign in known or sign.isascii()) == expected


@given(st.text() | TROUBLE)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    folded = fold(once, str.isascii)
    assert fold(folded, str.isascii) == folded


@given(TROUBLE)
def test_composed_and_decomposed_text_become_one(text: str) -> None:
    forms = {clean(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert len(forms) == 1


@given(TROUBLE)
def test_text_that_grows_changes_nothing_before_its_last_character(text: str) -> None:
    for n in range(1, len(text)):
        # What is removed does not keep a mark from the letter before.
        kept = next((c for c in text[n:] if clean(f"a{c}") != "a"), "a")
        near = text[n - 1 : n + 2] + kept
        if any(unicodedata.combining(c) or c in "\u200b\ud83d\udc4d" for c in near):
            continue  # what can join the character before it, or tell whether words end there
        before = clean(text[:n])
        assert clean(text).startswith(before.rstrip())


@given(st.text("abc XYZ äöüßéèñ.,;:!?'’„“«»–—…-0123456789€", max_size=40))
def test_text_that_is_clean_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_a_pile_of_marks_is_cut_where_composing_it_would_take_the_square_of_its_length() -> None:
    pile = "a" + "\u0301\u0327" * 5_000
    assert len(compose(pile)) <= 31
    assert compose("a\u0327\u0301") == unicodedata.normalize("NFC", "a\u0327\u0301")


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("¾ cup, 1½ hours", "3/4 cup, 1 1/2 hours"),
        ("20℃, 3㎏", "20°C, 3kg"),
        ("𝓗𝓮𝓵𝓵𝓸", "Hello"),
        ("Nai\u0307ve Z\u0338a\u0337", "Naive Za"),
        ("‚No‘ ›ja‹", "'No' 'ja'"),
    ],
)
def test_what_a_vocabulary_lacks_is_written_with_what_it_has(text: str, folded: str) -> None:
    assert fold(text, str.isascii) == folded
    assert fold(text, lambda sign: True).count("/") == 0


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("caf&eacute; &#233; &#xE9;", "café é é"),
        ("don&#39;t, isn&rsquo;t", "don't, isn’t"),
        (
            "&#39;so&#39; &amp; &nbsp; &lt;b&gt; R&D; AT&T",
            "&#39;so&#39; &amp; &nbsp; &lt;b&gt; R&D; AT&T",
        ),
    ],
)
def test_letters_and_apostrophes_of_html_are_letters(text: str, read: str) -> None:
    assert read_entities(text) == read
