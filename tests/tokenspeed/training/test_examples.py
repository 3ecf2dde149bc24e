"""Examples: what is cut, joined and stripped keeps what it promises."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tokenspeed.training.align import Aligner, Lexicon, running_cut
from tokenspeed.training.config import Mix
from tokenspeed.training.examples import cut_prefix, make_example

PAIR = ("The train is small today.", "der Zug ist heute klein.")


class Known(Aligner):
    """Knows one pair alone."""

    def __init__(self) -> None:
        none = Lexicon({}, {}, np.zeros(0, np.float32))
        super().__init__(none, none)

    def cut(self, source: str, target: str) -> NDArray[np.int16]:
        assert (source, target) == PAIR
        return running_cut(np.array([0, 1, 2, 4, 3], np.int16))


KNOWN = Known()
cut = KNOWN.cut


def test_a_prefix_has_only_what_its_source_says() -> None:
    assert cut_prefix([PAIR], 3, cut, half=False) == ("The train is", "der Zug ist")
    assert cut_prefix([PAIR], 4, cut, half=False) == ("The train is small", "der Zug ist")
    assert cut_prefix([PAIR], 3, cut, half=True) == ("The train is sm", "der Zug ist")
    assert cut_prefix([PAIR], 5, cut, half=True) == PAIR


def test_joined_sentences_are_cut_in_the_one_that_is_said() -> None:
    source, target = PAIR
    found = cut_prefix([PAIR, PAIR], 7, cut, half=False)
    assert found == (f"{source} The train", f"{target} der Zug")
    assert cut_prefix([PAIR, PAIR], 5, cut, half=True) == (f"{source} T", target)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
def test_examples_are_the_same_for_the_same_seed(seed: int, count: int) -> None:
    pairs = [PAIR] * count
    first = make_example(pairs, Mix(), KNOWN, random.Random(seed))
    assert first == make_example(pairs, Mix(), KNOWN, random.Random(seed))
    whole = " ".join(target for _, target in pairs)
    assert whole.startswith(first.target)
    assert first.source
    if first.target != whole:
        assert first.is_open


def test_only_finished_sources_lack_the_mark() -> None:
    mix = Mix(prefix_share=1.0, stripped_share=0.0)
    rng = random.Random(0)
    assert all(make_example([PAIR], mix, KNOWN, rng).is_open for _ in range(20))
    mix = Mix(prefix_share=0.0, open_whole_share=0.0, stripped_share=0.0)
    example = make_example([PAIR], mix, KNOWN, rng)
    assert (example.source, example.target, example.is_open) == (*PAIR, False)
