"""Outputs that no reader should see: those that run in circles, are far too long, or are no
translation at all. Knows text; does not know models, or what is done about it.
"""

from collections import Counter
from typing import Final, Literal

import regex

from tokenspeed.text.abbreviations import STARTERS

Fault = Literal["loop", "long", "copy"]

MAX_RATIO: Final = 2.5  # characters of an output to those of its source
MARGIN: Final = 40  # characters that may be more in any case
MIN_ROUNDS: Final = 4  # of the same words, more often than the source says them
MAX_PERIOD: Final = 6  # words of one round
MIN_SMALL: Final = 2  # of them such as begin sentences, "the", "is": few are the same in another
MIN_COPY: Final = 5  # words; fewer may well be the same in two languages

# Scripts without spaces: each of their characters is counted as a word, and rounds twice as many.
_UNSPACED: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD: Final = regex.compile(
    rf"(?V1)[{_UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{N}}\p{{M}}]--[{_UNSPACED}]]+"
)
_DENSE: Final = regex.compile(r"\p{Han}")  # says as much as three letters
_HALF_DENSE: Final = regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Hangul}]")  # as two


def fault_of(source: str, output: str, *, is_whole: bool, is_same_language: bool) -> Fault | None:
    """Return what is wrong with an output, None where nothing looks wrong.

    Args:
        source: what the model was shown. is_whole: whether it ended by itself.
        is_same_language: whether the target may be the language of the source.
    """
    said, read = ([word.casefold() for word in _words(text)] for text in (output, source))
    is_unspaced = regex.search(f"[{_UNSPACED}]", output) is not None
    least = MIN_ROUNDS * 2 if is_unspaced else MIN_ROUNDS
    if _rounds(said) >= max(least, _rounds(read) + 2):
        return "loop"
    if not is_whole or _length(output) > MAX_RATIO * _length(source) + MARGIN:
        return "long"
    letters = {word for word in read if word.isalpha()}
    is_enough = len(letters) >= MIN_COPY or len(letters & STARTERS) >= MIN_SMALL
    is_copied = is_enough and _words(source) == _words(output)
    if is_copied and not is_same_language:
        return "copy"
    return None


def _length(text: str) -> int:
    """Return about how many letters a text would have in an alphabet."""
    return len(text) + 2 * len(_DENSE.findall(text)) + len(_HALF_DENSE.findall(text))


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _rounds(words: list[str]) -> int:
    """Return how often the same words follow one another, or begin the same run, at most."""
    most = 1
    for period in range(1, MAX_PERIOD + 1):
        run = 0
        for a, b in zip(words, words[period:], strict=False):
            run = run + 1 if a == b else 0
            most = max(most, run // period + 1)
    # Circles with something else between the rounds: the same three words again and again.
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    return max(most, max(triples.values(), default=0))
