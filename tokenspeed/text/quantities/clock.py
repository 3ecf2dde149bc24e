"""Times of day in words: "half past nine", "halb zehn", "neuf heures et demie".

They are on a twelve-hour clock, as people say them. No library does this; `locales` has how they
are read.
"""

from tokenspeed.text.quantities.spelling import cardinal


def clock_words(hour: int, minute: int, language: str, *, is_full: bool = True) -> str:
    """Return a time on a twelve-hour clock in words, without a preposition.

    Args:
        hour: 1 to 12, or 0 for midnight; 12 is noon.
        is_full: with "o'clock" and "a quarter", where English has a choice.
    """
    return {"en": _english, "de": _german, "fr": _french, "es": _spanish}[language](
        hour, minute, is_full
    )


def _english(hour: int, minute: int, is_full: bool) -> str:
    if minute == 0 and hour in (0, 12):
        return "noon" if hour else "midnight"
    if minute == 0:
        return f"{cardinal(hour, 'en')} o'clock" if is_full else cardinal(hour, "en")
    if minute % 5 and minute != 59:
        return f"{cardinal(hour, 'en')} {two_digits(minute)}"
    past = minute <= 30
    count = minute if past else 60 - minute
    near = cardinal(hour if past else _next(hour), "en")
    amount = {15: "a quarter" if is_full else "quarter", 30: "half"}.get(count)
    amount = amount or cardinal(count, "en")
    if count == 1:
        amount = "one minute"
    return f"{amount} {'past' if past else 'to'} {near}"


def two_digits(minute: int) -> str:
    """Return minutes as English says them after an hour: "oh five", "seventeen"."""
    return f"oh {cardinal(minute, 'en')}" if minute < 10 else cardinal(minute, "en")


def _german(hour: int, minute: int, is_full: bool) -> str:
    if minute == 0 and hour in (0, 12):
        return "zwölf Uhr mittags" if hour else "Mitternacht"
    here, near = cardinal(hour or 12, "de"), cardinal(_next(hour), "de")
    clock = "ein" if hour == 1 else here
    if minute == 0:
        return f"{clock} Uhr"
    if minute % 5 and minute != 59:
        return f"{clock} Uhr {cardinal(minute, 'de')}"
    return {
        5: f"fünf nach {here}",
        10: f"zehn nach {here}",
        15: f"Viertel nach {here}",
        20: f"zwanzig nach {here}",
        25: f"fünf vor halb {near}",
        30: f"halb {near}",
        35: f"fünf nach halb {near}",
        40: f"zwanzig vor {near}",
        45: f"Viertel vor {near}",
        50: f"zehn vor {near}",
        55: f"fünf vor {near}",
        59: f"eine Minute vor {near}",
    }[minute]


def _french(hour: int, minute: int, is_full: bool) -> str:
    if minute == 59:
        return f"{_french_hour(_next(hour))} moins une"
    here = _french_hour(hour)
    half = "et demi" if hour in (0, 12) else "et demie"
    if minute == 0:
        return here
    if minute == 45 or (minute > 30 and minute % 5 == 0):
        count = "le quart" if minute == 45 else cardinal(60 - minute, "fr")
        return f"{_french_hour(_next(hour) if hour != 11 else 12)} moins {count}"
    return f"{here} {({15: 'et quart', 30: half}).get(minute) or cardinal(minute, 'fr', 'f')}"


def _french_hour(hour: int) -> str:
    if hour in (0, 12):
        return "midi" if hour else "minuit"
    return "une heure" if hour == 1 else f"{cardinal(hour, 'fr', 'f')} heures"


def _spanish(hour: int, minute: int, is_full: bool) -> str:
    if minute == 0 and hour in (0, 12):
        return "mediodía" if hour else "medianoche"
    is_before = minute == 59 or (minute > 30 and minute % 5 == 0)
    at = _next(hour) if is_before else hour or 12
    here = f"la{'' if at == 1 else 's'} {cardinal(at, 'es', 'f')}"
    if minute == 0:
        return here
    count = 60 - minute if is_before else minute
    amount = {15: "cuarto", 30: "media"}.get(count) or cardinal(count, "es")
    if count == 1:
        amount = "un minuto"
    return f"{here} {'menos' if is_before else 'y'} {amount}"


def _next(hour: int) -> int:
    return hour % 12 + 1
