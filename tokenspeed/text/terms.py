"""Where the words of a list occur in a text, in any inflected form.

Two forms of a word match by their stem (Snowball), if they differ only by an ending that inflects:
`tickets` is `ticket`, `Häuser` is `Haus`, but `university` is not `universe`. The list is read
once, no further than texts need it; a text is read once from left to right, whatever the length of
the list and however alike its terms are. Knows words; does not know what replaces them.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from os.path import commonprefix
from threading import Lock
from typing import Any, Final, NamedTuple

import regex
import snowballstemmer

from tokenspeed.text.languages import name_of

_SPACELESS: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER: Final = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--[{_SPACELESS}]]"
_TOKEN: Final = regex.compile(rf"(?V1){_LETTER}+|[{_SPACELESS}]\p{{M}}*|\S")
_IS_LETTER: Final = regex.compile(rf"(?V1){_LETTER}")
_SPACE: Final = regex.compile(r"\s+")
_LAST_CHAR: Final = "\U0010ffff"
_KEY_CHARS: Final = 3  # at the start of its first word, by which a term is looked up
_stemming = Lock()  # a stemmer keeps the word that it is at
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
MAX_BENT: Final = 128  # characters of a word that has other forms
MAX_ALIKE: Final = 32  # words of phrases that have one beginning in common
MAX_TRIES: Final = 100  # words of phrases that are compared with one text, and
MAX_TRIES_A_WORD: Final = 2  # for each of its own; a comparison takes up to 20 µs


def _without_accents(text: str) -> str:
    apart = unicodedata.normalize("NFD", text)
    return "".join(char for char in apart if not unicodedata.combining(char))


_ALL_ENDINGS: Final = frozenset(
    _without_accents(ending)
    for parts in (*_ENDINGS.values(), *((pairs.replace(" ", "|"),) for pairs in _PLURALS.values()))
    for part in parts
    for ending in part.split("|")
)
_LENGTHS: Final = tuple(sorted({len(ending) for ending in _ALL_ENDINGS}))


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


class _Node:
    """A place in the index: the words so far, and those that may follow.

    Attributes:
        number: of the first phrase that ends here, None if none does.
        following: by whether there is space before it, and a word: the place after it.
        forms: by the same and a key of the word: words and the places after them.
        unread: phrases that come here, in order, read no further before a text does as well.
        at: how many of their characters are read.
    """

    __slots__ = ("at", "following", "forms", "number", "unread")

    def __init__(self, unread: list[str], at: int) -> None:
        self.number: int | None = None
        self.following: dict[tuple[bool, str], _Node] = {}
        self.forms: dict[tuple[bool, str], list[tuple[str, _Node]]] = {}
        self.unread = unread
        self.at = at


_State = tuple[_Node, tuple[str, ...]]  # a place, and the languages in which words are forms so far


class PhraseIndex:
    """An index of phrases to find.

    Args:
        phrases: if two match at one place, the longer one counts, then the exact one.
        languages: of the texts; a word may be inflected as in any of them.
    """

    def __init__(self, phrases: Sequence[Phrase], languages: Sequence[str] = ()) -> None:
        self._languages = tuple(languages)
        self._is_other = any(language not in _ENDINGS for language in languages)
        self._reading = Lock()  # texts are searched in several threads
        self._exact, self._exact_numbers = _root(phrases, is_exact=True)
        self._bent, self._bent_numbers = _root(phrases, is_exact=False)

    def compile(self) -> None:
        """Read the phrases as far as they are alike: what a text may need of them takes no time.

        May run in a thread, and takes up to 10 ms for 500 phrases.
        """
        for root, is_exact in ((self._exact, True), (self._bent, False)):
            todo = [root]
            while todo:
                node = todo.pop()
                if node is root or len(node.unread) > 1:
                    todo += self._read(node, is_exact=is_exact).following.values()

    def _read(self, node: _Node, *, is_exact: bool) -> _Node:
        """Return a place with the words read that follow it."""
        if node.unread:
            with self._reading:
                self._read_words(node, is_exact)
        return node

    def _read_words(self, node: _Node, is_exact: bool) -> None:
        phrases, at = node.unread, node.at
        first = 0
        while first < len(phrases):
            phrase = phrases[first]
            match = _TOKEN.search(phrase, at)
            if match is None:
                node.number = (self._exact_numbers if is_exact else self._bent_numbers)[phrase]
                first += 1
                continue
            # Phrases that are the same up to the character behind this word have the same word
            # here; they come in a row, so none but the first of them has to be looked at.
            same = phrase[: match.end() + 1]
            last = first + 1
            is_over = match.end() == len(phrase)
            if not is_over and last < len(phrases) and phrases[last].startswith(same):
                last = bisect_left(phrases, same + _LAST_CHAR, last + 1)
            edge = (at > 0 and match.start() > at, match[0])
            following = node.following.get(edge)
            if following is None:
                following = node.following[edge] = _Node(phrases[first:last], match.end())
                for key in () if is_exact else _keys(match[0], self._is_other):
                    alike = node.forms.setdefault((edge[0], key), [])
                    if len(alike) < MAX_ALIKE:
                        alike.append((match[0], following))
            else:
                following.unread += phrases[first:last]
            first = last
        node.unread = []

    def find(self, text: str) -> list[tuple[int, int, int]]:
        """Return (start, end, number of the phrase), from left to right, without overlaps."""
        if not (self._exact_numbers or self._bent_numbers):
            return []
        tokens = _tokens(text)
        found: list[tuple[int, int, int]] = []
        at = 0
        left = MAX_TRIES + MAX_TRIES_A_WORD * len(tokens)
        while at < len(tokens) and left > 0:
            match, tries = self._match(text, tokens, at, left)
            left -= tries
            if match is None:
                at += 1
                continue
            count, number = match
            found.append((tokens[at].start, tokens[at + count - 1].end, number))
            at += count
        return found

    def _match(
        self, text: str, tokens: list[_Token], at: int, left: int
    ) -> tuple[tuple[int, int] | None, int]:
        """Return (words, number) of the longest phrase that begins at a word, and the tries."""
        found: tuple[int, int] | None = None
        exact: _Node | None = self._read(self._exact, is_exact=True)
        bent: list[_State] = [(self._read(self._bent, is_exact=False), self._languages)]
        tries = 0
        start = tokens[at].start
        for count in range(1, len(tokens) - at + 1):
            token = tokens[at + count - 1]
            has_space = count > 1 and token.has_space
            exact = exact and exact.following.get((has_space, token.text))
            if exact is not None:
                self._read(exact, is_exact=True)
            following: list[_State] = []
            for state in bent:
                if tries > left:
                    break
                alike, tried = self._following(state, token, has_space, is_first=count == 1)
                following += alike
                tries += tried
            bent = [(self._read(node, is_exact=False), languages) for node, languages in following]
            if tries > left or not (exact or bent):
                break
            ended = [node.number for node, _ in bent if node.number is not None]
            if exact is not None and exact.number is not None:
                ended = [exact.number]
            if ended and _is_apart(text, start, token.end):
                found = count, min(ended)
        return found, tries + 1

    def _following(
        self, state: _State, token: _Token, has_space: bool, *, is_first: bool
    ) -> tuple[list[_State], int]:
        """Return the places after one more word, and how many were tried."""
        node, languages = state
        same = node.following.get((has_space, token.folded))
        found = [] if same is None else [(same, languages)]
        if not (languages and node.forms):
            return found, 1
        seen = {token.folded}
        for key in _keys(token.folded, self._is_other):
            for word, after in node.forms.get((has_space, key), ()):
                if word in seen:
                    continue
                seen.add(word)
                if is_first and _key(word) != _key(token.folded):
                    continue
                alike = tuple(each for each in languages if are_forms(token.folded, word, each))
                if alike:
                    found.append((after, alike))
        return found, len(seen)


def _root(phrases: Sequence[Phrase], *, is_exact: bool) -> tuple[_Node, dict[str, int]]:
    """Return where phrases begin, and the number of the first one of each spelling."""
    numbers: dict[str, int] = {}
    for number, phrase in enumerate(phrases):
        if phrase.is_exact == is_exact:
            text = phrase.text if is_exact else phrase.text.casefold()
            text = _SPACE.sub(" ", text).strip(" ")
            if text:
                numbers.setdefault(text, number)
    return _Node(sorted(numbers), 0), numbers


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
    if _stemmer(language) is None:
        return False
    a, b = (one_plain, other_plain) if language == "de" else (one, other)  # umlauts: Haus, Häuser
    common = len(commonprefix((a, b)))
    # An ending may include a letter of the common part: "chev-al", "chev-aux".
    is_bent = any(
        cut >= _MIN_STEM and _is_ending_pair(a[cut:], b[cut:], language)
        for cut in range(common, max(common - 2, 0) - 1, -1)
    )
    return is_bent and _stem(one, language) == _stem(other, language)


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


def _is_apart(text: str, start: int, end: int) -> bool:
    """Whether a match is not part of a longer word, as `.NET` is in `ASP.NET`."""
    before = start > 0 and _IS_LETTER.match(text[start - 1])
    after = end < len(text) and _IS_LETTER.match(text[end])
    return not (before or after)


def _tokens(text: str) -> list[_Token]:
    found, last = [], 0
    for match in _TOKEN.finditer(text):
        found.append(_token(match, last))
        last = match.end()
    return found


def _token(match: regex.Match[str], last: int) -> _Token:
    """Return a word; `last` is where the one before it ends."""
    return _Token(*match.span(), match[0], match[0].casefold(), match.start() > last)


def _key(folded: str) -> str:
    """Return the beginning that all forms of a word share, without accents, which may change."""
    return _without_accents(folded)[:_KEY_CHARS]


def _keys(word: str, is_other: bool) -> tuple[str, ...]:
    """Return what a word may have in common with its other forms: itself without an ending.

    Args:
        is_other: whether it may be of a language whose endings are not known.
    """
    return _keys_of(word, is_other) if len(word) <= MAX_BENT else ()  # no phrase is as long


@lru_cache(maxsize=1 << 14)
def _keys_of(word: str, is_other: bool) -> tuple[str, ...]:
    plain = word if word.isascii() else _without_accents(word)
    return tuple(
        plain[: len(plain) - length]
        for length in _LENGTHS
        if length < len(plain)
        and (plain[len(plain) - length :] in _ALL_ENDINGS or (is_other and length <= _ANY_ENDING))
    )


@lru_cache(maxsize=1 << 14)
def _stem(word: str, language: str) -> str:
    with _stemming:
        return str(_stemmer(language).stemWord(word))


@lru_cache(maxsize=32)
def _stemmer(language: str) -> Any:
    name = name_of(language).lower()
    return snowballstemmer.stemmer(name) if name in snowballstemmer.algorithms() else None
