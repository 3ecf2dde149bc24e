"""Cases are counted by kind and direction, and tables have their totals."""

from collections.abc import Sequence

from tokenspeed.bench.quality.text.cases import Case, case_table, run_cases, totals


def echo(texts: Sequence[str], source: str, target: str) -> list[str]:
    return [f"{text} {source} {target}" for text in texts]


def cases(right: int, wrong: int) -> list[Case]:
    return [
        Case("a/x", "en", "de", f"text {i}", lambda output, i=i: i < right)  # type: ignore[misc]
        for i in range(right + wrong)
    ]


def test_rows_have_what_passed_and_the_first_failures() -> None:
    (row,) = run_cases(cases(3, 7), echo)
    assert (row["kind"], row["direction"], row["passed"], row["total"]) == ("a/x", "en-de", 3, 10)
    assert len(row["failures"]) == 5
    assert row["failures"][0] == {"text": "text 3", "output": "text 3 en de"}


def test_a_table_has_a_column_for_each_run_and_totals() -> None:
    rows = run_cases([*cases(1, 1), Case("a/y", "de", "en", "t", lambda _: True)], echo)
    assert totals(rows) == {"a": (2, 3)}
    table = case_table({"one": rows, "other": []})
    assert "| a/x | 1 / 2 (50.0 %) | – |" in table
    assert table.splitlines()[-1] == "| **a** | 2 / 3 (66.6 %) | – |"
