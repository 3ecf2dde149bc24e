"""Timed updates from lines: complete, in order, rewritten only where they are marked unstable."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.captions.documents import (
    MAX_REWRITTEN,
    Line,
    Update,
    as_recogniser,
    deal,
    first_words,
    load_lines,
    rewriting_updates,
    word_by_word,
)
from tests.service.bench.lines import LINES

WORDS = st.text("abcde", min_size=1, max_size=4)
SPOKEN = st.lists(st.lists(WORDS, min_size=1, max_size=12), min_size=1, max_size=5).map(
    lambda lines: [Line(" ".join(words), "x") for words in lines]
)


def texts(updates: list[Update]) -> list[str]:
    return [update.text for update in updates]


def test_word_by_word_by_hand() -> None:
    updates = word_by_word([Line("We leave now.", "")], words_per_minute=120, pause_ms=250)
    assert texts(updates) == ["We", "We leave", "We leave now.", "We leave now."]
    assert [update.at_ms for update in updates] == [500, 1000, 1500, 1750]
    assert [update.source_ms for update in updates] == [500, 1000, 1500, 1500]
    assert [update.is_commit for update in updates] == [False, False, False, True]
    assert [update.rev for update in updates] == [0, 1, 2, 3]


@given(SPOKEN, st.integers(0, 99))
def test_a_recogniser_ends_with_what_was_said_at_the_same_times(
    lines: list[Line], seed: int
) -> None:
    updates = as_recogniser(lines, seed=seed)
    plain = word_by_word(lines)
    assert [u.at_ms for u in updates] == [u.at_ms for u in plain]
    assert [u.words for u in updates] == [u.words for u in plain]
    assert [u.text for u in updates if u.is_commit] == [line.source for line in lines]
    assert updates == as_recogniser(lines, seed=seed)


@given(SPOKEN, st.integers(0, 99))
def test_only_unstable_words_are_rewritten(lines: list[Line], seed: int) -> None:
    for before, after in pairwise(as_recogniser(lines, seed=seed)):
        if before.line == after.line:
            assert after.text.startswith(before.stable)
            assert len(before.unstable.split()) <= MAX_REWRITTEN


def test_a_quarter_of_the_updates_rewrites() -> None:
    assert 0.15 < rewriting_updates(as_recogniser(LINES * 20)) < 0.3
    assert rewriting_updates(word_by_word(LINES)) == 0


def test_speakers_share_the_words_in_order() -> None:
    hands = deal(LINES, 3)
    assert [line for hand in hands for line in hand] == LINES
    assert len(hands) == 3
    assert deal(LINES[:1], 4) == [LINES[:1]]


def test_a_set_is_read_in_both_directions(tmp_path: Path) -> None:
    path = tmp_path / "talk.en-de.tsv"
    path.write_text("Good  morning.\tGuten Morgen.\ttalk.1\n\t\nYes.\tJa.\n", encoding="utf-8")
    assert load_lines(path) == [
        Line("Good morning.", "Guten Morgen.", "talk.1"),
        Line("Yes.", "Ja."),
    ]
    assert load_lines(path, reverse=True)[0].source == "Guten Morgen."
    path.write_text("one column\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"talk\.en-de\.tsv:1: expected two columns"):
        load_lines(path)


@given(st.integers(0, 200))
def test_whole_lines_up_to_a_number_of_words(count: int) -> None:
    found = first_words(LINES, count)
    assert found == LINES[: len(found)]
    words = [len(line.source.split()) for line in LINES]
    if count == 0:
        assert len(found) == len(LINES)
    else:
        assert len(found) == 1 or sum(words[: len(found)]) <= count
        assert len(found) == len(LINES) or sum(words[: len(found) + 1]) > count
