"""What is computed rather than guessed: numbers for the model to copy, and a check of its output.

Before a translation, numbers in words become digits (`find`), which a model copies, where it would
guess at words. After it, every quantity of the source is looked for by its value (`check`), and a
wrong one is corrected if it is clear which it is (`repair`). Knows two languages and no model.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from tokenspeed.text.quantities.locales import LANGUAGES, SIGNS, words
from tokenspeed.text.quantities.reading import Quantity, read
from tokenspeed.text.quantities.spelling import cardinal
from tokenspeed.text.quantities.writing import (
    write,
    write_date,
    write_number,
    write_ordinal,
    write_roman,
    write_time,
)

_IN_WORDS: Final = 12  # up to here a writer uses words, and a model knows them well
_MOST_SPELLED: Final = 100
_ROUND: Final = frozenset({1e2, 1e3, 1e6, 1e9})  # "thanks a thousand times", "cent fois"
_ONE: Final = re.compile(r"^(?:an?|one|eine?|une?)[ -]")
_NOON: Final = ("noon", "midday")  # English; models know the words of the other languages
_BEGINS: Final = ".!?…:;\"'“”„«»‘’¿¡()[]-–—>"  # a sentence may begin after it
_AT: Final = frozenset(  # French words before a time, as opposed to a number of hours
    "à a vers avant après dès jusqu'à jusqu’à est était sera déjà de et entre".split()
)
_HALF_DAY: Final = 12 * 60
_CENTURY: Final = 1900  # added to decades without a century
_CLOSE: Final = 1e-6
_LONGEST_PARTED: Final = 1e12
_GAP: Final = re.compile(r"[,.]?[ \u00a0\u202f]")
_TWO_GROUPS: Final = re.compile(r"(?<![\d.,])(\d{1,3})(?=[,.]?[ \u00a0\u202f](\d{3}))")
MAX_COMPARED: Final = 1000  # pairs of quantities; a text with more is all figures, and not checked
_SHORT_SCALE: Final = re.compile(r"\d ?(?:bn|[mMkK]|[Ll]akhs?|[Cc]rores?)$")  # models lose these
_AFTER_NOON: Final = re.compile(r"(?:1[3-9]|2[0-3])[:.]\d\d")
_LATE_HOUR: Final = re.compile(r"(?<![\d:.,])(1[3-9]|2[0-3]) p\. ?m\.")
_LATE_HOUR_EN: Final = re.compile(r"(?<![\d:.,])(1[3-9]|2[0-3])(:[0-5]\d)? ?(?:p\. ?m\.|pm\b)")
_COMMA_DECIMAL: Final = re.compile(r"\d+,(?:\d{1,2}|\d{4,})(?![\d,.]?\d)")  # no thousands anywhere
_ABOUT: Final = {"fr": "environ", "es": "alrededor de"}  # "une vingtaine de" is about twenty
_NUMBERS: Final = frozenset({"number", "ordinal", "money", "percent"})


@dataclass(frozen=True, slots=True)
class Change:
    """A stretch of a text, and what replaces it."""

    start: int
    end: int
    wanted: str


def find(
    text: str, language: str, *, is_open: bool = False, is_repaired: bool = False
) -> list[Change]:
    """Return the quantities in words, and how their own language writes them in digits.

    Whole numbers up to twelve stay, unless they belong to a date or a time: models know them well,
    and they are parts of idioms ("one of us", "at first", "no one", French "neuf").

    Args:
        language: of the text; an unsupported one has no quantities.
        is_open: the text may still grow; what may become another number is left alone.
        is_repaired: the output will be repaired; then a date such as 05/11/2026, which may be in
            May or in November, is shown as one of the two, and restored in the output.
    """
    found = read(text, language, is_open=is_open)
    if not found:
        return []
    unread_signs = frozenset(_unread_signs(found, text))
    return [
        Change(q.start, q.end, _in_digits(q, text, language))
        for q in found
        if q.is_final
        and (
            _is_better(q, text, language)
            if q.is_said
            else _is_bare_date(q, is_repaired)
            or _is_grouped_elsewhere(q, text, language)
            or _is_midnight(q, language)
            or (q in unread_signs)
        )
        and not (q.kind in ("number", "ordinal") and _is_name(text, q.start))
    ]


def spellings(text: str, language: str, target: str) -> dict[str, str]:
    """Return short numbers that a text has in words, by digits, in the words of another language.

    So "fifteen years" does not become "15 ans"; amounts of money and percentages stay in digits.
    Numbers that end in one are left out, as their words have a gender, and so are those that the
    text also has in digits.
    """
    if language not in LANGUAGES or target not in LANGUAGES:
        return {}
    found = [q for q in read(text, language) if q.kind == "number"]
    written = {q.value for q in found if not q.is_said}
    return {
        f"{q.value:.0f}": cardinal(int(q.value), target)
        for q in found
        if q.is_said
        and q.is_final
        and _IN_WORDS < q.value <= _MOST_SPELLED
        and q.value % 1 == 0
        and q.value % 10 != 1
        and q.value not in written
    }


def rewrite(text: str, language: str) -> str:
    """Return a complete text with its quantities in digits, for an output that gets repaired."""
    return replaced(text, find(text, language, is_repaired=True))


def check(source: str, output: str, source_language: str, target_language: str) -> list[Quantity]:
    """Return the quantities of a source that its translation lacks, by value, in order.

    Nothing is missing if either language is not one of the four.
    """
    missing, _ = _compare(source, output, source_language, target_language)
    return missing


def first_doubt(
    source: str, output: str, source_language: str, target_language: str, *, is_open: bool
) -> int | None:
    """Return where the first quantity of a source is that may still change in the output.

    It may still grow, or the output lacks it and will be corrected. None if there is none: what is
    never corrected is not waited for, as in "wait a second", where no number is meant.

    Args:
        is_open: the source may still grow.
    """
    growing = [q for q in read(source, source_language, is_open=is_open) if not q.is_final]
    missing = check(source, output, source_language, target_language)
    doubtful = [*growing, *filter(_is_put_right, missing)]
    return min((quantity.start for quantity in doubtful), default=None)


def repair(source: str, output: str, source_language: str, target_language: str) -> str:
    """Return an output with wrong quantities corrected, if it is clear which one is meant.

    It is clear if as many of a kind are wrong in the output as are missing from the source; they
    are matched in order. Anything else stays as it is.
    """
    return replaced(output, corrections(source, output, source_language, target_language))


def corrections(
    source: str, output: str, source_language: str, target_language: str
) -> list[Change]:
    """Return where an output is wrong, and what belongs there; see `repair`."""
    missing, extra = _compare(source, output, source_language, target_language)
    found = _parted_groups(missing, output, target_language)
    if missing and extra:
        found += _replacing(source, output, source_language, target_language, missing, extra)
    found += _lost_currencies(source, output, source_language, target_language)
    found += _copied_groups(source, output, source_language, target_language)
    found += _copied_decimals(source, output, source_language, target_language)
    found += _late_hours(output, target_language)
    return _one_by_one([*found, *_english_halves(output, target_language)])


def _one_by_one(changes: Sequence[Change]) -> list[Change]:
    """Return changes in the order of their places; if two overlap, the first given counts."""
    kept: list[Change] = []
    for change in changes:
        if all(change.end <= other.start or other.end <= change.start for other in kept):
            kept.append(change)
    return sorted(kept, key=lambda change: change.start)


def _replacing(
    source: str,
    output: str,
    source_language: str,
    target_language: str,
    missing: Sequence[Quantity],
    extra: Sequence[Quantity],
) -> list[Change]:
    """Return what replaces the quantities that only an output has."""
    missing = [q for q in missing if _is_put_right(q) and not _parted(q, output)]
    given = read(output, target_language)
    # "from 17 to 21 November": a day of a date in one language is a number in the other.
    days = {float(q.day) for q in given if q.kind == "date"}
    numbers = {q.value for q in given if q.kind in ("number", "ordinal")}
    missing = [
        q
        for q in missing
        if not (q.kind in ("number", "ordinal") and q.value in days)
        and not (q.kind == "date" and q.day in numbers)
    ]
    found: list[Change] = []
    for kinds in (frozenset({"time"}), frozenset({"date", "digits"}), _NUMBERS):
        wanted = [quantity for quantity in missing if quantity.kind in kinds]
        wrong = [quantity for quantity in extra if quantity.kind in kinds]
        if kinds is _NUMBERS:  # "1,250,50" is not a number
            wrong += [q for q in extra if q.kind == "digits" and _is_misgrouped(q.text)]
            wrong.sort(key=lambda quantity: quantity.start)
        if not wanted or len(wanted) != len(wrong):
            found += _of_other_half(wanted, wrong, target_language)
            continue
        for right, other in zip(wanted, wrong, strict=True):
            change = _correction(right, other, source, output, source_language, target_language)
            found += [change] if change else []
    # "2:30 p.m." at the end of a sentence: one period is enough.
    return [
        replace(item, end=item.end + (item.wanted[-1] == output[item.end : item.end + 1] == "."))
        for item in found
    ]


def _lost_currencies(
    source: str, output: str, source_language: str, target_language: str
) -> list[Change]:
    """Return the numbers of an output that were money, but have lost their currency.

    Only if the output never names that currency: "5 or 10 dollars" is two amounts.
    """
    if source_language not in LANGUAGES or target_language not in LANGUAGES:
        return []
    money = [q for q in read(source, source_language) if q.kind == "money"]
    if not money:
        return []
    given = read(output, target_language)
    said = output.lower()
    names = words(target_language).currencies
    found = []
    for code in dict.fromkeys(quantity.unit for quantity in money):
        known = [name for name, other in names.items() if other == code]
        known += [sign for sign, other in SIGNS.items() if other == code] + [code.lower()]
        if code not in names.values() or any(name in said for name in known):
            continue
        wanted = [quantity for quantity in money if quantity.unit == code]
        for other in given:
            right = next((q for q in wanted if q.value == other.value), None)
            if right is not None and other.kind == "number" and not other.unit:
                wanted.remove(right)
                found.append(Change(*other.core, write(right, target_language)))
    return found


def _parted(quantity: Quantity, output: str) -> tuple[int, int] | None:
    """Return where a long number is written with spaces between its groups: "1, 234, 567"."""
    if quantity.kind not in _NUMBERS or not 1000 <= quantity.value < _LONGEST_PARTED:
        return None
    first, *groups = f"{int(quantity.value):,}".split(",")
    for start in _begun(output).get((first, groups[0]), ()):
        at = start + len(first)
        for group in groups:
            gap = _GAP.match(output, at)
            if gap is None or not output.startswith(group, gap.end()):
                break
            at = gap.end() + len(group)
        else:
            if not output[at : at + 1].isdecimal():
                return start, at
    return None


@lru_cache(maxsize=8)
def _begun(output: str) -> dict[tuple[str, str], list[int]]:
    """Return where numbers with spaces between their groups may begin, by their first two groups.

    Found once for all numbers: to compile a pattern for each takes 20 ms for a hundred.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for match in _TWO_GROUPS.finditer(output):
        found.setdefault((match[1], match[2]), []).append(match.start())
    return found


