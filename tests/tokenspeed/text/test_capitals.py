"""Text in capitals: when it is, and how it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.capitals import are_capitals, quieten, to_sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("THE TRAIN IS LATE", True),
        ("DIE GROßE STRAßE IST ZU", True),
        ("À L'ÉCOLE, VITE !", True),
        ("NATO met the EU and the UN", False),
        ("LIVE now", False),
        ("NATO", False),  # one word may be a name
        ("OK TV", False),
        ("", False),
        ("12 345", False),
    ],
)
def test_capitals_are_a_matter_of_the_whole_text(text: str, expected: bool) -> None:
    assert are_capitals(text) is expected


def test_a_growing_text_does_not_change_its_mind_at_once() -> None:
    states, before = [], False
    for text in ("THE", "THE TRAIN", "THE TRAIN is", "THE TRAIN is late today again"):
        before = are_capitals(text, before)
        states.append(before)
    assert states == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("THE TRAIN IS LATE. WHY? I'M TIRED, I AM.", "The train is late. Why? I'm tired, I am."),
        ("¿QUÉ HORA ES? ¡TARDE!", "¿Qué hora es? ¡Tarde!"),
        ("IN THE US THEY TELL US", "In the US they tell us"),
        ("THE U.S. AND NATO AT 5 P.M. GO.", "The U.S. and NATO at 5 p.m. go."),
        ("“GO” HE SAID", "“Go” he said"),
    ],
)
def test_a_sentence_keeps_first_letters_and_what_is_no_word(text: str, expected: str) -> None:
    assert to_sentence(text) == expected


def test_a_sharp_s_comes_back() -> None:
    text = "GROSSE FÜSSE, WEISSE STRASSEN. WIR WISSEN: ALLES MUSS SCHLIESSEN"
    expected = "Große füße, weiße straßen. Wir wissen: alles muss schließen"
    assert to_sentence(text, language="de") == expected
    assert to_sentence("MASSE", language="de") == "Masse"


PIECES = {
    "really": 1, "Really": 2, "REALLY": 6, "never": 1, "Never": 2, "NEVER": 4, "favor": 1,
    "Favor": 2, "FAVOR": 4, "por": 1, "POR": 3, "smith": 1, "Smith": 1, "SMITH": 4, "haus": 1,
    "Haus": 1, "HAUS": 4, "casa": 2, "Casa": 1, "CASA": 3, "nato": 2, "NATO": 1, "visa": 1,
    "VISA": 3, "html": 4, "HTML": 4,
}  # fmt: skip


def pieces(word: str) -> int:
    return PIECES.get(word, 2)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("this is REALLY late, do NOT go", "en", "this is really late, do not go"),
        ("NEVER say NEVER. NOT here!", "en", "Never say never. Not here!"),
        ("NATO, HTML, VISA and John SMITH; the IT of the WHO", "en", None),
        ("Digas POR FAVOR", "es", "Digas por favor"),
        ("das HAUS der CASA", "de", "das Haus der CASA"),
        ("U.S. and MP3 and snake_CASE, NEVER-mind", "en", None),
    ],
)
def test_a_stressed_word_is_read_as_a_word(text: str, language: str, expected: str | None) -> None:
    assert quieten(text, pieces, language=language) == (expected or text)
    assert quieten(expected or text, pieces, language=language) == (expected or text)


@given(st.text("aBC dE.!"))
def test_a_vocabulary_that_tells_nothing_leaves_long_words_in_capitals(text: str) -> None:
    assert len(quieten(text, lambda word: 1)) == len(text)
    assert quieten(text.replace(" ", "XX"), lambda word: 1) == text.replace(" ", "XX")


@given(st.text())
def test_a_sentence_has_as_many_characters(text: str) -> None:
    assert len(to_sentence(text)) == len(text)
