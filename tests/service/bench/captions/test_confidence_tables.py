"""Which rule is earlier with as much wrong: on rows whose numbers are chosen."""

import pytest

from service.bench.captions.commit_rules import AGREEMENT, FAMILIES, all_rules
from service.bench.captions.confidence_tables import (
    Gain,
    best_setting,
    confidence_tables,
    earliest,
    gain,
)
from tokenspeed.bench.result import Row

PLACES = (("talks.en-de", "words"), ("talks.en-de", "recogniser"))


def wrong_of(row: Row) -> float:
    return float(row["contradicting"])


def row(place: tuple[str, str], wrong: int, delay: float, **about: object) -> Row:
    """Of a thousand committed words."""
    found: Row = {"set": place[0], "trace": place[1], "family": AGREEMENT, "agreement": 2}
    found |= {"margin": 0.0, "wait_words": 0, "committed_words": 1000, "early": 0.5}
    found |= {"chrf_offline": 90.0, "contradicting_words": wrong, "delay_words": delay}
    found |= {"differing_words": wrong, "differing": wrong / 1000}
    return found | {"contradicting": wrong / 1000} | about


def rows(wrong: int, delays: tuple[float, float]) -> list[Row]:
    """All rules: agreement as it tends to be, one with margins chosen, the rest late."""
    found = []
    for place, chosen in zip(PLACES, delays, strict=True):
        for rule in all_rules():
            n = max(each.agreement for each in rule.conditions)
            x = max(each.margin for each in rule.conditions)
            about = {"family": rule.family, "agreement": n, "wait_words": rule.wait_words}
            if rule.family == AGREEMENT:
                late = n + rule.wait_words
                found.append(row(place, 100 - 9 * late, 2.0 + late, **about))
            elif (rule.family, x, rule.wait_words) == (FAMILIES[0], 2.0, 0):
                found.append(row(place, wrong, chosen, margin=x, **about))
            else:
                found.append(row(place, wrong, 20.0, margin=x, **about))
    return found


AGREEMENTS = [row(PLACES[0], wrong, delay) for wrong, delay in ((80, 4.0), (60, 5.0), (40, 8.0))]


def told(wrong: int, delay: float, *more: Row) -> Gain | None:
    own = row(PLACES[0], wrong, delay, family="margin")
    found = gain(own, [*AGREEMENTS, *more, own], wrong_of)
    return None if found is None else Gain(round(found.words, 6), found.is_least)


def test_a_rule_is_compared_with_agreement_that_has_as_much_wrong() -> None:
    assert told(60, 4.5) == Gain(0.5)
    assert told(80, 4.5) == Gain(-0.5)


def test_two_rules_of_agreement_are_mixed_where_none_has_as_much() -> None:
    assert told(70, 4.0) == Gain(0.5)  # half of the one at 4.0, half of that at 5.0
    assert told(45, 5.0) == Gain(2.25)


def test_agreement_that_is_earlier_and_has_less_wrong_counts() -> None:
    assert told(60, 4.0) == Gain(1.0)
    assert told(60, 4.0, row(PLACES[0], 50, 3.0)) == Gain(-1.0)


def test_a_rule_with_less_or_more_wrong_than_all_agreement() -> None:
    assert told(30, 7.0) == Gain(1.0, is_least=True)
    assert told(81, 1.0) is None


def test_one_margin_is_chosen_for_all_sets_and_traces() -> None:
    found = best_setting(rows(73, (4.0, 4.5)), FAMILIES[0], 0, wrong_of)
    assert found is not None
    assert found[0] == 2.0
    assert [each.words for each in found[1]] == pytest.approx([1.0, 0.5])
    assert best_setting(rows(500, (1.0, 1.0)), FAMILIES[0], 0, wrong_of) is None


def test_the_earliest_rule_has_no_more_words_that_differ() -> None:
    own = [row(PLACES[0], wrong, delay, margin=delay) for wrong, delay in ((10, 5.0), (20, 4.0))]
    assert earliest(own, AGREEMENT, 0.02) == own[1]
    assert earliest(own, AGREEMENT, 0.015) == own[0]
    assert earliest(own, AGREEMENT, 0.005) is None
    assert earliest(own, FAMILIES[0], 1.0) is None


def test_the_tables_have_a_line_for_each_agreement_and_each_family() -> None:
    text = confidence_tables(rows(73, (4.0, 4.5)))
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + 2 * 6 + 3 * (1 + 2 * len(FAMILIES))
    assert "| words | 3 | 0 | 7.3% | 7.3% | 50% | 90.0 | 5.00 | 4.00 (x 2, k 0) |" in text
    assert "| margin | 2 | 0 | +1.00 | +0.50 | +0.50 | +0.75 |" in text
    assert "≥ " in confidence_tables(rows(-50, (4.0, 4.5)))
    assert "| margin | – | 0 | – | – | – | – |" in confidence_tables(rows(500, (1.0, 1.0)))
