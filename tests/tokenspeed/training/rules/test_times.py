"""The same time is said in four languages, and dates in digits are never guessed."""

import random
import re
from itertools import islice

import pytest

from tokenspeed.training.rules.times import date_of_digits, dates, times, written

LANGUAGES = ("en", "de", "fr", "es")


def test_clock_in_digits() -> None:
    assert [written(20, 45, language) for language in LANGUAGES] == [
        "8:45 p.m.",
        "20:45 Uhr",
        "20 h 45",
        "20:45",
    ]
    assert written(0, 5, "en") == "12:05 a.m."


def test_dates_in_digits() -> None:
    assert date_of_digits(5, 11, 2026, "de", "own") == "05.11.2026"
    assert date_of_digits(5, 11, 2026, "en", "month-first") == "11/05/2026"
    assert date_of_digits(5, 11, 2026, "fr", "slashes", is_padded=False) == "5/11/2026"
    assert date_of_digits(5, 11, 2026, "es", "iso") == "2026-11-05"


@pytest.mark.parametrize("language", ["de", "fr", "es"])
def test_a_date_that_reads_in_two_orders_is_copied(language: str) -> None:
    slashed = re.compile(r"\d+/\d+/\d{4}")
    seen = 0
    for pair in islice(dates(language, random.Random(2)), 2000):
        for date in slashed.findall(pair.english):
            day, month, _ = map(int, date.split("/"))
            if max(day, month) <= 12:
                seen += 1
                assert date in pair.foreign
    assert seen


@pytest.mark.parametrize("language", ["de", "fr", "es"])
def test_sentences_are_whole(language: str) -> None:
    for rule in (times, dates):
        for pair in islice(rule(language, random.Random(3)), 500):
            for text in (pair.english, pair.foreign):
                assert re.search(r"[{}]|\.\.|  |\ba el\b|\bde el\b", text) is None
                assert text.rstrip()[-1] in ".?"
