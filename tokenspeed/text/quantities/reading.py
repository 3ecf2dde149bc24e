"""The quantities of a text and their values: numbers, ordinals, times, dates, money, percentages.

Patterns of a language are tried on the text with each number replaced by one character. Knows no
second language and no models; any text can be read, most have no quantities.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Final, Literal

from tokenspeed.text.quantities.items import Item, find_items
from tokenspeed.text.quantities.locales import LANGUAGES, SIGNS, months, words

Kind = Literal["number", "ordinal", "time", "date", "money", "percent", "digits"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """The value of a stretch of text."""

    start: int
    end: int
    kind: Kind
    value: float  # of a time: minutes after midnight; of a date: its year or 0
    core: tuple[int, int]  # place of the number itself, without sign, unit or part of the day
    is_said: bool = False  # in words, at least in part
    unit: str = ""  # code of a currency, or what follows a number and is counted by it
    day: int = 0
    month: int = 0
    is_exact: bool = True  # for a time: whether the half of the day is known
    part: str = ""  # of the day, as written
    text: str = ""  # of kind `digits`; a date that can be read in two orders has its month first
    is_final: bool = True  # what follows cannot change it


_MARKS: Final = {
    "N": "\ue000",
    "O": "\ue001",
    "C": "\ue002",
    "T": "\ue003",
    "D": "\ue004",
    "X": "\ue005",
}
_N, _O, _C, _T, _D = (_MARKS[name] for name in "NOCTD")
_ANY: Final = re.compile(f"[{''.join(_MARKS.values())}]")
_THOUSANDS, _MILLIONS = "\ue006", "\ue007"  # "250K", "1.5M"
_SHORT_SCALES: Final = {
    "k": 3, "m": 6, "bn": 9, "md": 9, "mrd": 9, _THOUSANDS: 3, _MILLIONS: 6,
}  # fmt: skip
_NO_MARKS: Final = {ord(mark): " " for mark in (*_MARKS.values(), _THOUSANDS, _MILLIONS)}
# What names a thing rather than counts: 4K pictures, a 10K race, 32K of memory, the firm 3M.
_NAMES: Final = {"k": (1, 2, 4, 5, 8, 10, 16, 32, 64, 128, 256, 401), "m": (3,)}
_HALF_DAY: Final = 12 * 60


def read(text: str, language: str, *, is_open: bool = False) -> list[Quantity]:
    """Return the quantities of a text from left to right, none overlapping another.

    Args:
        language: text in a language other than the four has none.
        is_open: the text may still grow, so what touches its end is not final.
    """
    found = list(_read(text, language)) if language in LANGUAGES else []
    if is_open and found and found[-1].end >= len(text.rstrip()):
        found[-1] = replace(found[-1], is_final=False)
    return found


@lru_cache(maxsize=512)  # a source is looked at before and after its translation
def _read(text: str, language: str) -> tuple[Quantity, ...]:
    items = find_items(text, language)
    if not items and "ties" not in text:
        return ()
    reader = _Reader(text, items, language)
    found: list[Quantity] = []
    taken = 0
    for quantity in sorted(reader.quantities(), key=_order):
        if quantity.start >= taken:
            taken = quantity.end
            found.append(quantity)
    return tuple(found)


_PRIORITY: Final = ("date", "time", "money", "percent", "digits", "number", "ordinal")


def _order(quantity: Quantity) -> tuple[int, int, int]:
    return quantity.start, -quantity.end, _PRIORITY.index(quantity.kind)


class _Reader:
    """The patterns of a language on one text."""

    def __init__(self, text: str, items: list[Item], language: str) -> None:
        self._known, self._language = words(language), language
        parts: list[str] = []
        self._places: list[int] = []  # of the characters of the marked text, in the text
        self._items: dict[int, Item] = {}
        lowered = text.lower()
        lowered = (lowered if len(lowered) == len(text) else text).translate(_NO_MARKS)
        at = 0
        for item in items:
            if item.start < at:
                continue
            parts += [lowered[at : item.start], _MARKS[item.mark]]
            self._places += range(at, item.start)
            self._items[len(self._places)] = item
            self._places.append(item.start)
            at = item.end
            scale = _short_scale(item, text)
            if scale:
                parts.append(scale)
                self._places.append(at)
                at += 1
        parts.append(lowered[at:])
        self._places += range(at, len(text) + 1)
        self._marked = "".join(parts)
        self._original = text

    def quantities(self) -> Iterator[Quantity]:
        """Yield all possible readings; if two overlap, the first in `_order` counts."""
        yield from self._times()
        yield from self._dates()
        yield from self._numbers()
        yield from self._runs()
        for item in self._items.values():
            if item.mark == "C":
                minutes = int(item.value) * 60
                yield Quantity(*_span_of(item), "time", minutes, _span_of(item), True)
            elif item.mark == "O":
                span = _span_of(item)
                yield Quantity(*span, "ordinal", item.value, span, item.is_said)
            elif item.mark == "D":
                yield self._date_of_digits(item)
            elif item.mark == "X":
                yield _digits(item)

    def _times(self) -> Iterator[Quantity]:
        for pattern, minutes, sign in _clocks(self._language):
            for match in pattern.finditer(self._marked):
                hour = self._items[match.start("h")]
                count = minutes
                is_said = hour.is_said
                if not sign and "m" in match.re.groupindex:
                    if self._items[match.start("m")].value != 3:
                        continue
                if sign:
                    minute = self._items[match.start("m")]
                    if not 0 <= minute.value < 60 or minute.value % 1:
                        continue
                    count += sign * int(minute.value)
                    is_said = is_said or minute.is_said
                if sign and minute.value % 5 and not _is_clock(match, self._marked):
                    continue  # "two after three"
                if hour.value % 1 or not 0 <= hour.value <= 24:
                    continue
                at = int(hour.value) * 60 + count
                yield self._time(
                    match, at, is_said or minutes != 0, is_24=hour.value > 12 or hour.value == 0
                )
        for match in _digit_times(self._language).finditer(self._marked):
            item = self._items[match.start()]
            # With 24 hours, "8:45" is before noon, but people also write it for the evening.
            yield self._time(match, int(item.value), False, is_24=not 60 <= item.value < 13 * 60)

    def _time(self, match: re.Match[str], minutes: int, is_said: bool, *, is_24: bool) -> Quantity:
        part = match["part"] or ""
        is_exact = is_24 or bool(part) or minutes < 0 or _C in match[0]
        if part and minutes < _HALF_DAY + 60:
            minutes %= _HALF_DAY
            if re.search(self._known.late, part):
                minutes += _HALF_DAY
        start, end = self._span(*match.span())
        kept = self._original[self._places[match.start("part")] : end] if part else ""
        core = start, end - len(kept)
        minutes %= 2 * _HALF_DAY
        return Quantity(start, end, "time", minutes, core, is_said, is_exact=is_exact, part=kept)

    def _dates(self) -> Iterator[Quantity]:
        for pattern in _dated(self._language):
            for match in pattern.finditer(self._marked):
                day = self._items[match.start("d")]
                if not 1 <= day.value <= 31 or day.value % 1:
                    continue
                month = match["month"]
                start, end = self._span(*match.span())
                is_bare = day.is_said and day.mark == "N"
                place = self._places[match.start("month")]
                # "it may five", "they march two"
                if self._language == "en" and is_bare and self._original[place].islower():
                    if month in ("may", "march") or match.start("d") < match.start("month"):
                        continue
                year, is_said = 0.0, day.is_said
                if "y" in match.re.groupindex and match["y"]:
                    parts = [self._items[at] for at in _marks_of(match, "y")]
                    found = _year(parts) or _year(parts[:1])
                    if found is None:  # "on May 5, 20 people came"
                        end = max(day.end, place + len(month))
                    elif len(parts) == 2 and _year(parts) is None:
                        end = parts[0].end
                    year = found or 0.0
                    is_said = is_said or bool(found and parts[0].is_said)
                number = months(self._language)[month]
                core = start, end
                yield Quantity(
                    start, end, "date", year, core, is_said, day=int(day.value), month=number
                )

    def _date_of_digits(self, item: Item) -> Quantity:
        numbers = [int(part) for part in re.split("[-/.]", item.text)]
        first, second, year = numbers if "-" not in item.text else (*numbers[:0:-1], numbers[0])
        if self._language == "en" and "-" not in item.text and "." not in item.text:
            if max(first, second) <= 12 and first != second:  # the order cannot be known
                year += 2000 if year < 50 else 1900 if year < 100 else 0
                return replace(_digits(item), value=year, day=second, month=first)
            if second > 12:
                first, second = second, first
        if not (1 <= first <= 31 and 1 <= second <= 12):
            return _digits(item)
        year += 2000 if year < 50 else 1900 if year < 100 else 0
        span = _span_of(item)
        return Quantity(*span, "date", year, span, day=first, month=second, text=item.text)

    def _numbers(self) -> Iterator[Quantity]:
        for match in _amounts(self._language).finditer(self._marked):
            item = self._items[match.start("n")]
            value = item.value
            value += 0.5 * self._scale_said(item) if match["half"] else 0
            value += 0.5 if match["half2"] else 0
            scales = [match["scale"], match["scale2"]]
            if match["places"]:
                parts = [self._items[at] for at in _marks_of(match, "places")]
                digits, scale = self._places_of(parts)
                if value % 1 or not digits.isdigit():
                    continue
                value = float(f"{value:.0f}.{digits}")
                scales.append(scale)
            for scale in filter(None, scales):
                name = scale.strip(" -.")
                value *= 10.0 ** (_SHORT_SCALES.get(name) or self._known.scales[name])
            kind: Kind = "number"
            unit = match["unit"] or ""
            sign, name = match["sign"], match["currency"]
            if sign or name:
                kind = "money"
                sign_or_name = (name or sign).strip()
                unit = SIGNS.get(sign_or_name) or sign_or_name.upper()
                unit = self._known.currencies.get(sign_or_name, unit)
            elif match["percent"]:
                kind = "percent"
            for group in ("cents", "rest"):
                if match[group]:
                    cents = self._items[match.start(group)].value
                    value += cents / 100 if 10 <= cents < 100 or group == "cents" else 0
            if match["minus"] and self._is_negative(match, item):
                value = -value
            core = self._core(match)
            start, end = self._span(*match.span())
            if match["minus"] and value >= 0:
                start = core[0]
            if match["rest"] and value % 1 == 0:  # "un livre neuf"
                end = self._span(match.start(), match.end("currency"))[1]
            is_said = item.is_said or bool(match["cents"] or match["rest"])
            yield Quantity(start, end, kind, round(value, 6), core, is_said, unit)
        for match in _PRICE.finditer(self._marked) if self._language == "en" else ():
            count, rest = (self._items[at] for at in _marks_of(match, 1))
            if count.is_said and rest.is_said and count.value < 100 > rest.value >= 10:
                span = self._span(match.start(1), match.end(1))
                value = count.value + rest.value / 100
                yield Quantity(*span, "number", value, span, True, unit="price")
        for match in _PAIR.finditer(self._marked):
            year = _year([self._items[at] for at in _marks_of(match, 1)])
            if self._language == "en" and year is not None:
                start, end = self._span(match.start(1), match.end(1))
                yield Quantity(start, end, "number", year, (start, end), True)
        for match in _DECADE.finditer(self._marked) if self._language == "en" else ():
            item = self._items[match.start()]
            if item.is_said and 13 <= item.value <= 20:
                start, end = self._span(*match.span())
                year = item.value * 100 + _TENS[match[1]] * 10
                yield Quantity(start, end, "number", year, (start, end), True, unit="decade")

        for match in _about(self._language).finditer(self._marked):
            one = self._items.get(match.start())
            if one is None or one.value == 1:
                start, end = self._span(*match.span())
                about = self._known.about[match["about"]]
                yield Quantity(start, end, "number", about, (start, end), True, unit="about")
        for match in _AGE.finditer(self._marked) if self._language == "en" else ():
            start, end = self._span(match.start(1), match.end())
            value = _TENS[match[1]] * 10
            yield Quantity(start, end, "number", value, (start, end), True, unit="decade")

    def _scale_said(self, item: Item) -> int:
        """Return what "half" after a number is half of: the million of "un millón y medio"."""
        last = self._original[item.start : item.end].lower().rpartition(" ")[2]
        return 10 ** self._known.scales.get(last, 0)

    def _is_negative(self, match: re.Match[str], item: Item) -> bool:
        """Return whether a minus is meant: in French and Spanish the word also means "less"."""
        if len(match["minus"]) == 1:
            return not item.is_said
        return self._language in ("en", "de") or (match["unit"] or "")[:5] in ("degré", "grado")

    def _core(self, match: re.Match[str]) -> tuple[int, int]:
        """Return where the number of an amount is, with its minus, decimals and scale."""
        if match["cents"] or (match["rest"] and 10 <= self._items[match.start("rest")].value < 100):
            return self._span(*match.span())
        item = self._items[match.start("n")]
        is_negative = match["minus"] and self._is_negative(match, item)
        first = "minus" if is_negative and not match["sign"] else "n"
        last = next((g for g in ("half2", "scale2", "scale", "half", "places") if match[g]), "n")
        return self._span(match.start(first), match.end(last))

    def _places_of(self, parts: list[Item]) -> tuple[str, str]:
        """Return decimals, and the scale that the last of them was read with."""
        digits = "".join(part.text for part in parts)
        last = self._original[parts[-1].start : parts[-1].end].lower().split()
        if len(last) > 1 and last[-1] in self._known.scales:
            zeros = self._known.scales[last[-1]]
            return digits[:-zeros], last[-1]
        return digits, ""

    def _runs(self) -> Iterator[Quantity]:
        """Yield digits spoken one after another: a telephone number, a code, a room."""
        for match in _run(self._language).finditer(self._marked):
            items = [self._items[at] for at in _marks_of(match, 0)]
            times = [_TIMES.get(said[1], 1) for said in _SAID.finditer(match[0])]
            if not all(item.is_said and item.value < 100 for item in items):
                continue
            if any(t > 1 and len(item.text) > 1 for t, item in zip(times, items, strict=True)):
                continue  # "double twenty"
            text = "".join(item.text * t for t, item in zip(times, items, strict=True))
            before = self._marked[: match.start()]
            if len(text) < 3 or not _numbered(self._language).search(before[-_LONGEST_NAME:]):
                # "oh oh four" is one item of three digits.
                sizes = [len(item.text) if item.text[0] == "0" else 1 for item in items]
                if sum(t * size for t, size in zip(times, sizes, strict=True)) < 4:
                    continue
                steps = {b.value - a.value for a, b in zip(items, items[1:], strict=False)}
                if steps == {1} and items[0].value < 3:  # somebody counts
                    continue
            start, end = self._span(*match.span())
            yield Quantity(start, end, "digits", 0.0, (start, end), True, text=text)

    def _span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a stretch of the marked text is in the text."""
        last = self._items.get(end - 1)
        return self._places[start], last.end if last else self._places[end - 1] + 1


