"""300 sentences about meetings, captions, streams and software, judged by their key word.

`trade.tsv` has source, target, the sentence, and beginnings of words, one of which must be in the
translation, in any case. Written by hand; training never sees them.
"""

from functools import partial
from importlib import resources

import regex

from tokenspeed.bench.quality.text.cases import Case


def trade_cases() -> list[Case]:
    """Return the sentences."""
    text = (resources.files(__package__) / "trade.tsv").read_text(encoding="utf-8")
    cases = []
    for line in text.splitlines():
        source, target, said, words = line.split("\t")
        wanted = tuple(words.split("/"))
        cases.append(Case("trade/key word", source, target, said, partial(_has_one, wanted)))
    return cases


def _has_one(words: tuple[str, ...], output: str) -> bool:
    """Return whether a word of an output begins with one of some; in German, one within a word."""
    any_word = "|".join(map(regex.escape, words))
    return regex.search(rf"(?<![\p{{L}}]){any_word}|(?i:{any_word})", output) is not None
