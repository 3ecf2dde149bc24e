"""Pairs with times: times of day, dates, weekdays, and periods between them.

English writes "8:45 p.m." and "May 11, 2026"; German "20:45 Uhr" and "11. Mai 2026"; French
"20 h 45" and "11 mai 2026"; Spanish "20:45" and "11 de mayo de 2026". A date of digits and slashes
in English that could be read in two orders is copied unchanged: nobody can know which is meant.
In the other languages the day always comes first.
"""

import random
from collections.abc import Iterator
from functools import partial
from typing import Final

from babel import Locale

from tokenspeed.text.quantities.clock import clock_words, two_digits
from tokenspeed.text.quantities.spelling import cardinal, ordinal, year
from tokenspeed.training.rules.frames import (
    DIGITS,
    LANGUAGES,
    TO_ENGLISH,
    TO_FOREIGN,
    WORDS,
    Form,
    Pair,
    Slot,
    choose,
    pair_of,
    same,
    say,
)

_LOCALES: Final = {language: Locale.parse(language) for language in LANGUAGES}
MONTHS: Final = {language: _LOCALES[language].months["format"]["wide"] for language in LANGUAGES}
DAYS: Final = {language: _LOCALES[language].days["format"]["wide"] for language in LANGUAGES}

# {t}: with its preposition; {s}: without, as a subject; {d}: with its preposition, a date;
# {w}: a weekday with its preposition; {f}: from one time to another.