def _short_scale(item: Item, text: str) -> str:
    """Return the mark for the letter after a number that scales it, or "": not for "5m", "4K"."""
    letter, after = text[item.end : item.end + 1], text[item.end + 1 : item.end + 2]
    if letter not in ("K", "k", "M") or item.mark != "N" or item.is_said or after.isalnum():
        return ""
    is_name = item.value in _NAMES[letter.lower()]
    return "" if is_name else _MILLIONS if letter == "M" else _THOUSANDS


def _is_clock(match: re.Match[str], text: str) -> bool:
    """Return whether a time with an odd minute is certainly a time."""
    said = match[0]
    return any(
        word in said for word in ("past", "minut", "uhr", "clock", "heure", " h ", " y ")
    ) or (text[: match.start()].endswith(("at ", "um ", "las ", "la ", " h")))


def _year(parts: list[Item]) -> float | None:
    """Return the year that "nineteen" and "eighty-four" make, or that one number is."""
    value = parts[0].value
    if len(parts) == 1:
        return value if 1000 <= value < 3000 else None
    is_second = 10 <= parts[1].value < 100 or (parts[1].text[0] == "0" and len(parts[1].text) == 2)
    if parts[0].is_said and parts[1].is_said and 13 <= value <= 20 and is_second:
        return value * 100 + parts[1].value
    return None


