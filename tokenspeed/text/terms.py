"""Where the words of a list occur in a text, in any inflected form.

Two forms of a word match by their stem (Snowball), if they differ only by an ending that inflects:
`tickets` is `ticket`, `Häuser` is `Haus`, but `university` is not `universe`. The list is read
once, in a millisecond for 500 terms; a text is read once from left to right, whatever the length of
the list. Knows words; does not know what replaces them.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from os.path import commonprefix
from typing import Any, Final, NamedTuple

import regex
import snowballstemmer

from tokenspeed.text.languages import name_of

_SPACELESS: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER: Final = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--[{_SPACELESS}]]"
_TOKEN: Final = regex.compile(rf"(?V1){_LETTER}+|[{_SPACELESS}]\p{{M}}*|\S")
_IS_LETTER: Final = regex.compile(rf"(?V1){_LETTER}")
_KEY_CHARS: Final = 3  # at the start of its first word, by which a term is looked up
_MIN_STEM: Final = 3  # characters that two forms must share
# Endings of two forms of a word after their common part; both must be in one group.
_ENDINGS: Final = {
    "en": ("|s|es|ed|d|ing|e|y|ies|ied",),
    "de": ("|e|n|en|er|ern|es|s|em|t|st|te|ten|nen|se|ses",),
    "fr": ("|s|x", "l|ux", "er|e|es|ent|ez|ons|é|ée|és|ées"),
    "es": ("|s|es", "|r|n", "ón|ones", "án|anes", "én|enes"),
}
# Pairs of endings that need no common stem: of a singular and its plural.
_PLURALS: Final = {
    "en": "s ses|x xes|ch ches|sh shes|y ies|fe ves|lf lves|man men|child children",
    "fr": "al aux|ail aux|eau eaux",
    "es": "z ces|n nes|l les|r res|d des|s ses",
}
_ANY_ENDING: Final = 2  # characters of an ending in a language that is not in the table


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words to be found; `is_exact`: only in this case and form."""

    text: str
    is_exact: bool = False


class _Token(NamedTuple):
    start: int
    end: int
    text: str
    folded: str
    has_space: bool  # before it


class PhraseIndex:
    """An index of phrases to find.

    Args:
        phrases: if two match at one place, the longer one counts, then the exact one.
        languages: of the texts; a word may be inflected as in any of them.
    """

    def __init__(self, phrases: Sequence[Phrase], languages: Sequence[str] = ()) -> None:
        self._languages = tuple(languages)
        self._by_key: dict[str, list[tuple[list[_Token], int, bool]]] = {}
        for number, phrase in enumerate(phrases):
            tokens = _tokens(phrase.text)
            if tokens:
                entry = (tokens, number, phrase.is_exact)
                self._by_key.setdefault(_key(tokens[0].folded), []).append(entry)
        for entries in self._by_key.values():
            entries.sort(key=lambda entry: (-len(entry[0]), not entry[2]))

    def find(self, text: str) -> list[tuple[int, int, int]]:
        """Return (start, end, number of the phrase), from left to right, without overlaps."""
        if not self._by_key:
            return []
        tokens = _tokens(text)
        found: list[tuple[int, int, int]] = []
        at = 0
        while at < len(tokens):
            match = self._match(text, tokens, at)
            if match is None:
                at += 1
                continue
            count, number = match
            found.append((tokens[at].start, tokens[at + count - 1].end, number))
            at += count
        return found

    def _match(self, text: str, tokens: list[_Token], at: int) -> tuple[int, int] | None:
        for wanted, number, is_exact in self._by_key.get(_key(tokens[at].folded), ()):
            said = tokens[at : at + len(wanted)]
            if len(said) < len(wanted) or not _is_apart(text, said[0].start, said[-1].end):
                continue
            is_spaced_alike = all(
                a.has_space == b.has_space for a, b in zip(said[1:], wanted[1:], strict=True)
            )
            if is_spaced_alike and self._is_same(said, wanted, is_exact):
                return len(wanted), number
        return None

    def _is_same(self, said: list[_Token], wanted: list[_Token], is_exact: bool) -> bool:
        pairs = list(zip(said, wanted, strict=True))
        if is_exact:
            return all(a.text == b.text for a, b in pairs)
        if all(a.folded == b.folded for a, b in pairs):
            return True
        return any(
            all(are_forms(a.folded, b.folded, language) for a, b in pairs)
            for language in self._languages
        )


@lru_cache(maxsize=1 << 15)
def are_forms(one: str, other: str, language: str) -> bool:
    """Whether two words in lower case are forms of one word."""
    if one == other:
        return True
    one_plain, other_plain = _plain(one, language), _plain(other, language)
    for singular, plural in _plurals(language):
        for a, b in ((one_plain, other_plain), (other_plain, one_plain)):
            stem = a.removesuffix(singular)
            if len(stem) + 1 >= _MIN_STEM and stem != a and stem + plural == b:
                return True
    stemmer = _stemmer(language)
    if stemmer is None or stemmer.stemWord(one) != stemmer.stemWord(other):
        return False
    if language == "de":  # the umlaut of a plural: Haus, Häuser
        one, other = one_plain, other_plain
    common = len(commonprefix((one, other)))
    # An ending may include a letter of the common part: "chev-al", "chev-aux".
    return any(
        cut >= _MIN_STEM and _is_ending_pair(one[cut:], other[cut:], language)
        for cut in range(common, max(common - 2, 0) - 1, -1)
    )


def _is_ending_pair(one: str, other: str, language: str) -> bool:
    groups = _ENDINGS.get(language)
    if groups is None:
        return max(len(one), len(other)) <= _ANY_ENDING
    return any({one, other} <= set(group.split("|")) for group in groups)


@lru_cache(maxsize=32)
def _plurals(language: str) -> list[tuple[str, str]]:
    pairs = _PLURALS.get(language)
    if pairs is None:
        return []
    return [(one, more) for one, more in (pair.split() for pair in pairs.split("|"))]


def _plain(word: str, language: str) -> str:
    """Remove accents that change when a word is inflected: `Häuser`, `jóvenes`."""
    return _without_accents(word) if language in ("de", "es") else word


def _without_accents(text: str) -> str:
    apart = unicodedata.normalize("NFD", text)
    return "".join(char for char in apart if not unicodedata.combining(char))


def _is_apart(text: str, start: int, end: int) -> bool:
    """Whether a match is not part of a longer word, as `.NET` is in `ASP.NET`."""
    before = start > 0 and _IS_LETTER.match(text[start - 1])
    after = end < len(text) and _IS_LETTER.match(text[end])
    return not (before or after)


def _tokens(text: str) -> list[_Token]:
    found, last = [], 0
    for match in _TOKEN.finditer(text):
        has_space = match.start() > last
        found.append(_Token(*match.span(), match[0], match[0].casefold(), has_space))
        last = match.end()
    return found


@lru_cache(maxsize=1 << 15)
def _key(folded: str) -> str:
    """Return the beginning that all forms of a word share, without accents, which may change."""
    return _without_accents(folded)[:_KEY_CHARS]


@lru_cache(maxsize=32)
def _stemmer(language: str) -> Any:
    name = name_of(language).lower()
    return snowballstemmer.stemmer(name) if name in snowballstemmer.algorithms() else None
