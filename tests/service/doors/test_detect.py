"""Language guesses on everyday sentences."""

import pytest

from service.doors.detect import detect

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


def test_nothing_known_is_told_by_equal_confidence() -> None:
    assert {share for _, share in detect("12345", LANGUAGES)} == {25.0}


def test_a_language_that_nobody_can_tell_gets_no_confidence() -> None:
    assert detect("Guten Morgen", ["de", "x-house"])[0] == ("de", 100.0)
    assert detect("Guten Morgen", ["x-house"]) == [("x-house", 0.0)]