def _parted_groups(missing: Sequence[Quantity], output: str, language: str) -> list[Change]:
    found = [(quantity, _parted(quantity, output)) for quantity in missing]
    return [
        Change(*place, write_number(int(quantity.value), language))
        for quantity, place in found
        if place is not None and quantity.value % 1 == 0
    ]


def _copied_groups(
    source: str, output: str, source_language: str, target_language: str
) -> list[Change]:
    """Return the long numbers of an output that are grouped as in another language: "3,355,443"."""
    if source_language not in LANGUAGES or target_language not in LANGUAGES:
        return []
    mark = words(target_language).decimal
    found = []
    for quantity in read(output, target_language):
        groups = output[slice(*quantity.core)].split(mark)
        is_address = len(groups) == 4 and all(len(g) < 4 and int(g) < 256 for g in groups)
        if quantity.kind in _NUMBERS and len(groups) > 2 and not is_address:
            if any(q.value == quantity.value for q in read(source, source_language)):
                number = write_number(int(quantity.value), target_language)
                found.append(Change(*quantity.core, number))
    return found


def _english_halves(output: str, language: str) -> list[Change]:
    """Return the times of an output that a model has left half in English: "0 h 30 a.m.".

    Spanish has the halves, too, but not after noon on a dial of 24 hours: "18:00 p.m.".
    """
    if language not in ("de", "fr", "es"):
        return []
    found = [
        Change(q.start, q.end, write(q, language))
        for q in read(output, language)
        if q.kind == "time"
        and q.part.strip().lower().startswith(("a.", "p."))
        and (language != "es" or _AFTER_NOON.match(output, q.start))
    ]
    if language == "es":  # a whole hour alone may also be counted: "23 p.m."
        found += [Change(*m.span(), f"{m[1]}:00") for m in _LATE_HOUR.finditer(output)]
    return found


