"""Tables and pages: what is written is what was given, and a page without marks is refused."""

from pathlib import Path

import pytest

from tokenspeed.bench.page import cell, describe_machine, markdown_table, put_into_page


def test_a_table_has_its_titles_sides_and_cells() -> None:
    table = markdown_table("what | ms | ", "lrl", [("a", 1.5, "x"), ("b", 2, "")])
    assert table.splitlines() == [
        "| what | ms |  |",
        "|---|--:|---|",
        "| a | 1.5 | x |",
        "| b | 2 |  |",
    ]


def test_a_cell_without_a_value_says_so() -> None:
    assert cell(0.5, "{:.0%}") == "50%"
    assert cell(None, "{:.0%}") == "–"
    assert cell(None, "{:.0%}", "") == ""


def test_a_page_is_filled_between_the_marks_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before <!-- x --> old <!-- end x --> after", encoding="utf-8")
    put_into_page(page, "x", " new\n")
    written = "Before <!-- x -->\n\nnew\n\n<!-- end x --> after"
    assert page.read_text(encoding="utf-8") == written
    with pytest.raises(ValueError, match="has no <!-- y --> ... <!-- end y -->"):
        put_into_page(page, "y", "new")


def test_a_machine_is_described_in_a_line() -> None:
    assert describe_machine("a laptop") == "a laptop"
    assert describe_machine({"gpu": "X", "read_tb_per_s": 4.5}) == "X, reads 4.5 TB/s measured"
