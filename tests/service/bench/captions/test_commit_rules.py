"""Rules that commit words: what each needs, and that all of them see the product's policy."""

from collections.abc import Callable, Sequence

import pytest

from service.bench.captions.commit_rules import (
    FAMILIES,
    Ask,
    Condition,
    Oracle,
    Replay,
    Rule,
    Segment,
    all_rules,
    contradicting_words,
    differing_words,
    replay_rules,
)
from service.bench.captions.documents import Line, as_recogniser, word_by_word
from tests.service.fakes import ids, token_text
from tokenspeed.model.decode import Decoded

SURE = 9.0
Says = dict[str, tuple[str, dict[str, float]]]  # source -> output, margins of some words

# The model takes "b" for B at first, is unsure of it, and corrects itself a word later.
SAYS: Says = {
    "a": ("A", {}),
    "a b": ("A B", {}),
    "a b c": ("A B C", {"B": 0.5}),
    "a b c d": ("A X C D", {}),
    "a b c d e": ("A X C D E", {}),
}


def decode_of(says: Says, asked: list[Ask]) -> Callable[[Sequence[Ask]], list[Decoded]]:
    """Characters for tokens; whatever is forced, the rest of the output stays the same."""

    def decode(asks: Sequence[Ask]) -> list[Decoded]:
        asked.extend(asks)
        found = []
        for ask in asks:
            text, unsure = says[ask.text]
            margins = [unsure.get(character, SURE) for character in text]
            begun = len(ask.forced)
            found.append(Decoded(list(ids(text))[begun:], margins[begun:], is_whole=True))
        return found

    return decode


def replayed(says: Says, *conditions: Condition, wait_words: int = 0) -> tuple[Replay, list[Ask]]:
    """Replay the longest source of a model by one rule; return what was decoded, too."""
    source = max(says, key=len)
    line = Line(source, says[source][0])
    asked: list[Ask] = []
    segment = Segment(line, tuple(word_by_word([line])))
    rule = Rule("one", conditions, wait_words)
    (replay,) = replay_rules([rule], [segment], Oracle(decode_of(says, asked)), token_text)
    return replay, asked


def committed(replay: Replay) -> list[str]:
    return [display.text for display in replay.displays]


def test_agreement_commits_what_several_hypotheses_say() -> None:
    found, _ = replayed(SAYS, Condition(2))
    assert committed(found) == ["", "A", "A B", "A B C", "A B C D", "A B C D E"]
    assert found.early == "A B C D"
    assert [display.source_words for display in found.displays] == [1, 2, 3, 4, 5, 5]


def test_a_margin_holds_back_what_the_model_is_not_sure_of() -> None:
    both, _ = replayed(SAYS, Condition(2, 1.0))
    assert committed(both) == ["", "A", "A", "A", "A X C D", "A X C D E"]
    alone, _ = replayed(SAYS, Condition(1, 1.0))
    assert committed(alone) == ["", "A", "A", "A X C", "A X C D", "A X C D E"]
    rash, _ = replayed(SAYS, Condition(1, 0.25))
    assert committed(rash) == ["", "A", "A B", "A B C", "A B C D", "A B C D E"]


def test_one_condition_of_several_is_enough() -> None:
    found, _ = replayed(SAYS, Condition(3), Condition(2, 1.0))
    assert committed(found) == ["", "A", "A", "A", "A X C D", "A X C D E"]
    unsure = {source: (said, dict.fromkeys("ABX", 0.5)) for source, (said, _) in SAYS.items()}
    later, _ = replayed(unsure, Condition(3), Condition(2, 1.0))
    assert committed(later) == ["", "", "A", "A", "A", "A X C D E"]


def test_the_margins_of_committed_words_no_longer_matter() -> None:
    says: Says = {"a": ("A", {}), "a b": ("A B", {}), "a b c": ("A B C", {"A": 0.1})}
    found, _ = replayed(says, Condition(1, 1.0))
    assert committed(found) == ["", "A", "A B", "A B C"]


def test_waiting_holds_for_all_rules() -> None:
    found, _ = replayed(SAYS, Condition(1, 0.25), wait_words=3)
    assert committed(found) == ["", "", "A", "A X", "A X C", "A X C D E"]


def test_what_is_committed_is_forced_and_decoded_only_where_it_makes_a_difference() -> None:
    _, asked = replayed(SAYS, Condition(2))
    free = [Ask(source, True) for source in SAYS] + [Ask("a b c d e", False)]
    begun = [ask for ask in asked if ask.forced]
    assert [ask for ask in asked if not ask.forced] == free
    assert begun == [
        Ask("a b c d", True, ids("A B")),
        Ask("a b c d e", True, ids("A B C")),
        Ask("a b c d e", False, ids("A B C D")),
    ]
    _, asked = replayed(SAYS, Condition(2, 1.0))
    assert asked == free


def test_words_that_may_still_be_rewritten_are_not_committed() -> None:
    lines = [Line("a b c d e f", "A B C D E F")]
    segment = Segment(lines[0], tuple(as_recogniser(lines, seed=3)))
    says: Says = {update.text: (update.text.upper(), {}) for update in segment.updates}
    rules = [Rule("one", (Condition(1),))]
    (found,) = replay_rules(rules, [segment], Oracle(decode_of(says, [])), token_text)
    for display, update in zip(found.displays[:-1], segment.updates, strict=False):
        assert update.stable.upper().startswith(display.text)
    assert found.early == "A B C"


def test_rules_replayed_side_by_side_do_what_each_does_alone() -> None:
    line = Line("a b c d e", "A X C D E")
    segment = Segment(line, tuple(word_by_word([line])))
    together = replay_rules(all_rules(), [segment], Oracle(decode_of(SAYS, [])), token_text)
    assert {replay.rule.family for replay in together} == {"agreement", *FAMILIES}
    for replay in together:
        alone, _ = replayed(SAYS, *replay.rule.conditions, wait_words=replay.rule.wait_words)
        assert committed(alone) == committed(replay)


def test_an_output_that_was_cut_is_told() -> None:
    says: Says = {"a": ("N" + " N" * 20, {})}
    line = Line("a", "N")
    segment = Segment(line, tuple(word_by_word([line])))

    def decode(asks: Sequence[Ask]) -> list[Decoded]:
        return [found._replace(is_whole=False) for found in decode_of(says, [])(asks)]

    (found,) = replay_rules([Rule("one", (Condition(2),))], [segment], Oracle(decode), token_text)
    assert found.log.prediction == "N "  # one round of the loop


@pytest.mark.parametrize(
    ("committed", "whole", "wrong"),
    [
        ("", "we go", 0),
        ("we go", "we go home", 0),
        ("we go", "we go, then", 0),  # a mark that the last word still gets
        ("we go home", "we go, home", 2),  # one that it will not get
        ("we go", "we goes home", 1),
        ("we go home", "you go home", 3),
        ("we go home", "we go", 1),
        ("we go.", "we go home.", 1),
    ],
)
def test_words_contradict_from_the_first_that_differs(
    committed: str, whole: str, wrong: int
) -> None:
    assert contradicting_words(committed, whole) == wrong


@pytest.mark.parametrize(
    ("committed", "whole", "wrong"),
    [
        ("", "we go", 0),
        ("we go", "we go, then", 0),
        ("you go home", "we go home", 1),
        ("home we go", "we go home", 1),
        ("we go go home", "we, go home", 1),
        ("we go", "", 2),
    ],
)
def test_words_differ_that_the_whole_has_not_in_their_order(
    committed: str, whole: str, wrong: int
) -> None:
    assert differing_words(committed, whole) == wrong
