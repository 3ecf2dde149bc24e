"""Replays with text as it comes, beside the same with text hygiene."""

import json
from pathlib import Path

import pytest

from service.bench.captions.untouched import Untouched
from tests.service.bench.lines import LINES
from tokenspeed.cli import main


def test_the_command_writes_both_ways_beside_each_other(
    brief_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(f"{line.source}\t{line.reference}" for line in LINES[:2])
    (tmp_path / "own.en-de.tsv").write_text(text, encoding="utf-8")
    page, rows = tmp_path / "page.md", tmp_path / "rows.json"
    page.write_text("<!-- rows.json --><!-- end rows.json -->", encoding="utf-8")
    command = ["eval", "untouched", "--corpus", str(tmp_path), "--sets", "own.en-de"]
    command += ["--model", str(brief_translator), "--device", "cpu"]
    assert main([*command, "--json", str(rows), "--page", str(page)]) == 0
    assert "BLEU, without" in capsys.readouterr().out
    found = json.loads(rows.read_text(encoding="utf-8"))["rows"]
    told = [(row["trace"], row["hygiene"]) for row in found]
    assert told == [(t, h) for t in ("words", "recogniser") for h in ("with", "without")]
    assert "| own.en-de | recogniser |" in page.read_text(encoding="utf-8")
    assert main([*command, "--sets", "none.en-de"]) == 2


def test_untouched_text_is_what_the_model_reads() -> None:
    text = "See <b>NOON</b>\u00a0at https://a.example: twenty-three  dollars. And more"
    hygiene = Untouched()
    cuts = hygiene.cut(text)
    assert "".join(cut.text for cut in cuts) == text
    piece = hygiene.piece()
    piece.language = "en"
    piece.take(cuts[0].text)
    assert piece.shown() == cuts[0].text
    assert piece.certain_words("nothing", []) is None
    assert piece.following().core == ""
