"""Examples: what is cut, joined and stripped keeps what it promises."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import toy_pairs
from tokenspeed.training.align import running_cut
from tokenspeed.training.config import Mix
from tokenspeed.training.examples import Pair, cut_prefix, join, make_example, strip_style

PAIR = Pair(
    "The train is small today.",
    "der Zug ist heute klein.",
    running_cut(np.array([0, 1, 2, 4, 3], np.int16)),
)


def test_a_prefix_has_only_what_its_source_says() -> None:
    assert cut_prefix(PAIR, 3, half=False) == ("The train is", "der Zug ist")
    assert cut_prefix(PAIR, 4, half=False) == ("The train is small", "der Zug ist")
    assert cut_prefix(PAIR, 3, half=True) == ("The train is sm", "der Zug ist")
    assert cut_prefix(PAIR, 5, half=True) == (PAIR.source, PAIR.target)


def test_joined_sentences_keep_their_alignment() -> None:
    both = join([PAIR, PAIR])
    assert both.source == f"{PAIR.source} {PAIR.source}"
    assert cut_prefix(both, 7, half=False)[1] == f"{PAIR.target} der Zug"


def test_style_is_stripped_as_recognisers_write() -> None:
    assert strip_style("Don't go, Tom!", 0.0) == "don't go tom"
    assert strip_style("Don't go, Tom!", 0.8) == "Don't go Tom"
    assert strip_style("Don't go, Tom!", 0.9) == "don't go, tom!"


@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
def test_examples_are_the_same_for_the_same_seed(seed: int, count: int) -> None:
    pairs = [PAIR] * count
    first = make_example(pairs, Mix(), random.Random(seed))
    assert first == make_example(pairs, Mix(), random.Random(seed))
    whole = join(pairs)
    assert whole.target.startswith(first.target)
    assert first.source
    if first.target != whole.target:
        assert first.is_open


def test_only_finished_sources_lack_the_mark() -> None:
    mix = Mix(prefix_share=1.0, stripped_share=0.0)
    rng = random.Random(0)
    assert all(make_example([PAIR], mix, rng).is_open for _ in range(20))
    mix = Mix(prefix_share=0.0, open_whole_share=0.0, stripped_share=0.0)
    example = make_example([PAIR], mix, rng)
    assert (example.source, example.target, example.is_open) == (PAIR.source, PAIR.target, False)
    assert len(toy_pairs()) == 144
