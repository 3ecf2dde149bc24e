"""What replays by many rules say: who commits earlier with no more words that are wrong.

Knows rows; does not know how they were made.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Final

from service.bench.captions.commit_rules import (
    AGREEMENT,
    AGREEMENTS,
    FAMILIES,
    MARGINS,
    MORE_AGREEMENTS,
    MORE_WAITS,
    WAITS,
)
from tokenspeed.bench.page import markdown_table
from tokenspeed.bench.result import Row

MEASURES: Final = {
    "contradicting": "Words that contradict the whole's translation, all after the first included",
    "differing": "Words that the whole's translation does not have in that order",
}


def confidence_tables(rows: Sequence[Row]) -> str:
    """Return what agreement does, and what margins gain where no more words are wrong."""
    parts = [
        "Agreement of n hypotheses, and the delay of the earliest rule of each family of whose words "
        "no more differ, its x and k chosen for this line alone:",
        _line_table(rows),
        "One x for all of these, chosen for the largest of the least gains, beside agreement alone "
        "with as many wrong words (of all of these together; two of its rules mixed where none has "
        "as many). Gains are source words.",
    ]
    for measure, title in MEASURES.items():
        parts += [f"{title}:", _setting_table(rows, measure)]
    return "\n\n".join(parts)


def _line_table(rows: Sequence[Row]) -> str:
    cells = []
    for name, trace in dict.fromkeys((row["set"], row["trace"]) for row in rows):
        here = [row for row in rows if (row["set"], row["trace"]) == (name, trace)]
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


def _setting_table(rows: Sequence[Row], measure: str) -> str:
    cells = []
    for family in FAMILIES:
        for wait_words in WAITS:
            compared = [
                found
                for margin in MARGINS
                if (found := compare(rows, family, wait_words, margin, measure)) is not None
            ]
            if not compared:
                cells.append([family, *["–"] * 8])
                continue
            best = max(compared, key=lambda found: min(found.gains))
            cells.append(
                [
                    family,
                    f"{best.margin:g}",
                    str(wait_words),
                    f"{best.wrong:.1%}",
                    f"{best.delay:.2f}",
                    f"{best.delay + best.mean_gain:.2f}",
                    f"{min(best.gains):+.2f}",
                    f"{best.mean_gain:+.2f}",
                    f"{max(best.extra) * 100:+.1f} points",
                ]
            )
    titles = "rule | x | k | wrong | delay | agreement alone | least gain | mean gain"
    return markdown_table(f"{titles} | most wrong more", "lrrrrrrrr", cells)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A rule beside agreement alone with as many wrong words.

    Attributes:
        margin: of the rule.
        wrong: share of committed words, of all sets and traces together.
        delay: of the rule in words, mean of sets and traces.
        gains: words that it commits earlier, on each set and trace.
        extra: by how much its share of wrong words is larger there.
    """

    margin: float
    wrong: float
    delay: float
    gains: tuple[float, ...]
    extra: tuple[float, ...]

    @property
    def mean_gain(self) -> float:
        """The mean of all gains."""
        return math.fsum(self.gains) / len(self.gains)


def compare(
    rows: Sequence[Row], family: str, wait_words: int, margin: float, measure: str
) -> Comparison | None:
    """Compare one rule with the earliest agreement that has no more wrong words.

    Where no rule of agreement has as many, two are mixed: one for some sentences, the other for the
    rest. Otherwise rules with few knobs would lose to rules with many.

    Returns:
        None if all agreement has more wrong words, or all has fewer.
    """
    found = _same(rows, family, wait_words, margin)
    share = together(found, measure)
    alone = [_same(rows, AGREEMENT, k, 0.0, n) for k in MORE_WAITS for n in MORE_AGREEMENTS]
    ordered = sorted(alone, key=lambda each: together(each, measure))
    if not together(ordered[0], measure) <= share <= together(ordered[-1], measure):
        return None
    mixed = []
    for few, many in combinations_with_replacement(ordered, 2):
        least, most = together(few, measure), together(many, measure)
        if least > share:
            continue
        weight = min(1.0, (share - least) / (most - least)) if most > least else 0.0  # of `many`
        mixed.append(
            [
                [
                    (1 - weight) * a[column] + weight * b[column]
                    for a, b in zip(few, many, strict=True)
                ]
                for column in ("delay_words", measure)
            ]
        )
    delays, shares = min(mixed, key=lambda each: math.fsum(each[0]))
    own = [row["delay_words"] for row in found]
    return Comparison(
        margin,
        share,
        math.fsum(own) / len(own),
        tuple(a - b for a, b in zip(delays, own, strict=True)),
        tuple(row[measure] - other for row, other in zip(found, shares, strict=True)),
    )


def _same(
    rows: Sequence[Row], family: str, wait_words: int, margin: float, agreement: int | None = None
) -> list[Row]:
    """Return the rows of one rule, in the order of sets and traces."""
    return [
        row
        for row in rows
        if (row["family"], row["wait_words"], row["margin"]) == (family, wait_words, margin)
        and agreement in (None, row["agreement"])
    ]


def together(rows: Sequence[Row], measure: str) -> float:
    """Return the share of committed words that are wrong, of several rows together."""
    committed = sum(row["committed_words"] for row in rows)
    return sum(row[f"{measure}_words"] for row in rows) / committed if committed else 0.0
