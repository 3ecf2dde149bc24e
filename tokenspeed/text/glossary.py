"""Words whose translation is fixed: glossary, do-not-translate, rare names.

Knows text and words; does not know how words are protected from a model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import regex

from tokenspeed.text.terms import Phrase, PhraseIndex

_SPACELESS: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER: Final = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--[{_SPACELESS}]]"
BEFORE: Final = rf"(?<!{_LETTER})"
_IS_LETTER: Final = regex.compile(rf"(?V1){_LETTER}")
# Only words in capitals, "UNASUR". An initial capital is no reason to keep a word: of 1,992 such
# rare words in newstest, the model copies 74 % by itself, and 9 in 10 of the others are words such
# as "Brussels", "Embassy", "Norwegian", which have a translation.
_NAME: Final = regex.compile(
    rf"(?V1)(?<=[\p{{Ll}}\p{{N}},;:] ){BEFORE}(?![IVXLCDM]+\b)\p{{Lu}}{{3,12}}"
    r"(?![\p{L}\p{N}-])"
)
_LOUD: Final = regex.compile(r"\p{Lu}{3}")  # in every `_NAME`; found at once that there is none
FEW_TERMS: Final = 50  # take a millisecond to compile
_BENT: Final = ("de", "en", "es", "fr")  # whose inflections count where no language is given


def has_word(text: str, word: str) -> bool:
    """Whether a word is in a text, with no letter before it; it may have an ending."""
    at = text.find(word)
    while at > 0 and _IS_LETTER.match(text, at - 1):
        at = text.find(word, at + 1)
    return at >= 0


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase and its translation; `is_exact`: its case is never changed."""

    source: str
    target: str
    is_case_sensitive: bool = False
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A place in a text, and what must appear there in the translation.

    Attributes:
        wanted: what must appear. is_exact: its case is never changed.
        kind: a "term" of a glossary, a rare "name", a "word" that belongs to no language, or a
            "mark", which belongs to its place more than to its sentence.
        is_shown: whether the model reads a placeholder for it.
    """

    start: int
    end: int
    wanted: str
    is_exact: bool = True
    kind: Literal["term", "name", "word", "mark"] = "term"
    is_shown: bool = True


class Glossary:
    """The terms of one target language, compiled once: by `compile`, or else at first use.

    Args:
        terms: if two match at one place, the longer one counts.
        is_rare: whether the vocabulary spells a word badly; such a name is kept as it is.
        source_language: of the texts; None if unknown.
    """

    def __init__(
        self,
        terms: Sequence[Term] = (),
        is_rare: Callable[[str], bool] | None = None,
        source_language: str | None = None,
    ) -> None:
        self._is_rare = is_rare
        self._terms = tuple(terms)
        self._languages = _BENT if source_language is None else (source_language,)

    @property
    def takes_long(self) -> bool:
        """Whether the first text has to wait for longer than a millisecond."""
        return len(self._terms) > FEW_TERMS and "_index" not in self.__dict__

    def compile(self) -> None:
        """Compile the terms, in any thread: a thousand usual ones take 5 ms."""
        if "_index" not in self.__dict__:
            self._index.compile()

    @cached_property
    def _index(self) -> PhraseIndex:
        phrases = [Phrase(term.source, term.is_case_sensitive) for term in self._terms]
        return PhraseIndex(phrases, self._languages)

    def find(self, text: str) -> list[Found]:
        """Return terms and rare names of a text from left to right, none overlapping another."""
        places = [
            Found(start, end, self._terms[number].target, self._terms[number].is_exact)
            for start, end, number in self._index.find(text)
        ]
        found: list[Found] = []
        for place in sorted(places, key=lambda item: (item.start, -item.end)):
            if not found or found[-1].end <= place.start:
                found.append(place)
        taken = [(item.start, item.end) for item in found]
        for match in _NAME.finditer(text) if self._is_rare and _LOUD.search(text) else ():
            is_free = all(match.end() <= start or end <= match.start() for start, end in taken)
            if is_free and self._is_rare and self._is_rare(match[0]):
                found.append(Found(*match.span(), match[0], kind="name"))
        return sorted(found, key=lambda item: item.start)
