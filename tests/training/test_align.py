"""Word alignment finds the word that a word translates, and cuts follow it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import toy_pairs
from tokenspeed.training.align import align, running_cut, target_words_within


def test_words_are_aligned_although_their_order_differs() -> None:
    pairs = toy_pairs()
    alignment = align([e.split() for e, _ in pairs], [g.split() for _, g in pairs])
    # "The train is small today." -> "der Zug ist heute klein."
    assert alignment[0].tolist() == [0, 1, 2, 4, 3]


def test_a_cut_waits_for_the_furthest_word_that_is_needed() -> None:
    cut = running_cut(np.array([0, 1, 2, 4, 3], np.int16))
    assert [target_words_within(cut, n) for n in range(6)] == [0, 1, 2, 3, 3, 5]


@given(st.lists(st.integers(-1, 20), max_size=20))
def test_more_source_never_gives_less_target(words: list[int]) -> None:
    cut = running_cut(np.array(words, np.int16))
    lengths = [target_words_within(cut, n) for n in range(23)]
    assert lengths == sorted(lengths)
    assert lengths[-1] == len(words)
    for n, length in enumerate(lengths):
        assert all(word < n for word in words[:length])
