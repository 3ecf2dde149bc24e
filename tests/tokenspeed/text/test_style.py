"""Forms of address are told apart, and texts come out as recognisers write them."""

import pytest

from tokenspeed.text.style import FAMILIAR, FORMAL, form_of_address, strip_style


def test_style_is_stripped_as_recognisers_write() -> None:
    assert strip_style("Don't go, Tom!", 0.0) == "don't go tom"
    assert strip_style("Don't go, Tom!", 0.8) == "Don't go Tom"
    assert strip_style("Don't go, Tom!", 0.9) == "don't go, tom!"


def test_marks_within_numbers_stay() -> None:
    assert strip_style("At 8:45, $2.50 (5 %) on 05/11.", 0.0) == "at 8:45 $2.50 5 % on 05/11"


@pytest.mark.parametrize(
    ("language", "formal", "familiar"),
    [
        ("de", "Haben Sie Zeit?", "Hast du Zeit?"),
        ("fr", "Avez-vous le temps ?", "Je t’attends."),
        ("es", "¿Tiene usted tiempo?", "¿Podrías esperar?"),
        ("es", "Ustedes esperan.", "Vendrás mañana."),
    ],
)
def test_address_is_told_apart(language: str, formal: str, familiar: str) -> None:
    assert FORMAL[language].search(formal)
    assert not FAMILIAR[language].search(formal)
    assert FAMILIAR[language].search(familiar)
    assert not FORMAL[language].search(familiar)


@pytest.mark.parametrize("text", ["Además, jamás insiste.", "Será triste.", "Está más atrás."])
def test_other_words_with_such_endings_are_not_familiar(text: str) -> None:
    assert not FAMILIAR["es"].search(text)


@pytest.mark.parametrize(
    ("english", "foreign", "language", "found"),
    [
        ("Are you here?", "Sind Sie hier?", "de", "formal"),
        ("Please sit down.", "Setzen Sie sich bitte.", "de", "formal"),
        ("They are here.", "Sie sind hier.", "de", None),  # another "Sie"
        ("You are here.", "Sie sind hier.", "de", "formal"),
        ("Sit down.", "Setz dich.", "de", "informal"),
        ("You and you", "du und Ihnen", "de", None),
        ("Are you here?", "Vous êtes là ?", "fr", "formal"),
        ("Are you here?", "¿Está usted aquí?", "es", "formal"),
        ("It rains.", "Es regnet.", "de", None),
        ("Are you here?", "Ci sei?", "it", None),
    ],
)
def test_a_translation_tells_its_form_of_address(
    english: str, foreign: str, language: str, found: str | None
) -> None:
    assert form_of_address(english, foreign, language) == found
