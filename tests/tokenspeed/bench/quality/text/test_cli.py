"""`tokenspeed eval text` writes what was right, by the model alone and as the product does."""

import json
from pathlib import Path

import pytest

from tokenspeed.cli import main


def test_a_result_and_a_table_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, result = tmp_path / "page.md", tmp_path / "text.json"
    page.write_text("<!-- text.json -->\n<!-- end text.json -->\n", encoding="utf-8")
    arguments = ["eval", "text", "--sets", "numbers", "--limit", "6", "--device", "cpu"]
    assert main([*arguments, "--json", str(result), "--page", str(page)]) == 0
    found = json.loads(result.read_text(encoding="utf-8"))
    for name in ("model alone", "product"):
        rows = [row for row in found["rows"] if row["through"] == name]
        assert sum(row.get("total", 0) for row in rows) == 6
    assert [row["updates"] > 6 for row in found["rows"] if row["kind"] == "cost/update"] == [True]
    assert "| **numbers** |" in page.read_text(encoding="utf-8")
    assert "product" in capsys.readouterr().out
