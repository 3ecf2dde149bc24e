"""`tokenspeed eval plain` writes how plain text comes through, beside the model alone."""

import json
from pathlib import Path

import pytest

from tokenspeed.bench.quality.text.plain import PlainScore, plain_table
from tokenspeed.cli import main


def test_lines_that_differ_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ("The book is old.\tDas Buch ist alt.", "Go home, OK? 👍\tGeh heim, ja? 👍")
    (tmp_path / "mine.en-de.tsv").write_text("\n".join(lines), encoding="utf-8")
    page, result, outputs = (tmp_path / name for name in ("page.md", "plain.json", "differ.txt"))
    page.write_text("<!-- plain.json -->\n<!-- end plain.json -->\n", encoding="utf-8")
    arguments = ["eval", "plain", "--corpus", str(tmp_path), "--device", "cpu"]
    written = ["--json", str(result), "--page", str(page), "--outputs", str(outputs)]
    assert main([*arguments, *written]) == 0
    rows = json.loads(result.read_text(encoding="utf-8"))["rows"]
    assert [(row["direction"], row["lines"]) for row in rows] == [("en-de", 2), ("de-en", 2)]
    assert all(1 <= row["differ"] <= 2 for row in rows)  # a model alone knows no thumbs
    assert all(row["product"] > row["alone"] for row in rows)
    assert "+ " in outputs.read_text(encoding="utf-8")
    assert "| mine | en-de | 2 |" in page.read_text(encoding="utf-8").replace("  ", " ")
    assert "mine" in capsys.readouterr().out


def test_a_table_ends_with_the_means() -> None:
    scores = [
        PlainScore("a", "en-de", 10, 1, 0, 20.0, 20.5, 0.0, 0.0, ""),
        PlainScore("b", "de-en", 30, 2, 1, 30.0, 29.5, 0.0, 0.0, ""),
    ]
    last = plain_table(scores).splitlines()[-1]
    for said in ("**mean**", "40", "25.00", "+0.00"):
        assert said in last
