"""Placeholders: the same on both sides, whatever else happens to a pair."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.training.conftest import toy_pairs
from tokenspeed.training.align import Aligner, Lexicon
from tokenspeed.training.placeholders import PLACEHOLDERS, alone, with_placeholders

PAIRS = toy_pairs()
ENGLISH, GERMAN = ([pair[side].split() for pair in PAIRS] for side in (0, 1))


@pytest.fixture(scope="module", name="aligner")
def _aligner() -> Aligner:
    return Aligner(Lexicon.fit(ENGLISH, GERMAN), Lexicon.fit(GERMAN, ENGLISH))


def placeholders(text: str) -> list[str]:
    return [c for c in text if c in PLACEHOLDERS]


@given(seed=st.integers(0, 10_000), at=st.integers(0, len(PAIRS) - 1), is_open=st.booleans())
def test_both_sides_have_the_same_once(aligner: Aligner, seed: int, at: int, is_open: bool) -> None:
    source, target = with_placeholders(PAIRS[at], aligner, random.Random(seed), is_open=is_open)
    said = placeholders(source)
    assert len(set(said)) == len(said), "none stands twice"
    if is_open and source.endswith(PLACEHOLDERS) and source[-1] not in target:
        said.pop()  # the last word of a source that goes on is not translated yet
    assert sorted(said) == sorted(placeholders(target))
    assert (source, target) == with_placeholders(
        PAIRS[at], aligner, random.Random(seed), is_open=is_open
    )


def test_words_are_replaced_by_what_translates_them(aligner: Aligner) -> None:
    made = [
        with_placeholders(
            ("The train is beautiful here.", "der Zug ist hier schön."),
            aligner,
            random.Random(seed),
            is_open=False,
        )
        for seed in range(60)
    ]
    lost = [t for s, t in made if "beautiful" not in s]
    assert lost
    assert not any("schön" in target for target in lost)


def test_a_text_of_nothing_else_is_its_own_translation() -> None:
    source, target = alone(random.Random(1))
    assert source == target
    assert placeholders(source)
