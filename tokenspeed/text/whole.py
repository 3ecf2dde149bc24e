"""A whole text on its way through a model: cut into pieces, and put together with its layout.

Decides what a model is shown of a piece, takes its answer, asks again if that is no translation,
and returns the text as far as it is ready. Knows text; does not know how a model is asked.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import regex

from tokenspeed.text import segmenter
from tokenspeed.text.glossary import Found
from tokenspeed.text.languages import spaces_sentences
from tokenspeed.text.pipeline import Hygiene, begin_small, goes_on
from tokenspeed.text.words import are_apart, count_words, ends_spaceless

MAX_RETRIES: Final = 2  # of a piece that lacks a protected word
MAX_HALVINGS: Final = 2  # of a sentence without any usable answer
MAX_LINES: Final = 50  # that one sentence may be broken into
LONGER: Final = 2  # times as long as in live text, where waiting matters, a sentence may be
MAX_LABEL: Final = 4  # words; a line up to this long without marks gets no period
EMPTY_PARTS: Final = 64  # that are read in one go, and
EMPTY_CHARS: Final = 2000  # in them
WINDOW_CHARS: Final = 2000  # of a line that are processed together, in 2 to 4 ms

_BREAK: Final = regex.compile(r"\r\n|[\n\v\f\r\x85\u2028\u2029]")
_ENDS: Final = regex.compile(r"[.!?…:;。！？][\"'”’»)\]]*\s*$")
_GOES_ON: Final = regex.compile(r"\s*(?!\p{L}[.)]\s)[\"“„«(]?\p{Ll}")  # but not "b) second"
_SENTENCE_MARK: Final = regex.compile(r"[.!?…:;。！？]")
# A period that ends a sentence, not one of an ordinal or of a short form with periods.
_PERIOD: Final = regex.compile(r"(?<![.\d]|\.\p{L}{1,3}|\b\p{L})\.(?=(?:</\w+>|[*_~`|\s])*$)")
_WORD_AFTER_COMMA: Final = regex.compile(r"\s*\p{L}")
_SMALL: Final = regex.compile(r"\p{Ll}")
_TWO_CAPITALS: Final = regex.compile(r"\p{Lu}{2}")
_SPACE: Final = regex.compile(r"\s")


class Exchange:
    """The questions to a model for one piece, and the result of its answers.

    Attributes:
        shown: what to ask the model now; None once the text is ready.
        text: the translation, once there is nothing left to ask.
        is_untranslated: whether it is the source, because no answer was a translation.
        faults: number of answers that were not used.

    Args:
        hygiene: of the language pair. source: the piece.
        language: of the piece; None if unknown, or to leave numbers to the model.
        max_halvings: how often it may be cut in two if no answer is a translation.
        is_halved: whether to begin with its two halves.
    """

    def __init__(
        self,
        hygiene: Hygiene,
        source: str,
        language: str | None = None,
        *,
        max_halvings: int = MAX_HALVINGS,
        is_halved: bool = False,
    ) -> None:
        self.shown: str | None = None
        self.text = ""
        self.is_untranslated = False
        self.faults = 0
        self.missing: list[Found] = []
        self._hygiene = hygiene
        self._max_halvings = max_halvings
        self._piece = hygiene.piece()
        self._piece.language, self._piece.is_repaired = language, True
        self._piece.take(source)
        self._best: tuple[list[Found], str] | None = None
        self._retries = 0
        self._halves: list[Exchange] = []
        if not self._piece.core:
            self.text = self._piece.prefix
        elif is_halved:
            self._halve()
            if self.shown is None:
                self._finish()
        else:
            self.shown = self._piece.shown()

    @property
    def core(self) -> str:
        """The piece without what comes before and after it."""
        return self._piece.core

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """Terms in what is asked now and their translations, for a model that is told them."""
        return self._piece.placeholders.terms(self.shown or "")

    def take(self, output: str, *, is_whole: bool = True) -> str | None:
        """Take an answer; return what to ask next, or None if that was all.

        Args:
            output: of the model. is_whole: whether it ended by itself.
        """
        assert self.shown is not None
        if self._halves:
            return self._take_half(output, is_whole=is_whole)
        fault = self._hygiene.fault_of(self.shown, output, is_whole=is_whole)
        if fault is None:
            self._weigh(output)
        else:
            self.faults += 1
            is_last = self._best is not None or self.faults > 1
            self._ask(None if is_last else self._piece.plainly_shown())
        if self.shown is None and self._best is None and self._max_halvings:
            self._halve()
        if self.shown is None:
            self._finish()
        return self.shown

    def _halve(self) -> None:
        """Ask for both halves of a piece for which no answer was usable."""
        found = self._hygiene.halves(self._piece.core)
        language = self._piece.language
        self._halves = [
            Exchange(self._hygiene, half, language, max_halvings=self._max_halvings - 1)
            for half in found
        ]
        self._ask_half()

    def _take_half(self, output: str, *, is_whole: bool) -> str | None:
        half = next(half for half in self._halves if half.shown is not None)
        half.take(output, is_whole=is_whole)
        self._ask_half()
        if self.shown is None:
            self.faults += sum(each.faults for each in self._halves)
            self._finish()
        return self.shown

    def _ask_half(self) -> None:
        if any(half.is_untranslated for half in self._halves):
            self._ask(None)
            return
        self._ask(next((half.shown for half in self._halves if half.shown is not None), None))

    def _weigh(self, output: str) -> None:
        placeholders = self._piece.placeholders
        text = self._piece.restore(output)
        missing = placeholders.missing(self._piece.core, text)
        if self._best is None or len(missing) < len(self._best[0]):
            self._best = (missing, text)
        if not missing or self._retries >= MAX_RETRIES:
            self._ask(None)
            return
        self._retries += 1
        placeholders.give_up(missing)
        again = self._piece.shown()
        self._ask(again if again != self.shown else None)

    def _ask(self, shown: str | None) -> None:
        self.shown = shown

    def _finish(self) -> None:
        """Take the best answer, and add what it lacks."""
        piece = self._piece
        if self._halves and not any(half.is_untranslated for half in self._halves):
            first, second = (half.text for half in self._halves)
            if self._halves[1].core[:1].islower():
                second = begin_small(second)
            self.missing = [item for half in self._halves for item in half.missing]
            self.text = f"{piece.prefix}{first.rstrip(' .')} {second}{piece.suffix}"
            return
        if self._best is None:
            self.is_untranslated = True
            self.text = piece.prefix + piece.untranslated() + piece.suffix
            return
        self.missing, text = self._best
        self.text = piece.prefix + piece.placed(text) + piece.suffix


@dataclass(slots=True)
class Part:
    """A piece with the space around it, and its translation once there is one."""

    before: str
    source: str
    after: str
    text: str | None = None
    continues: bool = False  # whether it continues the sentence before it, after a picture
    is_label: bool = False  # a line of a few words that is not a sentence: a button, a heading
    lacks_space: bool = False  # before it, as its script needs none: a translation may


@dataclass(slots=True)
class _Unit:
    """Lines that are one text: its parts, and where lines ended, as a share of its length."""

    parts: list[Part]
    breaks: list[tuple[float, str]]
    end: str  # the line break after it
    is_read: bool = False


class Whole:
    """The parts of one text, and the layout that they are put back into.

    Args:
        text: of any length. hygiene: says where it is cut.
    """

    def __init__(self, text: str, hygiene: Hygiene) -> None:
        self._hygiene = hygiene
        self._has_no_spaces = not spaces_sentences(hygiene.target)
        self._is_wide = False  # whether the last part ends in a wide character
        self._text = text
        self._units: list[_Unit] = []
        self._given = 0  # units

    def parts(self) -> Iterator[Part]:
        """Yield the parts of the text in order, reading no further than necessary.

        Of parts with nothing to translate, whose text is set already, some are yielded too, so that
        a caller gets its turn between pages of empty lines.
        """
        num_empty = num_chars = 0
        for lines, end in _units(self._text):
            text, breaks = _line_of(lines)
            unit = _Unit([], breaks, end)
            self._units.append(unit)
            before = said = ""
            for window in _windows(text):
                cuts = self._hygiene.cut(window, scale=LONGER)
                for cut in cuts:
                    core = cut.text.strip()
                    at = cut.text.find(core) if core else len(cut.text)
                    part = Part(cut.text[:at], core, cut.text[at + len(core) :])
                    part.continues = goes_on(before, core)
                    part.is_label = len(cuts) == 1 and _is_label(window)
                    part.lacks_space = ends_spaceless(before) and not are_apart(said, cut.text)
                    before, said = core, cut.text
                    unit.parts.append(part)
                    if not core:
                        part.text = ""
                        num_empty += 1
                        num_chars += len(cut.text)
                    if core or num_empty == EMPTY_PARTS or num_chars > EMPTY_CHARS:
                        num_empty = num_chars = 0
                        yield part
            unit.is_read = True

    def take_ready(self, most: int | None = None) -> str:
        """Return the part of the translation that is ready and was not returned before.

        Args:
            most: lines to put together in one go; None: all that are ready.
        """
        said = []
        last = len(self._units) if most is None else min(self._given + most, len(self._units))
        while self._given < last:
            unit = self._units[self._given]
            if not unit.breaks:
                while unit.parts and unit.parts[0].text is not None:
                    said.append(self._said(unit.parts.pop(0)))
            if not unit.is_read or any(part.text is None for part in unit.parts):
                break
            text = "".join(map(self._said, unit.parts))
            said += [_broken(text, unit.breaks), unit.end]
            self._given += 1
        return "".join(said)

    def _said(self, part: Part) -> str:
        if part.continues and part.text:
            part.text = begin_small(part.text)
        if part.is_label and part.text:
            part.text = _PERIOD.sub("", part.text)
        before, after = part.before, part.after
        if part.lacks_space and part.text != part.source and not self._has_no_spaces:
            before = f" {before}"
        if self._has_no_spaces:  # a wide mark has its own
            before = before.strip(" ") if self._is_wide else before
            self._is_wide = _ENDS_WIDE.search(part.text or "") is not None
            after = after.strip(" ") if self._is_wide else after
        return f"{before}{part.text}{after}"


def _is_label(line: str) -> bool:
    return _SENTENCE_MARK.search(line) is None and count_words(line) <= MAX_LABEL


_ENDS_WIDE: Final = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}。！？…」』）”]$")


def _line_of(lines: Sequence[tuple[str, str]]) -> tuple[str, list[tuple[float, str]]]:
    """Join lines into one; return it with its line breaks, each with its relative place."""
    text, breaks, length = lines[0][0], [], 0
    total = sum(len(line) for line, _ in lines) or 1
    for (line, ending), (following, _) in zip(lines, lines[1:], strict=False):
        length += len(line)
        around = (line[len(line.rstrip()) :], following[: len(following) - len(following.lstrip())])
        breaks.append((length / total, around[0] + ending + around[1]))
        text = f"{text.rstrip()} {following.lstrip()}"
    return text, breaks


def _windows(text: str) -> Iterator[str]:
    """Divide a very long text, between pieces."""
    if len(text) <= WINDOW_CHARS:
        yield text
        return
    window = ""
    for piece in segmenter.pieces(text):
        if window and len(window) + len(piece) > WINDOW_CHARS:
            yield window
            window = ""
        window += piece
    yield window


def _units(text: str) -> Iterator[tuple[list[tuple[str, str]], str]]:
    """Yield the lines of each sentence together: ([(line, its break)], the last break)."""
    unit: list[tuple[str, str]] = []
    at = 0
    for match in chain(_BREAK.finditer(text), (None,)):
        line = text[at : match.start() if match else len(text)]
        if unit and not (len(unit) < MAX_LINES and _belong_together(unit[-1][0], line)):
            yield unit, unit[-1][1]
            unit = []
        unit.append((line, match[0] if match else ""))
        at = match.end() if match else len(text)
    yield unit, unit[-1][1]


def _belong_together(line: str, following: str) -> bool:
    if not line.strip() or not following.strip() or _ENDS.search(line):
        return False
    if line.rstrip().endswith(","):
        return _WORD_AFTER_COMMA.match(following) is not None
    if _is_loud(line) and _is_loud(following):
        return True
    return _GOES_ON.match(following) is not None


def _is_loud(line: str) -> bool:
    """Whether a line is in capitals, and has a space after the first two of them."""
    capitals = None if _SMALL.search(line) else _TWO_CAPITALS.search(line)
    return capitals is not None and _SPACE.search(line, capitals.end()) is not None


def _broken(text: str, breaks: Sequence[tuple[float, str]]) -> str:
    """Put line breaks back at their relative places, at spaces."""
    spaces = [match.start() for match in regex.finditer(r"(?<=\S)\s(?=\S)", text)]
    parts, at = [], 0
    for i, (share, ending) in enumerate(breaks):
        first = bisect_left(spaces, at)
        # One for each break that follows, if there are as many.
        last = len(spaces) - (len(breaks) - 1 - i)
        last = last if last > first else len(spaces)
        if first == last:
            parts.append(ending)
            continue
        wanted = share * len(text)
        near = bisect_left(spaces, wanted, first, last)
        nearest = spaces[max(near - 1, first) : min(near + 1, last)]
        place = min(nearest, key=lambda place: abs(place - wanted))
        parts += [text[at:place], ending]
        at = place + 1
    return "".join([*parts, text[at:]]) if spaces else text + "".join(parts)