def _late_hours(output: str, language: str) -> list[Change]:
    """Return the times of an English output that are on a dial of 24 hours: "14 p.m."."""
    if language != "en":
        return []
    return [
        Change(*m.span(), f"{int(m[1]) - 12}{m[2] or ''} p.m.")
        for m in _LATE_HOUR_EN.finditer(output)
    ]


def _copied_decimals(
    source: str, output: str, source_language: str, target_language: str
) -> list[Change]:
    """Return the numbers of an English output that have the decimal mark of others: "$1,0845"."""
    if source_language not in LANGUAGES or target_language != "en":
        return []
    wanted = {q.value for q in read(source, source_language)}
    found = []
    for quantity in read(output, target_language):
        number = _COMMA_DECIMAL.match(output, *quantity.core)  # its scale may follow
        if number and quantity.value in wanted:
            found.append(Change(*number.span(), number[0].replace(",", ".")))
    return found


def _is_misgrouped(text: str) -> bool:
    """Return whether digits have the marks of a number, but are not a valid one."""
    return any(mark in text for mark in ".,") and "/" not in text


def _is_put_right(missing: Quantity) -> bool:
    """Return whether a lacking quantity is corrected; small numbers in words may be idioms."""
    is_long = missing.value > _IN_WORDS or bool(missing.unit) or missing.day > 0
    return is_long or not missing.is_said


