"""Placeholders: characters that replace what a model must copy, and examples that teach copying.

Whatever must come through unchanged (an address, a tag, an emoji, a number, a name) can be replaced
by a character of the private use area, which is a piece of its own, and put back afterwards. A
model learns to copy these from pairs with the same placeholder at the same place on both sides.
Knows words and their links; does not know tokens.
"""

import random
import re
from collections.abc import Iterator, Sequence

from tokenspeed.text.vocabulary import MARKS
from tokenspeed.training.align import Aligner

PLACEHOLDERS = MARKS
Pair = tuple[str, str]  # a sentence and its translation

_CORE = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)  # what surrounds a word, and the word
_LEAST = 5  # fewest letters of a word that is neither a number nor a name
_IN_ORDER = 0.7  # of the examples: numbered in order, as in users' text
_AROUND = ("{}", "{}", "{}", "({})", "[{}]", "{},", "{}.", "“{}”", "{}:")


def with_placeholders(pair: Pair, aligner: Aligner, rng: random.Random, *, is_open: bool) -> Pair:
    """Put placeholders into both sides of a pair: for words, around them, or between them.

    Args:
        pair: any; one without a place for a placeholder is returned unchanged.
        aligner: from the first side's words to the second's.
        rng: consumed in a fixed order.
        is_open: the first side may continue, so a placeholder at its end is not translated yet.
    """
    sides = pair[0].split(), pair[1].split()
    if not sides[0] or not sides[1]:
        return pair
    links = _sure_links(*sides, aligner)
    places: dict[int, int] = {}  # where the first side has a placeholder: the second side's place
    kind = rng.random()
    wanted = rng.choice((1, 1, 1, 2, 2, 3, 4))
    sides = list(sides[0]), list(sides[1])
    marks = iter(_marks(rng))
    if kind < 0.6:
        places = _replaced(sides, links, wanted, rng)
        for i in sorted(places):
            mark = next(marks)
            for side, at in zip(sides, (i, places[i]), strict=True):
                before, _, after = _parts(side[at])
                side[at] = before + mark + after
    elif kind < 0.75 and links:
        _enclose(sides, links, wanted, marks, rng)
    else:
        _insert(sides, links, wanted, marks, rng, is_open=is_open)
    return " ".join(sides[0]), " ".join(sides[1])


def alone(rng: random.Random) -> Pair:
    """Return a text of placeholders only, which is its own translation."""
    marks = _marks(rng)[: rng.choice((1, 1, 1, 2, 3))]
    text = rng.choice((" ", " ", "", ", ")).join(marks) + rng.choice(("", "", ".", "!", "?"))
    return text, text


def _marks(rng: random.Random) -> list[str]:
    if rng.random() < _IN_ORDER:
        return list(PLACEHOLDERS)
    return rng.sample(PLACEHOLDERS, len(PLACEHOLDERS))


def _sure_links(source: Sequence[str], target: Sequence[str], aligner: Aligner) -> dict[int, int]:
    """Return the words that translate one another, by both lexicons: source place, target place."""
    there = aligner.there.align(source, target)
    back = aligner.back.align(target, source)
    return {int(i): j for j, i in enumerate(there) if i >= 0 and back[i] == j}


def _replaced(
    sides: tuple[list[str], list[str]], links: dict[int, int], wanted: int, rng: random.Random
) -> dict[int, int]:
    """Choose words that a placeholder may replace on both sides."""
    cores = [[_parts(word)[1] for word in side] for side in sides]
    equal = {
        i: cores[1].index(word)
        for i, word in enumerate(cores[0])
        if word
        and cores[0].count(word) == 1
        and cores[1].count(word) == 1
        and (word[0].isupper() or any(c.isdigit() for c in word))
    }
    other = {
        i: j
        for i, j in links.items()
        if i not in equal
        and j not in equal.values()
        and len(cores[0][i]) >= _LEAST
        and len(cores[1][j]) >= _LEAST
    }
    chosen = rng.sample(sorted(equal), min(wanted, len(equal)))
    left = wanted - len(chosen)
    chosen += rng.sample(sorted(other), min(left, len(other)))
    return {i: equal.get(i, other.get(i, 0)) for i in chosen}


def _enclose(
    sides: tuple[list[str], list[str]],
    links: dict[int, int],
    wanted: int,
    marks: Iterator[str],
    rng: random.Random,
) -> None:
    """Put a pair of placeholders around words, as tags would be, in place."""
    chosen = sorted(rng.sample(sorted(links), min(len(links), 1 + wanted // 3)))
    for i in chosen:
        opening, closing = next(marks), next(marks)
        for side, at in zip(sides, (i, links[i]), strict=True):
            before, core, after = _parts(side[at])
            side[at] = before + opening + core + closing + after


def _insert(
    sides: tuple[list[str], list[str]],
    links: dict[int, int],
    wanted: int,
    marks: Iterator[str],
    rng: random.Random,
    *,
    is_open: bool,
) -> None:
    """Put placeholders between words, where what is before and after is the same on both sides."""
    source, target = sides
    ends = [(0, 0)] if is_open else [(0, 0), (len(source), len(target))]
    inner = [
        (i + 1, links[i] + 1)
        for i in sorted(links)
        if all((a <= i) == (b <= links[i]) for a, b in links.items())
    ]
    places = rng.sample(inner, min(len(inner), wanted - 1)) if wanted > 1 and inner else []
    places.append(rng.choice((*ends, ends[-1], *inner[:1])))
    found = [(place, rng.choice(_AROUND).format(next(marks))) for place in sorted(set(places))]
    for (i, j), text in reversed(found):
        source.insert(i, text)
        target.insert(j, text)
    if is_open and rng.random() < 0.5:
        source.append(next(marks))


def _parts(word: str) -> tuple[str, str, str]:
    found = _CORE.match(word)
    assert found is not None
    return found[1], found[2], found[3]
