"""BLEU and chrF of many texts, by sacreBLEU, which is used only here."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextScore:
    """Corpus scores, with sacreBLEU's signatures."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


def score_text(predictions: Sequence[str], references: Sequence[str]) -> TextScore:
    """Score texts against references, one for each.

    Raises:
        ValueError: there are none, or their numbers differ.
        ImportError: sacreBLEU is not installed.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    _check(predictions, references)
    metrics = BLEU(), CHRF()
    scores = [m.corpus_score(list(predictions), [list(references)]).score for m in metrics]
    return TextScore(*scores, *(str(metric.get_signature()) for metric in metrics))


def bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return only BLEU.

    Raises:
        ValueError, ImportError: see `score_text`.
    """
    from sacrebleu.metrics.bleu import BLEU

    _check(predictions, references)
    score: float = BLEU().corpus_score(list(predictions), [list(references)]).score
    return score


def _check(predictions: Sequence[str], references: Sequence[str]) -> None:
    if not predictions or len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references")
