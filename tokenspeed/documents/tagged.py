"""Text with tags among its words: what a translator sees of them, and where they go afterwards.

A translator gets `Press <g1>this</g1><x2/> {x3}` whatever the tags are, and should keep the marks.
If it does not, each tag goes to the same relative place in the translation: none is ever lost.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import regex

Kind = Literal["start", "end", "single", "word"]

_MARK: Final = regex.compile(r"</?g\d+>|<x\d+/>|\{x\d+\}", regex.IGNORECASE)
_SPACE: Final = regex.compile(r"\s+")
_SPACES: Final = regex.compile(r"  +")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of a document: start or end of a pair, a single one, or one that stands for a word."""

    raw: str
    kind: Kind
    number: int  # the same for both tags of a pair

    @property
    def mark(self) -> str:
        """What a translator sees."""
        if self.kind == "single":
            return f"<x{self.number}/>"
        if self.kind == "word":
            return f"{{x{self.number}}}"
        return f"<{'/' if self.kind == 'end' else ''}g{self.number}>"


class Tagged:
    """A text with tags.

    Args:
        pieces: words and tags in order.
    """

    def __init__(self, pieces: Sequence[str | Tag]) -> None:
        self._pieces = pieces
        self._tags = [piece for piece in pieces if isinstance(piece, Tag)]

    @property
    def text(self) -> str:
        """What is to be translated."""
        return "".join(p.mark if isinstance(p, Tag) else p for p in self._pieces)

    def restored(self, translation: str, *, in_order: bool = False) -> list[str | Tag]:
        """Return the words and tags of a translation.

        Args:
            in_order: tags stay in their order; else tagged words may change places.
        """
        found = self._by_marks(translation)
        if (
            found is not None
            and in_order
            and [p for p in found if isinstance(p, Tag)] != self._tags
        ):
            found = None
        if found is None or not self._is_sound(found):
            found = self._by_share(_SPACES.sub(" ", _MARK.sub("", translation)).strip(" "))
        return found

    def _by_marks(self, translation: str) -> list[str | Tag] | None:
        """Return a translation in pieces; None where a mark is missing or doubled."""
        left = {tag.mark: tag for tag in self._tags}
        pieces: list[str | Tag] = []
        at = 0
        for match in _MARK.finditer(translation) if left else ():
            tag = left.pop(match[0].lower(), None)
            if tag is None:
                return None
            pieces += [translation[at : match.start()], tag]
            at = match.end()
        return None if left else [*pieces, translation[at:]]

    def _is_sound(self, pieces: Sequence[str | Tag]) -> bool:
        """Whether no pair crosses another, and none has lost its words."""
        had, has = _words_inside(self._pieces), _words_inside(pieces)
        if has is None:
            return False
        return had is None or all(has[number] for number in had if had[number])

    def _by_share(self, translation: str) -> list[str | Tag]:
        """Put each tag at its relative place in the source, in characters, at a word's edge."""
        source = sum(len(piece) for piece in self._pieces if isinstance(piece, str))
        spaces = [match.span() for match in _SPACE.finditer(translation)]
        begins = [0, *(end for _, end in spaces)]  # of words
        ends = [*(start for start, _ in spaces), len(translation)]
        found: list[str | Tag] = []
        position = at = 0
        least_end = 0  # an end tag comes after at least one word
        for i, piece in enumerate(self._pieces):
            if isinstance(piece, str):
                position += len(piece)
                continue
            wanted = position * len(translation) / max(source, 1)
            if piece.kind == "end":
                edge = _nearest(ends, wanted, max(at, least_end), len(translation))
            else:
                edge = _nearest(begins, wanted, at, len(translation))
                least_end = edge + 1
            found += [translation[at:edge], piece]
            at = edge
            following = self._pieces[i + 1] if i + 1 < len(self._pieces) else ""
            if (
                piece.kind in ("single", "word")
                and isinstance(following, str)
                and following[:1].isspace()
            ):
                found.append(" ")
        return [*found, translation[at:]]


def _words_inside(pieces: Sequence[str | Tag]) -> dict[int, bool] | None:
    """Return for each pair whether there are words in it; None where pairs cross."""
    found: dict[int, bool] = {}
    opened: list[tuple[int, int]] = []  # (number, pieces of text before it)
    words = 0
    for piece in pieces:
        if isinstance(piece, str):
            words += bool(piece.strip())
        elif piece.kind == "start":
            opened.append((piece.number, words))
        elif piece.kind == "end":
            number, before = opened.pop() if opened else (-1, 0)
            if number != piece.number:
                return None
            found[number] = words > before
    return found


def _nearest(edges: Sequence[int], wanted: float, least: int, most: int) -> int:
    """Return the edge nearest to `wanted`, not before `least`; `most` where there is none."""
    first = bisect_left(edges, least)
    at = bisect_left(edges, wanted, lo=first)
    near = edges[max(first, at - 1) : at + 1]
    return min(near, key=lambda edge: abs(edge - wanted), default=most)


def parse(text: str, tag: regex.Pattern[str]) -> Tagged:
    """Return a text with the tags that a pattern finds: `<i>` and `</i>`, or single ones."""
    found = list(tag.finditer(text))
    opened: list[tuple[str, int]] = []
    pairs: dict[int, int] = {}
    for i, match in enumerate(found):
        name = regex.match(r"</?([\p{L}\d]*)", match[0])
        if name is None or not name[1]:
            continue
        if not match[0].startswith("</"):
            opened.append((name[1], i))
        elif opened and opened[-1][0] == name[1]:
            pairs[i] = opened.pop()[1]
            pairs[pairs[i]] = i
    pieces: list[str | Tag] = []
    at = 0
    for i, match in enumerate(found):
        number = min(i, pairs.get(i, i)) + 1
        kind: Kind = "single" if i not in pairs else "start" if pairs[i] > i else "end"
        pieces += [text[at : match.start()], Tag(match[0], kind, number)]
        at = match.end()
    return Tagged([*pieces, text[at:]])


def without_marks(text: str) -> str:
    """Return a translator's text without its marks."""
    return _MARK.sub("", text)


def raw(pieces: Sequence[str | Tag], space: str = " ") -> str:
    """Return words and tags as in a document; `space` replaces spaces within tags."""
    return "".join(p.raw.replace(" ", space) if isinstance(p, Tag) else p for p in pieces)
