"""Quantities in digits, as each of the four languages writes them.

Times are on a dial of 24 hours but in English. `babel` formats numbers and dates the same way, and
needs 30 µs a number, which is too much for every update of every caption.
"""

import math
from typing import Final

from tokenspeed.text.quantities.locales import month_name, words
from tokenspeed.text.quantities.reading import Quantity

_SCALES: Final = {  # of 10**6 and 10**9: for one, for more
    "en": {6: ("million", "million"), 9: ("billion", "billion")},
    "de": {6: ("Million", "Millionen"), 9: ("Milliarde", "Milliarden")},
    "fr": {6: ("million", "millions"), 9: ("milliard", "milliards")},
    "es": {6: ("millón", "millones")},
}
_CURRENCIES: Final = {  # in the plural, which "1.50" also takes
    "en": {"USD": "dollars", "EUR": "euros", "GBP": "pounds", "JPY": "yen", "CHF": "francs",
           "MXN": "pesos", "INR": "rupees"},
    "de": {"USD": "Dollar", "EUR": "Euro", "GBP": "Pfund", "JPY": "Yen", "CHF": "Franken",
           "MXN": "Peso", "INR": "Rupien"},
    "fr": {"USD": "dollars", "EUR": "euros", "GBP": "livres", "JPY": "yens", "CHF": "francs",
           "MXN": "pesos", "INR": "roupies"},
    "es": {"USD": "dólares", "EUR": "euros", "GBP": "libras", "JPY": "yenes", "CHF": "francos",
           "MXN": "pesos", "INR": "rupias"},
}  # fmt: skip
_PERCENT: Final = {"en": " percent", "de": " Prozent", "fr": " pour cent", "es": " por ciento"}
_MOST_WHOLE: Final = 1e15  # above, floats skip numbers


def write(quantity: Quantity, language: str) -> str:
    """Return a quantity in digits, as the language writes it.

    Raises:
        KeyError: the language is none of the four.
    """
    if quantity.kind == "time":
        return write_time(int(quantity.value), language, is_exact=quantity.is_exact)
    if quantity.kind == "date":
        return write_date(quantity.day, quantity.month, int(quantity.value), language)
    if quantity.kind == "digits":
        return quantity.text
    if quantity.kind == "ordinal":
        return write_ordinal(int(quantity.value), language)
    if quantity.kind == "money":
        number = write_number(quantity.value, language, places=2 if quantity.value % 1 else 0)
        name = _CURRENCIES[language][quantity.unit]
        if number[-1].isalpha() and language in ("fr", "es"):
            return (
                f"{number} d'{name}"
                if language == "fr" and name[0] == "e"
                else f"{number} de {name}"
            )
        return f"{number} {name}"
    number = write_number(quantity.value, language)
    if quantity.kind == "percent":
        return number + _PERCENT[language]
    return number


def write_number(value: float, language: str, *, is_year: bool = False, places: int = 0) -> str:
    """Return a number with the marks of a language; whole millions keep their word.

    Args:
        is_year: without a mark between thousands.
        places: decimals at least.
    """
    known = words(language)
    if abs(value) >= _MOST_WHOLE or math.isnan(value):
        return f"{value:.0f}"
    for zeros in (9, 6):
        names = _SCALES[language].get(zeros)
        # "2.5 million" and "3.2 billion", but "1,250,000".
        step = 10**zeros // 2 if zeros < 9 else 10 ** (zeros - 1)
        if names and abs(value) >= 10**zeros and value % step == 0:
            count = value / 10**zeros
            return f"{write_number(count, language)} {names[abs(count) != 1]}"
    text = f"{abs(value):,.6f}".rstrip("0").rstrip(".")
    whole, _, decimals = text.partition(".")
    decimals = decimals.ljust(places, "0")
    is_short = is_year or (language == "es" and abs(value) < 10_000)
    whole = whole.replace(",", "" if is_short else known.group)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}{known.decimal}{decimals}" if decimals else f"{sign}{whole}"


def write_time(minutes: int, language: str, *, is_exact: bool) -> str:
    """Return a time of day.

    Args:
        minutes: after midnight.
        is_exact: the half of the day is known; English says so.
    """
    hour, minute = divmod(minutes % (24 * 60), 60)
    if not is_exact:
        hour = hour % 12 or 12
    if language == "en" and is_exact:
        said = f"{hour % 12 or 12}:{minute:02d}" if minute else f"{hour % 12 or 12}"
        return f"{said} {'a.m.' if hour < 12 else 'p.m.'}"
    if language == "de":
        return f"{hour}:{minute:02d} Uhr" if minute else f"{hour} Uhr"
    if language == "fr":
        return f"{hour} h {minute:02d}" if minute else f"{hour} h"
    return f"{hour}:{minute:02d}"


def write_date(day: int, month: int, year: int, language: str) -> str:
    """Return a date with the name of its month; year 0 means none."""
    name = month_name(month, language)
    if language == "en":
        return f"{name} {day}, {year}" if year else f"{name} {day}"
    if language == "de":
        return f"{day}. {name} {year}" if year else f"{day}. {name}"
    if language == "fr":
        said = "1er" if day == 1 else str(day)
        return f"{said} {name} {year}" if year else f"{said} {name}"
    return f"{day} de {name} de {year}" if year else f"{day} de {name}"


def write_roman(number: int) -> str:
    """Return a Roman numeral up to 39, for centuries."""
    ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
    return "X" * (number // 10) + ones[number % 10]


def write_ordinal(number: int, language: str, *, is_feminine: bool = False) -> str:
    """Return an ordinal: "21st", "21.", "21e", "21.º"."""
    if language == "en":
        is_teen = number % 100 // 10 == 1
        return f"{number}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
    if language == "fr":
        first = "1re" if is_feminine else "1er"
        return first if number == 1 else f"{number}e"
    if language == "es":
        return f"{number}.{'ª' if is_feminine else 'º'}"
    return f"{number}."
