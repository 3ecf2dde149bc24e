"""The stream of pairs is the same for a seed, has no pair twice, and none of a test set."""

import re
from collections import Counter

import pytest

from tokenspeed.training.rules.pairs import pairs


@pytest.mark.parametrize("language", ["de", "fr", "es"])
def test_a_seed_gives_the_same_pairs(language: str) -> None:
    first = list(pairs(language, 1, scale=0.01))
    assert first == list(pairs(language, 1, scale=0.01))
    assert first != list(pairs(language, 2, scale=0.01))
    assert len({(pair.english, pair.foreign) for pair in first}) == len(first)


def test_all_kinds_are_there() -> None:
    kinds = Counter(pair.source.split("-")[1] for pair in pairs("de", 1, scale=0.01))
    assert kinds.keys() == {
        "numbers",
        "money",
        "measures",
        "times",
        "dates",
        "sounds",
        "stutters",
        "greetings",
        "trade",
    }
    assert all(count >= 10 for count in kinds.values())


def test_no_pair_holds_a_tab_or_a_line_break() -> None:
    for pair in pairs("fr", 1, scale=0.01):
        assert pair.english.isprintable()
        assert pair.foreign.isprintable()


def test_numbers_in_english_words_come_without_a_hyphen_too() -> None:
    found = {"with": 0, "without": 0}
    for pair in pairs("de", 1, scale=0.02):
        hyphens = len(re.findall(r"(?i)\b(twenty|thirty|forty|fifty)-[a-z]", pair.english))
        spaces = len(re.findall(r"(?i)\b(twenty|thirty|forty|fifty) (one|two|three)", pair.english))
        found["with"] += bool(hyphens)
        found["without"] += bool(spaces)
        # What the model is to write keeps the hyphen.
        assert not spaces or pair.source.endswith("-to-foreign") or "-" not in pair.foreign
    assert min(found.values()) >= 5, found
