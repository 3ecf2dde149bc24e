"""The comparison of engines as Markdown, from the committed result."""

import json
from pathlib import Path

from tokenspeed.bench.engines.comparison_table import GOALS, comparison_table

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"


def words(text: str) -> str:
    return " ".join(text.replace("|", " | ").split())


def test_the_page_shows_the_committed_result() -> None:
    result = json.loads((BENCHMARKS / "results" / "cpu-compare.json").read_text(encoding="utf-8"))
    page = (BENCHMARKS / "cpu.md").read_text(encoding="utf-8")
    assert words(comparison_table(result)) in words(page)


def test_a_goal_is_missed_above_its_ratio() -> None:
    result = json.loads((BENCHMARKS / "results" / "cpu-compare.json").read_text(encoding="utf-8"))
    for name, (text, goal) in GOALS.items():
        for value, verdict in ((goal, "reached"), (goal + 0.01, "**missed**")):
            table = comparison_table(result | {"ratios": {name: value}})
            (line,) = [line for line in table.splitlines() if text in line]
            assert verdict in line
