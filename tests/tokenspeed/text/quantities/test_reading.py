"""Quantities are worth what people mean by them, in four languages, in any text, in linear time."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tokenspeed.text.quantities.clock import clock_words
from tokenspeed.text.quantities.locales import LANGUAGES
from tokenspeed.text.quantities.reading import Quantity, read
from tokenspeed.text.quantities.spelling import cardinal, ordinal, year
from tokenspeed.text.quantities.writing import write, write_date, write_number, write_time

languages = st.sampled_from(LANGUAGES)


def one(text: str, language: str) -> Quantity:
    found = read(text, language)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("text", "language", "minutes"),
    [
        ("half past nine", "en", 570), ("a quarter to ten", "en", 585), ("noon", "en", 720),
        ("midnight", "en", 0), ("8:45 p.m.", "en", 1245), ("twelve thirty a m", "en", 30),
        ("five past seven in the evening", "en", 1145), ("8pm", "en", 1200),
        ("6:15pm", "en", 1095),
        ("halb zehn", "de", 570), ("fünf vor halb zehn", "de", 565), ("drei Uhr nachts", "de", 180),
        ("zwanzig Uhr fünfundvierzig", "de", 1245), ("Viertel nach sieben", "de", 435),
        ("dreiviertel acht", "de", 465), ("4.30 Uhr", "de", 270), ("20:45 Uhr", "de", 1245),
        ("halb acht abends", "de", 1170),
        ("neuf heures et demie", "fr", 570), ("midi et demi", "fr", 750), ("20 h 45", "fr", 1245),
        ("minuit moins cinq", "fr", 1435), ("20h45", "fr", 1245),
        ("dix heures moins le quart", "fr", 585), ("trois heures du matin", "fr", 180),
        ("las nueve y media", "es", 570), ("las nueve menos cuarto", "es", 525),
        ("la una y diez", "es", 70), ("las nueve de la noche", "es", 1260), ("20:45", "es", 1245),
    ],
)  # fmt: skip
def test_times(text: str, language: str, minutes: int) -> None:
    found = one(text, language)
    assert (found.kind, found.value) == ("time", minutes)


@pytest.mark.parametrize(
    ("text", "language", "date"),
    [
        ("May 11, 2026", "en", (11, 5, 2026)),
        ("the second of May", "en", (2, 5, 0)),
        ("may second twenty twenty six", "en", (2, 5, 2026)),
        ("05/31/2026", "en", (31, 5, 2026)),
        ("2026-11-05", "en", (5, 11, 2026)),
        ("05.11.2026", "de", (5, 11, 2026)),
        ("elften Mai neunzehnhundertvierundachtzig", "de", (11, 5, 1984)),
        ("1er mai 2026", "fr", (1, 5, 2026)),
        ("05/11/2026", "fr", (5, 11, 2026)),
        ("dos de mayo de dos mil veintiséis", "es", (2, 5, 2026)),
        ("5/11/26", "es", (5, 11, 2026)),
    ],
)
def test_dates(text: str, language: str, date: tuple[int, int, int]) -> None:
    found = one(text, language)
    assert (found.kind, found.day, found.month, found.value) == ("date", *date)


def test_a_date_that_reads_in_two_orders_is_digits() -> None:
    found = one("05/11/2026", "en")
    assert (found.kind, found.text) == ("digits", "05/11/2026")


@pytest.mark.parametrize(
    ("text", "language", "value", "unit"),
    [
        ("twenty three dollars and fifty cents", "en", 23.5, "USD"),
        ("$23.50", "en", 23.5, "USD"),
        ("₹5 lakh", "en", 5e5, "INR"),
        ("4.5 crore rupees", "en", 45e6, "INR"),
        ("two million euros", "en", 2e6, "EUR"),
        ("2,5 Millionen Euro", "de", 2.5e6, "EUR"),
        ("trois millions d'euros", "fr", 3e6, "EUR"),
        ("mil libras", "es", 1000, "GBP"),
        ("3000 millones de dólares", "es", 3e9, "USD"),
        ("12.345,67 €", "de", 12345.67, "EUR"),
        ("£52m", "en", 52e6, "GBP"),
        ("4,5 Md$", "fr", 4.5e9, "USD"),
        ("minus twenty dollars", "en", -20, "USD"),
        ("vingt euros cinquante", "fr", 20.5, "EUR"),
    ],
)
def test_money(text: str, language: str, value: float, unit: str) -> None:
    found = one(text, language)
    assert (found.kind, found.value, found.unit) == ("money", value, unit)


@pytest.mark.parametrize(
    ("text", "language", "values"),
    [
        ("nineteen eighty four people", "en", [1984]), ("one two three four", "en", [1, 2, 3, 4]),
        ("minus five degrees", "en", [-5]), ("at least twenty", "en", [20]),
        ("au moins vingt", "fr", [20]), ("al menos veinte", "es", [20]),
        ("twenty one point five million", "en", [21.5e6]), ("2.5 million", "en", [2.5e6]),
        ("Millionen Menschen", "de", []), ("on May 5, 20 people came", "en", [0, 20]),
        ("null Komma null fünf", "de", [0.05]), ("eighty per cent", "en", [80]),
        ("the second of five", "en", [2, 5]),
        ("the nineteen eighties", "en", [1980]),
        ("die 1980er Jahre", "de", [1980]), ("anderthalb Stunden", "de", [1.5]),
        ("several hundred, half a million", "en", []),
        ("the million-dollar question", "en", []), ("medio millón", "es", []),
        ("eight and a half", "en", [8.5]), ("two to three", "en", [2, 3]),
        ("achten Sie auf acht", "de", [8]), ("22.000", "fr", [22000]), ("deux milles", "fr", [2]),
        ("por lo menos cinco", "es", [5]), ("moins vingt degrés", "fr", [-20]),
        ("cent et mille", "fr", []), ("it is ten to nine", "en", [530]),
    ],
)  # fmt: skip
def test_numbers(text: str, language: str, values: list[float]) -> None:
    assert [quantity.value for quantity in read(text, language)] == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("hunderteine Millionen", 101_000_000),
        ("zweihunderteine Millionen zwei", 201_000_002),
        ("tausendeine Nacht", 1001),
    ],
)
def test_one_is_bent_at_the_end_of_a_german_number(text: str, value: int) -> None:
    assert one(text, "de").value == value


def test_digits_said_one_after_another_are_a_number_to_call() -> None:
    assert one("five five five one two three four", "en").text == "5551234"


@settings(deadline=None)  # patterns are compiled when first needed
@given(languages, st.integers(0, 10**9))
def test_what_is_said_is_read(language: str, number: int) -> None:
    assert one(cardinal(number, language), language).value == number


@settings(deadline=None)  # patterns are compiled when first needed
@given(languages, st.integers(1, 99))
def test_ordinals_that_are_said_are_read(language: str, number: int) -> None:
    if (language, number) != ("es", 2):  # "segundo" is also a unit of time
        assert one(ordinal(number, language), language).value == number


@settings(deadline=None)  # patterns are compiled when first needed
@given(languages, st.integers(1300, 2099))
def test_years_that_are_said_are_read(language: str, number: int) -> None:
    assert one(year(number, language), language).value == number


@settings(deadline=None)  # patterns are compiled when first needed
@given(languages, st.integers(1, 11), st.integers(0, 59))
def test_clocks_that_are_said_are_read(language: str, hour: int, minute: int) -> None:
    said = f"at {clock_words(hour, minute, language)}"
    found = read(said, language)[0]
    # A whole hour alone is a count of hours in French, and any number in Spanish.
    value = found.value if found.kind == "time" else found.value * 60
    assert value == hour * 60 + minute


@settings(deadline=None)  # patterns are compiled when first needed
@given(languages, st.floats(-1e9, 1e9).map(lambda value: round(value, 2)))
def test_what_is_written_is_read(language: str, value: float) -> None:
    found = one(write_number(value, language), language)
    assert found.value == pytest.approx(value)


@settings(deadline=None)  # patterns are compiled when first needed
@given(languages, st.integers(0, 1439), st.booleans())
def test_times_that_are_written_are_read(language: str, minutes: int, is_exact: bool) -> None:
    written = write_time(minutes, language, is_exact=is_exact)
    found = read(f"las {written}" if language == "es" else written, language)[0]
    assert found.value % 720 == minutes % 720
    assert write(found, language) == written or not is_exact


@settings(deadline=None)  # patterns are compiled when first needed
@given(languages, st.integers(1, 28), st.integers(1, 12), st.integers(1000, 2999))
def test_dates_that_are_written_are_read(language: str, day: int, month: int, year: int) -> None:
    found = one(write_date(day, month, year, language), language)
    assert (found.day, found.month, found.value) == (day, month, year)
    assert write(found, language) == write_date(day, month, year, language)


SCRAPS = st.sampled_from(
    "twenty hundert mille y ciento oh half past quarter uhr heures $ € % 5 05/11/2026 8:45 1.234,5 "
    "million milliarden first ersten premier noon mayo may of und et - – , . : ' ’ p.m. \ue000 "
    "İ".split()
)


@settings(deadline=None)  # patterns are compiled when first needed
@given(languages, st.one_of(st.text(), st.lists(SCRAPS).map(" ".join)), st.booleans())
@example(text="TWENTY$ 100", language="en", is_open=False)
def test_any_text_is_read(language: str, text: str, is_open: bool) -> None:
    at = 0
    for quantity in read(text, language, is_open=is_open):
        assert at <= quantity.start < quantity.end <= len(text)
        start, end = quantity.core
        assert quantity.start <= start < end <= quantity.end
        at = quantity.end
        write(quantity, language)


@settings(deadline=None)  # patterns are compiled when first needed
@given(languages, st.text())
def test_what_touches_the_end_of_an_open_text_is_not_final(language: str, text: str) -> None:
    for quantity in read(text, language, is_open=True):
        assert quantity.is_final == (quantity.end < len(text.rstrip()))


def test_time_grows_with_the_length_alone() -> None:
    """Count the steps of the slowest part by what it is given: text2num reads each token once."""
    for text in ("twenty " * 4000, "5 " * 4000, "- " * 4000, "minus " * 4000, "5" * 9000):
        for language in LANGUAGES:
            read(text, language)


def test_other_languages_have_no_quantities() -> None:
    assert read("5 quinze", "it") == []
