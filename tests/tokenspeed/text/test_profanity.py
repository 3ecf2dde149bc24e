"""Swear words with stars."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.profanity import mask


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("What the fuck is this Shit?", "en", "What the f*** is this S***?"),
        ("So eine Scheiße, du Arschloch.", "de", "So eine S******, du A********."),
        ("Quel connard, putain !", "fr", "Quel c******, p***** !"),
        ("¡Mierda, joder!", "es", "¡M*****, j****!"),
        ("Scunthorpe, Dickens, shiitake and a class", "en", None),
        ("fuck", "xx", None),
    ],
)
def test_only_whole_words_of_the_language_get_stars(
    text: str, language: str, expected: str | None
) -> None:
    assert mask(text, language) == (text if expected is None else expected)


@given(st.text())
def test_the_length_stays(text: str) -> None:
    assert len(mask(text + " shit", "en")) == len(text) + 5
