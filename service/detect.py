"""Which language a text is in, guessed by its most common words and letters.

Small and rough: for `POST /detect` and `source: auto` of the REST endpoint. Translation does not
need it, the model takes a source of unknown language.
"""

from collections.abc import Iterable
from typing import Final

import regex

_WORDS: Final = {
    "en": "the and of to in is that it you he was for on are with as his they at be this have from"
    " or had by not but what all were we when your can said there an which she do how their if"
    " will i my me please good hello thank",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es"
    " an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über ich so wir"
    " haben guten danke bitte",
    "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce"
    " il sont avec son je ils nous vous mais ou si leur y elle bonjour merci c'est j'ai",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más o pero"
    " sus le ha me si sin sobre este ya entre cuando todo esta ser son dos también hola gracias"
    " buenos",
}
_LETTERS: Final = {"de": "äöüß", "fr": "èêàçùûîôœë", "es": "ñ¿¡áíóú", "en": ""}
_LEXICON: Final = {code: frozenset(words.split()) for code, words in _WORDS.items()}


def detect(text: str, languages: Iterable[str]) -> list[tuple[str, float]]:
    """Return (language, confidence in 0 to 100) of the given languages, likeliest first.

    A text without any known word gets the same confidence for all of them.
    """
    words = regex.findall(r"[\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)?", text.casefold())
    scores: dict[str, float] = {}
    for language in languages:
        known = _LEXICON.get(language, frozenset())
        letters = sum(text.casefold().count(letter) for letter in _LETTERS.get(language, ""))
        scores[language] = 0.1 + sum(word in known for word in words) + 0.7 * letters
    total = sum(scores.values())
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    return [(language, round(100 * score / total, 1)) for language, score in ranked]
