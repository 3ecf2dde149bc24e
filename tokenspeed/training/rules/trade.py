"""Pairs with technical terms of meetings, captions, streams and software, from templates and nouns.

The words are those that professionals use in each language. German articles are inflected; French
and Spanish ones are contracted with prepositions.
"""

import random
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

from tokenspeed.training.rules.frames import LANGUAGES, WORDS, Frame, Pair, read_frames, same, say

_ARTICLES: Final = {  # nominative, accusative, dative, genitive
    "m": ("der", "den", "dem", "des"),
    "f": ("die", "die", "der", "der"),
    "n": ("das", "das", "dem", "des"),
}
_BENT: Final = re.compile(r"(\w+),(\w+)")  # "long,longue": a form of the adjective for each gender
_NO_SLOT: Final = ("plain", "meeting", "talk")


class Noun(NamedTuple):
    """A noun in four languages, with what its article and adjectives depend on."""

    kind: str
    english: str
    german: str
    german_gender: str
    french: str  # with its article
    french_gender: str
    spanish: str  # with its article


def trade(language: str, rng: random.Random) -> Iterator[Pair]:
    """Yield each sentence once, in random order."""
    frames = read_frames("trade.tsv")
    found = [(frame, None) for kind in _NO_SLOT for frame in frames[kind]]
    filled = [(frame, noun) for noun in nouns() for frame in frames[f"of-{noun.kind}"]]
    order: list[tuple[Frame, Noun | None]] = [*found, *filled]
    rng.shuffle(order)
    for frame, noun in order:
        yield Pair(_said(frame, noun, "en"), _said(frame, noun, language), "rules-trade")


@cache
def nouns() -> tuple[Noun, ...]:
    """Return the nouns of the trade."""
    found = []
    text = (resources.files(__package__) / "nouns.tsv").read_text(encoding="utf-8")
    for line in text.splitlines():
        kind, english, german, gender, french, spanish = line.split("\t")
        # The article shows the gender, but for "l'".
        french, _, marked = french.partition(",")
        french_gender = marked or ("f" if french.startswith("la ") else "m")
        found.append(Noun(kind, english, german, gender, french, french_gender, spanish))
    return tuple(found)


def _said(frame: Frame, noun: Noun | None, language: str) -> str:
    if noun is None:
        return say(frame, language, {}, form=WORDS)
    feminine = {"fr": noun.french_gender == "f", "es": noun.spanish.startswith("la ")}
    template = frame[LANGUAGES.index(language)]
    template = _BENT.sub(lambda match: match[2 if feminine.get(language) else 1], template)
    slots = {
        "the": f"the {noun.english}",
        "le": noun.french,
        "du": re.sub(r"^de le ", "du ", f"de {noun.french}"),
        "au": re.sub(r"^à le ", "au ", f"à {noun.french}"),
        "el": noun.spanish,
        "del": re.sub(r"^de el ", "del ", f"de {noun.spanish}"),
    }
    names = ("der", "den", "dem", "des")
    for name, article in zip(names, _ARTICLES[noun.german_gender], strict=True):
        slots[name] = f"{article} {noun.german}"
    if noun.german_gender != "f":
        slots["des"] += "es" if noun.german.endswith(("x", "s")) else "s"
    alone = (template,) * len(LANGUAGES)
    return say(alone, language, {key: same(text) for key, text in slots.items()}, form=WORDS)  # type: ignore[arg-type]