def _of_other_half(
    wanted: Sequence[Quantity], wrong: Sequence[Quantity], language: str
) -> list[Change]:
    """Return what replaces times that are right except for the half of the day."""
    left = list(wrong)
    found = []
    for right in wanted:
        other = next((o for o in left if o.value % _HALF_DAY == right.value % _HALF_DAY), None)
        if right.kind == "time" and other is not None:
            left.remove(other)
            found.append(Change(other.start, other.end, write(right, language)))
    return found


def _correction(
    right: Quantity,
    wrong: Quantity,
    source: str,
    output: str,
    source_language: str,
    language: str,
) -> Change | None:
    """Return what replaces a wrong quantity; its unit is kept, if there is one."""
    if right.kind in ("time", "date", "digits"):
        return Change(wrong.start, wrong.end, write(right, language))
    if wrong.kind == "ordinal" and output[wrong.start] in "IVX":
        start, end = wrong.core
        ending = output[start:end].lstrip("IVX")
        return Change(start, end, write_roman(int(right.value)) + ending)
    if wrong.kind == "ordinal" or right.kind == "ordinal":
        return Change(wrong.start, wrong.end, write_ordinal(int(right.value), language))
    given, said = source[slice(*right.core)], output[slice(*wrong.core)]
    is_regrouped = given != said and _digits_of(given) == _digits_of(said)  # "3.355,443"
    if _is_misread_group(right, wrong, said, language):
        is_regrouped = True
    if wrong.value and not is_regrouped and _is_power_of_ten(right.value / wrong.value):
        # "between 4 and 5 million"; but digits grouped as in the source are just copied.
        shown = source[slice(*right.core)]
        if right.is_said:
            shown = write_number(right.value, source_language)
        is_copy = shown == output[slice(*wrong.core)]
        if not is_copy or right.value < wrong.value:
            return None
    if right.kind == "money" and wrong.kind == "money" and right.unit != wrong.unit:
        return Change(wrong.start, wrong.end, write(right, language))
    is_year = right.kind == "number" and _is_year(right.value)
    number = write_number(right.value, language, is_year=is_year, places=_places(right))
    return Change(*wrong.core, number)


