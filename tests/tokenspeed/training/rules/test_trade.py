"""Articles bend and melt as each language wants it."""

import random

import pytest

from tokenspeed.training.rules.trade import nouns, trade


@pytest.fixture(scope="module")
def said() -> dict[str, dict[str, str]]:
    return {
        language: {pair.english: pair.foreign for pair in trade(language, random.Random(1))}
        for language in ("de", "fr", "es")
    }


def test_articles(said: dict[str, dict[str, str]]) -> None:
    size, error = "The size of the buffer has doubled.", "The error comes from the query."
    assert said["de"][size] == "Die Größe des Puffers hat sich verdoppelt."
    assert said["fr"][size] == "La taille du tampon a doublé."
    assert said["es"][size] == "El tamaño del búfer se ha duplicado."
    assert said["de"][error] == "Der Fehler kommt von der Abfrage."
    assert said["fr"][error] == "L'erreur vient de la requête."
    assert said["es"][error] == "El error viene de la consulta."
    assert said["fr"]["The queue is too slow."] == "La file d'attente est trop lente."
    assert said["es"]["The string is too slow."] == "La cadena de caracteres es demasiado lenta."


def test_there_are_many_and_none_has_a_slot_left(said: dict[str, dict[str, str]]) -> None:
    assert len(nouns()) > 80
    for pairs in said.values():
        assert len(pairs) > 1000
        assert not any(c in text for pair in pairs.items() for text in pair for c in "{},}"[:2])
