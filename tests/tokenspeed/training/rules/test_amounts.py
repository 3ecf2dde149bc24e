"""Counts, prices and measures are the same on both sides, and agree with what is counted."""

import random
import re
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from tokenspeed.training.rules import amounts
from tokenspeed.training.rules.frames import Form, Pair

RULES = [amounts.counts, amounts.bare, amounts.money, amounts.measures]


def numbers(text: str) -> list[str]:
    """Return the digits of each number, whatever marks group them."""
    joined = re.sub(r"(?<=\d)[ .,](?=\d{3}(?!\d))", "", text)
    return sorted(re.findall(r"\d+", joined))


@pytest.mark.parametrize("language", ["de", "fr", "es"])
@pytest.mark.parametrize("rule", RULES)
def test_digits_are_the_same_on_both_sides(
    rule: Callable[[str, random.Random], Iterator[Pair]], language: str
) -> None:
    for pair in islice(rule(language, random.Random(1)), 400):
        assert re.search(r"[{}]|\d\.\.|  ", pair.english + pair.foreign) is None
        # A billion is a thousand millions in Spanish.
        is_as_long = language != "es" or "billion" not in pair.english
        if is_as_long and not pair.source.endswith(("-to-foreign", "-to-english")):
            assert numbers(pair.english) == numbers(pair.foreign), pair


def test_words_agree_with_what_is_counted() -> None:
    pages = ("pages", "Seiten", "pages", "páginas", "ff")

    def said(number: int, language: str, form: Form = "words") -> str:
        return amounts._counted(language, form, number=number, noun=pages, is_long=False)

    assert said(21, "fr") == "vingt et une pages"
    assert said(231, "es") == "doscientas treinta y una páginas"
    assert said(3_000_000, "fr") == "trois millions de pages"
    assert said(3_000_000, "es", "digits") == "3 millones de páginas"
    assert said(2_000_000_000, "es", "digits") == "2000 millones de páginas"
    assert said(12, "de", "mixed") == "zwölf Seiten"
    assert said(13, "de", "mixed") == "13 Seiten"


def test_german_plurals_have_a_dative() -> None:
    for name, dative in (("Räume", "Räumen"), ("Fotos", "Fotos"), ("Meter", "Meter")):
        noun = ("", name, "", "", "mm")
        said = amounts._counted("de", "digits", number=5, noun=noun, is_long=False, is_dative=True)
        assert said == f"5 {dative}"


def test_numbers_are_written_as_each_locale_does() -> None:
    written = [amounts.digits(12345, language) for language in ("en", "de", "fr", "es")]
    assert written == ["12,345", "12.345", "12 345", "12.345"]
    assert amounts.digits(1234, "es") == "1234"
