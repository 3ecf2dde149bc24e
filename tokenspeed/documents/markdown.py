"""Markdown (.md): paragraphs, headings, lists, quotes and tables, with the marks among the words.

`markdown-it-py` finds the blocks; within them links, images, code, emphasis and tags are marks.
Not translated: front matter, code, link definitions, and what `html` leaves in HTML blocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import regex
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tokenspeed.documents import html
from tokenspeed.documents.document import SpanDocument, Unit, read
from tokenspeed.documents.flow import groups, line_unit
from tokenspeed.documents.tagged import Kind, Tag, Tagged, without_marks

MAX_MARKED_CHARS: Final = 10_000  # of one paragraph; at worst finding marks takes quadratic time

_LINE: Final = regex.compile(r"([^\r\n]*)(?:\r\n|\n|\r|$)")
_FRONT: Final = regex.compile(r"(---|\+\+\+)[ \t]*\r?\n(?:.*\r?\n)*?\1[ \t]*(?:\r?\n|$)")
_HARD_BREAK: Final = regex.compile(r"(?:  |\\)$")
# GitHub's check boxes and footnote labels, which CommonMark reads as words.
_LEAD: Final = regex.compile(r"(?:\[[ xX]\]|\[\^[^\[\]\s]+\]:)[ \t]+(?=\S)")
_DEFINITION: Final = regex.compile(r"\[(?!\^)[^\[\]]+\]:[ \t]*\S")  # right after a footnote
_FOOTNOTE: Final = regex.compile(r"\[\^[^\[\]\s]+\]:")
_WORDS: Final = regex.compile(r"\p{L}")
_MARKS: Final = regex.compile(
    r"(?P<word>(?P<ticks>`++)(?:.*?[^`])??(?P=ticks)(?!`)|<[a-z]+:[^<>\s]*>)"
    r"|(?P<single>\\[!-/:-@\[-`{-~]|\[\^[^\[\]\s]+\]|<[^<>\s][^<>]*>|&(?:#\w{1,8}|\w{1,32});)"
    r"|(?P<open>!?\[)"
    r"|(?P<close>\](?:\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+(?:\"[^\"]*\"|'[^']*'))?\s*\)|\[[^\[\]]*\])?)"
    r"|(?P<emphasis>\*\*\*|\*\*|\*|~~|(?<![\p{L}\p{N}])_{1,3}|_{1,3}(?![\p{L}\p{N}]))"
)


@dataclass(slots=True)
class _Mark:
    raw: str
    kind: Kind
    number: int


def open_markdown(data: bytes, target: str) -> SpanDocument:
    """Return a Markdown file as a document."""
    source = read(data)
    return SpanDocument(source, sorted(_units(source.text), key=lambda unit: unit.spans))


def _units(text: str) -> Iterator[Unit]:
    lines = [found.span(1) for found in _LINE.finditer(text)]
    front = _FRONT.match(text)
    skipped = sum(end < front.end() for _, end in lines) if front else 0
    body = "\n" * skipped + "\n".join(text[start:end] for start, end in lines[skipped:])
    # Only blocks: what is in them is found below, with its places.
    parser = MarkdownIt("commonmark").enable("table").disable("inline")
    at = 0  # in the source, as the cells of a row are in one line
    for token in parser.parse(body):
        if token.map is None:
            continue
        if token.type == "inline":
            spans = _places(text, lines, token, at)
            if spans:
                at = spans[-1][1]
                yield from _inline(text, spans)
        elif token.type == "html_block":
            yield from html.units(text, lines[token.map[0]][0], lines[token.map[1] - 1][1])


def _places(
    text: str, lines: list[tuple[int, int]], token: Token, at: int
) -> list[tuple[int, int]]:
    """Return where each line of a block's content is; nothing if one is not found."""
    spans = []
    first = token.map[0] if token.map else 0
    for number, content in enumerate(token.content.split("\n"), first):
        words = content.strip()
        start, end = lines[number]
        found = text.find(words, max(start, at), end)
        if found < 0:  # the parser has changed it, like an escaped bar in a table
            return []
        spans.append((found, found + len(words)))
    return spans


def _inline(text: str, spans: list[tuple[int, int]]) -> Iterator[Unit]:
    spans, begins = _without_leads(text, spans)
    words = [text[start:end] for start, end in spans]
    breaks = list(begins)
    for i, (_, end) in enumerate(spans[:-1]):
        line_end = text.find("\n", end)
        breaks[i + 1] |= _HARD_BREAK.search(text[end - 1 : line_end].rstrip("\r")) is not None
    for group in groups(words, breaks):
        if any(_WORDS.search(word) for word in words[group.start : group.stop]):
            places = spans[group.start : group.stop]
            unit = line_unit(text, places, [False] * len(places), _parse)
            if _WORDS.search(without_marks(unit.text)):
                yield unit


def _without_leads(
    text: str, spans: list[tuple[int, int]]
) -> tuple[list[tuple[int, int]], list[bool]]:
    """Return the lines of a block without labels and definitions, and which begin a new text."""
    found: list[tuple[int, int]] = []
    begins: list[bool] = []
    is_note = is_parted = False
    for i, (start, end) in enumerate(spans):
        is_begin = is_parted or _FOOTNOTE.match(text, start, end) is not None
        is_note = is_note or _FOOTNOTE.match(text, start, end) is not None
        is_parted = is_note and _DEFINITION.match(text, start, end) is not None
        if is_parted:
            continue
        lead = _LEAD.match(text, start, end) if not i or is_begin else None
        start = lead.end() if lead else start
        if i + 1 < len(spans) and text[start:end].endswith("\\"):  # a hard break
            end -= 1
        found.append((start, end))
        begins.append(is_begin and len(found) > 1)
    return found, begins


def _parse(text: str) -> Tagged:
    """Return words with Markdown's marks among them; a mark without its partner is a word."""
    if len(text) > MAX_MARKED_CHARS:
        return Tagged([text])
    found = list(_MARKS.finditer(text))
    marks: dict[int, _Mark] = {}
    opened: list[tuple[str, int]] = []
    for i, match in enumerate(found):
        name = "[" if match["close"] or match["open"] else match["emphasis"]
        is_open = match["open"] or (
            match["emphasis"] and text[match.end() : match.end() + 1].strip()
        )
        is_close = match["close"] or (
            match["emphasis"] and match.start() and text[match.start() - 1].strip()
        )
        names = [each for each, _ in opened]
        if match["single"] or match["word"]:
            marks[i] = _Mark(match[0], "single" if match["single"] else "word", i + 1)
        elif is_close and name in names:
            while True:
                each, j = opened.pop()
                if each == name:
                    break
            marks[j] = _Mark(found[j][0], "start", j + 1)
            marks[i] = _Mark(match[0], "end", j + 1)
            # Marks opened in between and not closed have no partner.
        elif is_open:
            opened.append((name, i))
    pieces: list[str | Tag] = []
    at = 0
    for i, match in enumerate(found):
        if i in marks:
            mark = marks[i]
            pieces += [text[at : match.start()], Tag(mark.raw, mark.kind, mark.number)]
            at = match.end()
    return Tagged([*pieces, text[at:]])
