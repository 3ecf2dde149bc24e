"""All pairs that are made by rule, in one stream.

`tokenspeed train` uses them like the pairs of a corpus, with a weight by the name of the source.
`frames.is_taught` says which directions a source teaches.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

from tokenspeed.training.rules import amounts, spoken, times
from tokenspeed.training.rules.frames import TO_FOREIGN, Pair
from tokenspeed.training.rules.trade import trade

_WITHOUT_HYPHEN = (
    0.4  # of the pairs with English numbers in words: without hyphens, as recognisers write them
)
_HYPHEN = re.compile(r"\b((?:twen|thir|for|fif|six|seven|eigh|nine)ty)-(?=[a-z])", re.IGNORECASE)
_TRIES = 4  # for each wanted pair: rules with few values repeat themselves


def pairs(language: str, seed: int, scale: float = 1.0) -> Iterator[Pair]:
    """Yield pairs of English with a language, none of them twice; about 50,000 for a scale of 1.

    Args:
        language: `de`, `fr` or `es`.
        seed: equal seeds give equal pairs in equal order.
        scale: of the kinds without end; greetings and pairs of the trade are complete.
    """
    rngs = (random.Random(f"{seed}/{language}/{number}") for number in range(99))
    endless = (
        (amounts.counts(language, next(rngs)), 11_000),
        (amounts.bare(language, next(rngs)), 9_000),
        (amounts.money(language, next(rngs)), 6_000),
        (amounts.measures(language, next(rngs)), 6_000),
        (times.times(language, next(rngs)), 8_000),
        (times.dates(language, next(rngs)), 7_000),
        (spoken.sounds(language, next(rngs)), 1_500),
        (spoken.stutters(language, next(rngs)), 5_000),
    )
    seen: set[tuple[str, str]] = set()
    whole = chain(spoken.greetings(language), trade(language, next(rngs)))
    yield from _new(whole, seen)
    hyphens = next(rngs)
    for made, wanted in endless:
        count = round(wanted * scale)
        drawn = (_spelled(pair, hyphens) for pair in islice(made, count * _TRIES))
        yield from islice(_new(drawn, seen), count)


def _spelled(pair: Pair, rng: random.Random) -> Pair:
    """Return a pair whose English side has "twenty three" for "twenty-three" now and then."""
    if pair.source.endswith(TO_FOREIGN) and rng.random() < _WITHOUT_HYPHEN:
        return replace(pair, english=_HYPHEN.sub(r"\1 ", pair.english))
    return pair


def _new(made: Iterator[Pair], seen: set[tuple[str, str]]) -> Iterator[Pair]:
    for pair in made:
        key = (pair.english, pair.foreign)
        if key not in seen:
            seen.add(key)
            yield pair
