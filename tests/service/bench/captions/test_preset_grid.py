"""The presets beside their neighbours."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from service.bench.captions.preset_grid import neighbours, preset_tables
from service.captions.policy import PRESETS, Preset
from tests.service.bench.lines import LINES
from tokenspeed.cli import main


@pytest.mark.parametrize("name", PRESETS)
def test_a_neighbour_differs_in_one_setting(name: str) -> None:
    shipped = asdict(PRESETS[name])
    found = neighbours(PRESETS[name])
    assert len(found) >= 5
    for preset in found.values():
        assert sum(value != shipped[key] for key, value in asdict(preset).items()) == 1
        assert preset.agreement > 1
        assert preset.mask_words >= 0


def test_what_cannot_be_is_no_neighbour() -> None:
    found = neighbours(Preset(2, 0, 0.2, 1))
    assert set(found) == {"agreement of 3", "mask of 1", "bias 0.1", "bias 0.3"}
    assert "committed 7 words late" in neighbours(Preset(2, 0, 0.2, 1, wait_words=6))


def test_the_command_measures_twice_the_same(
    brief_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(f"{line.source}\t{line.reference}" for line in LINES[:1])
    (tmp_path / "own.en-de.tsv").write_text(text, encoding="utf-8")
    page, file = tmp_path / "page.md", tmp_path / "rows.json"
    page.write_text("<!-- rows.json --><!-- end rows.json -->", encoding="utf-8")
    command = ["eval", "presets", "--corpus", str(tmp_path), "--sets", "own.en-de"]
    command += ["--model", str(brief_translator), "--device", "cpu"]
    assert main([*command, "--json", str(file), "--page", str(page)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    shipped = [row for row in found["rows"] if row["changed"] == "as shipped"]
    told = [(row["trace"], row["preset"]) for row in shipped]
    assert told == [(trace, name) for trace in ("words", "recogniser") for name in PRESETS]
    assert all(row["erasure"] == 0 for row in shipped if row["preset"] == "append_only")
    assert "| **balanced** | as shipped |" in page.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == preset_tables(found["rows"])
    assert main([*command, "--sets", "none.en-de"]) == 2


def test_means_weigh_sets_the_same_and_the_worst_is_told() -> None:
    about = {"preset": "low", "changed": "as shipped", "trace": "words", "source_words": 9}
    rows = [
        about
        | {"set": name, "erasure": x, "laal_words": 2 * x, "committed_words": 3, "chrf_offline": y}
        for name, x, y in (("a", 0.1, 90.0), ("b", 0.3, 96.0))
    ]
    told = preset_tables(rows)
    assert "source words: a 9, b 9." in told
    assert told.endswith("| **low** | as shipped | 0.20 | 0.30 | 0.40 | 3.00 | 93.0 |")
