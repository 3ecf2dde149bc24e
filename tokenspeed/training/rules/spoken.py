"""Pairs of spontaneous speech: fillers, stutters, false starts, sound marks, greetings.

A source may stutter; a translation never does. So each of these pairs is for one direction, except
for sound marks, which have a word in each language, and for greetings.
"""

import random
from collections.abc import Iterator
from typing import Final

from tokenspeed.training.rules.frames import (
    LANGUAGES,
    TO_ENGLISH,
    TO_FOREIGN,
    WORDS,
    Frame,
    Pair,
    read_frames,
    say,
)

# English, German, French, Spanish; captioners write them in brackets or parentheses.
SOUNDS: Final = tuple(
    tuple(line.split("|"))
    for line in """
applause|Applaus|applaudissements|aplausos
laughter|Gelächter|rires|risas
music|Musik|musique|música
inaudible|unverständlich|inaudible|inaudible
unintelligible|unverständlich|incompréhensible|ininteligible
silence|Stille|silence|silencio
cough|Husten|toux|tos
coughs|hustet|tousse|tose
laughs|lacht|rit|se ríe
sighs|seufzt|soupire|suspira
cheering|Jubel|acclamations|vítores
background noise|Hintergrundgeräusche|bruit de fond|ruido de fondo
crosstalk|Stimmengewirr|voix superposées|voces superpuestas
phone ringing|Telefon klingelt|le téléphone sonne|suena el teléfono
door opens|Tür geht auf|une porte s'ouvre|se abre una puerta
dog barking|Hund bellt|un chien aboie|ladra un perro
whispering|flüstert|chuchote|susurra
singing|singt|chante|canta
pause|Pause|pause|pausa
end of recording|Ende der Aufnahme|fin de l'enregistrement|fin de la grabación
technical difficulties|technische Störung|problème technique|problemas técnicos
no audio|kein Ton|pas de son|sin audio
""".strip().splitlines()
)
_FILLERS: Final = {
    "en": ("um", "uh", "er", "erm", "uhm", "hmm", "you know", "I mean", "like"),
    "de": ("äh", "ähm", "hm", "also", "na ja", "öhm", "sozusagen"),
    "fr": ("euh", "heu", "bah", "ben", "hum", "enfin"),
    "es": ("eh", "em", "este", "pues", "mmm", "o sea", "bueno"),
}
_RESTARTS: Final = {
    "en": ("no wait", "sorry", "I mean", "let me start again"),
    "de": ("nein warte", "Entschuldigung", "ich meine", "noch mal"),
    "fr": ("non attendez", "pardon", "je veux dire", "je recommence"),
    "es": ("no espera", "perdón", "quiero decir", "empiezo otra vez"),
}
_STAMMERED: Final = {  # first words, which people repeat
    "en": {"i", "we", "the", "it", "so", "and", "this", "that", "you", "they", "if", "in", "to"},
    "de": {"ich", "wir", "das", "die", "der", "es", "und", "sie", "wenn", "in", "zu", "ist"},
    "fr": {"je", "nous", "le", "la", "les", "on", "il", "elle", "et", "vous", "de", "à"},
    "es": {"yo", "el", "la", "los", "y", "que", "en", "de", "no", "se", "es", "nos"},
}
_REPEATED: Final = (  # words said many times, of which a translation keeps one or two
    ("very", "sehr", "très", "muy", (
        ("big", "groß", "grand", "grande"), ("good", "gut", "bien", "bien"),
        ("important", "wichtig", "important", "importante"), ("fast", "schnell", "vite", "rápido"),
        ("late", "spät", "tard", "tarde"), ("simple", "einfach", "simple", "sencillo"),
    )),
    ("really", "wirklich", "vraiment", "realmente", (
        ("nice", "schön", "beau", "bonito"), ("bad", "schlimm", "grave", "malo"),
        ("difficult", "schwierig", "difficile", "difícil"), ("cold", "kalt", "froid", "frío"),
    )),
    ("much", "viel", "beaucoup", "mucho", (
        ("better", "besser", "mieux", "mejor"),
    )),
    ("far", "weit", "loin", "lejos", (
        ("away", "weg", "d'ici", "de aquí"),
    )),
)  # fmt: skip
_ALONE: Final = (  # one word, said again and again
    ("yes", "ja", "oui", "sí"),
    ("no", "nein", "non", "no"),
    ("okay", "okay", "d'accord", "vale"),
    ("please", "bitte", "s'il vous plaît", "por favor"),
    ("thanks", "danke", "merci", "gracias"),
    ("hello", "hallo", "bonjour", "hola"),
    ("wait", "warten Sie", "attendez", "espere"),
    ("stop", "stopp", "stop", "alto"),
    ("never", "nie", "jamais", "nunca"),
    ("go", "los", "allez", "vamos"),
    ("right", "genau", "exactement", "exacto"),
    ("sorry", "Entschuldigung", "pardon", "perdón"),
    ("hey", "hey", "hé", "oye"),
    ("good", "gut", "bien", "bien"),
    ("always", "immer", "toujours", "siempre"),
)


