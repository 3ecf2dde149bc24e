"""The command that holds margins against agreement, with a small model."""

import json
from pathlib import Path

import pytest

from service.bench.captions.commit_rules import all_rules
from service.bench.captions.confidence import split
from service.bench.captions.documents import Line
from tests.service.bench.lines import LINES
from tokenspeed.cli import main


def test_the_command_replays_every_rule_on_both_traces(
    brief_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(f"{line.source}\t{line.reference}" for line in LINES[4:])
    (tmp_path / "own.en-de.tsv").write_text(text, encoding="utf-8")
    page, result = tmp_path / "page.md", tmp_path / "rows.json"
    page.write_text("<!-- rows.json --><!-- end rows.json -->", encoding="utf-8")
    command = ["eval", "confidence", "--corpus", str(tmp_path), "--sets", "own.en-de"]
    command += ["--model", str(brief_translator)]
    assert main([*command, "--json", str(result), "--page", str(page)]) == 0
    assert "least gain" in capsys.readouterr().out
    rows = json.loads(result.read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 2 * len(all_rules())
    assert {(row["set"], row["trace"]) for row in rows} == {
        ("own.en-de", "words"),
        ("own.en-de", "recogniser"),
    }
    for row in rows:
        assert row["segments"] == 3
        assert 0 <= row["contradicting_words"] <= row["committed_words"]
        assert row["differing_words"] <= row["contradicting_words"]
        assert row["decoded"] > row["updates"] - row["segments"]
    # Agreement of more hypotheses cannot come earlier.
    by_rule = {(r["trace"], r["family"], r["agreement"], r["wait_words"]): r for r in rows}
    for trace in ("words", "recogniser"):
        delays = [by_rule[trace, "agreement", n, 0]["delay_words"] for n in (1, 2, 3, 4)]
        assert delays == sorted(delays)
    assert "| own.en-de | recogniser |" in page.read_text(encoding="utf-8")
    assert main([*command, "--sets", "none.en-de"]) == 2


def test_lines_are_spoken_by_sentences() -> None:
    long = "word " * 50
    sentences, continuing = split([LINES[4], Line(long, "", "talk")])
    assert [each.source for each in sentences[:2]] == [
        "I had not seen her for years.",
        "She had changed a lot.",
    ]
    assert " ".join(each.source for each in sentences[2:]) == long.strip()
    assert continuing == [False, False, True, False]
    assert {each.document for each in sentences[2:]} == {"talk"}
