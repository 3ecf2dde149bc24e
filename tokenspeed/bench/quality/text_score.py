"""BLEU and chrF of many texts, by sacreBLEU, which is asked nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextScore:
    """Corpus scores, with what sacreBLEU says about how they were made."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


def score_text(predictions: Sequence[str], references: Sequence[str]) -> TextScore:
    """Score texts against references, one of each.

    Raises:
        ValueError: there is none, or their numbers differ.
        ImportError: sacreBLEU is not installed.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    _check(predictions, references)
    metrics = BLEU(), CHRF()
    scores = [m.corpus_score(list(predictions), [list(references)]).score for m in metrics]
    return TextScore(*scores, *(str(metric.get_signature()) for metric in metrics))


def bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return BLEU alone.

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
