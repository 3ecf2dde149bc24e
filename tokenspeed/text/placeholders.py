"""Placeholders for protected words while a model translates, and how the words come back.

A small model misspells words that it does not know. So it never sees them: in the source that it
gets, each is replaced by a placeholder (a mark that it was trained to copy, or a known name), and
in its output the wanted word takes that place again. Then the output is searched for the wanted
words, and missing ones are counted. Knows text and words; does not know models, pieces or the wire.
"""

import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from typing import Any, Final, Protocol

import regex

from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.glossary import BEFORE, Found, has_word
from tokenspeed.text.quantities.computing import Change, spellings
from tokenspeed.text.quantities.computing import find as find_said
from tokenspeed.text.vocabulary import MARKS, NAMES
from tokenspeed.text.words import count_words, has_words, word_ends

_FIRST: Final = regex.compile(r"[\p{L}\p{N}]")
_OPENS: Final = regex.compile(r"[\s(\[{\"“„«]?")
_END_MARKS: Final = ".,;:!?…"
# "Never!</i></b>": what closes behind a mark.
_AFTER_MARK: Final = regex.compile(r"(?r)[.,;:!?…][\"'”’»)]?(?:<[^<>]{0,80}>|\{[^{}]{0,80}\})*+")
_FULL_STOP: Final = regex.compile(r"(?<!\.|\.\p{L}{1,3})\.$")  # not that of "a.m."
_SPACES: Final = " \u00a0\u202f"  # French has them before some marks

# A number by itself: not part of a date, a time, an amount or a word, except "20-jährig".
_NUMBER: Final = regex.compile(
    r"(?<![\p{L}\p{N}.,:/$€£#-])(\d{2,3})"
    r"(?:-(?=jährig)|(?![\p{L}\p{N}:/%º°-]|[.,]\p{N}|\.\s*[\p{L}º]|\s?[%°€$£]))"
)

_SPELLED_AGAIN: Final = regex.compile(
    rf"(?|{_NUMBER.pattern}|(?<![\d/])((?:\d{{1,3}} )?\d/\d{{1,2}})(?![\d/]))"
)

MARKS_LENGTH: Final = 200  # characters before a mark that are searched for closing ones

_Key = tuple[str, int]  # a wanted word, and which of its occurrences in the text


class Finder(Protocol):
    """Finds what is protected in a text: a glossary, or all of text hygiene."""

    def find(self, text: str) -> list[Found]: ...


