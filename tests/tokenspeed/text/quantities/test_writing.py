"""Digits are written as each language writes them."""

import pytest

from tokenspeed.text.quantities.reading import Quantity
from tokenspeed.text.quantities.writing import (
    write,
    write_date,
    write_number,
    write_ordinal,
    write_time,
)

LANGUAGES = ("en", "de", "fr", "es")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (8804, ("8,804", "8.804", "8 804", "8804")),
        (12345.6, ("12,345.6", "12.345,6", "12 345,6", "12.345,6")),
        (3e6, ("3 million", "3 Millionen", "3 millions", "3 millones")),
        (1e9, ("1 billion", "1 Milliarde", "1 milliard", "1000 millones")),
        (-0.5, ("-0.5", "-0,5", "-0,5", "-0,5")),
    ],
)
def test_numbers(value: float, written: tuple[str, ...]) -> None:
    assert tuple(write_number(value, language) for language in LANGUAGES) == written


def test_years_have_no_mark() -> None:
    assert write_number(1984, "de", is_year=True) == "1984"
    assert write_number(23.5, "en", places=2) == "23.50"


def test_times_dates_and_ordinals() -> None:
    assert [write_time(1245, language, is_exact=True) for language in LANGUAGES] == [
        "8:45 p.m.",
        "20:45 Uhr",
        "20 h 45",
        "20:45",
    ]
    assert write_time(570, "en", is_exact=False) == "9:30"
    assert write_time(540, "de", is_exact=False) == "9 Uhr"
    assert [write_date(1, 5, 2026, language) for language in LANGUAGES] == [
        "May 1, 2026",
        "1. Mai 2026",
        "1er mai 2026",
        "1 de mayo de 2026",
    ]
    assert [write_ordinal(n, "en") for n in (11, 21, 22, 23, 112)] == [
        "11th",
        "21st",
        "22nd",
        "23rd",
        "112th",
    ]
    assert write_ordinal(3, "es", is_feminine=True) == "3.ª"


def test_money_and_percent() -> None:
    money = Quantity(0, 1, "money", 23.5, (0, 1), unit="USD")
    assert [write(money, language) for language in LANGUAGES] == [
        "23.50 dollars",
        "23,50 Dollar",
        "23,50 dollars",
        "23,50 dólares",
    ]
    assert write(Quantity(0, 1, "percent", 5, (0, 1)), "fr") == "5 pour cent"
