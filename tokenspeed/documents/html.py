"""HTML (.html): the words of each block, with the tags among them; all else stays as it is.

Not translated: scripts, styles, code, pictures and formulas, `translate="no"`, class `notranslate`.
The attributes `title`, `alt`, `placeholder` and `aria-label` are translated if their tag is not
among words.
"""

from collections.abc import Sequence
from html import unescape
from typing import Final, Literal

import regex

from tokenspeed.documents.document import Source, SpanDocument, Unit, read
from tokenspeed.documents.flow import LINE_END
from tokenspeed.documents.markup import (
    WORDS,
    Token,
    escaped,
    run_units,
    tokens,
    whole_elements,
)

_INLINE: Final = frozenset(
    "a abbr acronym b bdi bdo big cite data del dfn em font i ins mark q s small span strike"
    " strong sub sup time tt u wbr img nobr ruby rb rt rp".split()
)
_ALONE: Final = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()
)
# Elements whose content is not HTML, up to their end tag.
_RAW: Final = frozenset("script style xmp iframe noembed noframes textarea plaintext".split())
_CODE: Final = frozenset("code kbd samp var math svg".split())  # stands for a word
_UNTOUCHED: Final = _CODE | frozenset("pre object canvas audio video".split())

_NO: Final = regex.compile(
    r"""\s(?:translate\s*=\s*["']?no\b|class\s*=\s*(?:"[^"]*\bnotranslate\b|'[^']*\bnotranslate\b"""
    r"|notranslate\b))",
    regex.IGNORECASE,
)
_ATTRIBUTE: Final = regex.compile(
    r"""\s(?:title|alt|placeholder|aria-label)\s*+=\s*+(?:"(?<text>[^"]++)"|'(?<text>[^']++)')""",
    regex.IGNORECASE,
)
_CHARSET: Final = regex.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]+)", regex.IGNORECASE)
_HEAD_BYTES: Final = 1024  # the encoding is declared within these


def open_html(data: bytes, target: str) -> SpanDocument:
    """Return an HTML file as a document."""
    declared = _CHARSET.search(data[:_HEAD_BYTES])
    source = read(data, declared[1].decode() if declared else None)
    if source.encoding != "utf-8":
        source = Source(source.text, source.encoding, source.bom, "xmlcharrefreplace")
    return SpanDocument(source, units(source.text, 0, len(source.text)))


def open_text(text: str) -> SpanDocument:
    """Return a string of HTML as a document."""
    return SpanDocument(Source(text, "utf-8"), units(text, 0, len(text)))


def units(source: str, start: int, end: int) -> list[Unit]:
    """Return the texts of a part of a source, as HTML."""

    def is_kept(token: Token) -> Literal["word", "other"] | None:
        if token.name in _UNTOUCHED or _NO.search(source, token.start, token.end):
            return "word" if token.name in _INLINE or token.name in _CODE else "other"
        return None

    def attributes(run: Sequence[Token]) -> list[Unit]:
        return [unit for token in run for unit in _attributes(source, token)]

    found: list[Unit] = []
    run: list[Token] = []
    for token in whole_elements(list(tokens(source, start, end, _ALONE, _RAW)), is_kept):
        is_note = token.kind == "other" and source.startswith("<!--", token.start)
        if token.kind in ("text", "word") or is_note or token.name in _INLINE:
            run.append(Token("single", token.start, token.end) if is_note else token)
        else:
            found += [*run_units(source, run, attributes), *_attributes(source, token)]
            run = []
    return found + run_units(source, run, attributes)


def _attributes(source: str, token: Token) -> list[Unit]:
    found = []
    if token.kind in ("start", "single") and token.name:
        for match in _ATTRIBUTE.finditer(source, token.start, token.end):
            text = unescape(match["text"]).strip()
            if WORDS.search(text):
                found.append(Unit(text, (match.span("text"),), _escaped_attribute))
    return found


def _escaped_attribute(text: str) -> list[str]:
    text = escaped(LINE_END.sub(" ", text))
    return [text.replace('"', "&quot;").replace("'", "&#39;")]
