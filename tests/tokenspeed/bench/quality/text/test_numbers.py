"""Sentences are of a seed, none is in training, and a right translation is told from a wrong."""

from collections import Counter

from tokenspeed.bench.quality.text.numbers import DIRECTIONS, holds, number_cases, templates
from tokenspeed.text.quantities.reading import read
from tokenspeed.training.rules.frames import read_frames


def test_cases_are_of_a_seed_and_spread_over_directions() -> None:
    cases = number_cases(120)
    assert [case.text for case in cases] == [case.text for case in number_cases(120)]
    directions = Counter(f"{case.source}-{case.target}" for case in cases)
    assert set(directions) == set(DIRECTIONS)
    assert set(directions.values()) == {20}
    assert len({case.kind for case in number_cases(400)}) == 8


def test_no_sentence_is_a_template_of_training() -> None:
    taught = {
        text
        for name in ("sentences.tsv", "trade.tsv")
        for frames in read_frames(name).values()
        for frame in frames
        for text in frame
    }
    for template in templates():
        for slot in ("c", "n", "x", "p", "o", "y", "m", "t", "d"):
            assert template.replace("{0}", f"{{{slot}}}") not in taught


def test_a_source_is_worth_what_is_asked_for() -> None:
    for case in number_cases(600):
        values = case.is_right.args[0]  # type: ignore[attr-defined]
        assert holds(values, case.source, case.text), case.text


def test_words_and_digits_are_right_and_other_values_wrong() -> None:
    (nine,) = read("half past nine", "en")
    assert holds([nine], "de", "Um halb zehn.")
    assert holds([nine], "fr", "À 9 h 30.")
    assert not holds([nine], "de", "Um halb neun.")
    assert not holds([nine, nine], "de", "Um halb zehn.")
