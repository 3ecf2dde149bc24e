"""What must come through is found in lines, and counted with and without placeholders."""

import json
from pathlib import Path

import pytest

from service.bench.captions.documents import Line
from service.bench.captions.retention import Case, count_kept, find_cases, retention_table
from service.bench.captions.simulated_replay import Stage
from tokenspeed.cli import main

LINES = [
    Line(
        "In 2014 the city paid 3,500 euros to Duchesneau.",
        "2014 zahlte die Stadt 3.500 Euro an Duchesneau.",
    ),
    Line("It was a quarter to 7 in Germany.", "Es war Viertel vor sieben in Deutschland."),
]


def test_cases_are_what_the_human_translation_keeps_and_what_is_put_in() -> None:
    cases = find_cases(LINES, "de")
    found = [(case.kind, case.wanted) for case in cases]
    assert found[:3] == [("number", "2014"), ("number", "3,500"), ("name", "Duchesneau")]
    assert [kind for kind, _ in found[3:]] == ["address", "do not translate", "glossary"]
    address, protected, glossary = cases[3:]
    assert address.text == f"In 2014 the {address.wanted} paid 3,500 euros to Duchesneau."
    assert protected.do_not_translate == (protected.wanted,)
    assert glossary.text == LINES[0].source
    assert [(entry.source, entry.target) for entry in glossary.glossary] == [
        ("city", glossary.wanted)
    ]
    assert all(isinstance(case, Case) for case in cases)


def test_a_text_of_more_pieces_than_one_turn_takes_is_waited_for(stage: Stage) -> None:
    text = "One day. Two days. The best way... | Le Devoir. Three? Four! Five. Six. Seven."
    (row,) = count_kept(stage, [Case("name", text, "Devoir")], "en", "de")
    assert (row["kind"], row["cases"]) == ("name", 1)


def test_the_command_counts_and_writes(
    brief_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(f"{line.source}\t{line.reference}" for line in LINES)
    (tmp_path / "own.en-de.tsv").write_text(text, encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text("<!-- rows.json --><!-- end rows.json -->", encoding="utf-8")
    command = [
        "eval", "retention", "--corpus", str(tmp_path), "--sets", "own.en-de",
        "--model", str(brief_translator), "--device", "cpu",
        "--page", str(page),
    ]  # fmt: skip
    assert main([*command, "--json", str(tmp_path / "rows.json")]) == 0
    found = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert {row["kind"]: row["cases"] for row in found["rows"]} == {
        "number": 2,
        "name": 1,
        "address": 1,
        "do not translate": 1,
        "glossary": 1,
    }
    for row in found["rows"]:
        assert 0 <= row["kept"] <= row["cases"]
        # A random model keeps nothing, and the session says so of every term that it was told of.
        if row["kind"] in ("address", "do not translate", "glossary"):
            assert row["kept"] + row["violations"] >= row["cases"]
    assert retention_table(found["rows"]) in page.read_text(encoding="utf-8")
    assert retention_table(found["rows"]) in capsys.readouterr().out
    assert main(command) == 2
    assert "--page needs --json" in capsys.readouterr().err
