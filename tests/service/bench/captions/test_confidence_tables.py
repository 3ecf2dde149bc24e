"""Which rule is earlier at the same contradictions: on rows whose numbers are chosen."""

import pytest

from service.bench.captions.commit_rules import AGREEMENT, FAMILIES, all_rules
from service.bench.captions.confidence_tables import compare, confidence_tables, earliest, together
from tokenspeed.bench.result import Row

MEASURE = "contradicting"
PLACES = (("talks.en-de", "words"), ("talks.en-de", "recogniser"))


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
                found.append(row(place, 100 - 10 * late, 2.0 + late, **about))
            elif (rule.family, x, rule.wait_words) == (FAMILIES[0], 2.0, 0):
                found.append(row(place, wrong, chosen, margin=x, **about))
            else:
                found.append(row(place, wrong, 20.0, margin=x, **about))
    return found


def test_a_rule_is_compared_with_agreement_that_contradicts_as_often() -> None:
    found = compare(rows(70, (4.0, 4.5)), FAMILIES[0], 0, 2.0, MEASURE)
    assert found is not None
    assert (found.wrong, found.delay) == (0.07, 4.25)
    assert found.gains == pytest.approx((1.0, 0.5))  # n = 3 has 70, and commits after 5.0
    assert found.mean_gain == pytest.approx(0.75)
    assert found.extra == pytest.approx((0.0, 0.0))


def test_two_rules_of_agreement_are_mixed_where_none_contradicts_as_often() -> None:
    found = compare(rows(75, (4.0, 4.5)), FAMILIES[0], 0, 2.0, MEASURE)
    assert found is not None
    assert found.gains == pytest.approx((0.5, 0.0))  # half of 80 at 4.0, half of 70 at 5.0


def test_agreement_that_is_right_more_often_and_earlier_counts() -> None:
    own = rows(70, (4.0, 4.5))
    for each in own:
        if (each["family"], each["agreement"], each["wait_words"]) == (AGREEMENT, 4, 0):
            each["delay_words"] = 2.5
    found = compare(own, FAMILIES[0], 0, 2.0, MEASURE)
    assert found is not None
    assert found.gains == pytest.approx((-1.5, -2.0))
    assert found.extra == pytest.approx((0.01, 0.01))


def test_each_measure_is_compared_by_itself() -> None:
    own = rows(70, (4.0, 4.5))
    for each in own:
        if (each["family"], each["margin"]) == (FAMILIES[0], 2.0):
            each |= {"differing_words": 80, "differing": 0.08}
    found = compare(own, FAMILIES[0], 0, 2.0, "differing")
    assert found is not None
    assert found.gains == pytest.approx((0.0, -0.5))  # n = 2 has 80, and commits after 4.0


def test_what_contradicts_less_or_more_than_all_agreement_has_nothing_beside_it() -> None:
    assert compare(rows(500, (1.0, 1.0)), FAMILIES[0], 0, 2.0, MEASURE) is None
    assert compare(rows(-20, (1.0, 1.0)), FAMILIES[0], 0, 2.0, MEASURE) is None
    assert "| margin | – |" in confidence_tables(rows(-20, (1.0, 1.0)))


def test_the_earliest_rule_has_no_more_words_that_differ() -> None:
    own = [row(PLACES[0], wrong, delay, margin=delay) for wrong, delay in ((10, 5.0), (20, 4.0))]
    assert earliest(own, AGREEMENT, 0.02) == own[1]
    assert earliest(own, AGREEMENT, 0.015) == own[0]
    assert earliest(own, AGREEMENT, 0.005) is None
    assert earliest(own, FAMILIES[0], 1.0) is None


def test_shares_of_several_rows_count_words() -> None:
    assert (
        together([row(PLACES[0], 10, 1.0), row(PLACES[1], 0, 1.0, committed_words=0)], MEASURE)
        == 0.01
    )
    assert together([row(PLACES[0], 0, 1.0, committed_words=0)], MEASURE) == 0.0


def test_the_tables_have_a_line_for_each_agreement_and_each_family() -> None:
    text = confidence_tables(rows(70, (4.0, 4.5)))
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + 2 * 6 + 2 * (1 + 2 * len(FAMILIES))
    assert (
        "| talks.en-de | words | 3 | 0 | 7.0% | 7.0% | 50% | 90.0 | 5.00 | 4.00 (x 2, k 0) |"
        in text
    )
    assert "| margin | 2 | 0 | 7.0% | 4.25 | 5.00 | +0.50 | +0.75 | +0.0 points |" in text
