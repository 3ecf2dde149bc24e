"""What is said twice by accident is for one direction; sound marks have a word in each language."""

import random
from itertools import islice

import pytest

from tokenspeed.training.rules.frames import is_taught
from tokenspeed.training.rules.spoken import SOUNDS, greetings, hesitate, sounds, stutters


@pytest.mark.parametrize("language", ["de", "fr", "es"])
def test_only_the_source_stutters(language: str) -> None:
    for pair in islice(stutters(language, random.Random(1)), 300):
        from_english = is_taught(pair.source, from_english=True)
        assert from_english != is_taught(pair.source, from_english=False)
        source, target = (pair.english, pair.foreign)[:: 1 if from_english else -1]
        assert len(target.split()) <= len(source.split()) * 4
        assert "..." not in target


def test_all_words_are_still_there() -> None:
    text = "We have to find another way."
    for seed in range(50):
        said = hesitate(text, "en", random.Random(seed))
        assert said != text
        at = 0
        for word in text.lower().split():
            at = said.lower().index(word, at)


def test_sound_marks_are_whole() -> None:
    assert all(len(sound) == 4 and all(sound) for sound in SOUNDS)
    for pair in islice(sounds("fr", random.Random(1)), 100):
        for opening, closing in ("[]", "()"):
            assert pair.english.count(opening) == pair.foreign.count(closing)


def test_greetings_are_said_with_and_without_a_mark() -> None:
    found = {(pair.english, pair.foreign) for pair in greetings("es")}
    assert {("Goodbye!", "¡Adiós!"), ("Goodbye", "Adiós")} <= found
