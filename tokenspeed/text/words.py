"""Words of any script: Unicode word boundaries (UAX 29), with punctuation kept at its word.

In scripts without spaces a word is a grapheme cluster, the unit that is shown or held back there.
Knows characters; does not know languages.
"""

from collections.abc import Iterator
from os.path import commonprefix
from typing import Final

import regex

from tokenspeed.text.clean import compose

_BOUNDARY = regex.compile(r"(?V1w)\b")
_IS_WORD = regex.compile(r"[\p{L}\p{N}\p{M}\p{Extended_Pictographic}\p{Regional_Indicator}_]")
# Pairs of regional indicators (flags) with what extends them. The boundary rules for these look
# back to the beginning of their run, in quadratic time, so runs are split beforehand.
_FLAG_RUN = regex.compile(r"\p{Regional_Indicator}{3}")
_FLAG = regex.compile(
    r"(?V1)((?:\p{Regional_Indicator}[\p{Word_Break=Extend}\p{Word_Break=Format}\u200d]*){1,2})"
)
_SPACES = regex.compile(r"\s+")
# Words of Latin letters or digits with single spaces between them and marks at their ends: most
# text is such, and a word ends at each space.
_PLAIN: Final = regex.compile(
    r" ?(?:[A-Za-z0-9À-ÖØ-öø-ÿ]++(?:(?<!\d)['’][A-Za-zÀ-ÖØ-öø-ÿ]++)*+[.,;:!?]{0,3}+(?: |$))++"
)
_TRAILING = regex.compile(r"[\p{P}\s]+$")
# After these, text goes on without a space.
_SPACELESS = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}。！？｡।॥…」』）”]\p{M}*$"
)


def word_ends(text: str) -> list[int]:
    """Return where each word ends: offsets in characters, ascending, the last one len(text).

    A word takes the spaces and opening marks before it and the marks right after it. Text without
    any word is one word.
    """
    if _PLAIN.fullmatch(text):
        spaces = [i for i, char in enumerate(text) if char == " "]
        first, last = int(text[0] == " "), len(spaces) - text.endswith(" ")
        return [*spaces[first:last], len(text)]
    ends: list[int] = []
    position = 0
    has_core = False
    for part in _parts(text):
        # One character decides for most parts, many times as fast as the pattern.
        is_core = part[0].isalnum() or (part != " " and _IS_WORD.search(part) is not None)
        if has_core and (is_core or part.isspace()):
            ends.append(position)
            has_core = False
        has_core = has_core or is_core
        position += len(part)
    if not position:
        return []
    if has_core or not ends:
        ends.append(position)
    else:
        ends[-1] = position  # spaces or marks at the end belong to the last word
    return ends


def _parts(text: str) -> Iterator[str]:
    """Split a text at word boundaries; no part is empty."""
    runs = _FLAG.split(text) if _FLAG_RUN.search(text) else [text]
    for i, run in enumerate(runs):
        if i % 2:  # a flag
            yield run
        else:
            yield from filter(None, _BOUNDARY.split(run))


def has_words(text: str) -> bool:
    """Whether there is any word; punctuation alone is none."""
    return _IS_WORD.search(text) is not None


def count_words(text: str) -> int:
    """Return the number of words; punctuation alone counts as none."""
    return len(word_ends(text)) if has_words(text) else 0


def are_apart(before: str, after: str) -> bool:
    """Whether there is a space between two stretches of a text that follow each other."""
    return before[-1:].isspace() or after[:1].isspace()


def ends_spaceless(text: str) -> bool:
    """Whether a text ends in a letter or mark of a script without spaces."""
    return _SPACELESS.search(text[-8:]) is not None


def normalise(text: str) -> str:
    """Return what must change in a text for it to be worth translating again.

    Case, spaces, punctuation at the end, and composed or combining characters make no difference.
    """
    text = compose(text).casefold()
    return _TRAILING.sub("", _SPACES.sub(" ", text)).strip()


def skip_words(text: str, count: int) -> int:
    """Return the offset after the first `count` words, len(text) where there are fewer."""
    ends = word_ends(text)
    if count <= 0 or not ends:
        return 0
    return ends[min(count, len(ends)) - 1]


def erased_words(before: str, after: str) -> int:
    """Return how many words of `before` a reader saw vanish or change."""
    if after.startswith(before):
        return 0
    common = len(commonprefix((before, after)))
    # Only words after the last common space are counted: most of a long text stays as it is.
    start = max(before.rfind(" ", 0, common), 0)
    return sum(start + end > common for end in word_ends(before[start:]))
