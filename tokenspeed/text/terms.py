"""Where the words of a list occur in a text, in any inflected form.

Two forms of a word match by their stem (Snowball), if they differ only by an ending that inflects:
`tickets` is `ticket`, `Häuser` is `Haus`, but `university` is not `universe`. The list is read
once, word by word: where several phrases begin alike, all of them when it is compiled, and a phrase
that goes on alone no further than texts do. A text is read once from left to right, whatever the
length of the list and however alike its terms are. Knows words; does not know what replaces them.
"""

import unicodedata
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
        unread: phrases that come here and are read no further yet: their numbers, and where in
            their text the last word that was read ends.
    """

    __slots__ = ("following", "forms", "number", "unread")

    def __init__(self) -> None:
        self.number: int | None = None
        self.following: dict[tuple[bool, str], _Node] = {}
        self.forms: dict[tuple[bool, str], list[tuple[str, _Node]]] = {}
        self.unread: list[tuple[int, int]] = []


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
        self._phrases = phrases
        self._reading = Lock()  # texts are searched in several threads
        self._exact, self._bent = _Node(), _Node()
        for number, phrase in enumerate(phrases):
            self._grow(self._exact if phrase.is_exact else self._bent, number, 0)

    def compile(self) -> None:
        """Read the phrases as far as they are alike: what a text may need of them takes no time.

        May run in a thread, and takes up to 50 ms for 500 phrases of 50 words each.
        """
        todo = [*self._exact.following.values(), *self._bent.following.values()]
        while todo:
            node = todo.pop()
            if len(node.unread) > 1:
                todo += self._read(node).following.values()

    def _grow(self, node: _Node, number: int, at: int) -> None:
        """Let a phrase go on from a place with one more word, the next after a character."""
        phrase = self._phrases[number]
        match = _TOKEN.search(phrase.text, at)
        if match is None:
            if at and node.number is None:
                node.number = number
            return
        token = _token(match, at)
        word = token.text if phrase.is_exact else token.folded
        edge = (at > 0 and token.has_space, word)
        following = node.following.get(edge)
        if following is None:
            following = node.following[edge] = _Node()
            for key in () if phrase.is_exact else _keys(word, self._is_other):
                alike = node.forms.setdefault((edge[0], key), [])
                if len(alike) < MAX_ALIKE:
                    alike.append((word, following))
        following.unread.append((number, token.end))

    def _read(self, node: _Node) -> _Node:
        """Return a place with what follows it read."""
        if node.unread:
            with self._reading:
                for number, at in node.unread:
                    self._grow(node, number, at)
                node.unread.clear()
        return node

    def find(self, text: str) -> list[tuple[int, int, int]]:
        """Return (start, end, number of the phrase), from left to right, without overlaps."""
        if not (self._exact.following or self._bent.following):
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
        exact: _Node | None = self._exact
        bent: list[_State] = [(self._bent, self._languages)]
        tries = 0
        start = tokens[at].start
        for count in range(1, len(tokens) - at + 1):
            token = tokens[at + count - 1]
            has_space = count > 1 and token.has_space
            exact = exact and exact.following.get((has_space, token.text))
            if exact is not None:
                self._read(exact)
            following: list[_State] = []
            for state in bent:
                if tries > left:
                    break
                alike, tried = self._following(state, token, has_space, is_first=count == 1)
                following += alike
                tries += tried
            bent = [(self._read(node), languages) for node, languages in following]
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
