"""SubRip (.srt) and WebVTT (.vtt): numbers, times, settings, notes and styles stay as they are.

A sentence that runs over several cues is translated as one and divided among them, so that each cue
keeps its time. The usual libraries (srt, pysubs2, webvtt-py) rewrite the whole file, and lose what
they do not know: settings, notes, odd times, blank lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import regex

from tokenspeed.documents.document import SpanDocument, Unit, read
from tokenspeed.documents.flow import groups, line_unit
from tokenspeed.documents.tagged import parse

MAX_PAUSE_S: Final = 3.0  # between two cues of one sentence

_TIME: Final = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,:](\d{1,3})"
_TIMES: Final = regex.compile(rf"[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}(?:[ \t].*)?$")
_LINE: Final = regex.compile(r"([^\r\n]*)(\r\n|\n|\r|$)")
# What surrounds the words of a line and is not translated: tags, positions, music notes, dashes.
_TAG: Final = r"<[^<>]{1,500}>|\{[\\/][^{}]{0,200}\}"
_MARK: Final = r"\s|[♪♫]|#(?=\s)|[-–—]|>>+"
_BEFORE: Final = regex.compile(rf"(?:{_TAG}|{_MARK})*")
_AFTER: Final = regex.compile(rf"(?r)(?:{_TAG}|\s|[♪♫])+$")  # from the end: in linear time
_BARE_BEFORE: Final = regex.compile(rf"(?:{_MARK})*")
_BARE_AFTER: Final = regex.compile(r"(?r)[\s♪♫]+$")
_NAME: Final = regex.compile(r"<(/?)(\p{L}+)")
_INNER: Final = regex.compile(_TAG)
_WORDS: Final = regex.compile(r"\p{L}")
_NEW: Final = regex.compile(r"[-–—♪♫]|>>")
_SONG: Final = regex.compile(r"[♪♫]")
_SOUND: Final = regex.compile(r"\[[^\[\]]*\]|\([^()]*\)")  # [applause], (coughs)
_SPEAKER: Final = regex.compile(r"\p{Lu}[\p{Lu}\d .'’-]{0,30}:\s")  # JOHN: Hello


@dataclass(slots=True)
class _Line:
    """A line of a cue: where its words are, and whether they begin or end an utterance."""

    start: int
    end: int
    cue: int
    is_new: bool  # of another speaker, or of a song
    is_last: bool


@dataclass(slots=True)
class _Cue:
    """Where the text of a cue is, and its time in seconds."""

    start: int
    end: int
    from_s: float
    to_s: float


def open_srt(data: bytes, target: str) -> SpanDocument:
    """Return a SubRip file as a document.

    Raises:
        ValueError: it has no cue.
    """
    source = read(data)
    return SpanDocument(source, _units(source.text, list(_cues(source.text, is_vtt=False))))


def open_vtt(data: bytes, target: str) -> SpanDocument:
    """Return a WebVTT file as a document.

    Raises:
        ValueError: it does not begin with WEBVTT.
    """
    source = read(data)
    if not source.text.lstrip("\ufeff").startswith("WEBVTT"):
        raise ValueError("it does not begin with WEBVTT")
    return SpanDocument(source, _units(source.text, list(_cues(source.text, is_vtt=True))))


def _cues(text: str, *, is_vtt: bool) -> Iterator[_Cue]:
    lines = [(m.start(), m.end(1)) for m in _LINE.finditer(text)]
    times = {
        i: found
        for i, (start, end) in enumerate(lines)
        if "-->" in text[start:end] and (found := _TIMES.match(text[start:end]))
    }
    if not times and not is_vtt:
        raise ValueError("it has no cue: no line is like 00:00:01,000 --> 00:00:02,000")
    order = [*times, len(lines)]
    for at, following in pairwise(order):
        first, last = at + 1, following  # lines of text
        number = lines[following - 1] if at < following - 1 and following < len(lines) else (0, 0)
        if text[slice(*number)].strip().isdecimal():
            last = following - 1  # the number of the following cue
        if is_vtt:
            blank = (i for i in range(first, last) if not text[slice(*lines[i])].strip())
            last = next(blank, last)
        if first < last:
            parts = [float(part or 0) for part in times[at].groups()]
            begin, end = lines[first][0], lines[last - 1][1]
            yield _Cue(begin, end, _seconds(parts[:4]), _seconds(parts[4:]))


def _units(text: str, cues: Sequence[_Cue]) -> Iterator[Unit]:
    lines = [line for number, cue in enumerate(cues) for line in _lines(text, number, cue)]
    breaks = [i > 0 and _is_apart(lines[i - 1], line, cues) for i, line in enumerate(lines)]
    for group in groups([text[line.start : line.end] for line in lines], breaks):
        members = lines[group.start : group.stop]
        numbers = [line.cue for line in members]
        # With fewer words than cues, the last words stay on the screen.
        fills = [True, *(a != b for a, b in pairwise(numbers))]
        spans = [(line.start, line.end) for line in members]
        yield line_unit(text, spans, fills, lambda words: parse(words, _INNER))


def _lines(text: str, number: int, cue: _Cue) -> Iterator[_Line]:
    for found in _LINE.finditer(text, cue.start, cue.end):
        start, end = found.span(1)
        first, last = _peeled(text, start, end, _BEFORE, _AFTER)
        if not _is_balanced(text[first:last]):  # keep the tags: a pair must not be cut in two
            first, last = _peeled(text, start, end, _BARE_BEFORE, _BARE_AFTER)
        if _WORDS.search(text, first, last):
            is_sound = _SOUND.fullmatch(text, first, last) is not None
            is_new = _NEW.search(text, start, first) or _SPEAKER.match(text, first, last)
            is_last = _SONG.search(text, last, end)
            yield _Line(first, last, number, bool(is_new) or is_sound, bool(is_last) or is_sound)


def _is_balanced(words: str) -> bool:
    """Whether each tag that opens among the words closes there, and the other way round."""
    opened: list[str] = []
    for tag in _INNER.finditer(words):
        name = _NAME.match(tag[0])
        if name is not None and name[1]:
            if not opened or opened.pop() != name[2]:
                return False
        elif name is not None:
            opened.append(name[2])
    return not opened


def _peeled(
    text: str, start: int, end: int, before: regex.Pattern[str], after: regex.Pattern[str]
) -> tuple[int, int]:
    """Return where the words of a line are."""
    found = before.match(text, start, end)
    first = found.end() if found else start
    found = after.search(text, first, end)
    return first, found.start() if found else end


def _is_apart(line: _Line, following: _Line, cues: Sequence[_Cue]) -> bool:
    if line.is_last or following.is_new or following.cue > line.cue + 1:
        return True
    pause_s = cues[following.cue].from_s - cues[line.cue].to_s
    return following.cue != line.cue and not -MAX_PAUSE_S < pause_s < MAX_PAUSE_S


def _seconds(parts: Sequence[float]) -> float:
    hours, minutes, seconds, thousandths = parts
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000
