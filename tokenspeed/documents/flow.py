"""Sentences that run over several lines or cues: joined for translation, then divided again.

A line gets the same share of the translation as it had of the source: cuts are made where a word
ends, nearest to that share, and preferably at punctuation if the source was cut at some. Knows
lines; does not know what surrounds them.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Final

import regex

from tokenspeed.documents.document import Unit
from tokenspeed.documents.tagged import Tagged, raw
from tokenspeed.text.segmenter import cut

MAX_JOINED_CHARS: Final = 400  # of joined lines without a sentence end

_SENTENCE_END: Final = regex.compile(r"[.!?…:。！？｡][\"'”’»)\]]*$")
_LIST_END: Final = regex.compile(r":[\"'”’»)\]]*$")
_LOOK_CHARS: Final = 48
_CLAUSE_END: Final = regex.compile(r"[,;–—-][\"'”’»)\]]*$")
_WORD_END: Final = regex.compile(r"(?=\s)(?<=\S)")
_IN_TAG: Final = "\ue000"  # stands for the spaces in tags, where no line ends
LINE_END: Final = regex.compile(r"\s*[\r\n\t\x85\u2028\u2029]\s*")
_ARROW: Final = regex.compile(r"-->")
_SENTENCE_BONUS: Final = 24.0  # characters that a cut may move to meet punctuation
_CLAUSE_BONUS: Final = 8.0


def goes_on(line: str, following: str) -> bool:
    """Whether a sentence of one line goes on in the next one."""
    if not line or not following or _LIST_END.search(line):
        return False
    # The text around the line break is enough; the segmenter knows abbreviations.
    tail, head = line[-_LOOK_CHARS:].strip(), following[:_LOOK_CHARS]
    return len(tail) not in accumulate(map(len, cut(f"{tail} {head}")))


def groups(lines: Sequence[str], breaks: Sequence[bool]) -> list[range]:
    """Return which lines together are one text, as ranges of indices.

    Args:
        lines: without surrounding space.
        breaks: whether each line is separated from the one before it.
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
        fills: which lines must not be left empty; any other that gets no word is removed.
        parse: finds the tags among the words.
    """
    lines = [source[start:end] for start, end in spans]
    tagged = parse(" ".join(lines))
    gaps = ["", *(source[a[1] : b[0]] for a, b in pairwise(spans))]

    def share(translation: str) -> list[str]:
        parts, said = [], ""
        # A line end, or an arrow as between times, would be read as structure of the file.
        words = _ARROW.sub("→", LINE_END.sub(" ", translation)).replace(_IN_TAG, "")
        shared = share_out(lines, raw(tagged.restored(words), _IN_TAG))
        for gap, part, is_filled in zip(gaps, shared, fills, strict=True):
            said = part or said
            if part or is_filled:
                parts.append(gap + (part or said).replace(_IN_TAG, " "))
            else:
                parts.append(gap.replace("\r", "").replace("\n", ""))
        return parts

    # Each span begins at the end of the line before: a line is removed with its line break.
    starts = [spans[0][0], *(end for _, end in spans[:-1])]
    places = tuple(zip(starts, (end for _, end in spans), strict=True))
    return Unit(tagged.text, places, share)


def share_out(lines: Sequence[str], translation: str) -> list[str]:
    """Divide the translation of all lines, joined with spaces, among them.

    No line is empty if there are at least as many words as lines; else the last ones are.
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
        # Enough word ends must be left for the cuts to come.
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
    """Return how many characters farther away a cut may be if it meets the same punctuation."""
    for mark, bonus in ((_SENTENCE_END, _SENTENCE_BONUS), (_CLAUSE_END, _CLAUSE_BONUS)):
        if mark.search(line):
            return bonus if mark.search(translation[max(0, end - 8) : end]) else 0.0
    return 0.0