def _marks_of(match: re.Match[str], group: str | int) -> list[int]:
    """Return where the marks in a group of a match are."""
    start = match.start(group)
    return [start + m.start() for m in _ANY.finditer(match[group])]


def _digits(item: Item) -> Quantity:
    return Quantity(*_span_of(item), "digits", 0.0, _span_of(item), text=item.text)


def _span_of(item: Item) -> tuple[int, int]:
    return item.start, item.end


_TIMES: Final = {"double": 2, "triple": 3, "treble": 3}  # "double five"
_SAID: Final = re.compile(f"(?:({'|'.join(_TIMES)}) )?{_N}")
_LONGEST_NAME: Final = 40  # characters of what has a number
_TENS: Final = {
    name: tens for tens, name in enumerate("twen thir for fif six seven eigh nine".split(), 2)
}
_DECADE: Final = re.compile(rf"{_N} ({'|'.join(_TENS)})ties\b")
_AGE: Final = re.compile(
    rf"\b(?:my|his|her|our|your|their) (?:(?:early|mid|late)[ -])?({'|'.join(_TENS)})ties\b"
)
_PRICE: Final = re.compile(
    r"\b(?:costs?|costing|pays?|paid|sells? for|sold for|priced at)"
    r"(?: (?:me|you|us|him|her|them|only|just|about|around|nearly|almost)){0,3} "
    rf"({_N} {_N})(?![-\w]| (?:hundred|thousand|million|billion)\b)"
)
_PAIR: Final = re.compile(f"(?=({_N} {_N}))")


