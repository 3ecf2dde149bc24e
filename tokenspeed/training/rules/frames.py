"""A sentence in four languages with slots, and what fills them.

A frame is written by hand in four languages; `sentences.tsv` and `trade.tsv` hold them by kind. A
slot gives its value in a language, in words or in digits, chosen so that the form of a translation
follows from its source.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Literal

LANGUAGES: Final = ("en", "de", "fr", "es")  # the order of a frame
TO_FOREIGN, TO_ENGLISH = "-to-foreign", "-to-english"

Frame = tuple[str, str, str, str]  # English, German, French, Spanish
Form = Literal["words", "digits", "mixed"]  # mixed: words up to twelve, as writers do
WORDS: Final = "words"
DIGITS: Final = "digits"
MIXED: Final = "mixed"
Slot = Callable[[str, Form], str]  # of a language


@dataclass(frozen=True, slots=True)
class Pair:
    """An English sentence and its translation.

    `source` names the rule. One that ends in `-to-foreign` or `-to-english` is for that direction
    alone: its source side has what a translation should not, such as a stutter.
    """

    english: str
    foreign: str
    source: str


def is_taught(source: str, *, from_english: bool) -> bool:
    """Return whether pairs of a source teach a direction; those of a corpus teach both."""
    return not source.endswith(TO_ENGLISH if from_english else TO_FOREIGN)


def is_in_words(form: Form, number: int) -> bool:
    """Return whether a form has a number in words."""
    return form == WORDS or (form == MIXED and number <= 12)


def same(*texts: str) -> Slot:
    """Return a slot of a text for each language, or of one for all, without a number in it."""
    return lambda language, form: texts[LANGUAGES.index(language) if len(texts) > 1 else 0]


def say(frame: Frame, language: str, slots: Mapping[str, Slot], *, form: Form) -> str:
    """Return the sentence of a frame in a language."""
    template = frame[LANGUAGES.index(language)]
    said = {name: slot(language, form) for name, slot in slots.items()}
    text = template.format_map(said).replace("..", ".").replace(",.", ".").replace(",?", "?")
    first = next((i for i, c in enumerate(text) if c.isalnum()), 0)
    return text[:first] + text[first].upper() + text[first + 1 :]


def pair_of(
    frame: Frame,
    language: str,
    slots: Mapping[str, Slot],
    name: str,
    rng: random.Random,
    words_share: float,
) -> Pair:
    """Return a frame as a pair; a share of sources has words, mostly translated as digits.

    Digits are translated as digits. Numbers over twelve in words become digits in four of five
    pairs, which are for that direction alone.
    """
    if rng.random() >= words_share:
        return Pair(*_sides(frame, language, slots, DIGITS, DIGITS), f"rules-{name}")
    if rng.random() < 0.2:
        return Pair(*_sides(frame, language, slots, WORDS, WORDS), f"rules-{name}")
    if rng.random() < 0.5:
        return Pair(*_sides(frame, language, slots, WORDS, MIXED), f"rules-{name}{TO_FOREIGN}")
    return Pair(*_sides(frame, language, slots, MIXED, WORDS), f"rules-{name}{TO_ENGLISH}")


def _sides(
    frame: Frame, language: str, slots: Mapping[str, Slot], english: Form, foreign: Form
) -> tuple[str, str]:
    return (
        say(frame, "en", slots, form=english),
        say(frame, language, slots, form=foreign),
    )


def choose(kind: str, rng: random.Random) -> Frame:
    """Return one of the frames of a kind.

    Raises:
        KeyError: there is no such kind.
    """
    frames = read_frames("sentences.tsv")[kind]
    return frames[rng.randrange(len(frames))]


@cache
def read_frames(name: str) -> Mapping[str, Sequence[Frame]]:
    """Return the frames of a file beside this one, by kind."""
    frames: dict[str, list[Frame]] = {}
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    for line in text.splitlines():
        kind, english, german, french, spanish = line.split("\t")
        frames.setdefault(kind, []).append((english, german, french, spanish))
    return frames
