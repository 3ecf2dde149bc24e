"""Word: paragraphs, tables, headers; formats stay with their words."""

import contextlib
import io
import zipfile
from collections.abc import Callable
from typing import Any

import docx
import pytest
from docx.document import Document as File
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenspeed.documents.translators import lose_marks, noisy, one_word, same, shout
from tokenspeed.documents import docx as docx_format
from tokenspeed.documents.docx import open_docx
from tokenspeed.errors import DocumentError


def made() -> bytes:
    file = docx.Document()
    file.add_heading("The title", 1)
    paragraph = file.add_paragraph("Hello ")
    paragraph.add_run("wor").bold = True
    paragraph.add_run("ld").bold = True
    paragraph.add_run(", how are")
    paragraph.add_run(" you?")
    paragraph = file.add_paragraph()
    paragraph.add_run("Note").italic = True
    paragraph.add_run(" before\tafter")
    file.add_paragraph("12.5")
    file.add_table(1, 2).rows[0].cells[1].text = "In a cell"
    file.sections[0].header.paragraphs[0].text = "At the top"
    written = io.BytesIO()
    file.save(written)
    return written.getvalue()


def runs(file: File) -> list[tuple[str, bool | None]]:
    return [(run.text, run.bold) for run in file.paragraphs[1].runs if run.text]


def test_paragraphs_are_texts_and_formats_are_marks() -> None:
    document = open_docx(made(), "de")
    assert sorted(document.texts) == sorted(
        [
            "The title",
            "Hello <g2>world</g2>, how are you?",
            "<g1>Note</g1> before",
            "after",
            "In a cell",
            "At the top",
        ]
    )


def test_an_unchanged_file_is_the_very_same() -> None:
    data = made()
    assert same(open_docx(data, "de")) == data
    with pytest.raises(ValueError, match="0 translations for 6"):
        open_docx(data, "de").translated([])


def test_words_keep_their_format() -> None:
    document = open_docx(made(), "de")
    file = docx.Document(io.BytesIO(document.translated([shout(text) for text in document.texts])))
    assert runs(file) == [("HELLO ", None), ("WORLD", True), (", HOW ARE YOU?", None)]
    assert file.paragraphs[0].text == "THE TITLE"
    assert file.paragraphs[2].text == "NOTE BEFORE\tAFTER"
    assert file.tables[0].rows[0].cells[1].text == "IN A CELL"
    assert file.sections[0].header.paragraphs[0].text == "AT THE TOP"


@pytest.mark.parametrize("translator", [lose_marks, one_word, noisy])
def test_marks_that_are_lost_cost_no_words(translator: Callable[[str], str]) -> None:
    document = open_docx(made(), "de")
    texts = [translator(text) for text in document.texts]
    file = docx.Document(io.BytesIO(document.translated(texts)))
    expected: dict[object, str] = {
        lose_marks: "HELLO WORLD, HOW ARE YOU?",
        one_word: "Ja",
        noisy: "1 00:01 --> 00:02 Hello world, how are you?\ufffd",
    }
    assert file.paragraphs[1].text == expected[translator]


def test_words_round_a_format_stay_in_order() -> None:
    document = open_docx(made(), "de")
    texts = ["Zur <g1>Notiz</g1>" if text.startswith("<g1>") else text for text in document.texts]
    file = docx.Document(io.BytesIO(document.translated(texts)))
    assert file.paragraphs[2].text == "Zur Notiz\tafter"


def test_what_is_no_word_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as package:
        package.writestr("a.txt", "a")
    for data in (b"", b"PK", empty.getvalue()):
        with pytest.raises(ValueError, match="not a Word file"):
            open_docx(data, "de")
    for limit, what in (
        ("MAX_UNPACKED_BYTES", "bytes"),
        ("MAX_XML_BYTES", "bytes of XML"),
        ("MAX_TAGS", "tags"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(docx_format, limit, 1000)
            with pytest.raises(ValueError, match=rf"it unpacks to \d+ {what}, at most 1000"):
                open_docx(made(), "de")


@given(st.data())
@settings(max_examples=50)
def test_a_damaged_file_is_refused_or_translated_as_far_as_it_goes(data: st.DataObject) -> None:
    with zipfile.ZipFile(io.BytesIO(made())) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    name = data.draw(st.sampled_from(sorted(parts)))
    at = data.draw(st.integers(0, len(parts[name])))
    count, new = data.draw(st.integers(0, 40)), data.draw(st.binary(max_size=8))
    parts[name] = parts[name][:at] + new + parts[name][at + count :]
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w", data.draw(st.sampled_from([0, zipfile.ZIP_DEFLATED]))) as z:
        for each, content in parts.items():
            z.writestr(each, content)
    packed = bytearray(changed.getvalue())
    if data.draw(st.booleans()):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        document = open_docx(bytes(packed), "de")
    except ValueError:
        return
    with contextlib.suppress(DocumentError):
        document.translated([text.upper() for text in document.texts])


def test_paragraphs_in_paragraphs_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text boxes in text boxes: each word belongs to the innermost."""
    depth, seen = 60, 0
    file = docx.Document()
    paragraph = file.add_paragraph("0")
    for number in range(1, depth):
        inner = docx.Document().add_paragraph(f"word {number}")
        paragraph.runs[0]._r.append(inner._p)
        paragraph = inner
    written = io.BytesIO()
    file.save(written)

    def count(paragraph: Any) -> Any:
        nonlocal seen
        for element in own(paragraph):
            seen += 1
            yield element

    own = docx_format._own
    monkeypatch.setattr(docx_format, "_own", count)
    texts = open_docx(written.getvalue(), "de").texts
    assert sorted(texts) == sorted(f"word {number}" for number in range(1, depth))
    assert seen < 10 * depth
