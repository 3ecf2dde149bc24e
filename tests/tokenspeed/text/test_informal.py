"""Words as people write what they hear: drawn out, stammered, said again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.informal import plainly_spelled

KNOWN = (
    "so no good love way yes hey what too see please thank you nein ja sehr qué bueno hola oui trop"
    " bien finally toll cool"
).split()


def count_pieces(word: str) -> int:
    """A vocabulary that has these words, and letters for all others."""
    return 1 if word.lower() in KNOWN else len(word)


@pytest.mark.parametrize(
    ("text", "language", "plain"),
    [
        ("sooooo good!!!! I loooove it", "en", "so good!!!! I love it"),
        ("Noooo waaaay, yesss, finallyyyy", "en", "No way, yes, finally"),
        ("toooo seee goooood cooool", "en", "too see good cool"),
        ("Jaaa, seeehr", "de", "Ja, seeehr"),  # "Kaffeeernte" is a word
        ("Ouiii, trooop bien", "fr", "Oui, trop bien"),
        ("Holaaaa, qué buenoooo", "es", "Hola, qué bueno"),
        ("b-b-but I d-didn't, W-what? I-I don't", "en", "but I didn't, what? I don't"),
        ("D-Do you think th-that is right?", "en", "Do you think that is right?"),
        ("the- the- the thing", "en", "the thing"),
        ("very very very very very big", "en", "very very very big"),
    ],
)
def test_the_plain_word_is_read(text: str, language: str, plain: str) -> None:
    assert plainly_spelled(text, count_pieces, language) == plain


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Henry VIII, John XXIII, AAA, IEEE, mmm, www", "en"),
        ("Die Schifffahrt und die Kaffeeernte", "de"),
        ("a t-test, a T-Test, D-Day, e-education, an S-shaped co-counsel", "en"),
        ("eine M-Mission", "de"),
        ("one one two two, zero zero zero zero zero", "en"),
        ("good, too, see", "en"),
    ],
)
def test_what_is_written_so_stays(text: str, language: str) -> None:
    assert plainly_spelled(text, count_pieces, language) == text


@given(st.text("aob -.I", max_size=60), st.sampled_from(["en", "de", None]))
def test_no_letter_is_added(text: str, language: str | None) -> None:
    plain = plainly_spelled(text, count_pieces, language)
    assert len(plain) <= len(text)
    left = iter(text)
    assert all(letter in left for letter in plain)  # in their order


@given(st.text(max_size=80))
def test_a_vocabulary_that_tells_nothing_changes_no_letters(text: str) -> None:
    joined = text.replace("-", " ")
    shown = plainly_spelled(joined, lambda word: 1, None)
    assert set(shown.split()) == set(joined.split())
