"""There are 300 sentences of the trade, none of them in training."""

from collections import Counter

from tokenspeed.bench.quality.text.trade import trade_cases
from tokenspeed.training.rules.pairs import pairs


def test_there_are_300_and_none_is_taught() -> None:
    cases = trade_cases()
    assert len(cases) == 300
    assert len({(case.text, case.target) for case in cases}) == 300
    taught = {text for pair in pairs("de", 1, scale=0.0) for text in (pair.english, pair.foreign)}
    for language in ("fr", "es"):
        taught |= {pair.foreign for pair in pairs(language, 1, scale=0.0)}
    assert [case.text for case in cases if case.text in taught] == []
    assert min(Counter(case.target for case in cases).values()) == 55


def test_a_key_word_is_found_in_any_case_and_form() -> None:
    case = trade_cases()[0]
    assert case.is_right("Jemand hat das Handy nicht STUMMgeschaltet.")
    assert not case.is_right("Jemand ist mutlos.")
