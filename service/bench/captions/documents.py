"""Documents as a speaker would deliver them: source updates with their times.

Word by word, or as a recogniser sends them: some of its newest words are wrong at first, and are
rewritten by a later update; while that may happen, words are marked unstable. A line is a segment,
and ends with a commit. Pure: the same lines and seed give the same updates; knows no sockets.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

WORDS_PER_MINUTE = 180.0  # quick speech, and three updates a second
PAUSE_MS = 300.0  # between the last word of a line and its commit, and on to the next line
REWRITING_SHARE = 0.25  # of a recogniser's updates
MAX_REWRITTEN = 3  # words at the end that a recogniser may still rewrite


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence or passage with its translation, and the document that it belongs to."""

    source: str
    reference: str
    document: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """One message of the client: the whole source of a segment so far.

    Attributes:
        line: index of the line, also of the segment.
        rev: counts the updates of a line from 0.
        at_ms: when, since the speaker began.
        stable, unstable: the text; joined they are what was recognised so far.
        words: their number. source_ms: end of the last of them, since the line began.
        is_commit: the line is complete.
    """

    line: int
    rev: int
    at_ms: float
    stable: str
    unstable: str
    words: int
    source_ms: float
    is_commit: bool = False

    @property
    def text(self) -> str:
        """The whole text of the segment."""
        return self.stable + self.unstable


def load_lines(path: Path, *, reverse: bool = False) -> list[Line]:
    """Read a test set: source, translation and, optionally, document, separated by tabs.

    Args:
        path: the file. reverse: translate the second column into the first.
    Raises:
        ValueError: a line has fewer than two columns.
        OSError: the file cannot be read.
    """
    lines = []
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        columns = raw.split("\t")
        if len(columns) < 2:
            raise ValueError(f"{path}:{number}: expected two columns or more, found {len(columns)}")
        source, target = columns[1::-1] if reverse else columns[:2]
        lines.append(Line(" ".join(source.split()), target.strip(), "".join(columns[2:3])))
    return [line for line in lines if line.source]


def first_words(lines: Sequence[Line], count: int) -> list[Line]:
    """Return the first lines that have so many source words together, at least one; 0: all."""
    found: list[Line] = []
    words = 0
    for line in lines:
        words += len(line.source.split())
        if count and found and words > count:
            break
        found.append(line)
    return found


def deal(lines: Sequence[Line], speakers: int) -> list[list[Line]]:
    """Deal lines to speakers in runs of about the same number of words, in order."""
    total = sum(len(line.source.split()) for line in lines)
    hands: list[list[Line]] = [[] for _ in range(speakers)]
    spoken = 0
    for line in lines:
        hands[min(speakers - 1, spoken * speakers // max(total, 1))].append(line)
        spoken += len(line.source.split())
    return [hand for hand in hands if hand]


def word_by_word(
    lines: Sequence[Line],
    *,
    words_per_minute: float = WORDS_PER_MINUTE,
    pause_ms: float = PAUSE_MS,
) -> list[Update]:
    """Return an update for each word at its end, nothing ever rewritten."""
    word_ms = 60_000 / words_per_minute
    updates: list[Update] = []
    begin = 0.0
    for index, line in enumerate(lines):
        words = line.source.split()
        for i in range(len(words)):
            end = (i + 1) * word_ms
            text = " ".join(words[: i + 1])
            updates.append(Update(index, i, begin + end, text, "", i + 1, end))
        updates.append(_commit(updates[-1], pause_ms))
        begin = updates[-1].at_ms + pause_ms
    return updates


def as_recogniser(
    lines: Sequence[Line],
    *,
    seed: int = 0,
    rewriting_share: float = REWRITING_SHARE,
    words_per_minute: float = WORDS_PER_MINUTE,
    pause_ms: float = PAUSE_MS,
) -> list[Update]:
    """Return the updates of a recogniser that corrects its last one to three words.

    A misheard word is another word of the same text. A later update puts it right.

    Args:
        seed: of the misheard words and of the moments.
        rewriting_share: of the updates, on average, that put right one to three of the words before
            the newest.
    """
    rng = random.Random(seed)
    vocabulary = sorted({word.lower() for line in lines for word in line.source.split()})
    found = []
    for update in word_by_word(lines, words_per_minute=words_per_minute, pause_ms=pause_ms):
        if update.rev == 0:
            heard = _mishear(lines[update.line].source.split(), vocabulary, rewriting_share, rng)
        if update.is_commit:
            found.append(update)
            continue
        words = heard[update.rev]
        cut = max(len(words) - MAX_REWRITTEN, 0)
        stable, unstable = " ".join(words[:cut]), " ".join(words[cut:])
        unstable = " " + unstable if stable else unstable
        found.append(
            Update(
                update.line,
                update.rev,
                update.at_ms,
                stable,
                unstable,
                len(words),
                update.source_ms,
            )
        )
    return found


def rewriting_updates(updates: Sequence[Update]) -> float:
    """Return the share of updates, commits aside, that change a word of the one before them."""
    plain = [update for update in updates if not update.is_commit]
    changed = sum(a.line == b.line and not b.text.startswith(a.text) for a, b in pairwise(plain))
    return changed / len(plain) if plain else 0.0


def _commit(last: Update, pause_ms: float) -> Update:
    return Update(
        last.line,
        last.rev + 1,
        last.at_ms + pause_ms,
        last.text,
        "",
        last.words,
        last.source_ms,
        is_commit=True,
    )


def _mishear(
    words: list[str], vocabulary: list[str], share: float, rng: random.Random
) -> list[list[str]]:
    """Return what was recognised after each word."""
    misheard: list[
        tuple[int, int, list[str]]
    ] = []  # from, to (exclusive): put right by update `to`
    after = 0
    for i in range(1, len(words)):
        if rng.random() < share and i > after:
            begin = max(after, i - rng.randint(1, MAX_REWRITTEN))
            wrong = [_other(word, vocabulary, rng) for word in words[begin:i]]
            misheard.append((begin, i, wrong))
            after = i
    found = []
    for i in range(len(words)):
        heard = words[: i + 1]
        for begin, end, wrong in misheard:
            if begin <= i < end:
                heard[begin:] = wrong[: i + 1 - begin]
        found.append(heard)
    return found


def _other(word: str, vocabulary: list[str], rng: random.Random) -> str:
    """Return a random word of the text; if it is the same word, that without its last letter."""
    other = rng.choice(vocabulary)
    return other if other != word.lower() else (word[:-1] or word + word)
