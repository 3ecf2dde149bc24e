"""Glossaries as spreadsheets, DeepL and termbases write them."""

from pathlib import Path

import pytest

from tokenspeed.errors import GlossaryFileError
from tokenspeed.text.glossary import Term
from tokenspeed.text.glossary_files import KEPT, MAX_ROWS, HouseGlossary, Row, read_glossary


def read(path: Path, name: str, text: str | bytes) -> list[Row]:
    file = path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_glossary(file)


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", "ticket,Eintrittskarte\n\n stage , Bühne \n",
         [Row("ticket", "Eintrittskarte"), Row("stage", "Bühne")]),
        ("a.csv", "\ufeffsource,target\nticket,Eintrittskarte", [Row("ticket", "Eintrittskarte")]),
        ("a.csv", 'ticket,"Karte, die",EN,de-AT', [Row("ticket", "Karte, die", "en", "de")]),
        ("a.tsv", "Target\tSource\tcase_sensitive\tlanguage\nKarte\tICE\tyes\tGerman",
         [Row("ICE", "Karte", None, "de", is_case_sensitive=True)]),
        ("a.csv", "en,de,fr\nticket,Karte,billet\nstage,Bühne,",
         [Row("ticket", "Karte", "en", "de"), Row("ticket", "billet", "en", "fr"),
          Row("Karte", "ticket", "de", "en"), Row("Karte", "billet", "de", "fr"),
          Row("billet", "ticket", "fr", "en"), Row("billet", "Karte", "fr", "de"),
          Row("stage", "Bühne", "en", "de"), Row("Bühne", "stage", "de", "en")]),
        ("a.TSV", "", []),
    ],
)  # fmt: skip
def test_tables(tmp_path: Path, name: str, text: str, rows: list[Row]) -> None:
    assert read(tmp_path, name, text) == rows


OLD = """<?xml version="1.0"?><!DOCTYPE martif><martif type="TBX"><text><body>
<termEntry id="1"><langSet xml:lang="en-GB"><tig><term>ticket</term></tig><tig><term>pass</term>
</tig></langSet><langSet xml:lang="de"><ntig><termGrp><term>Eintritts<hi>karte</hi></term></termGrp>
</ntig></langSet></termEntry></body></text></martif>"""
NEW = """<tbx xmlns="urn:iso:std:iso:30042:ed-2" style="dca"><text><body><conceptEntry id="1">
<langSec xml:lang="en"><termSec><term>ticket</term></termSec><termSec><term>pass</term></termSec>
</langSec><langSec xml:lang="de"><termSec><term>Eintrittskarte</term></termSec></langSec>
</conceptEntry></body></text></tbx>"""


@pytest.mark.parametrize("text", [OLD, NEW])
def test_termbases(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, "a.tbx", text) == [
        Row("ticket", "Eintrittskarte", "en", "de"),
        Row("pass", "Eintrittskarte", "en", "de"),
        Row("Eintrittskarte", "ticket", "de", "en"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.txt", "a,b", "ends in '.txt', expected .csv, .tsv or .tbx"),
        ("a.csv", "a,b\na,b,c", "line 2: has 3 columns, expected 2 or 4"),
        ("a.csv", "a,b\na,", "line 2: has no target"),
        ("a.csv", "a,b,en,klingonisch", "line 1: 'klingonisch' is not a language"),
        ("a.csv", "a," + "b" * 101, "has 101 characters, at most 100"),
        ("a.csv", b"a,\xff", "can't decode byte"),
        ("a.tbx", "<tbx>", "no element found"),
        ("a.csv", "a,b\n" * (MAX_ROWS + 1), f"at most {MAX_ROWS}"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(
    tmp_path: Path, name: str, text: str | bytes, problem: str
) -> None:
    with pytest.raises(GlossaryFileError, match=problem) as caught:
        read(tmp_path, name, text)
    assert caught.value.path == tmp_path / name


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(GlossaryFileError, match="No such file"):
        read_glossary(tmp_path / "a.csv")


def test_the_terms_of_a_house_are_those_of_a_pair_and_made_ready_once() -> None:
    house = HouseGlossary(
        [Row("ticket", "Karte", "en", "de"), Row("stage", "Bühne", None, "de"), Row("x", "y")]
    )
    everywhere = Term("x", "y")
    german = (Term("ticket", "Karte"), Term("stage", "Bühne"), everywhere)
    assert house.terms("en", "de") == house.terms(None, "de") == german
    assert house.terms("fr", "de") == (Term("stage", "Bühne"), everywhere)
    assert house.terms("de", "en") == (everywhere,)
    found = house.with_terms((), "en", "de")
    assert found is house.with_terms((), "en", "de")
    assert [item.wanted for item in found.find("two tickets, x")] == ["Karte", "y"]
    own = house.with_terms([Term("Ticket", "Billett")], "en", "de")
    assert [item.wanted for item in own.find("two tickets, x")] == ["Billett", "y"]
    kept = house.keeping([Term("pass", "Pass")], "en", ["de"])
    assert [item.wanted for item in kept.find("two tickets, a pass")] == ["ticket", "pass"]
    assert HouseGlossary().terms("en", "de") == ()


def test_the_glossary_of_a_request_is_made_once_for_all_its_texts() -> None:
    house = HouseGlossary([Row("a", "b")])
    own, same = (Term("x", "y"),), (Term("x", "y"),)
    made = house.with_terms(own, "en", "de")
    assert house.with_terms(own, "en", "de") is made
    assert house.with_terms(own, "en", "fr") is not made
    assert house.with_terms(same, "en", "de") is not made
    others = [(Term(f"x{i}", "y"),) for i in range(KEPT)]
    for i, each in enumerate(others):
        assert house.with_terms(each, "en", "de").find(f"x{i}")[0].wanted == "y"
    assert house.with_terms(own, "en", "de") is not made
