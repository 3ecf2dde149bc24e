"""Words that come out as they are wanted, found in a source as whole words."""

import pytest

from tokenspeed.text.glossary import Glossary, Term, has_word
from tokenspeed.text.pipeline import Hygiene

TERMS = (
    Term("coffee machine", "Kaffeemaschine"),
    Term("machine", "maschinchen"),
    Term("IT", "EDV", is_case_sensitive=True),
    Term("TokenSpeed", "TokenSpeed", is_case_sensitive=True, is_exact=True),
)


def wanted(text: str) -> list[str]:
    return [found.wanted for found in Glossary(TERMS).find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Coffee Machine and the machine.", ["Kaffeemaschine", "maschinchen"]),
        ("it is IT, not It", ["EDV"]),
        ("tokenspeed, TokenSpeed's and TokenSpeeder", ["TokenSpeed"]),
        ("machinery and submachine", []),
        ("在machine上", ["maschinchen"]),
    ],
)
def test_terms_are_found_as_whole_words(text: str, expected: list[str]) -> None:
    assert wanted(text) == expected


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [
        ("Our Tickets are sold out.", "en", ["Eintrittskarte"]),
        ("Both stages are open, the main stages, too.", "en", ["Bühne", "Hauptbühne"]),
        ("TICKETS and iphones", None, ["Eintrittskarte"]),  # a protected word is exact
        ("tickets.com has tickets", "en", ["tickets.com", "Eintrittskarte"]),
        ("see www.ticket.org/tickets", "en", ["www.ticket.org/tickets"]),
    ],
)
def test_terms_are_found_in_the_forms_of_the_language(
    text: str, language: str | None, wanted: list[str]
) -> None:
    terms = [
        Term("ticket", "Eintrittskarte"),
        Term("stage", "Bühne"),
        Term("main stage", "Hauptbühne"),
        Term("iPhone", "iPhone", is_case_sensitive=True, is_exact=True),
    ]
    found = Hygiene(glossary=Glossary(terms, source_language=language)).find(text)
    assert [item.wanted for item in found] == wanted


def test_a_rare_name_in_capitals_is_kept_and_no_other_one() -> None:
    text = "UNASUR met OPCW's and NATO, then Brussels, in XVIII BC. UNHCR-led OPCW2 left."
    found = Glossary((), lambda word: word != "NATO", "en").find(text)
    assert [item.wanted for item in found] == ["OPCW"]


@pytest.mark.parametrize(
    ("text", "word", "is_there"),
    [
        ("ein Maschinchen", "Maschin", True),
        ("Maschinchen", "Maschin", True),
        ("Kaffeemaschine", "maschine", False),
        ("Kaffeemaschine, maschine", "maschine", True),
        ("在maschine", "maschine", True),
        ("aaa", "a", True),
        ("baa", "a", False),
        ("", "a", False),
    ],
)
def test_a_word_is_there_where_no_letter_is_before_it(text: str, word: str, is_there: bool) -> None:
    assert has_word(text, word) is is_there
