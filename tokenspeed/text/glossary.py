"""Words that must come out as they are wanted: glossary, do-not-translate, links, addresses, names.

A small model spells a word that it does not know in its own way. So it never sees one: in the
source that it is given a well-known name stands in, which it copies, and in its output the wanted
word takes that name's place again. What is wanted is then looked for in the output, and counted
where it is missing. Knows text and words; does not know models, pieces or the wire.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import regex

from tokenspeed.text.detokenizer import TextDecoder, TokenText
from tokenspeed.text.quantities.computing import Change
from tokenspeed.text.quantities.computing import find as find_said
from tokenspeed.text.terms import Phrase, PhraseIndex
from tokenspeed.text.words import count_words

PLACEHOLDERS: Final = (
    # Copied unchanged by the default model in most sentences of the test sets; no language here
    # has another name for them, and nobody's translation depends on what they are.
    "Microsoft", "Python", "Toronto", "Google", "Twitter", "Obama", "Samsung", "Boston",
    "Toyota", "Facebook", "Houston", "Intel", "Linux", "Chicago", "Sony", "Honda",
)  # fmt: skip

_SPACELESS: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER: Final = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--[{_SPACELESS}]]"
_BEFORE, _AFTER = rf"(?<!{_LETTER})", rf"(?!{_LETTER})"
_DOMAINS: Final = "com|org|net|edu|gov|info|dev|app|io|eu|de|at|ch|fr|be|es|mx|uk|ie|us|ca|int"
_ADDRESS: Final = (
    r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?:https?://|www\.)[^\s<>\"]*[\w/=&#%-]"
    rf"|[\w-]+(?:\.[\w-]+)*\.(?:{_DOMAINS})(?:[:/][^\s<>\"]*[\w/=&#%-])?"
)
_NAME: Final = regex.compile(
    rf"(?V1)(?<=[\p{{Ll}}\p{{N}},;:] ){_BEFORE}\p{{Lu}}[\p{{L}}'’-]*\p{{L}}"
)
_ALL_PLACEHOLDERS: Final = regex.compile(rf"(?V1){_BEFORE}(?:{'|'.join(PLACEHOLDERS)})")
_ADDRESSES: Final = regex.compile(rf"(?V1){_BEFORE}(?:{_ADDRESS}){_AFTER}")
_BENT: Final = ("de", "en", "es", "fr")  # how words may be bent where nobody says the language
_CAPITAL_NOUNS: Final = frozenset({"de", "lb"})  # languages where a capital makes no name
_FIRST: Final = regex.compile(r"[\p{L}\p{N}]")


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase and how it is to appear; `is_exact`: never with another case."""

    source: str
    target: str
    is_case_sensitive: bool = False
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Where a term stands in a text, and what is wanted in its place."""

    start: int
    end: int
    wanted: str
    is_exact: bool = True


class Glossary:
    """The terms of one target language, compiled once, at first use.

    Addresses and links are always among them.

    Args:
        terms: of two that match at one place the longer one counts.
        is_rare: whether the model has no good spelling of a word; such a name is kept as it is.
        source_language: of the texts, None where it is not known.
    """

    def __init__(
        self,
        terms: Sequence[Term] = (),
        is_rare: Callable[[str], bool] | None = None,
        source_language: str | None = None,
    ) -> None:
        has_names = source_language is not None and source_language not in _CAPITAL_NOUNS
        self._is_rare = is_rare if has_names else None
        self._last: tuple[str, list[Found]] = ("", [])  # asked for several times in a row
        self._terms = tuple(terms)
        self._languages = _BENT if source_language is None else (source_language,)

    @cached_property
    def _index(self) -> PhraseIndex:
        # When it is needed: settings may come often, and a thousand terms take 2 ms.
        phrases = [Phrase(term.source, term.is_case_sensitive) for term in self._terms]
        return PhraseIndex(phrases, self._languages)

    def find(self, text: str) -> list[Found]:
        """Return the terms of a text from left to right, none overlapping another."""
        if text != self._last[0]:
            self._last = (text, self._find(text))
        return list(self._last[1])

    def _find(self, text: str) -> list[Found]:
        places = [
            Found(start, end, self._terms[number].target, self._terms[number].is_exact)
            for start, end, number in self._index.find(text)
        ]
        places += [Found(*match.span(), match[0]) for match in _ADDRESSES.finditer(text)]
        found: list[Found] = []
        for place in sorted(places, key=lambda item: (item.start, -item.end)):
            if not found or found[-1].end <= place.start:
                found.append(place)
        taken = [(item.start, item.end) for item in found]
        for match in _NAME.finditer(text) if self._is_rare else ():
            is_free = all(match.end() <= start or end <= match.start() for start, end in taken)
            if is_free and self._is_rare and self._is_rare(match[0]):
                found.append(Found(*match.span(), match[0]))
        return sorted(found, key=lambda item: item.start)


class Placeholders:
    """Which name stands for which word in one piece of source.

    A name keeps its word for as long as that is in the source or in committed text.
    """

    def __init__(self, glossary: Glossary) -> None:
        self.glossary = glossary
        self._wanted: dict[str, Found] = {}  # by placeholder
        self._tried: dict[str, set[str]] = {}  # by wanted word: placeholders that were not copied

    def replace(
        self,
        text: str,
        committed: str = "",
        *,
        language: str | None = None,
        is_open: bool = False,
        is_repaired: bool = False,
    ) -> str:
        """Return the source for the model; numbers that are said in words are digits in it.

        Args:
            text: the piece. committed: translated text, whose words keep their names.
            language: of the text, None where it is not known.
            is_open: the piece may still grow. is_repaired: numbers of the output will be put right.
        """
        found = self._find(text)
        now = {item.wanted for item in found}
        said = {match[0] for match in _ALL_PLACEHOLDERS.finditer(text)}
        parts, at = [], 0
        items: list[Found | Change] = [
            *found,
            *_numbers(text, found, language, is_open, is_repaired),
        ]
        for item in sorted(items, key=lambda item: item.start):
            if isinstance(item, Found):
                shown = self._name_of(item, now, said, committed)
            else:
                shown = item.wanted
            if shown is not None:
                parts += [text[at : item.start], shown]
                at = item.end
        return "".join([*parts, text[at:]])

    def token_text(self, token_text: TokenText) -> TokenText:
        """Return what turns ids into text with the wanted words in their places."""

        def restored(tokens: Sequence[int]) -> tuple[str, list[int]]:
            text, offsets = token_text(tokens)
            return self.restore(text, offsets) if self._wanted else (text, offsets)

        return restored

    def decoder(self, decoder: TextDecoder) -> "RestoringDecoder":
        """Return what turns ids into text with the wanted words, as they come."""
        return RestoringDecoder(decoder, self)

    def missing(self, text: str, output: str) -> list[Found]:
        """Return the terms of a source that its translation lacks, each of them once."""
        lacking = [item for item in self._terms(text) if not _has(output, item)]
        return list({item.wanted: item for item in lacking}.values())

    def count(self, text: str) -> int:
        """Return how many different terms a source has."""
        return len({item.wanted for item in self._terms(text)})

    def give_up(self, missing: Sequence[Found]) -> None:
        """Let other names stand in for words that did not come through."""
        for item in missing:
            for name, held in list(self._wanted.items()):
                if held.wanted == item.wanted:
                    self._tried.setdefault(item.wanted, set()).add(name)

    @property
    def are_used(self) -> bool:
        """Whether any name stands for a word."""
        return bool(self._wanted)

    def _terms(self, text: str) -> list[Found]:
        return self.glossary.find(text)

    def _find(self, text: str) -> list[Found]:
        """Find the terms, and names that are meant as themselves but stand in for others."""
        found = self._terms(text)
        taken = [(item.start, item.end) for item in found]
        for match in _ALL_PLACEHOLDERS.finditer(text):
            held = self._wanted.get(match[0])
            is_free = all(match.end() <= start or end <= match.start() for start, end in taken)
            if held is not None and held.wanted != match[0] and is_free:
                found.append(Found(*match.span(), match[0]))
        return sorted(found, key=lambda item: item.start)

    def _name_of(self, item: Found, now: set[str], said: set[str], committed: str) -> str | None:
        """Return the name that stands in for a word, None where all are taken."""
        tried = self._tried.get(item.wanted, set())
        for name, held in self._wanted.items():
            if held.wanted == item.wanted and name not in tried:
                return name
        free = [name for name in PLACEHOLDERS if name not in said and name not in tried]
        unused = (name for name in free if self._is_unused(name, now, committed))
        # Rather than none at all, one that its word has given up; what was said with it is lost.
        given_up = (name for name in free if self._is_given_up(name, committed))
        chosen = next(unused, None) or next(given_up, None)
        if chosen is not None:
            self._wanted[chosen] = replace(item, start=0, end=0)
        return chosen

    def _is_unused(self, name: str, now: set[str], committed: str) -> bool:
        holder = self._wanted.get(name)
        return holder is None or (holder.wanted not in now and not _has(committed, holder))

    def _is_given_up(self, name: str, committed: str) -> bool:
        holder = self._wanted[name]
        return name in self._tried.get(holder.wanted, set()) and not _has(committed, holder)

    def restore(
        self, text: str, offsets: list[int], *, is_beginning: bool = True
    ) -> tuple[str, list[int]]:
        """Put the wanted words back in their places.

        Args:
            text: an output. offsets: in it, ascending; they are moved along.
            is_beginning: whether nothing stands before the text.
        """
        parts: list[str] = []
        moved: list[int] = []
        at = 0  # in text
        grown = 0  # characters that the result has more
        for match in _ALL_PLACEHOLDERS.finditer(text):
            item = self._wanted.get(match[0])
            if item is None:
                continue
            start, end = match.span()
            is_first = is_beginning and _FIRST.search(text, 0, start) is None
            wanted = item.wanted
            if is_first and not item.is_exact and wanted.islower():
                wanted = wanted[0].upper() + wanted[1:]
            # An id that ends inside the name completes nothing of the word.
            moved += [min(o, start) + grown for o in offsets[len(moved) :] if o < end]
            parts += [text[at:start], wanted]
            at, grown = end, grown + len(wanted) - (end - start)
        moved += [offset + grown for offset in offsets[len(moved) :]]
        return "".join([*parts, text[at:]]), moved


class RestoringDecoder:
    """Decodes an output that placeholders may be in; a word that may still grow is held back."""

    def __init__(self, decoder: TextDecoder, placeholders: Placeholders) -> None:
        self._decoder = decoder
        self._placeholders = placeholders
        self._held = ""
        self._is_first = True

    def push(self, ids: Sequence[int]) -> str:
        """Take ids in; return the text that became sure."""
        text = self._held + self._decoder.push(ids)
        if not self._placeholders.are_used:
            return text
        # What follows the last space may be the beginning of a name.
        end = text.rfind(" ")
        self._held = text[max(end, 0) :]
        return self._give(text[: max(end, 0)])

    def end(self) -> str:
        """Return what was held back."""
        rest, self._held = self._held, ""
        return self._give(rest)

    def _give(self, text: str) -> str:
        found = self._placeholders.restore(text, [], is_beginning=self._is_first)[0]
        self._is_first = self._is_first and not found.strip()
        return found


def _numbers(
    text: str, found: Sequence[Found], language: str | None, is_open: bool, is_repaired: bool
) -> list[Change]:
    """Return what is written in digits for the model, and is no part of a term."""
    if language is None:
        return []
    return [
        change
        for change in find_said(text, language, is_open=is_open, is_repaired=is_repaired)
        if all(change.end <= item.start or item.end <= change.start for item in found)
    ]


def certain_words(text: str, missing: Sequence[Found]) -> int | None:
    """Return how many words of a source stand before the first missing term, None if none is."""
    return count_words(text[: min(item.start for item in missing)]) if missing else None


def _has(output: str, item: Found) -> bool:
    """Whether a word is there; an ending may follow, and a sentence may begin with it."""
    if regex.search(rf"(?V1){_BEFORE}{regex.escape(item.wanted)}", output):
        return True
    capital = item.wanted[:1].upper() + item.wanted[1:]
    return not item.is_exact and output.lstrip().startswith(capital)
