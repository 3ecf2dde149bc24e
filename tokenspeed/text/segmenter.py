"""Where a segment is cut into pieces that are translated separately.

Cuts are at sentence marks; in longer text at a clause mark or before a conjunction; in text without
marks by length. A cut depends only on the text before it and the one word after it, once that is
whole, so a growing text keeps its cuts. Knows text; does not know revisions or translations.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

import regex

from tokenspeed.text import abbreviations
from tokenspeed.text.steps import Steps, at_once
from tokenspeed.text.words import has_words, word_ends

CLAUSE_WORDS: Final = 28  # a clause mark cuts a piece of at least that many words
CONJUNCTION_WORDS: Final = 34  # from here on, text is also cut before a conjunction
MAX_WORDS: Final = 40  # any text is cut here
MAX_CHARS: Final = 300  # also in text without words

WORDS_OF_A_STEP: Final = 100  # looked at in one go, in 0.3 ms

WINDOW_CHARS: Final = 4 * MAX_CHARS  # of a whole text that are cut in one go
_MARK_CHARS: Final = 64  # a mark and what may close after it: quotes, brackets, tags
_PERIOD_CHARS: Final = 40  # a word with a period that may be an abbreviation, and its marks
# Ends are read backwards: forwards, each place of a long end would be tried.
_SENTENCE_END = regex.compile(r"(?r)[.!?…。！？｡؟۔।॥](?:\s?[\"'”’»)\]])*\s*")
_WIDE_END = regex.compile(r"(?r)[。！？｡।॥][\"'”’»」』）\])]*\s*")
_SPACED_MARK = regex.compile(r"\s{1,2}(?:[?!]+(?:\s?[»”\")])*|»)(?=\s)")  # « Où est-il ? Elle ... »
_CLAUSE_END = regex.compile(r"(?r)[,;:،؛、；：，—–][\"'”’»)\]]*\s*")
# Before an answer there is no cut: translated together, both sides get the same quotation marks.
_QUOTED_END = regex.compile(r"(?r)[.!?…]\s?[\"”“’»]\s*")
_ANSWER = regex.compile(r"\s*(?:[-–—]\s*)?[\"“„«‘]")
_PERIOD_WORD = regex.compile(r"(?r)([\p{L}\p{N}\p{M}.]+)\.[\"'”’»)\]]*\s*$")
_MARK: Final = regex.compile(r"[^\s\p{L}\p{N}\p{M}]")
_ACRONYM: Final = regex.compile(r"(?:\p{L}{1,2}\.)+\p{L}{1,3}")  # u.s, a.m, ph.d, ee.uu
_WORD: Final = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}'’]*")
_CONJUNCTIONS: Final = frozenset(
    "and but or because so while when which although though since"
    " und aber oder weil denn dass während wenn obwohl"
    " et mais ou parce car donc quand lorsque puisque"
    " y pero o porque pues aunque cuando mientras".split()
)


def cut(text: str, min_words: int = 0, scale: int = 1) -> list[str]:
    """Cut a text into pieces; joined they are the text again.

    All but the last are complete; the last may still grow.

    Args:
        text: of one segment, from its beginning or from an earlier cut.
        min_words: no cut before so many words, because a translation already covers them.
        scale: how many times as long a sentence may be before it is cut.
    """
    return at_once(cutting(text, min_words, scale))


def cutting(text: str, min_words: int = 0, scale: int = 1) -> Steps[list[str]]:
    """Cut a text in steps, as `cut` does at once."""
    found: list[str] = []
    start = words = 0
    ends = word_ends(text)
    yield
    has_spaced = _SPACED_MARK.search(text) is not None
    for i, end in enumerate(ends):
        if not (i + 1) % WORDS_OF_A_STEP:
            yield
        words += 1
        while end - start > MAX_CHARS * scale:  # one endless word
            offset = _grapheme_offset(text[start:end], MAX_CHARS * scale)
            found.append(text[start : start + offset])
            start, words = start + offset, 1
        if i == len(ends) - 1:
            break
        spaced = _SPACED_MARK.match(text, end) if has_spaced else None
        if spaced is not None:
            end = spaced.end()
        is_within = ends[i + 1] - start <= MAX_CHARS * scale
        if is_within and words < CONJUNCTION_WORDS * scale and text[end - 1].isalnum():
            continue  # a fast way for most words: there is no mark
        head, following = text[start:end], text[end : ends[i + 1]]
        is_allowed = bool(found) or words >= min_words
        is_whole = i + 2 < len(ends) or following[-1].isspace()
        is_cut = is_allowed and _is_cut(head, following, words, is_whole, scale)
        if is_cut or _is_hard_limit(head, following, words, scale):
            found.append(head)
            start, words = end, 0
    if start < len(text) or not found:
        found.append(text[start:])
    return found


def pieces(text: str) -> Iterator[str]:
    """Yield what `cut` returns for a whole text, reading no further ahead than necessary."""
    begin = 0
    while len(text) - begin > WINDOW_CHARS:
        window = text[begin : begin + WINDOW_CHARS]
        ready, words = cut(window)[:-2], word_ends(window)
        # A cut depends on the word after it. The last of the window may go on outside of it, or its
        # marks belong to the next one. If most of the window is one word, it is cut nevertheless,
        # or else it would be read again and again; but not before marks, which belong to it.
        certain, ends = words[-3] if len(words) > 2 else 0, list(accumulate(map(len, ready)))
        count = bisect_right(ends, certain)
        if 2 * count <= len(ready):
            count = len(ready)
            while count > 1 and _MARK.match(window, ends[count - 1]):
                count -= 1
        if 2 * count > len(ready):
            ready = ready[:count]
        for piece in ready:
            yield piece
            begin += len(piece)
    yield from cut(text[begin:])


def is_sentence(piece: str) -> bool:
    """Whether a piece ends where a sentence ends."""
    end = piece[-_MARK_CHARS:]
    return _SENTENCE_END.match(end) is not None or _WIDE_END.match(end) is not None


def cutting_at(text: str, max_chars: int) -> Steps[int]:
    """Find in steps where to cut a text that is too long: within `max_chars`, best in the latter
    half.

    After the last sentence there, else after a clause, a word, or at least a whole character.
    """
    head = text[: max_chars + 1]
    pieces = yield from cutting(head)
    ends = list(accumulate(map(len, pieces[:-1])))
    late = [end for end in ends if max_chars // 2 <= end <= max_chars]
    sentence = next((end for end in reversed(late) if is_sentence(head[:end])), None)
    if sentence is not None or late:
        return late[-1] if sentence is None else sentence
    yield
    words = [end for end in word_ends(head) if end <= max_chars]
    return words[-1] if words else _grapheme_offset(text, max_chars)


def _is_hard_limit(head: str, following: str, words: int, scale: int) -> bool:
    return words >= MAX_WORDS * scale or len(head) + len(following) > MAX_CHARS * scale


def _is_cut(head: str, following: str, words: int, is_whole: bool, scale: int) -> bool:
    """Whether a piece ends; `is_whole`: the word after it will not grow."""
    if not has_words(following):
        return False
    end = head[-_MARK_CHARS:]
    if _WIDE_END.match(end):
        return True
    if following[0].isspace() and _SENTENCE_END.match(end):
        is_answer = _QUOTED_END.match(end) and _ANSWER.match(following)
        if is_answer and words < CLAUSE_WORDS * scale:
            return False
        return _ends_sentence(head, following, words, is_whole)
    if words >= CLAUSE_WORDS * scale and following[0].isspace() and _CLAUSE_END.match(end):
        return True
    is_conjunction = following.strip().casefold() in _CONJUNCTIONS
    return words >= CONJUNCTION_WORDS * scale and is_whole and is_conjunction


def _ends_sentence(head: str, following: str, words: int, is_whole: bool) -> bool:
    """Whether the mark ending `head` belongs to no abbreviation, initial, ordinal or pause."""
    first = following.lstrip().lstrip("\"'“‘«([¿¡")[:1]
    if first.islower() or first == "&":
        return False
    found = _PERIOD_WORD.search(head[-_PERIOD_CHARS:])
    if found is None:
        return True
    word = found[1].lower()
    if word in abbreviations.LEADING:
        return False
    if word in abbreviations.NUMBERED and first.isdigit():
        return False
    is_number = word.isdigit() and len(word) <= 2  # "am 3. Mai", "1. Open the door."
    if is_number and words == 1:
        return False
    is_initial = len(word) == 1 and word.isalpha() and word != "i"
    is_short = is_initial or _ACRONYM.fullmatch(word) or word in abbreviations.either()
    if not (is_number or is_short):
        return True
    begun = _WORD.search(following)
    if begun is None or (len(begun[0]) > 1 and begun[0].isupper()):
        return False  # in text all in capitals they are no sign of a sentence
    return is_whole and begun[0].lower() in abbreviations.STARTERS


def _grapheme_offset(text: str, max_chars: int) -> int:
    """Return the largest end of a whole character within `max_chars`, at least one character."""
    around = text[max_chars - 1 : max_chars + 1]
    if around.isascii() and around != "\r\n":
        return min(max_chars, len(text))
    position = 0
    for cluster in regex.finditer(r"\X", text):
        if position and cluster.end() > max_chars:
            break
        position = cluster.end()
    # A pile of combining marks longer than the limit is cut in the middle: it has no other bound.
    return position if position <= max_chars else max_chars
