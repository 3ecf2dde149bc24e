"""Ordinary sentences as people send them: with emoji, tags, addresses, capitals, odd characters.

What is right is the same for every model: anything that is not a word is there, once and in its
place, and the words around it mean the same as the plain sentence, judged by key words. Written by
hand.
"""

import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import regex

from tokenspeed.bench.quality.text.cases import Case

_PER_KIND: Final = 15  # sentences of each kind

# Source, target, sentence, and what its translation must have: one word of each group.
_SENTENCES: Final = tuple(
    tuple(line.split("|"))
    for line in """
en|de|The train to the airport is late again.|Zug Flughafen
en|fr|The train to the airport is late again.|train aéroport
en|es|The train to the airport is late again.|tren aeropuerto
en|de|My sister works in a hospital.|Schwester Krankenhaus/Spital/Klinik
en|fr|My sister works in a hospital.|sœur/soeur hôpital
en|es|My sister works in a hospital.|hermana hospital
en|de|The book is on the table.|Buch Tisch
en|fr|The book is on the table.|livre table
en|es|The book is on the table.|libro mesa
en|de|The children are playing in the garden.|Kinder Garten
en|fr|The children are playing in the garden.|enfants jardin
en|es|The children are playing in the garden.|niños/chicos jardín
en|de|The weather is beautiful today.|Wetter heute
en|fr|The weather is beautiful today.|temps/météo/fait beau/magnifique/superbe aujourd
en|es|The weather is beautiful today.|tiempo/clima/día hoy
de|en|Der Zug zum Flughafen ist wieder zu spät.|train airport
de|en|Meine Schwester arbeitet in einem Krankenhaus.|sister hospital
de|en|Das Buch liegt auf dem Tisch.|book table/desk
de|en|Die Kinder spielen im Garten.|children/kids garden/yard
fr|en|Le train pour l'aéroport est encore en retard.|train airport
fr|en|Ma sœur travaille dans un hôpital.|sister hospital
fr|en|Le livre est sur la table.|book table
fr|en|Les enfants jouent dans le jardin.|children/kids garden/yard
es|en|El tren al aeropuerto llega tarde otra vez.|train airport
es|en|Mi hermana trabaja en un hospital.|sister hospital
es|en|El libro está sobre la mesa.|book table/desk
es|en|Los niños juegan en el jardín.|children/kids/boys garden/yard
""".strip().splitlines()
)
# Sentences with a place for something that is not a word, and key words of their translations.
_FRAMES: Final = tuple(
    tuple(line.split("|"))
    for line in """
en|de|Please write to {} today.|schreib heute
en|fr|Please write to {} today.|écri aujourd
en|es|Please write to {} today.|escrib hoy
en|de|We have found {} in the garden.|gefunden/fanden Garten
en|fr|We have found {} in the garden.|trouvé jardin
en|es|We have found {} in the garden.|encontr/hallado jardín
de|en|Wir haben {} im Garten gefunden.|found garden
fr|en|Nous avons trouvé {} dans le jardin.|found garden
es|en|Hemos encontrado {} en el jardín.|found garden
""".strip().splitlines()
)
_WORDS: Final = {
    "addresses": ("anna.meier@example.com", "https://example.org/a?b=c", "www.example.net/live"),
    "handles": ("@lea_m", "#AskTheBoard2027", "@team.blue"),
    "files and paths": ("report-v2.pdf", "C:\\Users\\me\\notes.txt", "/etc/hosts", "main.py"),
    "codes": ("v2.10.3", "10.0.0.12", "AB-4711-X", "`git push`", "snake_case"),
    "placeholders": ("{name}", "%s", "%1$s", "${user}", "{{ item }}"),
    "other scripts": ("Привет", "你好", "שלום", "مرحبا", "नमस्ते"),
    "tags as words": ("<NAME>", "<b>Python</b>", "**Linux**"),
}
_SOUNDS: Final = {
    "en": ("[applause]", "(inaudible)", "[LAUGHTER]"),
    "de": ("[Applaus]", "(unverständlich)", "[GELÄCHTER]"),
    "fr": ("[applaudissements]", "(inaudible)", "[RIRES]"),
    "es": ("[aplausos]", "(inaudible)", "[RISAS]"),
}

_ALONE: Final = (
    "😀", "👍🏽 🎉", "?", "...", "—", "https://example.org", "5 + 3 = 8", "Привет, мир!", "{count}",
    "`x = 1`", "こんにちは", "@lea", "***", ">>", "👩\u200d👩\u200d👧",
)  # fmt: skip

Told = Callable[[str], bool]


def hygiene_cases() -> list[Case]:
    """Return the cases, kind by kind."""
    return [*_wrapped(), *_with_words(), *_alone()]


def _wrapped() -> Iterator[Case]:
    """Yield sentences with something around or between their words."""
    for number, (kind, change) in enumerate(_CHANGES.items()):
        for i in range(_PER_KIND):
            source, target, sentence, words = _SENTENCES[(7 * number + 2 * i) % len(_SENTENCES)]
            text, is_kept = change(sentence, source, target, i)
            told = partial(_says, words.split(), is_kept)
            yield Case(f"hygiene/{kind}", source, target, text, told)


def _with_words() -> Iterator[Case]:
    """Yield sentences in which one word belongs to no language."""
    for kind, said in _WORDS.items():
        for i in range(_PER_KIND):
            source, target, frame, words = _FRAMES[(i + len(kind)) % len(_FRAMES)]
            word = said[i % len(said)]
            told = partial(_says, words.split(), partial(_once, word))
            yield Case(f"hygiene/{kind}", source, target, frame.replace("{}", word), told)


