"""Lists of abbreviations hold nothing that is two things at once."""

import pytest

from tokenspeed.text.abbreviations import LEADING, NUMBERED, STARTERS, either


def test_months_are_from_cldr_and_words_are_none() -> None:
    assert {"jan", "sept", "janv", "févr", "okt"} <= either()
    assert not {"may", "mar", "mai", "ago"} & either()


@pytest.mark.parametrize("words", [LEADING, NUMBERED, STARTERS, either()])
def test_entries_are_as_they_are_looked_up(words: frozenset[str]) -> None:
    assert all(word == word.lower().strip(". ") for word in words)


def test_what_never_ends_a_sentence_is_in_no_other_list() -> None:
    assert not LEADING & (NUMBERED | either() | STARTERS)