def sounds(language: str, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs with sound marks, alone, before, within or after a sentence, without end."""
    frames = _sentences()
    at = LANGUAGES.index(language)
    while True:
        sound = rng.choice(SOUNDS)
        opening, closing = rng.choice(("[]", "[]", "()"))
        change = rng.choice((str, str, str.upper, str.capitalize))
        marks = [f"{opening}{change(sound[side])}{closing}" for side in (0, at)]
        where = rng.random()
        if where < 0.12:
            yield Pair(marks[0], marks[1], "rules-sounds")
            continue
        sentences = [_said(rng.choice(frames), language) for _ in "12"]
        if where < 0.45:
            sides = [f"{m} {s}" for m, s in zip(marks, sentences[0], strict=True)]
        elif where < 0.8:
            sides = [f"{s} {m}" for m, s in zip(marks, sentences[0], strict=True)]
        else:
            both = zip(marks, *sentences, strict=True)
            sides = [f"{first} {mark} {last}" for mark, first, last in both]
        yield Pair(sides[0], sides[1], "rules-sounds")


def stutters(language: str, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs whose source hesitates and whose target does not, without end."""
    frames = _sentences()
    while True:
        to_foreign = rng.random() < 0.5
        side = "en" if to_foreign else language
        if rng.random() < 0.15:
            english, foreign = _over_and_over(language, rng, to_foreign=to_foreign)
        else:
            english, foreign = _said(rng.choice(frames), language)
            if to_foreign:
                english = hesitate(english, side, rng)
            else:
                foreign = hesitate(foreign, side, rng)
        yield Pair(english, foreign, "rules-stutters" + (TO_FOREIGN if to_foreign else TO_ENGLISH))


def greetings(language: str) -> Iterator[Pair]:
    """Yield greetings and other very short lines, with their final mark and without."""
    at = LANGUAGES.index(language)
    for kind in ("greeting", "greeting-to-foreign"):
        for frame in read_frames("trade.tsv")[kind]:
            english, foreign = frame[0], frame[at]
            name = "rules-greetings" + kind.removeprefix("greeting")
            yield Pair(english, foreign, name)
            if english[-1] in ".!" and foreign[-1] in ".!":
                yield Pair(english[:-1], foreign.rstrip(" !.").lstrip("¡"), name)


def hesitate(text: str, language: str, rng: random.Random) -> str:
    """Return a sentence as said by somebody who is searching for words."""
    words = text.split()
    if language != "de" or words[0].lower() in _STAMMERED["de"]:
        words[0] = words[0] if words[0] == "I" else _lower(words[0])
    out: list[str] = []
    fillers = _FILLERS[language]
    mark = rng.choice(("", "", ",", "..."))
    number = 0
    for word in words:
        is_easy = word.lower() in _STAMMERED[language]
        if is_easy and number < 3 and rng.random() < 0.35:
            out += [word + mark] * rng.choice((1, 1, 2))
            number += 1
        elif number < 3 and word[0].isalpha() and rng.random() < 0.18:
            out.append(rng.choice(fillers) + (mark and ","))
            number += 1
        out.append(word)
    if not number or rng.random() < 0.2:
        out.insert(0, rng.choice(fillers) + (mark and ","))
    if rng.random() < 0.15 and len(words) > 3:  # a false start
        begun = " ".join(words[: rng.randrange(1, 3)]).rstrip(",.?!")
        out = [f"{begun}{mark}", rng.choice(_RESTARTS[language]) + (mark and ","), *out]
    joined = " ".join(out)
    return _upper(joined) if rng.random() < 0.6 else joined


def _over_and_over(language: str, rng: random.Random, *, to_foreign: bool) -> tuple[str, str]:
    """Return a word repeated up to twelve times, and up to three times on the other side."""
    at = LANGUAGES.index(language)
    times = rng.randrange(2, 13)
    kept = min(times, 3)
    counts = (times, kept) if to_foreign else (kept, times)
    if rng.random() < 0.5:
        word = rng.choice(_ALONE)
        mark = rng.choice(("", ","))
        sides = [(f"{mark} ").join([word[i]] * n) for i, n in zip((0, at), counts, strict=True)]
    else:
        *adverb, ends = rng.choice(_REPEATED)
        end = rng.choice(ends)
        sides = [
            " ".join([*([adverb[i]] * n), end[i]]) for i, n in zip((0, at), counts, strict=True)
        ]
    if rng.random() < 0.5:
        sides = [_upper(side) + "." for side in sides]
    return sides[0], sides[1]


def _sentences() -> list[Frame]:
    """Return the sentences without slots."""
    frames = read_frames("trade.tsv")
    return [f for kind in ("plain", "meeting", "talk") for f in frames[kind]]


def _said(frame: Frame, language: str) -> tuple[str, str]:
    return say(frame, "en", {}, form=WORDS), say(frame, language, {}, form=WORDS)


def _lower(word: str) -> str:
    at = 1 if word[0] in "¿¡" else 0
    return word[:at] + word[at].lower() + word[at + 1 :]


def _upper(text: str) -> str:
    at = 1 if text[0] in "¿¡" else 0
    return text[:at] + text[at].upper() + text[at + 1 :]