def _is_misread_group(right: Quantity, wrong: Quantity, said: str, language: str) -> bool:
    """Whether thousands are marked like decimals: Spanish "3,400 millones" for 3.4 billion."""
    mark = re.escape(words(language).decimal)
    is_group = re.match(rf"\d{{1,3}}{mark}\d{{3}}(?![\d.,])", said) is not None
    return is_group and abs(right.value - 1e3 * wrong.value) <= _CLOSE * right.value


def _is_power_of_ten(ratio: float) -> bool:
    return any(abs(ratio - 10.0**n) < _CLOSE * 10.0**n for n in (-9, -6, -3, 3, 6, 9))


def _compare(
    source: str, output: str, source_language: str, target_language: str
) -> tuple[list[Quantity], list[Quantity]]:
    """Return what only the source has, and what only the output has."""
    if source_language not in LANGUAGES or target_language not in LANGUAGES:
        return [], []
    wanted = [q for q in read(source, source_language) if _counts(q)]
    if not wanted:
        return [], []
    given = read(output, target_language)
    may_be_late = re.search(words(source_language).later, source.lower()) is not None
    all_digits = _digits_of(output)
    missing = []
    left = MAX_COMPARED
    for quantity in wanted:
        alike = (i for i, o in enumerate(given) if is_same(quantity, o, may_be_late=may_be_late))
        at = next(alike, None)
        left -= len(given) if at is None else at + 1
        if left < 0:
            return [], []
        if at is not None:
            del given[at]
        elif quantity.kind != "digits" or _digits_of(quantity.text) not in all_digits:
            missing.append(quantity)
    return missing, [q for q in given if _counts(q)]


def is_same(wanted: Quantity, given: Quantity, *, may_be_late: bool = False) -> bool:
    """Return whether a quantity of a source and one of its translation have the same value.

    Units may differ in wording; currencies must be the same.

    Args:
        may_be_late: a time may be after noon without saying so: "tonight at seven".
    """
    kinds = {wanted.kind, given.kind}
    if "digits" in kinds:
        return _digits(wanted) == _digits(given)
    if "time" in kinds:
        return _is_same_time(wanted, given, may_be_late)
    if "date" in kinds:
        return kinds == {"date"} and (wanted.day, wanted.month, wanted.value) == (
            given.day,
            given.month,
            given.value,
        )
    if kinds == {"money"} and wanted.unit != given.unit:
        return False
    if "percent" in kinds and not kinds <= {"percent", "number"}:
        return False
    one, other = sorted((wanted.value, given.value))
    if other - one == _CENTURY and one % 10 == 0 and 0 < one < 100:  # "the 60s", "the 1960s"
        return True
    return other - one <= _CLOSE * max(1.0, abs(wanted.value))


def _is_same_time(wanted: Quantity, given: Quantity, may_be_late: bool) -> bool:
    if wanted.kind != given.kind:  # "at nine": whole hours alone
        clock, number = (wanted, given) if wanted.kind == "time" else (given, wanted)
        hour, minute = divmod(int(clock.value), 60)
        if number.kind != "number" or minute or number.unit:
            return False
        return number.value == hour or (number.value <= 12 and (hour - number.value) % 12 == 0)
    if wanted.is_exact and not given.is_exact:  # without more, "8:45" is in the morning
        return wanted.value == given.value
    is_late = given.value >= _HALF_DAY + 60
    if not wanted.is_exact and is_late and not may_be_late:
        return False  # 21:30 for "half past nine" is a guess
    if wanted.is_exact and given.is_exact:
        return wanted.value == given.value
    return wanted.value % _HALF_DAY == given.value % _HALF_DAY


