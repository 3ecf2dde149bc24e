"""What replays by many rules say: who commits earlier with no more words that are wrong.

Knows rows; does not know how they were made.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Final

from service.bench.captions.commit_rules import (
    AGREEMENT,
    AGREEMENTS,
    FAMILIES,
    WAITS,
)
from tokenspeed.bench.page import markdown_table
from tokenspeed.bench.result import Row

MEASURES: Final[dict[str, Callable[[Row], float]]] = {
    "as many words contradict the whole's translation, all after the first included": (
        lambda row: float(row["contradicting"])
    ),
    "as many words are not in the whole's translation in that order": (
        lambda row: float(row["differing"])
    ),
    "finals are as far from offline in chrF": lambda row: 100.0 - row["chrf_offline"],
}


def confidence_tables(rows: Sequence[Row]) -> str:
    """Return what agreement does, and what margins gain where no more words are wrong."""
    parts = [
        "Agreement of n hypotheses, and the delay of the earliest rule of each family of whose "
        "words no more differ, its x and k chosen for this line alone:",
        _line_table(rows),
        "One x for all, chosen for the largest of the least gains: source words that it commits "
        "earlier than agreement alone. Agreement is taken with as much wrong on that set and "
        "trace, two of its rules mixed where none has as much; ≥ where all of its rules have more "
        "wrong, and the one with the least is taken.",
    ]
    for title, wrong in MEASURES.items():
        parts += [f"Where {title}:", _setting_table(rows, wrong)]
    return "\n\n".join(parts)


def _line_table(rows: Sequence[Row]) -> str:
    cells = []
    for name, trace in _places(rows):
        here = [row for row in rows if _place(row) == (name, trace)]
        for base in here:
            is_ours = base["wait_words"] in WAITS and base["agreement"] in AGREEMENTS
            if base["family"] != AGREEMENT or not is_ours:
                continue
            found = [earliest(here, family, base["differing"]) for family in FAMILIES]
            cells.append(
                [
                    name,
                    trace,
                    base["agreement"],
                    base["wait_words"],
                    f"{base['contradicting']:.1%}",
                    f"{base['differing']:.1%}",
                    f"{base['early']:.0%}",
                    f"{base['chrf_offline']:.1f}",
                    f"{base['delay_words']:.2f}",
                    *("–" if row is None else _cell(row) for row in found),
                ]
            )
    titles = ["set", "trace", "n", "k", "contradict", "differ", "before the end"]
    titles += ["chrF to offline", "delay", *FAMILIES]
    aligned = "llrrrrrrr" + "r" * len(FAMILIES)
    return markdown_table(" | ".join(titles), aligned, cells)


def _cell(row: Row) -> str:
    return f"{row['delay_words']:.2f} (x {row['margin']:g}, k {row['wait_words']})"


def earliest(rows: Iterable[Row], family: str, share: float) -> Row | None:
    """Return the earliest row of a family with at most a share of words that differ, if any."""
    fitting = [row for row in rows if row["family"] == family and row["differing"] <= share]
    return min(fitting, key=lambda row: row["delay_words"], default=None)


def _setting_table(rows: Sequence[Row], wrong: Callable[[Row], float]) -> str:
    cells = []
    for family in FAMILIES:
        for wait_words in WAITS:
            found = best_setting(rows, family, wait_words, wrong)
            if found is None:
                cells.append([family, "–", str(wait_words), *["–"] * (len(_places(rows)) + 2)])
                continue
            margin, gains = found
            words = [gain.words for gain in gains]
            told = [f"{'≥ ' if gain.is_least else ''}{gain.words:+.2f}" for gain in gains]
            mean = math.fsum(words) / len(words)
            cells.append(
                [
                    family,
                    f"{margin:g}",
                    str(wait_words),
                    *told,
                    f"{min(words):+.2f}",
                    f"{mean:+.2f}",
                ]
            )
    titles = ["rule", "x", "k", *(f"{name}, {trace}" for name, trace in _places(rows))]
    aligned = "l" + "r" * (len(titles) + 1)
    return markdown_table(" | ".join([*titles, "least", "mean"]), aligned, cells)


@dataclass(frozen=True, slots=True)
class Gain:
    """What a rule gains over agreement.

    Attributes:
        words: of the source, by which it commits earlier.
        is_least: whether all agreement has more wrong, so that the true gain is larger.
    """

    words: float
    is_least: bool = False


def best_setting(
    rows: Sequence[Row], family: str, wait_words: int, wrong: Callable[[Row], float]
) -> tuple[float, list[Gain]] | None:
    """Return the margin of a family whose least gain is largest, and its gains by set and trace.

    None if each margin has more wrong somewhere than all agreement.
    """
    found: list[tuple[float, list[Gain]]] = []
    for margin in dict.fromkeys(row["margin"] for row in rows if row["family"] == family):
        gains = [
            gain(row, [each for each in rows if _place(each) == _place(row)], wrong)
            for row in rows
            if (row["family"], row["wait_words"], row["margin"]) == (family, wait_words, margin)
        ]
        known = [each for each in gains if each is not None]
        if known and len(known) == len(gains):
            found.append((margin, known))
    return max(found, key=lambda each: min(one.words for one in each[1]), default=None)


def gain(row: Row, rows: Sequence[Row], wrong: Callable[[Row], float]) -> Gain | None:
    """Compare a rule with the earliest agreement of the same rows that has no more wrong.

    Where no rule of agreement has as much, two are mixed: one for some sentences, the other for the
    rest. Otherwise rules with few knobs would lose to rules with many.

    Returns:
        None if all agreement has less wrong.
    """
    alone = sorted((each for each in rows if each["family"] == AGREEMENT), key=wrong)
    share, own = wrong(row), row["delay_words"]
    if share < wrong(alone[0]):
        return Gain(alone[0]["delay_words"] - own, is_least=True)
    if share > wrong(alone[-1]):
        return None
    delays = []
    for few, many in combinations_with_replacement(alone, 2):
        least, most = wrong(few), wrong(many)
        if least <= share:
            weight = min(1.0, (share - least) / (most - least)) if most > least else 0.0  # of many
            delays.append((1 - weight) * few["delay_words"] + weight * many["delay_words"])
    return Gain(min(delays) - own)


def _place(row: Row) -> tuple[str, str]:
    return row["set"], row["trace"]


def _places(rows: Iterable[Row]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(map(_place, rows)))
