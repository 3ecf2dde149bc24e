"""HTML (.html): the words of each block, with the tags among them; all else stays as it is.

Cut as the standard's tokeniser does, but with places kept: libraries that parse HTML write it anew.
Not translated: scripts, styles, code, pictures and formulas, `translate="no"`, class `notranslate`.
Of attributes `title`, `alt`, `placeholder` and `aria-label` are, where no words stand round it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Final, Literal

import regex

from tokenspeed.documents.document import Source, SpanDocument, Unit, read
from tokenspeed.documents.flow import LINE_END
from tokenspeed.documents.tagged import Tag, Tagged

_INLINE: Final = frozenset(
    "a abbr acronym b bdi bdo big cite data del dfn em font i ins mark q s small span strike"
    " strong sub sup time tt u wbr img nobr ruby rb rt rp".split()
)
_ALONE: Final = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()
)
# Their content is no HTML, up to their end.
_RAW: Final = frozenset("script style xmp iframe noembed noframes textarea plaintext".split())
_UNTOUCHED: Final = frozenset("svg math code pre kbd samp var object canvas audio video".split())
_OPAQUE_INLINE: Final = frozenset("code kbd samp var math svg".split()) | _INLINE

_OPEN: Final = regex.compile(r"<(/?)([A-Za-z][^\s/>]*+)")
_CLOSE: Final = regex.compile(r"""(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')?+)*+>""")
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
_HEAD_BYTES: Final = 1024  # in which the encoding is declared
_WORDS: Final = regex.compile(r"\p{L}")
_BLANKS: Final = " \t\r\n\f"
_SPACE: Final = regex.compile(rf"[{_BLANKS}]+")


@dataclass(slots=True)
class _Token:
    """A part of the source: text, a tag, or what is passed over."""

    kind: Literal["text", "start", "end", "single", "other"]
    start: int
    end: int
    name: str = ""  # of a tag, small


def open_html(data: bytes, target: str) -> SpanDocument:
    """Return an HTML file as a document."""
    declared = _CHARSET.search(data[:_HEAD_BYTES])
    source = read(data, declared[1].decode() if declared else None)
    if source.encoding != "utf-8":
        source = Source(source.text, source.encoding, source.bom, "xmlcharrefreplace")
    return SpanDocument(source, units(source.text, 0, len(source.text)))


def open_text(text: str) -> SpanDocument:
    """Return HTML that is a string as a document."""
    return SpanDocument(Source(text, "utf-8"), units(text, 0, len(text)))


def units(source: str, start: int, end: int) -> list[Unit]:
    """Return the texts of a part of a source, as HTML."""
    found: list[Unit] = []
    run: list[_Token] = []
    for token in _whole_elements(source, list(_tokens(source, start, end))):
        if token.kind == "text" or (token.name in _OPAQUE_INLINE and token.kind != "other"):
            run.append(token)
        elif token.kind != "other" or run:
            if token.kind == "other" and source.startswith("<!--", token.start):
                run.append(_Token("single", token.start, token.end))
                continue
            found += _run_units(source, run)
            run = []
            found += _attributes(source, [token])
    return found + _run_units(source, run)


def _tokens(source: str, at: int, end: int) -> Iterator[_Token]:
    while at < end:
        mark = source.find("<", at, end)
        if mark < 0:
            mark = end
        if mark > at:
            yield _Token("text", at, mark)
        at = mark
        if at == end:
            return
        tag = _OPEN.match(source, at, end)
        if tag is None:
            after = _other_end(source, at, end)
            yield _Token("text" if after == at + 1 else "other", at, after)
            at = after
            continue
        close = _CLOSE.match(source, tag.end(), end)
        if close is None:  # browsers drop what follows, too
            yield _Token("other", at, end)
            return
        name = tag[2].lower()
        is_single = name in _ALONE or source[close.end() - 2] == "/"
        yield _Token("end" if tag[1] else "single" if is_single else "start", at, close.end(), name)
        at = close.end()
        if name in _RAW and not tag[1] and not is_single:
            over = regex.compile(rf"</{name}\b", regex.IGNORECASE).search(source, at, end)
            stop = over.start() if over else end
            if stop > at:
                yield _Token("other", at, stop)
            at = stop


def _other_end(source: str, at: int, end: int) -> int:
    """Return where a comment or declaration ends; one character on where it is none."""
    if source.startswith("<!--", at):
        stop = source.find("-->", at + 2, end)
        return stop + 3 if stop >= 0 else end
    if source[at + 1 : at + 2] in ("!", "?", "/"):
        stop = source.find(">", at, end)
        return stop + 1 if stop >= 0 else end
    return at + 1


def _whole_elements(source: str, tokens: Sequence[_Token]) -> Iterator[_Token]:
    """Make one token of each element that is not to be touched."""
    i = 0
    while i < len(tokens):
        token = tokens[i]
        is_kept = token.kind == "start" and (
            token.name in _UNTOUCHED or _NO.search(source, token.start, token.end)
        )
        if not is_kept:
            yield token
            i += 1
            continue
        depth = 0
        while i < len(tokens):
            if tokens[i].name == token.name:
                depth += (tokens[i].kind == "start") - (tokens[i].kind == "end")
            i += 1
            if depth == 0:
                break
        kind: Literal["single", "other"] = "single" if token.name in _OPAQUE_INLINE else "other"
        yield _Token(kind, token.start, tokens[i - 1].end, token.name)


def _run_units(source: str, run: Sequence[_Token]) -> list[Unit]:
    """Return the unit of words and tags in a row, and of attributes of tags outside of it."""
    texts = [i for i, t in enumerate(run) if t.kind == "text"]
    if not any(_WORDS.search(unescape(source[run[i].start : run[i].end])) for i in texts):
        return _attributes(source, run)
    partner = _partners(run)
    filled = [i for i in texts if source[run[i].start : run[i].end].strip(_BLANKS)]
    first, last = filled[0], filled[-1]
    while True:
        # A pair of which one is among the words comes in whole.
        inside = [partner[i] for i in range(first, last + 1) if i in partner]
        wider = min([first, *inside]), max([last, *inside])
        if wider == (first, last):
            break
        first, last = wider
    numbers: dict[int, int] = {}
    pieces: list[str | Tag] = []
    for i in range(first, last + 1):
        token, raw = run[i], source[run[i].start : run[i].end]
        if token.kind == "text":
            pieces.append(_SPACE.sub(" ", unescape(raw)))
            continue
        number = numbers.setdefault(min(i, partner.get(i, i)), len(numbers) + 1)
        is_pair = i in partner
        pieces.append(Tag(raw, token.kind if is_pair else "single", number))  # type: ignore[arg-type]
    before, after = run[:first], run[last + 1 :]
    return [
        *_attributes(source, before),
        _unit(source, run[first].start, run[last].end, pieces),
        *_attributes(source, after),
    ]


def _unit(source: str, start: int, end: int, pieces: list[str | Tag]) -> Unit:
    # The space at both ends is not the translator's.
    head = len(source[start:end]) - len(source[start:end].lstrip(_BLANKS))
    tail = len(source[start:end]) - len(source[start:end].rstrip(_BLANKS))
    if isinstance(pieces[0], str):
        pieces[0] = pieces[0].lstrip()
    else:
        head = 0
    if isinstance(pieces[-1], str):
        pieces[-1] = pieces[-1].rstrip()
    else:
        tail = 0
    tagged = Tagged(pieces)
    has_nbsp = "&nbsp;" in source[start:end]

    def share(translation: str) -> list[str]:
        found = tagged.restored(LINE_END.sub(" ", translation))
        return ["".join(p.raw if isinstance(p, Tag) else _escaped(p, has_nbsp) for p in found)]

    return Unit(tagged.text, ((start + head, end - tail),), share)


def _partners(run: Sequence[_Token]) -> dict[int, int]:
    """Return for each tag of a pair where the other one is."""
    found: dict[int, int] = {}
    opened: list[int] = []
    names = Counter[str]()  # of those opened
    for i, token in enumerate(run):
        if token.kind == "start":
            opened.append(i)
            names[token.name] += 1
        while token.kind == "end" and names[token.name]:
            j = opened.pop()
            names[run[j].name] -= 1
            if run[j].name == token.name:
                found[i], found[j] = j, i
                break
    return found


def _attributes(source: str, tokens: Sequence[_Token]) -> list[Unit]:
    found = []
    for token in tokens:
        if token.kind in ("start", "single") and source.startswith("<", token.start):
            for match in _ATTRIBUTE.finditer(source, token.start, token.end):
                text = unescape(match["text"]).strip()
                if _WORDS.search(text):
                    found.append(Unit(text, (match.span("text"),), _escaped_attribute))
    return found


def _escaped(text: str, has_nbsp: bool) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\xa0", "&nbsp;") if has_nbsp else text


def _escaped_attribute(text: str) -> list[str]:
    text = LINE_END.sub(" ", text)
    return [_escaped(text, False).replace('"', "&quot;").replace("'", "&#39;")]
