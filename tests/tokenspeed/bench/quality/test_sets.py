"""`tokenspeed eval quality` on made-up translators, and on a tiny model as a command."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tokenspeed.bench.quality.sets import (
    Ask,
    TestSet,
    load_sets,
    prefix_table,
    score_address,
    score_prefixes,
    score_sets,
    score_table,
    translate_sets,
)


def lower(asks: Sequence[Ask]) -> list[str]:
    return [ask.text.lower() for ask in asks]


def hasty(asks: Sequence[Ask]) -> list[str]:
    """Ends every prefix with a word that never comes."""
    return [ask.text.lower() + (" anyway" if ask.is_open else "") for ask in asks]


def capitals(asks: Sequence[Ask]) -> list[str]:
    """Gives no prefix of the whole where the source has a capital or a full stop."""
    return [str(len(a.text)) if a.text != a.text.lower().strip(".") else a.text for a in asks]


def test_sets_are_read_in_both_directions(folder: Path) -> None:
    there, back = load_sets(folder)
    assert (there.source, there.target, back.source) == ("en", "de", "de")
    assert there.sources == back.references
    assert [s.source for s in load_sets(folder, directions=["de-en"])] == ["de"]
    with pytest.raises(FileNotFoundError, match="holds no test set"):
        load_sets(folder, ["news"])


def test_a_perfect_translation_scores_100(folder: Path) -> None:
    sets = load_sets(folder, directions=["en-de"])
    scores = score_sets(sets, translate_sets(sets, lower))
    assert [(s.variant, s.lines) for s in scores] == [("whole", 2), ("stripped", 2), ("auto", 2)]
    assert scores[0].bleu == pytest.approx(100)
    assert scores[1].bleu < 100, "the stripped source has lost its full stop"
    assert scores[1].bleu_words == pytest.approx(100), "but no word"
    assert "tok:13a" in scores[0].bleu_signature
    assert "| trains | en-de | 2 | 100.0 |" in score_table(scores)


def test_context_is_the_line_before_in_the_same_document() -> None:
    lines = ("One.", "Two.", "Three.")
    test_set = TestSet("talks", "en", "de", lines, lines, ("a", "a", "b"))
    asked: list[Ask] = []

    def watch(asks: Sequence[Ask]) -> list[str]:
        asked.extend(asks)
        return lower(asks)

    found = translate_sets([test_set], watch, ("whole", "context"))
    assert found["context"] == found["whole"] == [["one.", "two.", "three."]]
    assert [ask.context for ask in asked[3:]] == [(), (("One.", "one."),), ()]


def test_forms_of_address_are_counted() -> None:
    sources = ("Are you here?", "You and you.", "Who is there?", "I saw you.")
    made = ("Sind Sie hier?", "Du und Sie.", "Bist du da?", "Ich sah dich.")
    test_set = TestSet("talks", "en", "de", sources, made)
    found = score_address(test_set, ("Bist du hier?", "Sie und ihr.", "Wer?", "Ich sah."))
    assert found is not None
    assert (found.lines, found.formal, found.familiar) == (3, 1, 1)
    assert (found.reference_formal, found.reference_familiar) == (1, 1)
    perfect = score_address(test_set, made)
    assert perfect is not None
    assert perfect.bleu_with == pytest.approx(100)
    assert found.bleu_with < 100
    assert score_address(TestSet("talks", "de", "en", made, sources), sources) is None


def test_prefixes_that_run_ahead_are_seen(folder: Path) -> None:
    (trains,) = load_sets(folder, directions=["en-de"])
    calm, eager = (score_prefixes(trains, t, lines=1) for t in (lower, hasty))
    assert (calm.prefixes, calm.consistent, calm.ahead) == (5, 1.0, 0.0)
    assert eager.consistent == 0.0
    stripped = score_prefixes(trains, capitals, lines=1, stripped=True)
    assert (stripped.stripped, stripped.consistent) == (True, 1.0)
    assert eager.length > calm.length
    assert "100.0%" in prefix_table([calm])
