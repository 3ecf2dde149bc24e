"""The same time is said in four languages, and dates in digits are never guessed."""

import random
import re
from itertools import islice

import pytest

from tokenspeed.training.rules.times import clock_words, date_of_digits, dates, times, written

LANGUAGES = ("en", "de", "fr", "es")


@pytest.mark.parametrize(
    ("hour", "minute", "said"),
    [
        (9, 30, ("half past nine", "halb zehn", "neuf heures et demie", "las nueve y media")),
        (7, 15, ("a quarter past seven", "Viertel nach sieben", "sept heures et quart",
                 "las siete y cuarto")),
        (12, 45, ("a quarter to one", "Viertel vor eins", "une heure moins le quart",
                  "la una menos cuarto")),
        (11, 50, ("ten to twelve", "zehn vor zwölf", "midi moins dix", "las doce menos diez")),
        (1, 0, ("one o'clock", "ein Uhr", "une heure", "la una")),
        (12, 0, ("noon", "zwölf Uhr mittags", "midi", "mediodía")),
        (0, 0, ("midnight", "Mitternacht", "minuit", "medianoche")),
        (4, 7, ("four oh seven", "vier Uhr sieben", "quatre heures sept", "las cuatro y siete")),
        (8, 21, ("eight twenty-one", "acht Uhr einundzwanzig", "huit heures vingt et une",
                 "las ocho y veintiuno")),
        (10, 35, ("twenty-five to eleven", "fünf nach halb elf", "onze heures moins vingt-cinq",
                  "las once menos veinticinco")),
    ],
)  # fmt: skip
def test_clock_in_words(hour: int, minute: int, said: tuple[str, ...]) -> None:
    assert tuple(clock_words(hour, minute, language) for language in LANGUAGES) == said


def test_clock_in_digits() -> None:
    assert [written(20, 45, language) for language in LANGUAGES] == [
        "8:45 p.m.", "20:45 Uhr", "20 h 45", "20:45",
    ]  # fmt: skip
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