@cache
def _run(language: str) -> re.Pattern[str]:
    """Return a pattern for digits that are said one after another."""
    one = f"(?:(?:{'|'.join(_TIMES)}) )?{_N}" if language == "en" else _N
    return re.compile(f"{one} {one}(?:(?: {one})+(?:, {one}(?: {one})+| {one})*)?")


@cache
def _numbered(language: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{words(language).numbered}),? $")


@cache
def _about(language: str) -> re.Pattern[str]:
    """Return a pattern for round numbers: "une vingtaine de personnes"."""
    names = "|".join(words(language).about) or "(?!)"
    # What is "more than about thirty" already is left as it is.
    hedged = r"(?<!\bplus d['’])(?<!\bmoins d['’])(?<!\bprès d['’])(?<!peine )(?<!environ )"
    return re.compile(
        rf"{hedged}(?<!\w)(?:une?|una|{_N}) (?P<about>{names}) (?:de |d['’] ?)(?!{_N})"
    )


@cache
def _clocks(language: str) -> tuple[tuple[re.Pattern[str], int, int], ...]:
    """Return the compiled patterns for times of day."""
    known = words(language)
    compiled = []
    for pattern, minutes, sign in known.clocks:
        filled = pattern.replace("{H}", f"(?P<h>[{_N}{_C}])").replace("{C}", f"(?P<h>{_C})")
        filled = filled.replace("{M}", f"(?P<m>{_N})")
        whole = rf"(?<!\w)(?:{filled})(?:(?!\w)|(?=[ap]m\b))(?P<part>{known.part})?"
        compiled.append((re.compile(whole), minutes, sign))
    return tuple(compiled)