def _digits(quantity: Quantity) -> str:
    if quantity.kind == "digits":
        return _digits_of(quantity.text)
    return f"{quantity.value:.0f}" if quantity.kind == "number" else ""


def _digits_of(text: str) -> str:
    """Return all digits of a text: a telephone number may be grouped in any way."""
    return "".join(c for c in text if c.isdigit())


def _counts(quantity: Quantity) -> bool:
    """Return whether a translation must have a quantity; "one" and "first" can vanish."""
    return quantity.kind not in ("number", "ordinal", "money") or quantity.value != 1


def _is_bare_date(quantity: Quantity, is_repaired: bool) -> bool:
    """Return whether a date in digits is better shown with the name of its month."""
    is_clear = quantity.kind == "date" and bool(quantity.text)
    return is_clear or (is_repaired and quantity.kind == "digits" and quantity.day > 0)


def _is_grouped_elsewhere(quantity: Quantity, text: str, language: str) -> bool:
    """Return whether digits have the marks of another language: "1.150,00" in English."""
    marks = [c for c in text[slice(*quantity.core)] if c in ".,"]
    is_number = quantity.kind in ("number", "money", "percent")
    return is_number and len(set(marks)) == 2 and marks[-1] != words(language).decimal


def _is_midnight(quantity: Quantity, language: str) -> bool:
    """Return whether a time is "12 a.m.", which models mistake for noon."""
    is_first = quantity.kind == "time" and quantity.value == 0
    return is_first and language == "en" and bool(quantity.part)


def _unread_signs(found: Sequence[Quantity], text: str) -> list[Quantity]:
    """Return amounts whose signs models lose: "£3", "$2.5bn", "1.5M", "$5, €4.50 and 600¥".

    "$5" and "€4 million" they know.
    """
    short = [q for q in found if q.kind == "number" and _SHORT_SCALE.search(text[slice(*q.core)])]
    return [*short, *_unread_money(found, text)]


def _unread_money(found: Sequence[Quantity], text: str) -> list[Quantity]:
    money = [q for q in found if q.kind == "money" and _is_apart(q, text)]
    signed = [q for q in money if text[q.start] in SIGNS]
    if signed and len({q.unit for q in money}) > 1:
        return [q for q in money if text[q.start] in SIGNS or text[q.end - 1] in SIGNS]
    return [
        q
        for q in signed
        if _SHORT_SCALE.search(text[slice(*q.core)])
        or (text[q.start] not in "$€" and text[q.core[1] - 1].isdigit())
    ]


def _is_apart(quantity: Quantity, text: str) -> bool:
    """Return whether an amount touches no letters and is not in a range: "S$5", "£10-11m"."""
    before, after = text[: quantity.start][-1:], text[quantity.end :][:2]
    is_range = len(after) == 2 and after[0] in "-–" and (after[1].isdigit() or after[1] in SIGNS)
    return not (before.isalnum() or before in ("-", "–") or after[:1].isalnum() or is_range)


def _is_better(quantity: Quantity, text: str, language: str) -> bool:
    """Return whether a quantity in words is better shown in digits."""
    value, kind = quantity.value, quantity.kind
    if kind in ("date", "digits"):
        return True
    said = text[quantity.start : quantity.end].lower()
    if quantity.unit in ("about", "decade"):
        return True
    if kind == "time" and "heure" in said and _word_before(text, quantity.start) not in _AT:
        return False  # "pendant une heure et demie"
    if kind == "time":  # whole hours are plain enough in words, but for "ein Uhr"
        is_clock = said in _NOON or (language == "de" and said not in words("de").noons)
        return value % 60 != 0 or bool(quantity.part) or is_clock
    if kind == "ordinal" and text[quantity.start] in "IVX":  # of a century, in Roman numerals
        return True
    if kind == "ordinal":
        return value > _IN_WORDS and not _is_fraction(quantity, text, language)
    if kind == "number" and value in _ROUND and _ONE.sub("", said).isalpha():
        return False
    return value > _IN_WORDS or value < 0 or value % 1 != 0


