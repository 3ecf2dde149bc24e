"""Where a segment is cut into pieces that are translated by themselves.

At sentence marks; in longer text at a clause mark or before a conjunction; text without any marks
by its length. A cut depends only on the text before it and the one word after it, so a growing
text keeps its cuts. Knows text; does not know revisions or translations.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

import regex

from tokenspeed.text.words import has_words, word_ends

CLAUSE_WORDS: Final = 28  # a clause mark cuts a piece of at least that many words
CONJUNCTION_WORDS: Final = 34  # a conjunction cuts from here on
MAX_WORDS: Final = 40  # anything is cut here
MAX_CHARS: Final = 300  # also text that has no words

WINDOW_CHARS: Final = 4 * MAX_CHARS  # of a whole text that are looked at in one go
_MARK_CHARS: Final = 8  # a mark and what may close after it
_PERIOD_CHARS: Final = 40  # a word with a period that may be an abbreviation, and its marks
_SENTENCE_END = regex.compile(r"[.!?…。！？｡؟۔।॥][\"'”’»)\]]*\s*$")
_WIDE_END = regex.compile(r"[。！？｡।॥][\"'”’»」』）\])]*\s*$")
_CLAUSE_END = regex.compile(r"[,;:،؛、；：，—–][\"'”’»)\]]*\s*$")
_PERIOD_WORD = regex.compile(r"([\p{L}\p{N}\p{M}.]+)\.[\"'”’»)\]]*\s*$")
_ABBREVIATIONS: Final = frozenset(
    # Titles and words that a name, number or example follows; none that often end a sentence.
    "mr mrs ms dr prof st vs e.g i.e cf vol fig approx dept gen col sgt capt rev hon jr sr inc ltd"
    " hr fr frl z.b d.h u.a bzw ca nr str evtl ggf usw bsp vgl abs mio mrd tel"
    " m mm mme mlle p.ex env éd art chap"
    " sra srta ud uds dña lic ing pág núm av aprox".split()
)
_CONJUNCTIONS: Final = frozenset(
    "and but or because so while when which although though since"
    " und aber oder weil denn dass während wenn obwohl"
    " et mais ou parce car donc quand lorsque puisque"
    " y pero o porque pues aunque cuando mientras".split()
)


def cut(text: str, min_words: int = 0) -> list[str]:
    """Cut a text into pieces; joined they are the text again.

    All but the last are complete; the last may still grow.

    Args:
        text: of one segment, from its beginning or from an earlier cut.
        min_words: no cut before that many words, because a translation already covers them.
    """
    found: list[str] = []
    start = words = 0
    ends = word_ends(text)
    for i, end in enumerate(ends):
        words += 1
        while end - start > MAX_CHARS:  # one endless word
            offset = _grapheme_offset(text[start:end], MAX_CHARS)
            found.append(text[start : start + offset])
            start, words = start + offset, 1
        if i == len(ends) - 1:
            break
        head, following = text[start:end], text[end : ends[i + 1]]
        is_allowed = bool(found) or words >= min_words
        is_cut = is_allowed and _is_cut(head, following, words)
        if is_cut or _is_hard_limit(head, following, words):
            found.append(head)
            start, words = end, 0
    if start < len(text) or not found:
        found.append(text[start:])
    return found


def pieces(text: str) -> Iterator[str]:
    """Yield what `cut` returns for a whole text, looking no further ahead than it has to."""
    begin = 0
    while len(text) - begin > WINDOW_CHARS:
        # The last but one may be followed by a word that goes on outside of the window.
        for piece in cut(text[begin : begin + WINDOW_CHARS])[:-2]:
            yield piece
            begin += len(piece)
    yield from cut(text[begin:])


def is_sentence(piece: str) -> bool:
    """Whether a piece ends where a sentence does, rather than in the middle of one."""
    end = piece[-_MARK_CHARS:]
    return _SENTENCE_END.search(end) is not None or _WIDE_END.search(end) is not None


def cut_at(text: str, max_chars: int) -> int:
    """Return where a text that is too long is best cut: within `max_chars`, and in its latter half.

    After the last sentence there, else after a clause, a word, or at least a whole character.
    """
    head = text[: max_chars + 1]
    ends = list(accumulate(map(len, cut(head)[:-1])))
    late = [end for end in ends if max_chars // 2 <= end <= max_chars]
    sentences = [end for end in late if is_sentence(head[:end])]
    words = [end for end in word_ends(head) if end <= max_chars]
    for fitting in (sentences, late, words):
        if fitting:
            return fitting[-1]
    return _grapheme_offset(text, max_chars)


def _is_hard_limit(head: str, following: str, words: int) -> bool:
    return words >= MAX_WORDS or len(head) + len(following) > MAX_CHARS


def _is_cut(head: str, following: str, words: int) -> bool:
    if head[-1].isalnum() and words < CONJUNCTION_WORDS:
        return False  # most words, and quickly: there is no mark
    if not has_words(following):
        return False
    end = head[-_MARK_CHARS:]
    if _WIDE_END.search(end):
        return True
    if following[0].isspace() and _SENTENCE_END.search(end):
        return _ends_sentence(head, following)
    if words >= CLAUSE_WORDS and following[0].isspace() and _CLAUSE_END.search(end):
        return True
    return words >= CONJUNCTION_WORDS and following.strip().casefold() in _CONJUNCTIONS


def _ends_sentence(head: str, following: str) -> bool:
    """Whether the mark at the end of `head` is no abbreviation, initial, ordinal or pause."""
    if following.lstrip().lstrip("\"'“‘«([¿¡")[:1].islower():
        return False
    found = _PERIOD_WORD.search(head[-_PERIOD_CHARS:])
    if found is None:
        return True
    word = found[1].casefold()
    if word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i"):
        return False
    # "am 3. Mai", "No. 5. Avenue": a short number with a period is an ordinal or a list mark.
    return not (word.isdigit() and len(word) <= 2)


def _grapheme_offset(text: str, max_chars: int) -> int:
    """Return the largest end of a whole character within `max_chars`, at least one character."""
    position = 0
    for cluster in regex.finditer(r"\X", text):
        if position and cluster.end() > max_chars:
            break
        position = cluster.end()
    # A pile of combining marks longer than the limit is cut in its middle: nothing else bounds it.
    return position if position <= max_chars else max_chars