@cache
def _digit_times(language: str) -> re.Pattern[str]:
    known = words(language)
    after = {"de": " ?uhr", "fr": " heures?", "es": " (?:h|horas?)"}.get(language, r" o['’]clock")
    return re.compile(rf"{_T}(?:{after}\b)?(?P<part>{known.part})?")


@cache
def _dated(language: str) -> tuple[re.Pattern[str], ...]:
    names = "|".join(sorted(months(language), key=len, reverse=True))
    compiled = []
    for pattern in words(language).dates:
        filled = pattern.replace("(?:{m})", f"(?P<month>{names})")
        filled = filled.replace("{D}", f"(?P<d>[{_N}{_O}])").replace("{O}", f"(?P<d>{_O})")
        filled = filled.replace("{Y}", f"(?P<y>{_N}(?: {_N})?)")
        compiled.append(re.compile(rf"(?<!\w)(?:{filled})(?!\w)"))
    return tuple(compiled)


@cache
def _amounts(language: str) -> re.Pattern[str]:
    """Return a pattern for a number with everything that belongs to it."""
    known = words(language)
    signs = "".join(SIGNS)
    codes = "|".join(sorted({code.lower() for code in known.currencies.values()}))
    scales = "|".join(sorted(known.scales, key=len, reverse=True))
    currencies = "|".join(sorted(known.currencies, key=len, reverse=True))
    units = "|".join(sorted(known.units, key=len, reverse=True))
    not_minus = {"fr": r"(?<!\bau )(?<!\bou )", "es": r"(?<!\bal )(?<!\bo )"}.get(language, "")
    return re.compile(
        rf"(?P<minus>{not_minus}(?<!\w)(?:{known.minus}) |(?<!\S)[-−])?"
        rf"(?P<sign>(?:[{signs}]|(?<!\w)(?:{codes})(?= )) ?)?"
        rf"(?P<n>{_N})"
        rf"(?: (?:{known.point}) (?P<places>{_N}(?: {_N})*))?"
        rf"(?P<half>{known.half}\b)?"
        rf"(?P<scale>[ -](?:{scales})\b|[{_THOUSANDS}{_MILLIONS}]"
        rf"| ?(?:k|m|md|mrd|bn)\.?(?= ?[{signs}])"
        rf"|(?(sign)(?:bn|m|k)\b|(?!)))?"
        rf"(?P<scale2> (?:{scales})\b)?"
        rf"(?(scale)(?P<half2>{known.half}\b)?|)"  # "un millón y medio"
        rf"(?:[ -]?(?P<percent>(?:{known.percent})(?!\w))"
        rf"|[ -]?{known.of}(?P<currency>[{signs}]|(?:{currencies})\b)"
        rf"(?: (?:{known.joint})?(?P<cents>{_N}) (?:{known.cents})\b"
        rf"| (?:con )?(?P<rest>{_N})(?=[.,!?]|$))?"  # "twenty euros fifty"
        rf"|[ -]?(?P<unit>(?:{units})\b))?"
    )
