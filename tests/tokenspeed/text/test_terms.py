"""Words of a list, found in the forms that grammar gives them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.terms import Phrase, PhraseIndex, are_forms


@pytest.mark.parametrize(
    ("language", "pairs"),
    [
        (
            "en",
            "ticket tickets, stage stages, story stories, box boxes, bus buses, knife knives,"
            " woman women, deploy deployed, cache caching, release releases",
        ),
        (
            "de",
            "haus häuser, bühne bühnen, eintrittskarte eintrittskarten, vertrag verträge,"
            " vertrag vertrages, lehrerin lehrerinnen, ergebnis ergebnisse, neu neue",
        ),
        ("fr", "billet billets, scène scènes, cheval chevaux, bateau bateaux, réunion réunions"),
        ("es", "boleto boletos, luz luces, reunión reuniones, camión camiones, joven jóvenes"),
        ("it", "biglietto biglietti"),
        ("xx", "word word"),
    ],
)
def test_forms_of_a_word_are_one(language: str, pairs: str) -> None:
    for one, other in (pair.split() for pair in pairs.split(",")):
        assert are_forms(one, other, language), (one, other)
        assert are_forms(other, one, language), (other, one)


@pytest.mark.parametrize(
    ("language", "pairs"),
    [
        (
            "en",
            "universe university, stag stage, new news, general generate, police policy, car care",
        ),
        ("de", "haut haus, land landung, bank banner"),
        ("fr", "port porter, pair paire, poisson poison"),
        ("es", "caso casa, puerto puerta, peso pesca"),
        ("xx", "word words"),
    ],
)
def test_other_words_are_not(language: str, pairs: str) -> None:
    for one, other in (pair.split() for pair in pairs.split(",")):
        assert not are_forms(one, other, language), (one, other)


def found(text: str, *phrases: str | Phrase, languages: tuple[str, ...] = ("en",)) -> list[str]:
    index = PhraseIndex([p if isinstance(p, Phrase) else Phrase(p) for p in phrases], languages)
    return [text[start:end] for start, end, _ in index.find(text)]


@pytest.mark.parametrize(
    ("text", "phrases", "places"),
    [
        ("Our Tickets are sold out.", ["ticket"], ["Tickets"]),
        ("Both main \n stages are open", ["main stage", "stage"], ["main \n stages"]),
        ("ASP.NET, .NET, C++, C+", [".NET", "C++"], [".NET", "C++"]),
        ("iPhones iPhone iphone", [Phrase("iPhone", is_exact=True)], ["iPhone"]),
        ("看电影吧", ["电影"], ["电影"]),
        ("the ticket's price, the tickets' price", ["ticket"], ["ticket", "tickets"]),
        ("a main-stage, a mainstage", ["main stage"], []),
        ("e-mails", ["e-mail"], ["e-mails"]),
        ("nothing", [], []),
        ("nothing", [" "], []),
    ],
)
def test_phrases_are_found_as_they_are_bent(
    text: str, phrases: list[str | Phrase], places: list[str]
) -> None:
    assert found(text, *phrases) == places


def test_of_two_phrases_the_longer_one_counts_then_the_exact_one() -> None:
    phrases = [Phrase("stage"), Phrase("Stage", is_exact=True), Phrase("main stage")]
    index = PhraseIndex(phrases, ["en"])
    assert [number for _, _, number in index.find("a Stage, a stage, a main stage")] == [1, 0, 2]


def test_a_word_is_bent_as_in_any_of_the_languages() -> None:
    assert found("Häuser, tickets", "Haus", "ticket", languages=("de", "en")) == [
        "Häuser",
        "tickets",
    ]
    assert found("Häuser", "Haus", languages=()) == []
    assert found("HAUS", "Haus", languages=()) == ["HAUS"]


@given(st.lists(st.text("aeéß .-你", max_size=6), max_size=6), st.text("aeéß .-你", max_size=40))
def test_places_are_in_order_and_say_what_is_wanted(phrases: list[str], text: str) -> None:
    index = PhraseIndex([Phrase(phrase) for phrase in phrases])
    last = 0
    for start, end, number in index.find(text):
        assert last <= start < end
        said, wanted = text[start:end], phrases[number]
        assert said.casefold().split() == wanted.casefold().split()
        last = end
