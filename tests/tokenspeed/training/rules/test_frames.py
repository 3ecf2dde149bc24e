"""Frames are whole in four languages, and forms follow from each other."""

import random
import re

import pytest

from tokenspeed.training.rules.frames import (
    DIGITS,
    MIXED,
    WORDS,
    choose,
    is_in_words,
    is_taught,
    pair_of,
    read_frames,
    same,
    say,
)

SLOT = re.compile(r"\{(\w+)\}")
FRAME = ("{c} came.", "{c} kamen.", "{c} sont venus.", "¿{c} vinieron?")


@pytest.mark.parametrize("name", ["sentences.tsv", "trade.tsv"])
def test_frames_end_alike_in_all_languages(name: str) -> None:
    for frames in read_frames(name).values():
        for frame in frames:
            ends = {text.rstrip()[-1] for text in frame}
            assert len(ends) == 1, frame
            assert ends != {"?"} or frame[3].find("¿") >= 0, frame
            assert not re.search(r"\w[?!]", frame[2]), frame


def test_slots_are_the_same_in_all_languages() -> None:
    for kind, frames in read_frames("sentences.tsv").items():
        for frame in frames:
            # German has a dative of a count, Spanish an article of a share.
            names = [
                {re.sub("^(on|es|era|a)$", "", x).replace("d", "c")[:1] for x in SLOT.findall(text)}
                for text in frame
            ]
            if kind not in ("ordinal", "it-is", "share"):
                assert names[1:] == names[:1] * 3, frame


def test_a_sentence_begins_with_a_capital_after_its_mark() -> None:
    said = say(FRAME, "es", {"c": same("zwei", "drei", "vier", "ocho")}, form=WORDS)
    assert said == "¿Ocho vinieron?"


def test_numbers_up_to_twelve_stay_words() -> None:
    assert is_in_words(WORDS, 99)
    assert is_in_words(MIXED, 12)
    assert not is_in_words(MIXED, 13)
    assert not is_in_words(DIGITS, 2)


def test_words_become_digits_in_one_direction_alone() -> None:
    rng = random.Random(1)
    found = [pair_of(FRAME, "de", {"c": lambda _, form: form}, "x", rng, 0.7) for _ in range(200)]
    forms = {(p.english.split()[0], p.foreign.split()[0], p.source) for p in found}
    assert forms == {
        ("Digits", "Digits", "rules-x"),
        ("Words", "Words", "rules-x"),
        ("Words", "Mixed", "rules-x-to-foreign"),
        ("Mixed", "Words", "rules-x-to-english"),
    }


def test_a_source_may_be_for_one_direction() -> None:
    assert is_taught("tatoeba", from_english=True)
    assert is_taught("rules-x-to-foreign", from_english=True)
    assert not is_taught("rules-x-to-foreign", from_english=False)
    assert not is_taught("rules-x-to-english", from_english=True)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        choose("nothing", random.Random(1))
