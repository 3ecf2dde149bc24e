"""Words as people write what they hear: drawn out ("sooo"), stammered ("b-but"), repeated.

A small model spells such words in odd pieces, or loses what comes after them, so it gets the plain
word. Knows letters, and how many pieces a vocabulary has for a word; does not know languages,
except that German compounds may have the same letter three times.
"""

from collections.abc import Callable
from itertools import product
from typing import Final

import regex

MIN_CAPITALS: Final = 5  # letters; shorter words in capitals may be abbreviations: "IEEE"
MAX_RUNS: Final = 3  # drawn-out letters in one word, each of which was one letter or two

_WORD: Final = regex.compile(r"\p{Latin}{1,100}+")
_NUMERAL: Final = regex.compile(r"(?i:[ivxlcdm]+)")  # "VIII", "mm"
_RUN: Final = regex.compile(r"(\p{L})(?i:\1){2,}")
# German words such as "Schifffahrt" and "Kaffeeernte" have three of one letter.
_LONG_RUN: Final = regex.compile(r"([aiouäöü])(?i:\1){2,}|(\p{L})(?i:\2){3,}")
# "b-b-but"; a single repetition only where it is nothing else: not "t-test", "e-education".
_STAMMER: Final = regex.compile(
    r"(?<![\w-])(?!(?i:t-tests?\b|d-day|s-shaped|c-class))"
    r"(?:(?i:(\p{L}{1,3})-(?:\1-)+(?=\1))"
    r"|([a-df-hj-twy]|th|wh)-(?=\2\p{L})"
    r"|([A-DF-HJ-TWY]|Th|Wh)-(?=(?i:\3)(?<=-\p{Ll}{1,2})\p{L})"
    r"|(?:^|(?<=[.!?…\"'“„«] ?))([A-DF-HJ-TWY]|Th|Wh)-(?=\4\p{Ll})"
    r"|I-(?=I\b))"
)
_CUT_OFF: Final = regex.compile(r"\b(?i:(\p{L}{1,20})[-–—] (?:\1[-–—] )*(?=\1\b))")  # "the- the"
# A word repeated again and again: models lose what comes after it.
_STUTTER: Final = regex.compile(r"\b(\p{L}[\p{L}'’]{0,40}+)(,? )(?i:\1)(?:,? (?i:\1)){3,}\b")
_COUNTED: Final = frozenset(
    "zero oh one two three four five six seven eight nine ten null eins zwei drei vier fünf sechs"
    " sieben acht neun zéro un deux trois quatre cinq sept huit neuf cero uno dos tres cuatro cinco"
    " seis siete ocho nueve".split()
)


def plainly_spelled(text: str, count_pieces: Callable[[str], int], language: str | None) -> str:
    """Return a text without drawn-out letters, stammers, and words said five times or more.

    Args:
        count_pieces: of a word in a vocabulary; the spelling with the fewest is taken.
        language: of the text; None if unknown.
    """

    def shortened(match: regex.Match[str]) -> str:
        return _shortened(match[0], count_pieces, _LONG_RUN if language == "de" else _RUN)

    if _RUN.search(text):  # most texts have none, and are searched only once
        text = _WORD.sub(shortened, text)
    if "-" in text or "–" in text or "—" in text:
        text = _STAMMER.sub("", _CUT_OFF.sub("", text))
    return _STUTTER.sub(_three_times, text)


def _shortened(word: str, count_pieces: Callable[[str], int], run: regex.Pattern[str]) -> str:
    """Return a word with each run of letters as one or two, as the vocabulary knows it."""
    runs = list(run.finditer(word))
    is_one_letter = len(runs) == 1 and runs[0].span() == (0, len(word))  # "mmm", "III", "AAA"
    is_short_form = _NUMERAL.fullmatch(word) or (word.isupper() and len(word) < MIN_CAPITALS)
    if not runs or len(runs) > MAX_RUNS or is_one_letter or is_short_form:
        return word
    best, least = word, count_pieces(word)
    for lengths in product((2, 1), repeat=len(runs)):
        parts, at = [], 0
        for found, length in zip(runs, lengths, strict=True):
            parts += [word[at : found.start()], found[0][:length]]
            at = found.end()
        spelled = "".join([*parts, word[at:]])
        count = count_pieces(spelled)
        if count < least:
            best, least = spelled, count
    return best


def _three_times(match: regex.Match[str]) -> str:
    word, gap = match[1], match[2]
    return match[0] if word.casefold() in _COUNTED else f"{word}{gap}{word}{gap}{word}"
