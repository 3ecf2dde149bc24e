"""What HTML and XML share: tags and words with their places, and words with tags as one text.

It tokenises as the standards do, but keeps places, as parsing libraries rewrite the whole file.
Knows `<`, `>` and quotes; callers say what tags mean.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Final, Literal

import regex

from tokenspeed.documents.document import Unit
from tokenspeed.documents.flow import LINE_END
from tokenspeed.documents.tagged import Tag, Tagged

WORDS: Final = regex.compile(r"\p{L}")
BLANKS: Final = " \t\r\n\f"

_OPEN: Final = regex.compile(r"<(/?)([\p{L}_:][^\s/>]*+)")
_CLOSE: Final = regex.compile(r"""(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')?+)*+>""")
_SPACE: Final = regex.compile(rf"[{BLANKS}]+")


@dataclass(slots=True)
class Token:
    """A part of the source: text, a tag, an element that stands for a word, or something else."""

    kind: Literal["text", "start", "end", "single", "word", "other"]
    start: int
    end: int
    name: str = ""  # of a tag


def tokens(
    source: str,
    at: int,
    end: int,
    alone: frozenset[str] = frozenset(),
    raw: frozenset[str] = frozenset(),
) -> Iterator[Token]:
    """Cut a part of a source into tokens; joined they are that part.

    Args:
        alone: names of elements without an end tag. raw: of those whose content is not markup.
    """
    while at < end:
        mark = source.find("<", at, end)
        if mark < 0:
            mark = end
        if mark > at:
            yield Token("text", at, mark)
        at = mark
        if at == end:
            return
        tag = _OPEN.match(source, at, end)
        if tag is None:
            after = _other_end(source, at, end)
            yield Token("text" if after == at + 1 else "other", at, after)
            at = after
            continue
        close = _CLOSE.match(source, tag.end(), end)
        if close is None:  # browsers also drop what follows
            yield Token("other", at, end)
            return
        name = tag[2].lower()
        is_single = name in alone or source[close.end() - 2] == "/"
        yield Token("end" if tag[1] else "single" if is_single else "start", at, close.end(), name)
        at = close.end()
        if name in raw and not tag[1] and not is_single:
            over = regex.compile(rf"</{name}\b", regex.IGNORECASE).search(source, at, end)
            stop = over.start() if over else end
            if stop > at:
                yield Token("other", at, stop)
            at = stop


def whole_elements(
    found: Sequence[Token], is_kept: Callable[[Token], Literal["word", "other"] | None]
) -> Iterator[Token]:
    """Make one token of each element that must not be touched.

    Args:
        is_kept: returns what a tag's element becomes; None if its content is to be translated.
    """
    i = 0
    while i < len(found):
        token = found[i]
        kind = is_kept(token) if token.kind == "start" else None
        if kind is None:
            yield token
            i += 1
            continue
        depth = 0
        while i < len(found):
            if found[i].name == token.name:
                depth += (found[i].kind == "start") - (found[i].kind == "end")
            i += 1
            if depth == 0:
                break
        yield Token(kind, token.start, found[i - 1].end, token.name)


def run_units(
    source: str,
    run: Sequence[Token],
    around: Callable[[Sequence[Token]], list[Unit]] = lambda run: [],
) -> list[Unit]:
    """Return the text that consecutive words and tags make; none where there are no words.

    Args:
        around: returns the texts of tags that are not among words.
    """
    texts = [i for i, token in enumerate(run) if token.kind == "text"]
    if not any(WORDS.search(unescape(source[run[i].start : run[i].end])) for i in texts):
        return around(run)
    partner = partners(run)
    filled = [
        i
        for i, token in enumerate(run)
        if token.kind == "word"
        or (token.kind == "text" and source[token.start : token.end].strip(BLANKS))
    ]
    first, last = filled[0], filled[-1]
    while True:
        # If one tag of a pair is among the words, the other is included too.
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
        elif token.kind != "other":
            number = numbers.setdefault(min(i, partner.get(i, i)), len(numbers) + 1)
            alone: Literal["word", "single"] = "word" if token.kind == "word" else "single"
            pieces.append(Tag(raw, token.kind if i in partner else alone, number))
    return [
        *around(run[:first]),
        _unit(source, run[first].start, run[last].end, pieces),
        *around(run[last + 1 :]),
    ]


def partners(run: Sequence[Token]) -> dict[int, int]:
    """Return the index of the partner of each tag that has one."""
    found: dict[int, int] = {}
    opened: list[int] = []
    names = Counter[str]()  # of open tags
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


def escaped(text: str, has_nbsp: bool = False) -> str:
    """Write a text so that none of it is read as a tag or entity."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\xa0", "&nbsp;") if has_nbsp else text


def _other_end(source: str, at: int, end: int) -> int:
    """Return where a comment or declaration ends; one character further if there is none."""
    for opening, closing, skip in (("<!--", "-->", 2), ("<![CDATA[", "]]>", 9), ("<?", ">", 2)):
        if source.startswith(opening, at):
            stop = source.find(closing, at + skip, end)
            return stop + len(closing) if stop >= 0 else end
    if source[at + 1 : at + 2] in ("!", "/"):
        stop = source.find(">", at, end)
        return stop + 1 if stop >= 0 else end
    return at + 1


def _unit(source: str, start: int, end: int, pieces: list[str | Tag]) -> Unit:
    # Space at both ends is not translated.
    if isinstance(pieces[0], str):
        pieces[0] = pieces[0].lstrip()
        start += len(source[start:end]) - len(source[start:end].lstrip(BLANKS))
    if isinstance(pieces[-1], str):
        pieces[-1] = pieces[-1].rstrip()
        end -= len(source[start:end]) - len(source[start:end].rstrip(BLANKS))
    tagged = Tagged(pieces)
    has_nbsp = "&nbsp;" in source[start:end]

    def share(translation: str) -> list[str]:
        found = tagged.restored(LINE_END.sub(" ", translation))
        return ["".join(p.raw if isinstance(p, Tag) else escaped(p, has_nbsp) for p in found)]

    return Unit(tagged.text, ((start, end),), share)
