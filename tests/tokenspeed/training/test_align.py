"""Word alignment finds the word that a word translates, and cuts follow it."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.training.conftest import toy_pairs
from tokenspeed.training.align import (
    Aligner,
    Lexicon,
    agree,
    running_cut,
    target_words_within,
)


def test_words_are_aligned_although_their_order_differs() -> None:
    pairs = toy_pairs()
    lexicon = Lexicon.fit([e.split() for e, _ in pairs], [g.split() for _, g in pairs])
    english, german = ("The train is small today.".split(), "der Zug ist heute klein.".split())
    assert lexicon.align(english, german).tolist() == [0, 1, 2, 4, 3]
    assert lexicon.align([], german).tolist() == [-1] * 5
    assert lexicon.align(english, []).tolist() == []


def test_sentences_never_seen_are_aligned_by_their_words(tmp_path: Path) -> None:
    english, german = zip(*((e.split(), g.split()) for e, g in toy_pairs()), strict=True)
    lexicons = Lexicon.fit(english, german), Lexicon.fit(german, english)
    for name, lexicon in zip("ab", lexicons, strict=True):
        lexicon.save(tmp_path / name)
    loaded = Aligner(*(Lexicon.load(tmp_path / name) for name in "ab"))
    source, target = "MY SISTER was beautiful yesterday", "meine Schwester war gestern schön"
    # "gestern" is unknown: it may stand anywhere, but what is known keeps its place.
    cut = loaded.cut(source, target)
    assert cut.tolist() == Aligner(*lexicons).cut(source, target).tolist()
    assert cut[:3].tolist() == [0, 1, 2]
    back = loaded.reversed().cut(target, source)
    assert back[:3].tolist() == [0, 1, 2]
    assert back[-1] >= 4 - 1


def test_links_far_off_need_the_other_direction() -> None:
    there = np.array([0, 9, 2, 3, 4, 5, 6, 7, 8, 1], np.int16)
    back = np.array([0, 9, 2, 3, 4, 5, 6, 7, 8, 3], np.int16)
    # Word 1 says 9, which answers 3: dropped. Word 9 says 1, which answers 9: kept.
    assert agree(there, back).tolist() == [0, -1, 2, 3, 4, 5, 6, 7, 8, 1]


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
