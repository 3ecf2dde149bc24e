"""Text in capitals alone, as stenographers and broadcasters write: read as a sentence, given back.

Models have seen little of it, and copy or lose its words. Knows letters; does not know languages
beyond the English pronoun, nor which words are names.
"""

from typing import Final

import regex

_WORD: Final = regex.compile(r"[\p{L}\p{M}'’]+")
_FIRST: Final = regex.compile(r"(?:^|[.!?…]['\"”’»)]*\s+|[¿¡]\s*)['\"“„«(¿¡\s]*\K\p{L}")
_PRONOUN: Final = regex.compile(r"\bi\b(?![.\-])")
# Where a country is meant, and no pronoun; lower case would say "us".
_COUNTRY: Final = regex.compile(r"(?<=\b(?:THE|A|AN|IN|FROM|BY|OF)\s)(?:US|UK|EU|UN)\b")

BEGIN: Final = 0.95  # share of capital letters from where on a text is in capitals
END: Final = 0.7  # below it, a growing text that began like that is not
MIN_WORDS: Final = 2  # of two letters or more; one alone may be a name such as NATO
MIN_LETTERS: Final = 5


def are_capitals(text: str, before: bool = False) -> bool:
    """Whether a text is written in capitals alone.

    Args:
        before: what was said of its beginning; a growing text does not change its mind at once.
    """
    upper = lower = words = 0
    for match in _WORD.finditer(text):
        word = match[0]
        capitals = sum(c.isupper() for c in word)
        upper += capitals
        lower += sum(c.islower() and c != "ß" for c in word)
        words += capitals > 1
    if before:
        return upper >= END * (upper + lower)
    is_enough = words >= MIN_WORDS and upper >= MIN_LETTERS
    return is_enough and upper >= BEGIN * (upper + lower)


def to_sentence(text: str, *, is_beginning: bool = True) -> str:
    """Write a text in capitals as a sentence: as many characters, small but for first letters.

    Args:
        is_beginning: whether nothing stands before it.
    """
    kept = {match.start() for match in _COUNTRY.finditer(text)}
    small = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    small = _PRONOUN.sub("I", small)
    small = "".join(text[i] if i in kept or i - 1 in kept else c for i, c in enumerate(small))
    if not is_beginning:
        return small
    return _FIRST.sub(
        lambda match: match[0].upper() if len(match[0].upper()) == 1 else match[0], small
    )


def to_capitals(text: str) -> str:
    """Write a text in capitals; a sharp s becomes two letters."""
    return text.upper()
