"""Sentences that run over several lines or cues: joined to be translated, shared out again.

A line takes of a translation what it had of the source: the cut is made where a word ends, nearest
to the same share of the text, and rather at a mark where the source was cut at one. Knows lines;
does not know what surrounds them.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Final

import regex

from tokenspeed.documents.document import Unit
from tokenspeed.documents.tagged import Tagged, raw
from tokenspeed.text.segmenter import cut

MAX_JOINED_CHARS: Final = 400  # of lines without any mark of an end

_SENTENCE_END: Final = regex.compile(r"[.!?…:。！？｡][\"'”’»)\]]*$")
_LIST_END: Final = regex.compile(r":[\"'”’»)\]]*$")
_LOOK_CHARS: Final = 48
_CLAUSE_END: Final = regex.compile(r"[,;–—-][\"'”’»)\]]*$")
_WORD_END: Final = regex.compile(r"(?=\s)(?<=\S)")
_IN_TAG: Final = "\ue000"  # stands for the spaces in tags, where no line ends
LINE_END: Final = regex.compile(r"\s*[\r\n\t\x85\u2028\u2029]\s*")
_ARROW: Final = regex.compile(r"-->")
_SENTENCE_BONUS: Final = 24.0  # characters that a cut may move for a mark
_CLAUSE_BONUS: Final = 8.0


def goes_on(line: str, following: str) -> bool:
    """Whether a sentence of one line goes on in the next one."""
    if not line or not following or _LIST_END.search(line):
        return False
    # What both ends look like is enough to know; the segmenter knows abbreviations.
    tail, head = line[-_LOOK_CHARS:].strip(), following[:_LOOK_CHARS]
    return len(tail) not in accumulate(map(len, cut(f"{tail} {head}")))


def groups(lines: Sequence[str], breaks: Sequence[bool]) -> list[range]:
    """Return which lines are one text each, as ranges of indices.

    Args:
        lines: without the space round them.
        breaks: whether something stands between a line and the one before it.
    """
    starts = [0] if lines else []
    chars = len(lines[0]) if lines else 0
    for i, (line, following) in enumerate(pairwise(lines), 1):
        if breaks[i] or chars > MAX_JOINED_CHARS or not goes_on(line, following):
            starts.append(i)
            chars = 0
        chars += len(following)
    return [range(a, b) for a, b in pairwise([*starts, len(lines)])]


def line_unit(
    source: str,
    spans: Sequence[tuple[int, int]],
    fills: Sequence[bool],
    parse: Callable[[str], Tagged] = lambda text: Tagged([text]),
) -> Unit:
    """Return lines as one text.

    Args:
        source: of the document. spans: the words of each line in it.
        fills: which lines must not be left empty; another that gets no word goes away.
        parse: finds the tags among the words.
    """
    lines = [source[start:end] for start, end in spans]
    tagged = parse(" ".join(lines))
    gaps = ["", *(source[a[1] : b[0]] for a, b in pairwise(spans))]

    def share(translation: str) -> list[str]:
        parts, said = [], ""
        # An end of a line, or an arrow between times, would be read as a part of the file.
        words = _ARROW.sub("→", LINE_END.sub(" ", translation)).replace(_IN_TAG, "")
        shared = share_out(lines, raw(tagged.restored(words), _IN_TAG))
        for gap, part, is_filled in zip(gaps, shared, fills, strict=True):
            said = part or said
            if part or is_filled:
                parts.append(gap + (part or said).replace(_IN_TAG, " "))
            else:
                parts.append(gap.replace("\r", "").replace("\n", ""))
        return parts

    # From the end of the line before: what stands between goes where a line goes.
    starts = [spans[0][0], *(end for _, end in spans[:-1])]
    places = tuple(zip(starts, (end for _, end in spans), strict=True))
    return Unit(tagged.text, places, share)


def share_out(lines: Sequence[str], translation: str) -> list[str]:
    """Return what each line gets of a translation of all of them, joined with spaces.

    No line is empty while there are as many words as lines; with fewer words the last lines are.
    """
    translation = translation.strip()
    if len(lines) == 1:
        return [translation]
    ends = [match.start() for match in _WORD_END.finditer(translation)]
    scale = (len(translation) + 1) / (sum(map(len, lines)) + len(lines))
    cuts: list[int] = []
    position, first = 0, 0  # in the source; index of the first end that is still free
    for n, line in enumerate(lines[:-1]):
        position += len(line) + 1
        # As many ends must be left as there are cuts to come.
        last = len(ends) - (len(lines) - 2 - n)
        candidates = range(first, max(last, min(first + 1, len(ends))))
        if not candidates:
            break
        wanted = position * scale - 1
        best = min(
            candidates, key=lambda i: abs(ends[i] - wanted) - _bonus(line, translation, ends[i])
        )
        cuts.append(ends[best])
        first = best + 1
    parts = [translation[a:b].strip() for a, b in pairwise([0, *cuts, len(translation)])]
    return parts + [""] * (len(lines) - len(parts))


def _bonus(line: str, translation: str, end: int) -> float:
    """Return how many characters a cut may be away for being made where the source's was."""
    for mark, bonus in ((_SENTENCE_END, _SENTENCE_BONUS), (_CLAUSE_END, _CLAUSE_BONUS)):
        if mark.search(line):
            return bonus if mark.search(translation[max(0, end - 8) : end]) else 0.0
    return 0.0
