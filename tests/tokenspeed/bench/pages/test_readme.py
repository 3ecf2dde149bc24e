"""The README's figures are those of the committed results."""

import pytest

from tokenspeed.bench.pages.readme import ROOT, figures, find, load, machine


def test_every_figure_of_the_readme_is_that_of_a_result_file() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split("<!-- figures -->")[1].split("<!-- end figures -->")[0].strip()
    assert shown.splitlines() == list(figures())


def test_the_last_of_several_rows_counts_and_none_is_an_error() -> None:
    rows = [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2}]
    assert find(rows, a=1) == {"a": 1, "b": 2}
    with pytest.raises(LookupError, match="no row with"):
        find(rows, a=3)


def test_a_result_file_names_its_machine() -> None:
    assert "cores" in machine(load("cpu-compare.json"))
    with pytest.raises(FileNotFoundError):
        load("no-such-result.json")
