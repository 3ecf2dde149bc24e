"""Language guesses on everyday sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.detection import detect, guess_of, language_of, load
from tokenspeed.text.words import count_words

LANGUAGES = ("de", "en", "es", "fr")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the next station, please?", "en"),
        ("Wo ist bitte der nächste Bahnhof?", "de"),
        ("Où est la gare la plus proche ?", "fr"),
        ("¿Dónde está la estación más cercana?", "es"),
        ("Guten Morgen", "de"),
        ("Bonjour à tous", "fr"),
        ("Buenos días a todos", "es"),
        ("Tres tristes tigres comen trigo", "es"),
        ("Ein Zug hält", "de"),
    ],
)
def test_guesses(text: str, language: str) -> None:
    found = detect(text, LANGUAGES)
    assert found[0][0] == language
    assert {code for code, _ in found} == set(LANGUAGES)


@pytest.mark.parametrize("text", ["12345", "OK", "Ja", "No", "", "?", "👍", "Привет всем", "你好"])
def test_nothing_is_claimed_of_what_nobody_can_tell(text: str) -> None:
    assert detect(text, LANGUAGES) == [("en", 0.0), ("de", 0.0), ("es", 0.0), ("fr", 0.0)]
    assert language_of(text, LANGUAGES) is None


def test_a_language_that_nobody_knows_gets_no_confidence() -> None:
    assert detect("Guten Morgen", ["de", "x-house"])[0] == ("de", 100.0)
    assert detect("Guten Morgen", ["x-house"]) == [("x-house", 0.0)]
    assert detect("Guten Morgen", []) == []
    assert language_of("Guten Morgen", []) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hola", "es"),
        ("Bye!", "en"),
        ("The patch was merged yesterday and it will be deployed tonight", "en"),
        ("Our revenue grew by 12 percent to 3.4 million dollars.", "en"),
        ("Die Folien schicke ich euch später per E-Mail", "de"),
        ("Wir haben 120 neue Kunden gewonnen.", "de"),
        ("Olá, tudo bem com vocês? Eu queria saber se vocês vão à festa", "pt"),
        ("Ciao a tutti, oggi parliamo del nuovo progetto della città", "it"),
        ("Goedemorgen allemaal, hoe gaat het met jullie vandaag?", "nl"),
        ("https://example.it/ciao/a/tutti #oggi @parliamo", None),
    ],
)
def test_a_language_is_named_where_it_is_clear(text: str, language: str | None) -> None:
    assert language_of(text, LANGUAGES) == language


def test_a_short_text_is_taken_for_what_was_spoken_until_now() -> None:
    load()
    assert language_of("OK.", LANGUAGES, expected="fr") == "fr"
    assert language_of("Alles klar", LANGUAGES, expected="en") is None
    assert language_of("Wir haben neue Kunden gewonnen", LANGUAGES, expected="en") == "de"


@given(st.text(max_size=40), st.sampled_from([None, *LANGUAGES]))
def test_confidences_are_shares_and_what_is_named_is_wanted(
    text: str, expected: str | None
) -> None:
    found = dict(detect(text, LANGUAGES))
    assert set(found) == set(LANGUAGES)
    assert sum(found.values()) in (0.0, pytest.approx(100, abs=0.3))
    named = language_of(text, LANGUAGES, expected)
    assert named in (None, *LANGUAGES) or count_words(text) > 3


def test_a_word_in_another_alphabet_does_not_speak_for_the_text() -> None:
    text = "こんにちは everyone, you are welcome here"
    assert language_of(text, ("en", "fr")) == "en"
    assert language_of("Привет всем, мы начинаем сейчас, OK", ("en", "fr")) not in ("en", "fr")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("half past nine", "en"),
        ("halb zehn", "de"),
        ("Viertel nach drei", "de"),
        ("midi et demi", "fr"),
        ("quatre-vingt-dix euros", "fr"),
        ("las nueve y media", "es"),
        ("veintitrés", "es"),
        ("six", None),  # of English and French
        ("once", None),  # of English and Spanish
    ],
)
def test_a_time_or_a_number_in_words_tells_the_language(text: str, language: str | None) -> None:
    assert language_of(text, LANGUAGES) == language


def test_scripts_and_regions_are_those_that_are_there() -> None:
    chinese = "请问火车站在哪里，我们明天早上出发。"
    assert language_of(chinese, ["en", "zh-Hans", "zh-Hant"]) == "zh-Hans"
    assert language_of(chinese, ["en", "zh-Hans", "zh-Hant"], expected="zh-Hant") == "zh-Hant"
    assert language_of("Onde fica a estação de trem mais próxima?", ["en", "pt-BR"]) == "pt-BR"
    assert language_of("Kan du si meg hvor den neste stasjonen er?", ["en", "nb"]) == "nb"
    assert detect(chinese, ["en", "zh-Hant"])[0][0] == "zh-Hant"


@pytest.mark.parametrize(
    ("text", "guess"),
    [("Demain matin", "fr"), ("El tren", "es"), ("We go", "en"), ("Taxi", None), ("OK", None)],
)
def test_a_guess_is_made_where_one_language_stands_out(text: str, guess: str | None) -> None:
    assert language_of(text, LANGUAGES) is None
    assert guess_of(text, LANGUAGES) == guess
