"""Words of a list, found in the forms that grammar gives them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.terms import (
    _TOKEN,
    MAX_ALIKE,
    MAX_TRIES,
    MAX_TRIES_A_WORD,
    Phrase,
    PhraseIndex,
    _is_apart,
    _tokens,
    are_forms,
)

W = ("walk", "walks", "walked", "walking")


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


def longest(text: str, phrases: list[str]) -> list[tuple[int, int, int]]:
    """Find phrases without inflection, by trying each of them at each word."""
    words = [_tokens(phrase) for phrase in phrases]
    tokens, at, found = _tokens(text), 0, []
    while at < len(tokens):
        best = (0, 0)
        for number, wanted in enumerate(words):
            here = tokens[at : at + len(wanted)]
            is_same = [each.folded for each in here] == [each.folded for each in wanted]
            are_spaced = [a.has_space for a in here[1:]] == [b.has_space for b in wanted[1:]]
            is_apart = bool(wanted) and _is_apart(text, here[0].start, here[-1].end)
            if is_same and are_spaced and is_apart and len(wanted) > best[0]:
                best = (len(wanted), number)
        if best[0]:
            found.append((tokens[at].start, tokens[at + best[0] - 1].end, best[1]))
        at += best[0] or 1
    return found


PARTS = st.lists(st.sampled_from(["a", "ab", "é", "ß", "SS", " ", "  ", "\n", ".", "-", "你"]))


@given(st.lists(PARTS.map("".join), max_size=8), st.lists(PARTS.map("".join), max_size=3))
def test_the_longest_phrase_is_found_at_each_word(phrases: list[str], between: list[str]) -> None:
    text = "".join(map("".join, zip(phrases, [*between, *[" "] * 8], strict=False)))
    index = PhraseIndex([Phrase(phrase) for phrase in phrases])
    assert index.find(text) == longest(text, phrases)


def test_terms_that_begin_alike_are_told_apart() -> None:
    terms = [f"Acme {i}" for i in range(300)] + [f"Acme {i} plus" for i in range(300)] + ["Acme"]
    index = PhraseIndex([Phrase(term) for term in terms], ["en"])
    text = "Acme 7, Acmes, Acme 299 plus; an Acme 5 minus and Acme 300"
    said = [(text[start:end], terms[number]) for start, end, number in index.find(text)]
    assert said == [
        ("Acme 7", "Acme 7"), ("Acmes", "Acme"), ("Acme 299 plus", "Acme 299 plus"),
        ("Acme 5", "Acme 5"), ("Acme", "Acme"),
    ]  # fmt: skip


def test_every_word_of_a_phrase_is_bent_as_in_one_language() -> None:
    assert found("main stages, mains stage", "main stage") == ["main stages", "mains stage"]
    assert found("boletos luces", "boleto luz", languages=("es",)) == ["boletos luces"]
    # Each word is a form in another language.
    assert found("häuser luces", "haus luz", languages=("es", "de")) == []


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ([f"con{i:04d}" for i in range(1000)], "con0001 " * 300),
        ([f"the {i}" for i in range(1000)], "the " * 1000),
        (["walk " * 5 + "x"] + [f"{a} {b} {c} x" for a in W for b in W for c in W], "walk " * 500),
        (["".join("aà"[i >> b & 1] for b in range(9)) for i in range(500)], "aaaaaaaaa " * 300),
    ],
)
def test_alike_terms_take_no_more_than_the_text_is_long(
    monkeypatch: pytest.MonkeyPatch, terms: list[str], text: str
) -> None:
    index = PhraseIndex([Phrase(term) for term in terms], ["en", "de", "fr", "es"])
    tried = []
    match = index._match

    def counted(*given: Any) -> Any:
        tried.append(match(*given)[1])
        return match(*given)

    monkeypatch.setattr(index, "_match", counted)
    index.find(text)
    most = MAX_TRIES + MAX_TRIES_A_WORD * len(text.split())
    assert sum(tried) <= most + 10 * MAX_ALIKE  # the last word may take a few more


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        (["a " * 45 + f"{i}" for i in range(500)], "a " * 150),
        (["!" * 95 + f"{i}" for i in range(500)], "!" * 300),
        (["!" * (i % 99) + f"{i}" for i in range(500)], "!" * 300),
        ([" ".join(f"{i:048b}") for i in range(500)], "0 1 " * 75),
    ],
    ids=["words", "signs", "chain", "branches"],
)
def test_long_terms_are_read_no_further_than_a_text_is_long(
    monkeypatch: pytest.MonkeyPatch, terms: list[str], text: str
) -> None:
    read = []

    class Pattern:
        def search(self, phrase: str, at: int) -> Any:
            read.append(phrase)
            return _TOKEN.search(phrase, at)

        def finditer(self, text: str) -> Any:
            return _TOKEN.finditer(text)

    monkeypatch.setattr("tokenspeed.text.terms._TOKEN", Pattern())
    index = PhraseIndex([Phrase(term) for term in terms], ["en"])
    index.find(text)
    # Each term once where it parts from the others, and the words that terms have in common.
    assert len(read) <= 2 * len(terms) + len(text)
    num_read = len(read)
    index.find(text)
    assert len(read) == num_read
    index = PhraseIndex([Phrase(term) for term in terms], ["en"])
    index.compile()
    num_read = len(read)
    index.find(text)
    assert len(read) <= num_read + 100  # of terms that nothing is like


WORDS = st.lists(st.sampled_from(("a", "walk", "walks", "Walked", "b.", "你")), max_size=12)


@given(st.lists(WORDS.map(" ".join), max_size=8), st.lists(WORDS.map(" ".join), max_size=3))
def test_a_compiled_index_finds_the_same(phrases: list[str], texts: list[str]) -> None:
    compiled, other = (PhraseIndex([Phrase(p) for p in phrases], ("en",)) for _ in range(2))
    compiled.compile()
    for text in (*texts, *phrases):
        assert compiled.find(text) == other.find(text)