def times(language: str, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs with times of day, without end."""
    while True:
        kind = rng.random()
        if kind < 0.55:
            yield _said_time(language, rng)
        elif kind < 0.9:
            yield _written_time(language, rng)
        else:
            yield _span(language, rng)


def dates(language: str, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs with dates and weekdays, without end."""
    while True:
        kind = rng.random()
        if kind < 0.2:
            yield _weekday(language, rng)
        elif kind < 0.7:
            yield _date(language, rng)
        else:
            yield _date_of_digits(language, rng)


_PARTS: Final = {  # after "nine o'clock"; the hours for which all four languages say so
    "morning": (range(6, 12), (" in the morning", " morgens", " du matin", " de la mañana")),
    "afternoon": (
        range(14, 18),
        (" in the afternoon", " nachmittags", " de l'après-midi", " de la tarde"),
    ),
    "evening": (range(19, 22), (" in the evening", " abends", " du soir", " de la noche")),
}
_TO: Final = {"en": "at ", "de": "um ", "fr": "à ", "es": "a "}


def _said_time(language: str, rng: random.Random) -> Pair:
    """Return a pair in words on both sides: "half past nine" and "halb zehn"."""
    slots = {name: _dial(rng) for name in ("t", "t2")}
    if rng.random() < 0.85:
        frame = choose("time", rng)
    else:
        frame = choose("it-is", rng)
        hour, minute = _hour_and_minute(rng)
        is_one = hour == 1 and minute <= 30 or hour == 12 and minute > 30 and not minute % 5
        # A whole hour at noon or midnight has no article in Spanish.
        bare = clock_words(hour, minute, "es")
        is_one = is_one or not bare.startswith("la")
        slots = {
            "s": lambda language, form: clock_words(hour, minute, language),
            "es": same("es " + bare if is_one else "son " + bare),
            "era": same("era " + bare if is_one else "eran " + bare),
        }
    english, foreign = (say(frame, side, slots, form=WORDS) for side in ("en", language))
    return Pair(english, foreign, "rules-times")


def _hour_and_minute(rng: random.Random) -> tuple[int, int]:
    if rng.random() < 0.12:
        return rng.choice((0, 12)), 0
    minute = rng.choice((0, 15, 30, 45, 30, 5 * rng.randrange(12), rng.randrange(1, 60)))
    return rng.randrange(1, 12), minute


def _dial(rng: random.Random) -> Slot:
    hour, minute = _hour_and_minute(rng)
    is_full = rng.random() < 0.7
    part = ("", "", "", "")
    if rng.random() < 0.25 and hour not in (0, 12):
        hours, part = rng.choice(list(_PARTS.values()))
        hour = rng.choice(hours) % 12
        if hour == 0 or 60 - minute < 30 and hour == 11:
            minute = 0 if hour else 30

    def said(language: str, form: Form) -> str:
        text = clock_words(hour, minute, language, is_full=is_full and not part[0])
        return _TO[language] + text + part[LANGUAGES.index(language)]

    return said


def written(hour: int, minute: int, language: str, *, is_24: bool = False) -> str:
    """Return a time of day in digits, as writers write it."""
    if language == "en":
        if is_24:
            return f"{hour}:{minute:02d}"
        text = f"{hour % 12 or 12}:{minute:02d}" if minute else f"{hour % 12 or 12}"
        return f"{text} {'a.m.' if hour < 12 else 'p.m.'}"
    if language == "de":
        return f"{hour}:{minute:02d} Uhr" if minute else f"{hour} Uhr"
    if language == "fr":
        return f"{hour} h {minute:02d}" if minute else f"{hour} h"
    return f"{hour}:{minute:02d}"


def _written_time(language: str, rng: random.Random) -> Pair:
    """Return a pair in digits; the source may use 24 hours, or be in words."""
    frame = choose("time", rng)
    values = [(rng.randrange(24), rng.choice((0, 15, 30, 45, rng.randrange(60)))) for _ in "12"]
    way = rng.random()

    def slots(style: str) -> dict[str, Slot]:
        return {
            name: partial(_at, hour=hour, minute=minute, style=style)
            for name, (hour, minute) in zip(("t", "t2"), values, strict=True)
        }

    def side(language: str, style: str) -> str:
        return say(frame, language, slots(style), form=DIGITS)

    if way < 0.4:
        return Pair(side("en", ""), side(language, ""), "rules-times")
    if way < 0.6:
        style = rng.choice(("24", "pm", "PM", "words"))
        return Pair(side("en", style), side(language, ""), "rules-times" + TO_FOREIGN)
    style = rng.choice(("words", "bare")) if way < 0.85 else "zero"
    if style == "words":  # before noon, "zehn Uhr dreißig" may be in the evening
        values = [(max(hour, 13), minute) for hour, minute in values]
    return Pair(side("en", ""), side(language, style), "rules-times" + TO_ENGLISH)


def _at(language: str, form: Form, *, hour: int, minute: int, style: str) -> str:
    del form
    before = "a la " if language == "es" and hour == 1 else "a las " if language == "es" else None
    before = before or _TO[language]
    if style == "words":
        return before + _said_24(hour, minute, language)
    text = written(hour, minute, language, is_24=style == "24")
    if style in ("pm", "PM") and language == "en":
        text = text.replace(".", "")
        text = text.replace(" ", "") if style == "pm" and minute else text
        text = text.upper() if style == "PM" else text
    if style == "bare" and language == "fr":
        text = f"{hour}h{minute:02d}" if minute else f"{hour} heures"
    if style == "bare" and language == "es":
        text = f"{hour}:{minute:02d} horas"
    if style == "bare" and language == "de":
        text = f"{hour}.{minute:02d} Uhr"
    if style == "zero":
        text = {
            "de": f"{hour:02d}:{minute:02d} Uhr",
            "es": f"{hour:02d}:{minute:02d}",
            "fr": f"{hour:02d}:{minute:02d}",
        }.get(language, text)
    return before + text


def _said_24(hour: int, minute: int, language: str) -> str:
    """Return a time as announcements say it: "twenty forty-five", "zwanzig Uhr fünfundvierzig"."""
    if language == "en":
        half = "a m" if hour < 12 else "p m"
        said = f" {two_digits(minute)}" if minute else ""
        return f"{cardinal(hour % 12 or 12, 'en')}{said} {half}"
    if language == "de":
        return f"{'ein' if hour == 1 else cardinal(hour, 'de')} Uhr" + (
            f" {cardinal(minute, 'de')}" if minute else ""
        )
    if language == "fr":
        name = "heure" if hour < 2 else "heures"
        said = f" {cardinal(minute, 'fr', 'f')}" if minute else ""
        return f"{cardinal(hour, 'fr', 'f')} {name}{said}"
    said = f" y {cardinal(minute, 'es')}" if minute else " en punto"
    return f"{cardinal(hour, 'es', 'f')}{said}" if hour else f"cero horas{said if minute else ''}"


def _span(language: str, rng: random.Random) -> Pair:
    frame = choose("span", rng)
    first, last = sorted(rng.sample(range(1, 12), 2))
    minutes = rng.choice((0, 30, 0)), rng.choice((0, 30, 15))
    if rng.random() < 0.5:
        late = rng.random() < 0.5

        def written_span(language: str, form: Form) -> str:
            start = written(first + 12 * late, minutes[0], language)
            end = written(last + 12 * late, minutes[1], language)
            if language == "de":
                start = start.removesuffix(" Uhr")
            one = {"en": "from", "de": "von", "fr": "de", "es": "de"}[language]
            two = {"en": "to", "de": "bis", "fr": "à", "es": "a"}[language]
            return f"{one} {start} {two} {end}"

        return pair_of(frame, language, {"f": written_span}, "times", rng, 0.0)

    def said_span(language: str, form: Form) -> str:
        start = clock_words(first, minutes[0], language, is_full=False)
        end = clock_words(last, minutes[1], language, is_full=False)
        if language == "de":
            start = start.replace("ein Uhr", "eins").removesuffix(" Uhr")
        if language == "fr":
            return f"de {start} à {end}"
        if language == "es":
            return f"desde {start} hasta {end}"
        return f"from {start} to {end}" if language == "en" else f"von {start} bis {end}"

    english, foreign = (say(frame, side, {"f": said_span}, form=WORDS) for side in ("en", language))
    return Pair(english, foreign, "rules-times")


def _weekday(language: str, rng: random.Random) -> Pair:
    frame = choose("weekday", rng)
    days, (hour, minute) = rng.sample(range(7), 2), _hour_and_minute(rng)
    is_next = rng.random() < 0.2

    def on(day: int) -> Slot:
        def said(language: str, form: Form) -> str:
            name = DAYS[language][day]
            if frame[0].startswith("See you"):
                return {"en": f"on {name}", "de": name, "fr": name, "es": f"el {name}"}[language]
            if is_next:
                return {
                    "en": f"next {name}",
                    "de": f"nächsten {name}",
                    "fr": f"{name} prochain",
                    "es": f"el próximo {name}",
                }[language]
            if "museum" in frame[0]:
                plural = name if name.endswith("s") else name + "s"
                return {
                    "en": f"on {name}s",
                    "de": f"{name.lower()}s",
                    "fr": f"le {name}",
                    "es": f"los {plural}",
                }[language]
            return {"en": f"on {name}", "de": f"am {name}", "fr": f"{name}", "es": f"el {name}"}[
                language
            ]

        return said

    slots: dict[str, Slot] = {
        "w": on(days[0]),
        "w2": on(days[1]),
        "t": lambda language, form: _TO[language] + clock_words(hour, minute, language),
    }
    english, foreign = (say(frame, side, slots, form=WORDS) for side in ("en", language))
    return Pair(english, foreign, "rules-dates")


def _date(language: str, rng: random.Random) -> Pair:
    """Return a pair of dates with the month's name, the day in words or in digits."""
    frame = choose("date" if rng.random() < 0.75 else "date-time", rng)
    has_year = rng.random() < 0.5 or frame[0].startswith("She was born")
    has_day = rng.random() < 0.2 and "{d2}" not in frame[0]
    style = rng.random()
    slots: dict[str, Slot] = {}
    for name in ("d", "d2"):
        month = rng.randrange(1, 13)
        day = rng.randrange(1, 31 if month != 2 else 29)
        slots[name] = partial(
            _on_date,
            day=day,
            month=month,
            number=rng.randrange(1900, 2040) if has_year else 0,
            weekday=rng.randrange(7) if has_day else None,
            style=style,
        )
    hour, minute = rng.randrange(24), rng.choice((0, 15, 30, 45))
    slots["t"] = lambda language, form: (
        _said_dial(hour, minute, language)
        if form == WORDS
        else _at(language, DIGITS, hour=hour, minute=minute, style="")
    )
    has_time = "{t}" in frame[0]
    return pair_of(frame, language, slots, "dates", rng, 0.0 if has_time else 0.45)


def _said_dial(hour: int, minute: int, language: str) -> str:
    return _TO[language] + clock_words(hour % 12 or 12, minute, language)


def _on_date(
    language: str,
    form: Form,
    *,
    day: int,
    month: int,
    number: int,
    weekday: int | None,
    style: float,
) -> str:
    name = MONTHS[language][month]
    of_year = (year(number, language) if form == WORDS else str(number)) if number else ""
    on_day = "" if weekday is None else DAYS[language][weekday]
    if language == "en":
        if form == WORDS and style < 0.5:
            text = f"the {ordinal(day, 'en')} of {name}" + (f" {of_year}" if number else "")
        elif form == WORDS:
            text = f"{name} {ordinal(day, 'en')}" + (f", {of_year}" if number else "")
        else:
            text = f"{name} {day}" + (f", {of_year}" if number else "")
        return f"on {on_day}, {text}" if on_day else f"on {text}"
    if language == "de":
        said = f"{ordinal(day, 'de')}n" if form == WORDS else f"{day}."
        text = f"{said} {name}" + (f" {of_year}" if number else "")
        return f"am {on_day}, dem {text}," if on_day else f"am {text}"
    if language == "fr":
        said = "premier" if day == 1 else cardinal(day, "fr")
        said = said if form == WORDS else "1er" if day == 1 else str(day)
        text = f"{said} {name}" + (f" {of_year}" if number else "")
        return f"le {on_day} {text}" if on_day else f"le {text}"
    said = cardinal(day, "es") if form == WORDS else str(day)
    text = f"{said} de {name}" + (f" de {of_year}" if number else "")
    return f"el {on_day} {text}" if on_day else f"el {text}"


def _date_of_digits(language: str, rng: random.Random) -> Pair:
    """Return a pair of 05.11.2026, 05/11/2026 or 2026-11-05."""
    frame = choose("date", rng)
    month, number = rng.randrange(1, 13), rng.randrange(1950, 2040)
    days = [rng.randrange(1, 29), rng.randrange(1, 29)]
    is_padded, way = rng.random() < 0.7, rng.random()
    on = {"en": "on ", "de": "am ", "fr": "le ", "es": "el "}

    def slot(style: str, day: int) -> Slot:
        return lambda language, form: (
            on[language] + date_of_digits(day, month, number, language, style, is_padded=is_padded)
        )

    def side(language: str, style: str) -> str:
        slots = {"d": slot(style, days[0]), "d2": slot(style, days[1])}
        return say(frame, language, slots, form=DIGITS)

    def named(language: str) -> str:
        slots: dict[str, Slot] = {
            key: partial(_on_date, day=day, month=month, number=number, weekday=None, style=0.9)
            for key, day in zip(("d", "d2"), days, strict=True)
        }
        return say(frame, language, slots, form=DIGITS)

    if way < 0.15:
        return Pair(side("en", "iso"), side(language, "iso"), "rules-dates")
    if way < 0.55:
        return Pair(named("en"), side(language, "own"), "rules-dates" + TO_ENGLISH)
    if max(days) > 12 and min(days) > 12:  # only one reading
        return Pair(side("en", "month-first"), side(language, "own"), "rules-dates" + TO_FOREIGN)
    days = [min(day, 12) for day in days]
    return Pair(side("en", "slashes"), side(language, "slashes"), "rules-dates" + TO_FOREIGN)


def date_of_digits(
    day: int, month: int, number: int, language: str, style: str, *, is_padded: bool = True
) -> str:
    """Return a date in digits: `own` of the language, `month-first`, `slashes` or `iso`."""
    if style == "iso":
        return f"{number}-{month:02d}-{day:02d}"
    width = 2 if is_padded else 1
    first, second = f"{day:0{width}d}", f"{month:0{width}d}"
    if style == "month-first" and language == "en":
        first, second = second, first
    mark = "." if language == "de" and style != "slashes" else "/"
    return mark.join((first, second, str(number)))