def _alone() -> Iterator[Case]:
    """Yield texts that are their own translation."""
    for text in _ALONE:
        for source, target in (("en", "de"), ("fr", "en")):
            yield Case("hygiene/nothing to translate", source, target, text, partial(_is, text))


def _says(words: list[str], is_kept: Told, output: str) -> bool:
    said = output.casefold()
    groups = (group.casefold().split("/") for group in words)
    return is_kept(output) and all(any(word in said for word in group) for group in groups)


def _once(word: str, output: str) -> bool:
    return output.count(word) == 1


def _is(text: str, output: str) -> bool:
    return output == text


def _shaped(pattern: str, output: str) -> bool:
    return regex.fullmatch(pattern, output) is not None


# ---- what people do to a sentence: (sentence, source, target, number) -> text, what must hold ---


def _as_plain(change: Callable[[str], str]) -> Callable[[str, str, str, int], tuple[str, Told]]:
    """Return a change that affects only characters, and leaves no trace in the translation."""

    def changed(sentence: str, source: str, target: str, i: int) -> tuple[str, Told]:
        return change(sentence), partial(_shaped, r"[\p{Latin}\p{N}\p{Zs}.,;:!?'’\"„“”«»-]+")

    return changed


def _emoji(sentence: str, source: str, target: str, i: int) -> tuple[str, Told]:
    sign = ("👍", "😂🎉", "❤️", "👩‍👩‍👧", "🇩🇪", "1️⃣")[i % 6]
    escaped = regex.escape(sign)
    if i % 3 == 0:
        return f"{sign} {sentence}", partial(_shaped, rf"{escaped} \p{{Lu}}.+")
    if i % 3 == 1:
        return f"{sentence[:-1]} {sign}", partial(_shaped, rf".+\p{{L}} {escaped}")
    return f"{sentence} {sign} OK?", partial(_shaped, rf".+ {escaped} .+\?")


def _tags(sentence: str, source: str, target: str, i: int) -> tuple[str, Told]:
    if i % 3 == 0:
        return f"<i>{sentence}</i>", partial(_shaped, r"<i>[^<>]+</i>")
    if i % 3 == 1:
        first, rest = sentence.split(" ", 1)
        return f"{first} <b>{rest}</b>", partial(_shaped, r"[^<>]*<b>[^<>]+</b>[.]?")
    return f"<p>{sentence}</p><br>{sentence}", partial(_shaped, r"<p>[^<>]+</p><br>[^<>]+")


def _markdown(sentence: str, source: str, target: str, i: int) -> tuple[str, Told]:
    mark = ("## {}", "- {}", "> {}", "**{}**", "* {}")[i % 5]
    pattern = regex.escape(mark, special_only=True).replace(r"\{\}", r"[^#*>]+")
    return mark.format(sentence), partial(_shaped, pattern)


def _capitals(sentence: str, source: str, target: str, i: int) -> tuple[str, Told]:
    return sentence.upper(), lambda output: output == output.upper()


def _sounds(sentence: str, source: str, target: str, i: int) -> tuple[str, Told]:
    mark, wanted = (_SOUNDS[language][i % 3] for language in (source, target))
    if i % 2:
        return f"{mark} {sentence}", lambda output: output.startswith(f"{wanted} ")
    return f"{sentence} {mark}", lambda output: output.endswith(f" {wanted}")


def _speakers(sentence: str, source: str, target: str, i: int) -> tuple[str, Told]:
    return f">> {sentence} >> {sentence}", partial(_shaped, r">> [^<>]+ >> [^<>]+")


def _lines(sentence: str, source: str, target: str, i: int) -> tuple[str, Told]:
    first, rest = sentence.split(" ", 1)
    if i % 2:
        middle = rest.replace(" ", "\n", 1)
        return f"{first} {middle}", lambda output: output.count("\n") == 1
    return f"{sentence}\n\n  {sentence}\n", partial(_shaped, r"\S[^\n]+\n\n  \S[^\n]+\n")


def _signs(sentence: str, source: str, target: str, i: int) -> tuple[str, Told]:
    sign = ("§ 12", "№ 5", "±3", "½", "→", "™")[i % 6]
    return f"{sign} {sentence}", lambda output: output.startswith(f"{sign} ")


def _stutters(sentence: str, source: str, target: str, i: int) -> tuple[str, Told]:
    first, rest = sentence.split(" ", 1)
    return f"{first} {f'{first.lower()} ' * 7}{rest}", lambda output: True


_CHANGES: Final = {
    "emoji": _emoji,
    "tags": _tags,
    "markdown": _markdown,
    "capitals": _capitals,
    "sound marks": _sounds,
    "speakers": _speakers,
    "lines": _lines,
    "signs": _signs,
    "stutters": _stutters,
    "decomposed": _as_plain(partial(unicodedata.normalize, "NFD")),
    "odd spaces": _as_plain(lambda text: text.replace(" ", "\u00a0", 2).replace(" ", "\u2003", 1)),
    "tabs": _as_plain(lambda text: text.replace(" ", "\t", 2)),
    "zero width": _as_plain(lambda text: "\ufeff" + text.replace(" ", "\u200b", 1)),
    "soft hyphens": _as_plain(lambda text: regex.sub(r"(?<=\p{L}{3})(?=\p{L}{3})", "\u00ad", text)),
    "controls": _as_plain(lambda text: f"\u202a{text[:9]}\u200e{text[9:]}\u202c\x00"),
    "private use": _as_plain(lambda text: f"\ue001{text[:4]}\uf8ff{text[4:]}"),
}
