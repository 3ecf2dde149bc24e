"""The numbers of a text, in digits and in words, and their places.

Number words are read by `text2num` (MIT): it knows all four languages, finds where a number is in a
text, and takes hundredths of a millisecond. Not used: `num2words` only writes and is LGPL;
`dateparser` reads whole strings rather than finding places in them and takes milliseconds; `babel`
reads only digits. `reading` makes times, dates and money of numbers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, Literal

from text_to_num import find_numbers

from tokenspeed.text.quantities.locales import Words, words

# A number, an ordinal, noon or midnight, a time in digits, a date in digits, other digits.
Mark = Literal["N", "O", "C", "T", "D", "X"]


@dataclass(frozen=True, slots=True)
class Item:
    """A number or the like. `value`: of a time, minutes after midnight. `is_said`: in words."""

    start: int
    end: int
    mark: Mark
    value: float
    text: str  # in digits
    is_said: bool


_TOKEN: Final = re.compile(
    r"(?P<iso>(?<!\w)\d{4}-\d\d-\d\d(?!\w))"
    r"|(?P<date>(?<![\w/.])\d{1,2}(?P<mark>[/.])\d{1,2}(?P=mark)(?:\d{4}|\d{2})(?![\w/]|\.\d))"
    r"|(?P<time>(?<![\w:.])(?:[01]?\d|2[0-4])"
    r"(?:: ?[0-5]\d(?:(?![\w:])|(?=[ap]m\b))|\.[0-5]\d(?= ?(?:[Uu]hr\b|h\b|[ap]\.?m\b))))"
    r"|(?P<glued>\d+[^\W\d_]\w*|[^\W\d_]+\d(?:[\w.]*\w)?)"
    r"|(?P<digits>\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,]\d+)*)"
    r"|(?P<word>[^\W\d_]+['’]?)"
    r"|(?P<other>[^\w\s])"
)
_ENDING: Final = {
    "en": re.compile(r"(\d+)(?:st|nd|rd|th)$"),
    "de": re.compile(r"(\d+)(?:te[nrsm]?|ste[nrsm]?)$"),
    "fr": re.compile(r"(\d+)(?:er|re|e|ème|eme|nd|nde|ère)$"),
    "es": re.compile(r"(\d+)(?:º|ª|o|a|er)$"),
}
_HOUR_MINUTE: Final = re.compile(r"(\d{1,2})h(\d\d)?$", re.IGNORECASE)
_SUFFIX: Final = re.compile(r"(\d{1,9})(?:am|pm|k|m|bn)$", re.IGNORECASE)  # "8pm", "£52m"
_AS_READ: Final = {
    "primer": "primero",
    "tercer": "tercero",
    "decimotercer": "decimotercero",
    "veintiún": "veintiuno",
    "veintiun": "veintiuno",
}
_ARTICLES: Final = frozenset(  # words before "achten" when it is not a verb
    "der die das den dem des im am zum zur vom beim ins jeden jedem unseren unserem meinem meinen"
    " seinem seinen ihrem ihren diesem diesen".split()
)
_UNREAD: Final = {"sixtieth": 60}  # an ordinal that text2num lacks
_HALVES: Final = {"anderthalb": 1.5} | {
    f"{said}einhalb": number + 0.5
    for number, said in enumerate(
        "ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf".split(), 1
    )
}
_HOURS: Final = frozenset(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty".split()
)
# "pour cent", "menos cuarto": read as a whole.
_NO_NUMBER_AFTER: Final = {
    "cent": ("pour",),
    "cents": ("pour",),
    "ciento": ("por",),
    "cientos": ("por",),
    "cuarto": ("y", "menos"),
}
_DECADE: Final = re.compile(r"(\d{4}|\d0)(?:s|er|ern)$")  # "1980s", "80er"
_ROMAN: Final = re.compile(r"(?=[IVX])X{0,2}(?:IX|IV|V?I{0,3})")  # up to the 29th century
_CENTURY: Final = {  # what comes before and after it
    "fr": (re.compile(""), re.compile(r"(?:,? (?:et|ou|au) \w+)? ?(?:siècle|s\.)")),
    "es": (re.compile(r"\bsiglos? (?:\w+ [yaoe] (?:el )?)?$", re.IGNORECASE), re.compile(r"\b")),
}
_DIGITS_SAID: Final = "zero|one|two|three|four|five|six|seven|eight|nine"
_OH: Final = re.compile(  # "oh one seven two", not "oh oh oh oh"
    rf"oh(?=(?: oh)* (?:{_DIGITS_SAID})\b)(?: (?:oh|{_DIGITS_SAID})\b){{3}}"
)
_BENT_ONE: Final = re.compile(r"(?<=hundert|tausend)eine$")
_SPACES: Final = re.compile(r"[ \u00a0\u202f]")
_DIGIT: Final = re.compile(r"\d")
_SPOKEN: Final = re.compile(r"[^\W\d_]+['’]?")  # the `word` of `_TOKEN`, in a text without digits
_CENTURY_LIKE: Final = re.compile(r"[ivx]+(?:e|è|ème|er)?['’]?")


class _Token:
    """A token with the interface that `text2num` needs."""

    __slots__ = ("_text", "end", "is_apart", "start")

    def __init__(self, text: str, start: int, end: int, is_apart: bool) -> None:
        self._text, self.start, self.end, self.is_apart = text, start, end, is_apart

    def text(self) -> str:
        return self._text

    def nt_separated(self, previous: "_Token") -> bool:
        return False

    def not_a_number_part(self) -> bool:
        return self.is_apart


def find_items(text: str, language: str) -> list[Item]:
    """Return the items of a text from left to right, none overlapping another.

    Raises:
        KeyError: the language is not one of the four.
    """
    known, apart = words(language), _apart(language)
    if not _has_items(text, language):
        return []
    tokens: list[_Token] = []
    items: list[Item] = []
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        kind, said = match.lastgroup or "", match[0]
        if kind == "word":
            lowered = said.lower()
            before = tokens[-1].text() if tokens else ""
            is_apart = lowered in apart or before in _NO_NUMBER_AFTER.get(lowered, ())
            lowered = _AS_READ.get(lowered, lowered)
            if language == "de":  # "hunderteine Millionen"
                lowered = _BENT_ONE.sub("eins", lowered)
            if lowered == "oh" and (
                before in _HOURS or _OH.match(text[start : start + 40].lower())
            ):
                lowered = "o"  # "nine oh five", "oh one seven two"
            century = _century(text, said, start, end, language)
            if century:
                items.append(Item(start, end, "O", century, str(century), True))
            tokens.append(_Token(lowered, start, end, is_apart))
            if lowered in _UNREAD:
                items.append(Item(start, end, "O", _UNREAD[lowered], str(_UNREAD[lowered]), True))
            if lowered in _HALVES and language == "de":
                items.append(Item(start, end, "N", _HALVES[lowered], "", True))
            if lowered in known.noons:
                hour = known.noons[lowered]
                items.append(Item(start, end, "C", hour, said, True))
        elif said != "-" or not tokens or tokens[-1].text() != "o":
            tokens.append(_Token("-" if said == "-" else "§", start, end, said != "-"))
            if kind != "other":
                items += _written(kind, said, start, language)
    items += _joined(list(_said(text, tokens, language, known)), text, language)
    items.sort(key=lambda item: item.start)
    return items


def _has_items(text: str, language: str) -> bool:
    """Whether a text may have items: most have neither digits nor a word that counts."""
    if _DIGIT.search(text):
        return True
    return any(_may_count(word, language) for word in _SPOKEN.findall(text))


@lru_cache(maxsize=1 << 14)
def _may_count(word: str, language: str) -> bool:
    """Whether a word may be an item, or the beginning of one."""
    known, lowered = words(language), word.lower()
    if lowered in known.noons or any(lowered in table for table in (_AS_READ, _HALVES, _UNREAD)):
        return True
    if language in _CENTURY and _CENTURY_LIKE.fullmatch(lowered):
        return True
    if language == "de":
        lowered = _BENT_ONE.sub("eins", lowered)
    return bool(list(find_numbers([_Token(lowered, 0, len(word), False)], language, 0.0)))


def number_of(text: str, language: str) -> float | None:
    """Return the value of digits as a language writes them; None if they are not a number.

    "1.234" is 1.234 in English and 1234 in German. A mark that cannot group thousands is a decimal
    mark, whatever the language.
    """
    known = words(language)
    plain = _SPACES.sub("", text)
    marks = [c for c in plain if c in ".,"]
    if not marks:
        return float(plain)
    last = marks[-1]
    if len(set(marks)) == 2:
        whole, _, places = plain.rpartition(last)
        is_number = marks.count(last) == 1 and _is_grouped(whole)
        return float(f"{re.sub('[.,]', '', whole)}.{places}") if is_number else None
    if len(marks) > 1:
        return float(plain.replace(last, "")) if _is_grouped(plain) else None
    if last == known.decimal or not _is_grouped(plain):
        return float(plain.replace(last, "."))
    return float(plain.replace(last, ""))


def _century(text: str, said: str, start: int, end: int, language: str) -> int:
    """Return the number of a century in Roman numerals ("XXIe", "siglo XXI"); 0 if it is none."""
    if language not in _CENTURY or not said[0].isupper():
        return 0
    numeral = re.sub("(?:e|è|ème|er)$", "", said) if language == "fr" else said
    if not _ROMAN.fullmatch(numeral) or (language == "fr" and numeral == said):
        return 0
    before, after = _CENTURY[language]
    is_one = before.search(text[max(start - 30, 0) : start]) and after.match(text, end)
    return from_roman(numeral) if is_one else 0


def from_roman(numeral: str) -> int:
    """Return the value of a Roman numeral of I, V and X."""
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in numeral]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return sum(-value if value < after else value for value, after in pairs)


def _joined(found: list[Item], text: str, language: str) -> list[Item]:
    """Return numbers in words, joined where English has a comma inside one:
    "eighty-six thousand, four hundred and twelve".
    """
    if language != "en":
        return found
    joined: list[Item] = []
    for item in found:
        last = joined[-1] if joined else None
        if last is not None and text[last.end : item.start] == ", " and item.mark == last.mark:
            scale = 10**6 if last.value and last.value % 10**6 == 0 else 10**3
            is_rest = last.value >= scale and last.value % scale == 0 and item.value < scale
            if is_rest and item.value % 100 and "hundred" in text[item.start : item.end].lower():
                value = last.value + item.value
                joined[-1] = Item(last.start, item.end, item.mark, value, f"{value:.0f}", True)
                continue
        joined.append(item)
    return joined


def _is_grouped(text: str) -> bool:
    """Whether marks stand between thousands, or as in India: "5,00,000"."""
    pattern = r"[1-9]\d{0,2}(?:([.,])\d{3})?(?:\1\d{3})*|[1-9]\d?(?:,\d\d)+,\d{3}"
    return re.fullmatch(pattern, text) is not None


@cache
def _apart(language: str) -> frozenset[str]:
    """Return words that `text2num` would join to numbers, but that are handled here."""
    known = words(language)
    return frozenset(
        known.plurals - known.scales.keys() | {*known.point.split("|"), "centavos", "centavo"}
    )


def _written(kind: str, said: str, start: int, language: str) -> Iterator[Item]:
    """Yield the item that a token with digits is."""
    end = start + len(said)
    if kind in ("date", "mark", "iso"):
        yield Item(start, end, "D", 0.0, said, False)
    elif kind == "time":
        hour, minute = re.split("[:.]", said)
        yield Item(start, end, "T", int(hour) * 60 + int(minute), said, False)
    elif kind == "digits":
        value = number_of(said, language) if len(said) < 30 else None
        yield Item(start, end, "X" if value is None else "N", value or 0.0, said, False)
    elif match := _ENDING[language].match(said):
        yield Item(start, end, "O", float(match[1]), match[1], False)
    elif (match := _HOUR_MINUTE.match(said)) and int(match[1]) < 25:
        yield Item(start, end, "T", int(match[1]) * 60 + int(match[2] or 0), said, False)
    elif match := _DECADE.match(said):
        yield Item(start, end, "N", float(match[1]), match[1], False)
    elif match := _SUFFIX.match(said):
        yield Item(start, start + len(match[1]), "N", float(match[1]), match[1], False)


def _said(text: str, tokens: list[_Token], language: str, known: Words) -> Iterator[Item]:
    """Yield the items of number words."""
    for found in find_numbers(tokens, language, 0.0):
        first, last = tokens[found.start], tokens[found.end - 1]
        if _is_misread([token.text() for token in tokens[found.start : found.end]], language):
            continue
        at = found.start
        if found.end - at == 1 and first.text() in known.plurals:
            continue
        if at and first.text() in known.scales:
            is_alone = found.end - found.start == 1
            if is_alone and _follows_digits(text, first, known):
                continue
            if tokens[at - 1].text() in known.before_scale:
                at -= 1
                first = tokens[at]
            elif is_alone and first.text() in known.bare:  # "the million-dollar question"
                continue
        elif first.text() in known.bare and found.end - found.start == 1:
            continue
        before = _word_before(tokens, at)
        if before in known.vague or (first.text() == "achten" and before not in _ARTICLES):
            continue
        value = float(found.value)
        digits = found.text if found.text.isdigit() else f"{value:.0f}"
        yield Item(first.start, last.end, "O" if found.is_ordinal else "N", value, digits, True)


def _is_misread(said: list[str], language: str) -> bool:
    """Return whether words are two numbers with an "and" between them."""
    if language == "fr":
        pairs = zip(said, said[1:], strict=False)
        return any(a == "et" and not b.startswith(("un", "onz")) for a, b in pairs)
    if language == "es":
        pairs = zip(said, said[1:], strict=False)
        return any(b == "y" and not a.endswith(("nta", "nte")) for a, b in pairs)
    return False


def _word_before(tokens: list[_Token], at: int) -> str:
    """Return the word before a token, skipping hyphens."""
    while at and tokens[at - 1].text() == "-":
        at -= 1
    return tokens[at - 1].text() if at else ""


def _follows_digits(text: str, token: _Token, known: Words) -> bool:
    """Return whether a word is the "million" of "2.5 million"."""
    return token.text() in known.scales and text[: token.start].rstrip()[-1:].isdigit()
