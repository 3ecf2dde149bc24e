"""BLEU and chrF as sacreBLEU gives them."""

import pytest

from tokenspeed.bench.quality.text_score import bleu, score_text

TEXTS = ["Der Zug in die Stadt fährt in zehn Minuten ab.", "Wo ist der nächste Bahnhof?"]


def test_the_same_text_has_all_points_and_another_none() -> None:
    same = score_text(TEXTS, TEXTS)
    assert same.bleu == pytest.approx(100)
    assert same.chrf == pytest.approx(100)
    assert "tok:13a" in same.bleu_signature
    assert same.chrf_signature.startswith("nrefs:1")
    other = score_text(["x y", "z"], TEXTS)
    assert other.bleu < 1 < other.chrf + 2
    assert bleu(TEXTS, TEXTS) == same.bleu


def test_each_prediction_has_one_reference() -> None:
    for predictions, references in (([], []), (TEXTS, TEXTS[:1])):
        with pytest.raises(ValueError, match=f"{len(predictions)} predictions for"):
            score_text(predictions, references)
        with pytest.raises(ValueError, match=f"{len(predictions)} predictions for"):
            bleu(predictions, references)
