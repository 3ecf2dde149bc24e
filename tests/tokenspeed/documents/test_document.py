"""Texts of files: encodings, and places that are written anew or not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.documents.document import Source, SpanDocument, Unit, read, readable, writable


@given(st.binary(max_size=60))
def test_any_bytes_survive(data: bytes) -> None:
    source = read(data)
    assert source.encode(source.text) == data
    readable(source.text).encode()


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        (b"\xef\xbb\xbfHi", "Hi", "utf-8"),
        ("Höhe".encode("utf-16"), "Höhe", "utf-16-le"),
        ("Höhe".encode(), "Höhe", "utf-8"),
        ("Höhe".encode("cp1252"), "Höhe", "cp1252"),
        ("Grün, höher, schön \xe4".encode() + b"\xff", "Grün, höher, schön ä\udcff", "utf-8"),
        (b"\x81\x8d", "\udc81\udc8d", "utf-8"),
    ],
)
def test_the_encoding_is_found(data: bytes, text: str, encoding: str) -> None:
    source = read(data)
    assert (source.text, source.encoding) == (text, encoding)


def test_a_declared_encoding_counts_where_it_fits() -> None:
    assert read(b"\xa4", "iso-8859-15").text == "€"
    assert read("ä".encode(), "ascii").text == "ä"
    assert read(b"a", "nonsense").encoding == "utf-8"


def test_what_an_encoding_lacks_makes_it_utf_8_or_an_entity() -> None:
    assert read("Höhe".encode("cp1252")).encode("→") == "→".encode()
    assert Source("", "cp1252", lacking="xmlcharrefreplace").encode("ä→") == b"\xe4&#8594;"


@pytest.mark.parametrize(
    ("text", "translation", "written"),
    [
        ("Good morning", "Guten Morgen.", "Guten Morgen"),
        ("Hello <g1>world</g1>", "Hallo, <g1>Welt.</g1>", "Hallo, <g1>Welt</g1>"),
        ("“Good morning”", "„Guten Morgen.“", "„Guten Morgen“"),
        ("Good morning.", "Guten Morgen.", "Guten Morgen."),
        ("Good morning <g1>all</g1>!", "Guten Morgen.", "Guten Morgen."),
        ("Well", "Nun ja...", "Nun ja..."),
        ("Price", "Preis?", "Preis"),
        ("Price", "Prix ?", "Prix"),
        ("Price", "¿Precio?", "¿Precio?"),
        ("Open the door", "Öffne <g1>die Tür!</g1>", "Öffne <g1>die Tür</g1>"),
        ("Price?", "Preis?", "Preis?"),
        ("Well", "Nun ja?!", "Nun ja?!"),
        ("and so on", "usw.", "usw."),
        ("in 2026", "im Jahr 2026.", "im Jahr 2026"),
        ("a", "b\x00\ud800", "b\ufffd"),
    ],
)
def test_a_translation_has_what_its_text_may_have(
    text: str, translation: str, written: str
) -> None:
    assert writable(text, translation) == written


def test_places_are_written_and_the_rest_stays() -> None:
    units = [
        Unit("one two", ((2, 3), (5, 6)), str.split),
        Unit("bad \udcff", ((8, 9),), lambda text: [text]),
    ]
    document = SpanDocument(read(b"0\xff2345678\xfe"), units)
    assert document.texts == ("one two", "bad \ufffd")
    assert document.translated(document.texts) == b"0\xff2345678\xfe"
    assert document.translated(["eins zwei", "bad \ufffd"]) == b"0\xffeins34zwei678\xfe"
    assert document.translated(["a\x00 b", "c\x1b"]) == b"0\xffa34b67c\xfe"
    with pytest.raises(ValueError, match="1 translations for 2 texts"):
        document.translated(["eins"])