class Placeholders:
    """Which placeholder replaces which word in one piece of source.

    A placeholder keeps its word as long as this is in the source or in committed text.

    Args:
        finder: finds what is protected.
        placeholders: marks, one for each place, or names, one for each different word; none for a
            model that gets the translations of words in its prompt.

    Attributes:
        is_upper: whether the output is written in capitals, except for the wanted words.
    """

    def __init__(self, finder: Finder, placeholders: Sequence[str] = NAMES) -> None:
        self.finder = finder
        self.is_upper = False
        self._placeholders = placeholders
        self._has_marks = bool(placeholders) and placeholders[0] in MARKS
        before = "" if self._has_marks else BEFORE
        any_of = "|".join(placeholders) or "(?!)"
        self._pattern = regex.compile(rf"(?V1){before}(?:{any_of})")
        # A model may glue a name to the word before it, as in "BackPython".
        self._shown = regex.compile(rf"(?V1)(?:{any_of})")
        self._held: dict[str, tuple[Found, _Key]] = {}  # by placeholder
        self._tried: dict[str, set[str]] = {}  # by wanted word: placeholders that were not copied
        self._spelled: dict[str, str] = {}  # numbers that readers get in words, by their digits
        self._is_trimmed = False  # whether the last period is left out
        self._changes: list[Change] = []  # of the restored text
        self._inserted: list[tuple[int, str]] = []  # offsets in the changed text, ascending

    def dump(self) -> dict[str, Any]:
        """Return its state in plain values."""
        return {
            "is_upper": self.is_upper,
            "held": {name: (asdict(item), key) for name, (item, key) in self._held.items()},
            "tried": {wanted: sorted(names) for wanted, names in self._tried.items()},
            "spelled": dict(self._spelled),
            "is_trimmed": self._is_trimmed,
            "changes": [asdict(change) for change in self._changes],
            "inserted": list(self._inserted),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over the state that another one has dumped."""
        self.is_upper = state["is_upper"]
        self._held = {
            name: (Found(**item), (wanted, which))
            for name, (item, (wanted, which)) in state["held"].items()
        }
        self._tried = {wanted: set(names) for wanted, names in state["tried"].items()}
        self._spelled = state["spelled"]
        self._is_trimmed = state["is_trimmed"]
        self._changes = [Change(**change) for change in state["changes"]]
        self._inserted = [(offset, said) for offset, said in state["inserted"]]

    @property
    def are_used(self) -> bool:
        """Whether any placeholder is in use."""
        return bool(self._held)

    def replace(
        self,
        text: str,
        committed: str = "",
        *,
        language: str | None = None,
        is_open: bool = False,
        is_repaired: bool = False,
        target: str = "",
    ) -> str:
        """Return the source for the model, with numbers in words written as digits.

        Args:
            text: the piece. committed: translated text, whose words keep their placeholders.
            language: of the text; None if unknown.
            is_open: the piece may still grow. is_repaired: numbers of the output get corrected.
            target: language of the output, in whose words short numbers come back.
        """
        found = self._find(text)
        keys = self._keys(found)
        now = set(keys)
        said = set() if self._has_marks else {match[0] for match in self._pattern.finditer(text)}
        numbers = _numbers(text, found, language, is_open, is_repaired)
        if numbers and language is not None:
            self._spell(spellings(text, language, target), committed)
        shown: list[tuple[int, int, str]] = [
            (change.start, change.end, change.wanted) for change in numbers
        ]
        for item, key in zip(found, keys, strict=True):
            if not item.is_shown:
                shown.append((item.start, _end_of_gap(text, item), _gap(text, item)))
                continue
            name = self._name_of(item, key, now, said, committed)
            if name is not None:
                shown.append((item.start, item.end, name))
        parts, at = [], 0
        for start, end, placeholder in sorted(shown):
            parts += [text[at:start], placeholder]
            # "p.m." ends with a mark of its own.
            at = end + (placeholder.endswith(".") and text[end : end + 1] == ".")
        return "".join([*parts, text[at:]])

    def keep(self, signs: dict[str, str]) -> None:
        """Let fractions that the model reads as digits come back as the original signs.

        Args:
            signs: by their digits: "1 1/2" and "1½".
        """
        self._spelled |= signs

    def token_text(self, token_text: TokenText) -> TokenText:
        """Return a function that turns ids into text with the wanted words in their places."""

        def restored(tokens: Sequence[int]) -> tuple[str, list[int]]:
            return self.restore(*token_text(tokens))

        return restored

    def missing(self, text: str, output: str) -> list[Found]:
        """Return what a source has but its translation lacks, each wanted word once."""
        needed: Counter[str] = Counter()
        there: dict[str, int] = {}  # a page of marks has a thousand items
        lacking: dict[str, Found] = {}
        for item in self._found(text):
            needed[item.wanted] += 1
            if not item.is_shown or item.wanted in lacking:
                continue
            if item.kind not in ("word", "mark"):
                is_lacking = not _has(output, item)
            else:
                if item.wanted not in there:
                    there[item.wanted] = output.count(item.wanted)
                is_lacking = there[item.wanted] < needed[item.wanted]
            if is_lacking:
                lacking[item.wanted] = item
        return list(lacking.values())

    def terms(self, text: str) -> tuple[tuple[str, str], ...]:
        """Return the terms of a source and their translations, for a model without placeholders."""
        if self._placeholders:
            return ()
        found = (item for item in self._found(text) if item.kind == "term")
        return tuple({text[item.start : item.end]: item.wanted for item in found}.items())

    def protected(self, output: str) -> list[tuple[int, int]]:
        """Return where wanted words are in a restored output, in order."""
        wanted = {held.wanted for held, _ in self._held.values()} - {""}
        if not wanted:
            return []
        found: list[tuple[int, int]] = []
        at = 0
        places = {word: output.find(word) for word in wanted}
        while places := {
            word: place if place >= at else output.find(word, at)
            for word, place in places.items()
            if place >= 0
        }:
            # Of two at one place the longer one, as in "10" and "100".
            start, length = min((place, -len(word)) for word, place in places.items())
            at = start - length
            if start >= 0:
                found.append((start, at))
        return found

    def count(self, text: str) -> int:
        """Return how many different words of a source are protected, not counting marks."""
        return len({item.wanted for item in self._found(text) if item.kind != "mark"})

    def give_up(self, missing: Sequence[Found]) -> None:
        """Let other placeholders replace those that the model did not copy."""
        for item in missing:
            for name, (held, _) in list(self._held.items()):
                if held.wanted == item.wanted:
                    self._tried.setdefault(item.wanted, set()).add(name)

    def correct(self, changes: Sequence[Change], output: str) -> str:
        """Set the corrections of a finished output, and return it corrected.

        Args:
            changes: from left to right. output: restored.
        """
        self._changes = list(changes)
        return self._corrected(output, [])[0]

    def place(self, text: str, output: str, committed: str = "", *, is_ended: bool = True) -> None:
        """Decide where in a finished output to put what the model did not place: near neighbours.

        Args:
            text: the piece. output: its translation, restored. committed: its fixed beginning.
            is_ended: False if a period at the end was added by the model, and something follows.
        """
        self._is_trimmed = not is_ended and len(output) - 1 > len(committed)
        output = self._trimmed(output)
        lost = {item.wanted for item in self.missing(text, output) if item.kind in ("word", "mark")}
        found = self._found(text)
        shown = "".join(_without(text, [item for item in found if not item.is_shown]))
        ends, source_words = word_ends(output), max(count_words(shown), 1)
        # Computed once, as a page of tags has a thousand items to look up.
        counted = _WordsBefore(text, found)
        inside, words = _inside(output, found), _words_of(output)
        least = len(committed)
        there = {wanted: output.count(wanted) for wanted in lost}
        beside = _Neighbours(found, output)
        last: tuple[int, int] | None = None  # words before an inserted mark, and where it is
        for item in found:
            if item.is_shown and there.get(item.wanted, 1):
                if item.wanted in there:
                    there[item.wanted] -= 1
                continue
            sign = text[max(item.start - 1, 0) : item.start]
            opens = _OPENS.fullmatch(sign) is not None
            offset = beside.place_of(item, opens=opens)
            if offset is None:
                offset = _anchor(text, item, words, opens=opens)
            before = counted.before(item)
            if offset is None:
                index = min(round(before * len(ends) / source_words), len(ends))
                offset = ends[index - 1] if index else 0
            offset = inside.get(offset, offset)
            if last is not None and not opens and before > last[0] and offset <= last[1]:
                # What two tags enclose is not empty in the translation either.
                index = bisect_right(ends, last[1]) + before - last[0] - 1
                offset = ends[min(index, len(ends) - 1)]
            if not text[item.end :].strip(_END_MARKS + " "):
                offset = len(output)
            least = self._insert(text, item, output, max(offset, least), least, opens=opens)
            last = before, least

    def with_placed(self, text: str) -> str:
        """Return a restored output with what `place` put into it."""
        return self._with_inserted(*self._corrected(text, []))[0]

    @property
    def _is_final(self) -> bool:
        return bool(self._inserted or self._changes) or self._is_trimmed

    def _trimmed(self, text: str) -> str:
        is_trimmed = self._is_trimmed and _FULL_STOP.search(text) is not None
        return text[:-1] if is_trimmed else text

    def restore(self, text: str, offsets: list[int]) -> tuple[str, list[int]]:
        """Put the wanted words back in their places.

        Args:
            text: an output. offsets: in it, ascending; they are moved along.
        """
        if not (self._held or self.is_upper or self._is_final or self._has_marks or self._spelled):
            return text, offsets
        parts: list[str] = []
        moved: list[int] = []
        at = grown = 0  # place in text; how many characters longer the result is
        seen: set[str] = set()
        for match in self._shown.finditer(text):
            held = self._held.get(match[0])
            start, end = match.span()
            if held is None and not self._has_marks:
                continue
            is_glued = not self._has_marks and self._pattern.match(text, start) is None
            is_extra = held is None or is_glued or (self._has_marks and match[0] in seen)
            seen.add(match[0])
            if is_extra and text[max(start - 1, at) : start] == " ":
                start -= 1
            grown = self._copy(text[at:start], at, grown, offsets, parts, moved)
            wanted = "" if is_extra or held is None else held[0].wanted
            is_first = held is not None and _FIRST.search(text, 0, start) is None
            if is_first and held is not None and not held[0].is_exact and wanted.islower():
                wanted = wanted[0].upper() + wanted[1:]
            # An id that ends inside the placeholder completes no part of the word.
            moved += [start + grown for o in offsets[len(moved) :] if o < end]
            parts.append(wanted)
            at, grown = end, grown + len(wanted) - (end - start)
        self._copy(text[at:], at, grown, offsets, parts, moved)
        said, moved = self._in_words("".join(parts), moved)
        return self._with_inserted(*self._corrected(said, moved))

    def _spell(self, words: dict[str, str], committed: str) -> None:
        """Set numbers to come back in words from now on, except those that readers already have."""
        for digits, said in words.items():
            if digits not in self._spelled and digits not in committed:
                self._spelled[digits] = said

    def _in_words(self, text: str, offsets: list[int]) -> tuple[str, list[int]]:
        """Write short numbers in words again if the source had words, and fractions as signs."""
        if not self._spelled:
            return text, offsets
        changes = []
        for match in _SPELLED_AGAIN.finditer(text):
            said = self._spelled.get(match[1])
            if said is not None:
                is_first = _FIRST.search(text, 0, match.start()) is None
                said = said.upper() if self.is_upper else said
                said = said[0].upper() + said[1:] if is_first else said
                changes.append(Change(*match.span(), said))
        return _changed(text, offsets, changes)

    def _corrected(self, text: str, offsets: list[int]) -> tuple[str, list[int]]:
        """Apply the corrections; an id that ends within one completes nothing of it."""
        return _changed(text, offsets, self._changes)

    def _copy(
        self,
        text: str,
        at: int,
        grown: int,
        offsets: list[int],
        parts: list[str],
        moved: list[int],
    ) -> int:
        """Add the text between two placeholders; return how much longer the result is after it."""
        within = offsets[len(moved) : bisect_right(offsets, at + len(text), lo=len(moved))]
        # Offsets at the very end are included: they come before the next placeholder.
        if not self.is_upper:
            parts.append(text)
            moved += [offset + grown for offset in within]
            return grown
        lengths = list(accumulate((len(c.upper()) for c in text), initial=0))
        parts.append(text.upper())
        moved += [at + grown + lengths[max(offset - at, 0)] for offset in within]
        return grown + lengths[-1] - len(text)

    def _insert(
        self, text: str, item: Found, output: str, offset: int, least: int, *, opens: bool
    ) -> int:
        """Note what to insert near an offset, with the spaces that it had in the source."""
        is_before_word = opens and not text[item.end : item.end + 1].isspace()
        said = item.wanted
        if is_before_word:  # "<b>word"
            while output[offset : offset + 1].isspace():
                offset += 1
        elif not opens and not self._stands_after_mark(text, item):
            marks = output[:offset].rstrip(_END_MARKS + _SPACES)
            offset = max(len(marks), least)  # right after a word: "word</b>,"
        elif opens:
            after = output[offset : offset + 1]
            said = f" {said}" if offset else said
            if after and not after.isspace() and after not in _END_MARKS:
                said += " "
        self._inserted.append((offset, said))
        return offset

    def _stands_after_mark(self, text: str, item: Found) -> bool:
        """Whether what follows a word comes after its mark: "Never!</b>"."""
        is_newline = item.wanted.startswith("\\")
        start = max(item.start - MARKS_LENGTH, 0)
        return is_newline or _AFTER_MARK.match(text, start, item.start) is not None

    def _with_inserted(self, text: str, offsets: list[int]) -> tuple[str, list[int]]:
        text = self._trimmed(text)
        offsets = [min(offset, len(text)) for offset in offsets]
        if not self._inserted:
            return text, offsets
        parts, at = [], 0
        places = [(place, said) for place, said in self._inserted if place <= len(text)]
        for place, said in places:
            parts += [text[at:place], said]
            at = place
        parts.append(text[at:])
        starts = [place for place, _ in places]
        sums = list(accumulate((len(said) for _, said in places), initial=0))
        end = len(text)
        moved = [
            offset + sums[(bisect_right if offset == end else bisect_left)(starts, offset)]
            for offset in offsets
        ]
        return "".join(parts), moved

    def _found(self, text: str) -> list[Found]:
        """Find what is protected; of a fraction that was a sign, the sign must appear."""
        found = self.finder.find(text)
        signs = {digits: sign for digits, sign in self._spelled.items() if "/" in digits}
        if not signs:
            return found
        return [replace(item, wanted=signs.get(item.wanted, item.wanted)) for item in found]

    def _find(self, text: str) -> list[Found]:
        """Find what is protected, and names of the text that are placeholders for others."""
        found = self._found(text)
        if self._has_marks:
            return found
        taken = [(item.start, item.end) for item in found]
        for match in self._pattern.finditer(text):
            held = self._held.get(match[0])
            is_free = all(match.end() <= start or end <= match.start() for start, end in taken)
            if held is not None and held[0].wanted != match[0] and is_free:
                found.append(Found(*match.span(), match[0]))
        return sorted(found, key=lambda item: item.start)

    def _keys(self, found: Sequence[Found]) -> list[_Key]:
        seen: Counter[str] = Counter()
        keys = []
        for item in found:
            keys.append((item.wanted, seen[item.wanted] if self._has_marks else 0))
            seen[item.wanted] += 1
        return keys

    def _name_of(
        self, item: Found, key: _Key, now: set[_Key], said: set[str], committed: str
    ) -> str | None:
        """Return the placeholder of a word; None if all are taken."""
        tried = self._tried.get(item.wanted, set())
        for name, (_, holder) in self._held.items():
            if holder == key and name not in tried:
                return name
        free = [name for name in self._placeholders if name not in said and name not in tried]
        unused = (name for name in free if self._is_unused(name, now, committed))
        # Rather than none, one that its word has given up; earlier outputs with it are lost.
        given_up = (name for name in free if self._is_given_up(name, committed))
        # Not for marks, one for each place: an earlier output that has it may be the best one.
        chosen = next(unused, None) or (None if self._has_marks else next(given_up, None))
        if chosen is not None:
            self._held[chosen] = (replace(item, start=0, end=0), key)
        return chosen

    def _is_unused(self, name: str, now: set[_Key], committed: str) -> bool:
        holder = self._held.get(name)
        if holder is None:
            return True
        item, key = holder
        return key not in now and not _has(committed, item, key[1] + 1)

    def _is_given_up(self, name: str, committed: str) -> bool:
        item, key = self._held[name]
        return name in self._tried.get(item.wanted, set()) and not _has(committed, item, key[1] + 1)


def _numbers(
    text: str, found: Sequence[Found], language: str | None, is_open: bool, is_repaired: bool
) -> list[Change]:
    """Return what is written in digits for the model, outside of what is protected."""
    if language is None:
        return []
    return [
        change
        for change in find_said(text, language, is_open=is_open, is_repaired=is_repaired)
        if all(change.end <= item.start or item.end <= change.start for item in found)
    ]


def _changed(text: str, offsets: list[int], changes: Sequence[Change]) -> tuple[str, list[int]]:
    """Apply changes to a text; an offset within one moves to its beginning.

    Args:
        changes: in order, none overlapping another; those past the end of the text are left out.
    """
    changes = [change for change in changes if change.end <= len(text)]
    if not changes:
        return text, offsets
    parts, at = [], 0
    for change in changes:
        parts += [text[at : change.start], change.wanted]
        at = change.end
    ends = [change.end for change in changes]
    grown = list(accumulate((len(c.wanted) - (c.end - c.start) for c in changes), initial=0))
    starts = [*(change.start for change in changes), len(text)]
    moved = []
    for offset in offsets:
        before = bisect_right(ends, offset)
        moved.append(min(offset, starts[before]) + grown[before])
    return "".join([*parts, text[at:]]), moved


def _has(output: str, item: Found, times: int = 1) -> bool:
    """Whether a word is in an output, perhaps with an ending or at the start with a capital."""
    if item.kind in ("word", "mark"):
        return output.count(item.wanted) >= times
    # No pattern is compiled for it: a glossary has more words than patterns are kept.
    if has_word(output, item.wanted):
        return True
    capital = item.wanted[:1].upper() + item.wanted[1:]
    return not item.is_exact and output.lstrip().startswith(capital)


def _inside(output: str, found: Sequence[Found]) -> dict[int, int]:
    """Return the offsets inside wanted words -> the end of that word."""
    places: dict[int, int] = {}
    for wanted in dict.fromkeys(item.wanted for item in found if item.wanted):
        at = output.find(wanted)
        while at >= 0:
            end = at + len(wanted)
            for offset in range(at + 1, end):
                places.setdefault(offset, end)
            at = output.find(wanted, end)
    if not places:
        return places
    # In their order one may end within what reads like a longer one: "a", then "a a".
    at, edges = 0, set[int]()
    for item in found:
        start = output.find(item.wanted, at) if item.wanted else -1
        if start >= 0:
            at = start + len(item.wanted)
            edges |= {start, at}
    return {offset: end for offset, end in places.items() if offset not in edges}


class _WordsBefore:
    """How many words of a text come before each of its items, without marks."""

    def __init__(self, text: str, found: Sequence[Found]) -> None:
        self._shown = "".join(_without(text, found))
        self._ends = word_ends(self._shown)
        self._removed = [(0, 0)]  # (offset, characters of marks before it)
        for item in found:
            if item.kind == "mark":
                removed = self._removed[-1][1] + item.end - item.start
                self._removed.append((item.end, removed))

    def before(self, item: Found) -> int:
        """Return the number of words before an item; the beginning of one counts."""
        index = bisect_right(self._removed, (item.start, sys.maxsize)) - 1
        offset = item.start - self._removed[index][1]
        whole = bisect_right(self._ends, offset)
        begin = self._ends[whole - 1] if whole else 0
        return whole + has_words(self._shown[begin:offset])


class _Neighbours:
    """Where the protected words that touch an item in the source are in an output."""

    def __init__(self, found: Sequence[Found], output: str) -> None:
        shown = [item for item in found if item.is_shown and item.wanted]
        self._by_start = {item.start: item.wanted for item in shown}
        self._by_end = {item.end: item.wanted for item in shown}
        self._output = output

    def place_of(self, item: Found, *, opens: bool) -> int | None:
        """Return the place before or after the one that it touches; None if there is no such."""
        wanted = self._by_start.get(item.end) if opens else self._by_end.get(item.start)
        if wanted is None or self._output.count(wanted) != 1:
            return None
        return self._output.find(wanted) + (0 if opens else len(wanted))


def _words_of(output: str) -> dict[str, list[tuple[int, int]]]:
    """Return where each word of an output is, by the word in lower case."""
    places: dict[str, list[tuple[int, int]]] = {}
    for match in _NEXT_WORD.finditer(output):
        places.setdefault(match[0].casefold(), []).append(match.span())
    return places


def _end_of_gap(text: str, item: Found) -> int:
    """Return where the text continues after an omitted item; one of two spaces is omitted too."""
    before, after = text[: item.start], text[item.end : item.end + 1]
    has_two = after.isspace() and (not before or before[-1].isspace())
    return item.end + has_two


def _gap(text: str, item: Found) -> str:
    """Return what replaces a mark that is not shown: a space for a line break between words."""
    is_newline = item.wanted.startswith("\\")
    around = text[item.start - 1 : item.start], text[item.end : item.end + 1]
    return " " if is_newline and all(each and not each.isspace() for each in around) else ""


def _without(text: str, found: Sequence[Found]) -> list[str]:
    parts, at = [], 0
    for item in found:
        if item.end > len(text):
            break
        if item.kind == "mark":
            parts.append(text[at : item.start])
            at = item.end
    return [*parts, text[at:]]


_NEXT_WORD: Final = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}'’-]*")
_WORD_BEFORE: Final = regex.compile(rf"(?r){_NEXT_WORD.pattern}")


def _anchor(
    text: str, item: Found, words: dict[str, list[tuple[int, int]]], *, opens: bool
) -> int | None:
    """Return the place next to a neighbour that is also in the translation: a name, a number."""
    is_apart = text[item.end : item.end + 1].isspace() and text[item.start - 1 : item.start] == " "
    if opens and not is_apart:
        match = _NEXT_WORD.match(text, item.end)
        side = 0
    else:
        match = _WORD_BEFORE.match(text, max(item.start - 60, 0), item.start - is_apart)
        side = 1
    if match is None:
        return None
    places = words.get(match[0].casefold(), [])
    return places[0][side] if len(places) == 1 else None
