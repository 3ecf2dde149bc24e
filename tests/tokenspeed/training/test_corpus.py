"""How often a pair is drawn: by its source, by who wrote it, and by the form of address."""

import numpy as np
import pytest

from tokenspeed.training.config import Mix
from tokenspeed.training.corpus import Bitext, sampling_weights

PAIRS = [
    ("Are you here?", "Sind Sie hier?", "a"),
    ("Are you here?", "Bist du hier?", "a"),
    ("Are you ill?", "Bist du krank?", "a"),
    ("I saw you.", "Ich habe dich gesehen.", "a"),
    ("Young people sing.", "Deine Kinder singen.", "b"),  # no "you" in the English
]
ENGLISH, GERMAN, SOURCES = (list(column) for column in zip(*PAIRS, strict=True))
BITEXT = Bitext("de", ENGLISH, GERMAN, SOURCES)


def drawn(mix: Mix, *, from_english: bool = True) -> list[float]:
    found: list[float] = sampling_weights(BITEXT, mix, from_english=from_english).tolist()
    return found


def test_sources_have_their_weights() -> None:
    mix = Mix(familiar_weight=1.0, weights={"b": 0.5})
    assert drawn(mix) == [1, 1, 1, 1, 0.5]
    assert drawn(Mix(weights={"b": 2.0}), from_english=False) == [1, 1, 1, 1, 2]


def test_a_familiar_sentence_gives_way_to_its_formal_sibling() -> None:
    assert drawn(Mix(familiar_weight=0.25)) == [1, 0.25, 1, 1, 1]


def test_formal_pairs_are_drawn_as_often_as_is_asked() -> None:
    weights = drawn(Mix(familiar_weight=0.5, formal_odds=1.0))
    assert sum(weights[1:4]) == pytest.approx(1.0)
    assert weights[0] == weights[4] == 1.0
    assert weights[1] == pytest.approx(weights[2] / 2), "a sibling still counts less"


def test_a_language_with_too_few_formal_pairs_is_left_as_it_is() -> None:
    assert drawn(Mix(familiar_weight=1.0, formal_odds=100.0)) == [1, 1, 1, 1, 1]
    assert drawn(Mix(familiar_weight=1.0, formal_odds=1.0)) == pytest.approx(
        [1] + [1 / 3] * 3 + [1]
    )


def test_what_a_teacher_wrote_counts_by_the_side_it_wrote() -> None:
    bitext = Bitext("de", ["a", "b"], ["c", "d"], ["distilled-foreign", "distilled-english"])
    mix = Mix(weights={"distilled": 2.0, "back-translated": 0.5})
    assert np.array_equal(sampling_weights(bitext, mix, from_english=True), [2.0, 0.5])
    assert np.array_equal(sampling_weights(bitext, mix, from_english=False), [0.5, 2.0])
