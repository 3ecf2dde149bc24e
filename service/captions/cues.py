"""Captions in cues: lines of bounded length, each shown long enough to be read.

Knows text and milliseconds; does not know segments, files or the wire.
Source: BBC subtitle guidelines and Netflix's timed text style guide: two lines of about 37 to 42
characters, 15 to 20 characters a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import regex

CHARS_PER_S: Final = 17.0  # what a reader can follow
MIN_MS: Final = 800.0  # shortest time on screen
_SPACELESS: Final = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
)


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines that are shown together. start_ms, end_ms: on the clock of the segment."""

    lines: tuple[str, ...]
    start_ms: float
    end_ms: float


def cues_of(
    text: str, start_ms: float, end_ms: float, max_chars: int = 42, max_lines: int = 2
) -> list[Cue]:
    """Lay out the text of a segment as cues.

    Each cue stays up for as long as it takes to read, even if saying it took less; none begins
    before the previous one has ended.

    Args:
        text: of the segment; any run of white space counts as one space.
        start_ms, end_ms: when it was said.
        max_chars: in a line; a longer word is broken.
        max_lines: in a cue.
    Raises:
        ValueError: a bound is not positive.
    """
    if max_chars < 1 or max_lines < 1:
        raise ValueError(f"max_chars {max_chars} and max_lines {max_lines}: expected at least 1")
    lines = _lines(text, max_chars)
    groups = [lines[i : i + max_lines] for i in range(0, len(lines), max_lines)]
    total = sum(map(_length, groups))
    cues: list[Cue] = []
    said = 0  # characters in the cues before this one
    at_ms = start_ms
    for group in groups:
        begin_ms = max(at_ms, start_ms + (end_ms - start_ms) * said / total)
        said += _length(group)
        spoken_ms = start_ms + (end_ms - start_ms) * said / total
        read_ms = max(MIN_MS, _length(group) / CHARS_PER_S * 1e3)
        at_ms = max(spoken_ms, begin_ms + read_ms)
        cues.append(Cue(tuple(group), round(begin_ms, 3), round(at_ms, 3)))
    return cues


class Timeline:
    """Cues of successive segments: none begins before the previous one has ended."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}  # by target: newest start, last end

    def dump(self) -> dict[str, Any]:
        """Return its state as plain values."""
        return dict(self._last)

    def load(self, state: dict[str, Any]) -> None:
        """Restore the state that another instance dumped."""
        self._last = {target: (began, ended) for target, (began, ended) in state.items()}

    def add(
        self,
        target: str,
        text: str,
        start_ms: float,
        end_ms: float,
        max_chars: int,
        max_lines: int,
    ) -> list[Cue]:
        """Return the cues of a target's next segment; arguments as for `cues_of`."""
        began_ms, ended_ms = self._last.get(target, (start_ms, start_ms))
        # A clock that went back, as with another recording, starts over.
        begin_ms = max(start_ms, ended_ms) if start_ms >= began_ms else start_ms
        cues = cues_of(text, begin_ms, max(end_ms, begin_ms), max_chars, max_lines)
        if cues:
            self._last[target] = (start_ms, cues[-1].end_ms)
        return cues


def _lines(text: str, max_chars: int) -> list[str]:
    """Break a text at spaces into as few lines as possible, of about equal length."""
    words = [piece for word in text.split() for piece in _pieces(word, max_chars)]
    if not words:
        return []
    fewest = _fill(words, max_chars)
    # The narrowest width that needs no more lines keeps the last line from being much shorter.
    low, high = 1, max_chars
    while low < high:
        width = (low + high) // 2
        longest = max(len(word) for word, _ in words)
        if width >= longest and len(_fill(words, width)) == len(fewest):
            high = width
        else:
            low = width + 1
    return _fill(words, high)


def _pieces(word: str, max_chars: int) -> list[tuple[str, bool]]:
    """Return where a line may break: the parts of a word, and whether a space precedes each."""
    if len(word) <= max_chars and not _SPACELESS.search(word):
        return [(word, True)]
    # A script without spaces may break between any two grapheme clusters.
    step = 1 if _SPACELESS.search(word) else max_chars
    shapes = regex.findall(r"\X", word)
    parts = ["".join(shapes[i : i + step]) for i in range(0, len(shapes), step)]
    cut = [part[i : i + max_chars] for part in parts for i in range(0, len(part), max_chars)]
    return [(part, i == 0) for i, part in enumerate(cut)]


def _fill(words: Sequence[tuple[str, bool]], width: int) -> list[str]:
    lines = [words[0][0]]
    for word, has_space in words[1:]:
        joined = f"{lines[-1]} {word}" if has_space else lines[-1] + word
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def _length(lines: Sequence[str]) -> int:
    return sum(map(len, lines))