def _is_fraction(quantity: Quantity, text: str, language: str) -> bool:
    """Return whether an ordinal is the "fifth" of "two fifths"."""
    before = _word_before(text, quantity.start)
    is_plural = text[quantity.end - 1 : quantity.end] == "s"
    said, after = text[quantity.start : quantity.end].lower(), text[quantity.end :]
    if said == "cuarto" or after.lower().startswith(" parte"):  # Spanish: a room, a quarter
        return True
    return is_plural or before in words(language).ones or bool(read(before, language))


def _word_before(text: str, start: int) -> str:
    return text[:start].rstrip().rpartition(" ")[2].lower()


def _is_name(text: str, start: int) -> bool:
    """Return whether a number has a capital in the middle of a sentence: "the Sixth Summit"."""
    if text[start + 1 : start + 2].isupper() or text[start] in "IVX":  # of a century
        return False
    before = text[:start].rstrip()
    return text[start].isupper() and bool(before) and before[-1] not in _BEGINS


def _is_year(value: float) -> bool:
    return 1100 <= value < 2100 and value % 1 == 0


def _in_digits(quantity: Quantity, text: str, language: str) -> str:
    """Return a quantity in digits as its own language writes it, with its unit as it was."""
    said = text[quantity.start : quantity.end]
    if _is_midnight(quantity, language):
        return "midnight"
    if quantity.unit == "about":
        about = _ABOUT[language]
        about = about.capitalize() if said[0].isupper() else about
        return f"{about} {quantity.value:.0f} "
    if quantity.kind == "money" and not quantity.is_said and {said[0], said[-1]} & SIGNS.keys():
        return write(quantity, language)
    if quantity.kind == "time":
        is_exact = quantity.is_exact and said.lower() not in _NOON
        time = write_time(int(quantity.value), language, is_exact=is_exact)
        # Other languages use 24 hours; "in the morning" is kept, as English needs it.
        is_early = language != "en" and quantity.value < _HALF_DAY
        if quantity.part and language == "es":  # on one of twelve, as people say it
            time = write_time(int(quantity.value), language, is_exact=False)
        return time + quantity.part if is_early or language == "es" else time
    if quantity.day:
        return write_date(quantity.day, quantity.month, int(quantity.value), language)
    if quantity.kind == "digits":
        return quantity.text
    if quantity.unit == "decade":
        return f"{quantity.value:.0f}s"
    if quantity.kind == "ordinal":
        is_feminine = said.lower().endswith(("a", "ère", "nde"))
        return write_ordinal(int(quantity.value), language, is_feminine=is_feminine)
    is_year = not quantity.unit and _is_year(quantity.value) and quantity.kind == "number"
    number = write_number(quantity.value, language, is_year=is_year, places=_places(quantity))
    start, end = quantity.core
    if (start, end) == (quantity.start, quantity.end) and quantity.kind == "money":
        return write(quantity, language)  # cents went into the number
    before, after = said[: start - quantity.start], said[end - quantity.start :]
    return before + number + after


def _places(quantity: Quantity) -> int:
    is_price = quantity.kind == "money" or quantity.unit == "price"
    return 2 if is_price and quantity.value % 1 else 0


def replaced(text: str, found: Sequence[Change]) -> str:
    """Return a text with changes made, which are in order and do not overlap."""
    parts, at = [], 0
    for item in found:
        parts += [text[at : item.start], item.wanted]
        # "p.m." ends with a mark of its own.
        at = item.end + (item.wanted.endswith(".") and text[item.end : item.end + 1] == ".")
    return "".join([*parts, text[at:]])
