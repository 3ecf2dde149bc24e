"""Outputs that no reader should see: those that repeat themselves, are far too long, or are no
translation at all. Knows text; does not know models, or what is done about it.
"""

from collections import Counter
from typing import Final, Literal

import regex

from tokenspeed.text.abbreviations import STARTERS

Fault = Literal["loop", "long", "copy", "empty"]

MAX_RATIO: Final = 2.5  # characters of an output to those of its source
MARGIN: Final = 40  # characters that are allowed beyond that
MIN_ROUNDS: Final = 4  # repetitions of the same words, and more than the source has
MAX_PERIOD: Final = 6  # words of one repetition
MIN_SMALL: Final = 2  # words such as "the", "is", which are rarely the same in another language
MIN_LOST: Final = 2  # words beside a number or a placeholder, of which an output must have one
MIN_COPY: Final = 5  # words; fewer may well be the same in two languages

# Scripts without spaces: each character counts as a word, and twice as many repetitions are needed.
_UNSPACED: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD: Final = regex.compile(
    rf"(?V1)[{_UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{N}}\p{{M}}]--[{_UNSPACED}]]+"
)
_LETTER: Final = regex.compile(r"\p{L}")
_SAID: Final = regex.compile(r"[\p{N}\p{Co}]")  # a number or a placeholder
_DENSE: Final = regex.compile(r"\p{Han}")  # says as much as three letters
_HALF_DENSE: Final = regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Hangul}]")  # as two


def fault_of(source: str, output: str, *, is_whole: bool, is_same_language: bool) -> Fault | None:
    """Return what is wrong with an output; None if nothing looks wrong.

    Args:
        source: what the model was shown. is_whole: whether the output ended by itself.
        is_same_language: whether the target may be the language of the source.
    """
    if not _LETTER.search(output) and _is_lost(source, output):
        return "empty"
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


def _is_lost(source: str, output: str) -> bool:
    """Whether an output without letters lacks the words of its source; one may be an article."""
    num_words = sum(_LETTER.search(word) is not None for word in _words(source))
    return num_words >= MIN_LOST if _SAID.search(output) else num_words > 0


def _length(text: str) -> int:
    """Return about how many letters a text would have in an alphabetic script."""
    return len(text) + 2 * len(_DENSE.findall(text)) + len(_HALF_DENSE.findall(text))


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _rounds(words: list[str]) -> int:
    """Return the most repetitions of the same words, one after another or anywhere."""
    most = 1
    for period in range(1, MAX_PERIOD + 1):
        run = 0
        for a, b in zip(words, words[period:], strict=False):
            run = run + 1 if a == b else 0
            most = max(most, run // period + 1)
    # Repetitions with something else between them: the same three words again and again.
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    return max(most, max(triples.values(), default=0))
