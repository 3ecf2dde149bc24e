"""Plain text (.txt): lines and paragraphs stay; a wrapped sentence is translated as one."""

from typing import Final

import regex

from tokenspeed.documents.document import SpanDocument, Unit, read
from tokenspeed.documents.flow import groups, line_unit

WRAPPED_CHARS: Final = 40  # a shorter line before a capital was not wrapped: a title, a verse

_LINE: Final = regex.compile(r"[^\r\n]+")
_WORDS: Final = regex.compile(r"\p{L}")
_MARGIN: Final = regex.compile(r"\s*(?:[-–—•*]\s+|\d{1,3}[.)]\s+|>+\s*)?\s*")


def open_plain(data: bytes, target: str) -> SpanDocument:
    """Return a text as a document."""
    source = read(data)
    return SpanDocument(source, units(source.text, 0, len(source.text)))


def units(text: str, start: int, end: int) -> list[Unit]:
    """Return the texts of a part of a source, as lines of plain text."""
    spans: list[tuple[int, int]] = []
    breaks: list[bool] = []
    at: int | None = None  # where the line before ended, if it had words
    for line in _LINE.finditer(text, start, end):
        margin = _MARGIN.match(text, line.start(), line.end())
        first = margin.end() if margin else line.start()
        last = first + len(text[first : line.end()].rstrip())
        if not _WORDS.search(text, first, last):
            at = None
            continue
        has_mark = bool(text[line.start() : first].strip())
        is_next = at is not None and text[at : line.start()] in ("\n", "\r\n", "\r")
        breaks.append(not is_next or has_mark or _is_short(text, spans[-1], first))
        spans.append((first, last))
        at = line.end()
    lines = [text[a:b] for a, b in spans]
    return [
        line_unit(text, spans[group.start : group.stop], [False] * len(group))
        for group in groups(lines, breaks)
    ]


def _is_short(text: str, line: tuple[int, int], following: int) -> bool:
    """Whether a line was ended on purpose rather than wrapped."""
    return line[1] - line[0] < WRAPPED_CHARS and not text[following].islower()
