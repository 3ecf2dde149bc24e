"""A case of `tokenspeed eval text`, and the results of many.

Knows texts; does not know models. A translator is any function from texts to texts.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tokenspeed.bench.page import markdown_table

# Texts, source language, target language -> translations.
Translate: TypeAlias = Callable[[Sequence[str], str, str], Sequence[str]]

_SHOWN: Final = 5  # failures to keep in a row


@dataclass(frozen=True)
class Case:
    """A text, and a check of its translation."""

    kind: str
    source: str
    target: str
    text: str
    is_right: Callable[[str], bool]


def run_cases(cases: Iterable[Case], translate: Translate) -> list[dict[str, Any]]:
    """Translate all cases and return a row for each kind and direction.

    A row has kind, direction, passed, total, and the first failures with their outputs.
    """
    by_pair: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        by_pair.setdefault((case.source, case.target), []).append(case)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for (source, target), some in by_pair.items():
        outputs = translate([case.text for case in some], source, target)
        for case, output in zip(some, outputs, strict=True):
            direction = f"{source}-{target}"
            row = rows.setdefault(
                (case.kind, direction),
                {
                    "kind": case.kind,
                    "direction": direction,
                    "passed": 0,
                    "total": 0,
                    "failures": [],
                },
            )
            row["total"] += 1
            if case.is_right(output):
                row["passed"] += 1
            elif len(row["failures"]) < _SHOWN:
                row["failures"].append({"text": case.text, "output": output})
    return [rows[key] for key in sorted(rows)]


def totals(rows: Iterable[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return passed and total of each group of kinds; a kind is named GROUP/NAME."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        group = row["kind"].partition("/")[0]
        passed, total = found.get(group, (0, 0))
        found[group] = passed + row["passed"], total + row["total"]
    return found


def case_table(runs: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return a table of kinds, a column for each run; its last lines are the totals.

    Args:
        runs: rows by name, such as "model alone".
    """
    kinds = sorted({row["kind"] for rows in runs.values() for row in rows})
    columns = []
    for rows in runs.values():
        sums: dict[str, tuple[int, int]] = {}
        for row in rows:
            passed, total = sums.get(row["kind"], (0, 0))
            sums[row["kind"]] = passed + row["passed"], total + row["total"]
        groups = {f"**{name}**": counts for name, counts in totals(rows).items()}
        columns.append(sums | groups)
    names = sorted(
        {name for column in columns for name in column} | set(kinds),
        key=lambda name: (name.strip("*").partition("/")[0], name[0] == "*", name),
    )
    lines = [[name, *(_share(column.get(name)) for column in columns)] for name in names]
    return markdown_table(" | ".join(["kind", *runs]), "l" + "r" * len(runs), lines)


def _share(counts: tuple[int, int] | None) -> str:
    if counts is None:
        return "–"
    return f"{counts[0]} / {counts[1]} ({_percent(counts)} %)"


def _percent(counts: tuple[int, int]) -> str:
    """Return a percentage, rounded down: it is 100 only if all passed."""
    return f"{math.floor(1000 * counts[0] / counts[1]) / 10:.1f}"
