"""2,000 sentences with quantities, times and dates, judged by the values in their translations.

Sentences are made from templates in this file, which training never sees; digits and words are
equally right. Translations are read by `tokenspeed.text.quantities`.
"""

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from tokenspeed.bench.quality.text.cases import Case
from tokenspeed.text.quantities.clock import clock_words
from tokenspeed.text.quantities.computing import is_same
from tokenspeed.text.quantities.locales import month_name
from tokenspeed.text.quantities.reading import Quantity, read
from tokenspeed.text.quantities.spelling import Gender, cardinal, ordinal, year
from tokenspeed.text.quantities.writing import write_date, write_number, write_time
from tokenspeed.text.style import strip_style

DIRECTIONS: Final = ("en-de", "en-fr", "en-es", "de-en", "fr-en", "es-en")
_STRIPPED: Final = 0.3  # of the sentences: without case and punctuation, as from recognisers

Value = tuple[str, Quantity]  # text in the sentence, and its value

# By language and kind; {0} and {1} are quantities.
_SENTENCES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "count": (
            "Our library owns {0} maps and {1} globes.",
            "The choir has {0} singers this season.",
            "They planted {0} roses behind the school.",
            "I have answered {0} letters since Monday.",
            "Nobody believed that {0} runners would finish.", "The old theatre had {0} lamps.",
            "In that village there are {0} goats.",
            "We lost {0} balls and found {1} of them again.",
            "Her aunt collects stamps, she has {0}.", "The bridge carries {0} trucks a day.",
        ),
        "ordinal": (
            "He finished in {0} place.", "My office is on the {0} floor.",
            "It was her {0} marathon.", "They celebrated the {0} anniversary of the club.",
        ),
        "percent": (
            "Only {0} of the voters were under thirty.", "The forest covers {0} of the island.",
            "Exports rose by {0} in spring.", "The bank offers {0} interest.",
        ),
        "decimal": (
            "The earthquake reached {0} on the scale.", "His average mark was {0}.",
            "The ratio fell to {0} after the repair.",
        ),
        "money": (
            "The bicycle was sold for {0}.", "My landlord wants {0} a month.",
            "A coffee costs {0} at the airport.", "She won {0} and spent {1} on shoes.",
            "The museum received {0} from the city.",
        ),
        "time": (
            "The bakery opens at {0}.", "Please wake me at {0}.", "The ferry leaves at {0}.",
            "I was born at {0}.", "The concert began at {0} and ended at {1}.",
            "The nurse comes at {0}.", "School starts at {0} on weekdays.",
        ),
        "date": (
            "The exam takes place on {0}.", "Our lease ends on {0}.", "They got married on {0}.",
            "The ship sank on {0}.", "He moved to Lisbon on {0}.",
        ),
        "year": (
            "The castle burned down in {0}.", "My father retired in {0}.",
            "The law was changed in {0} and again in {1}.",
        ),
    },
    "de": {
        "count": (
            "Unsere Bibliothek besitzt {0} Karten und {1} Globen.", "Der Chor hat {0} Stimmen.",
            "Sie haben hinter der Schule {0} Rosen gepflanzt.",
            "Ich habe seit Montag {0} Briefe beantwortet.", "In dem Dorf gibt es {0} Ziegen.",
            "Das alte Theater hatte {0} Lampen.", "Meine Tante sammelt Briefmarken, sie hat {0}.",
            "Über die Brücke fahren täglich {0} Lastwagen.",
        ),
        "ordinal": ("Es war ihr {0} Marathon.", "Das war sein {0} Versuch."),
        "percent": (
            "Nur {0} der Wähler waren jung.", "Der Wald bedeckt {0} der Insel.",
            "Die Ausfuhren stiegen im Frühjahr um {0}.", "Die Bank bietet {0} Zinsen.",
        ),
        "decimal": (
            "Das Erdbeben erreichte {0} auf der Skala.", "Sein Notendurchschnitt war {0}.",
        ),
        "money": (
            "Das Fahrrad wurde für {0} verkauft.", "Mein Vermieter will {0} im Monat.",
            "Ein Kaffee kostet am Flughafen {0}.", "Sie gewann {0} und gab {1} für Schuhe aus.",
        ),
        "time": (
            "Die Bäckerei öffnet um {0}.", "Bitte wecken Sie mich um {0}.",
            "Die Fähre fährt um {0}.", "Ich wurde um {0} geboren.",
            "Das Konzert begann um {0} und endete um {1}.", "Die Krankenschwester kommt um {0}.",
        ),
        "date": (
            "Die Prüfung findet am {0} statt.", "Unser Mietvertrag endet am {0}.",
            "Sie haben am {0} geheiratet.", "Das Schiff sank am {0}.",
        ),
        "year": (
            "Das Schloss ist {0} abgebrannt.", "Mein Vater ging {0} in Rente.",
            "Das Gesetz wurde {0} geändert.",
        ),
    },
    "fr": {
        "count": (
            "Notre bibliothèque possède {0} cartes et {1} globes.", "La chorale compte {0} voix.",
            "Ils ont planté {0} rosiers derrière l'école.", "Dans ce village, il y a {0} chèvres.",
            "J'ai répondu à {0} lettres depuis lundi.", "L'ancien théâtre avait {0} lampes.",
            "Le pont supporte {0} camions par jour.",
        ),
        "ordinal": ("C'était son {0} marathon.", "Mon bureau est au {0} étage."),
        "percent": (
            "Seuls {0} des électeurs étaient jeunes.", "La forêt couvre {0} de l'île.",
            "Les exportations ont augmenté de {0} au printemps.",
        ),
        "decimal": (
            "Le séisme a atteint {0} sur l'échelle.", "Sa note moyenne était de {0}.",
        ),
        "money": (
            "Le vélo a été vendu {0}.", "Mon propriétaire demande {0} par mois.",
            "Un café coûte {0} à l'aéroport.", "Elle a gagné {0} et dépensé {1} en chaussures.",
        ),
        "time": (
            "La boulangerie ouvre à {0}.", "Réveillez-moi à {0}, s'il vous plaît.",
            "Le ferry part à {0}.", "Je suis né à {0}.",
            "Le concert a commencé à {0} et s'est terminé à {1}.", "L'infirmière vient à {0}.",
        ),
        "date": (
            "L'examen a lieu le {0}.", "Notre bail se termine le {0}.",
            "Ils se sont mariés le {0}.", "Le navire a coulé le {0}.",
        ),
        "year": (
            "Le château a brûlé en {0}.", "Mon père a pris sa retraite en {0}.",
            "La loi a été modifiée en {0}.",
        ),
    },
    "es": {
        "count": (
            "Nuestra biblioteca tiene {0} mapas y {1} globos.", "El coro tiene {0} cantantes.",
            "Plantaron {0} rosales detrás de la escuela.", "En ese pueblo hay {0} burros.",
            "He contestado {0} correos desde el lunes.", "El viejo teatro tenía {0} faroles.",
            "Por el puente pasan {0} camiones al día.",
        ),
        "ordinal": ("Fue su {0} maratón.", "Ese fue el {0} intento."),
        "percent": (
            "Solo el {0} de los votantes eran jóvenes.", "El bosque cubre el {0} de la isla.",
            "Las exportaciones subieron un {0} en primavera.",
        ),
        "decimal": (
            "El terremoto alcanzó {0} en la escala.", "Su nota media fue de {0}.",
        ),
        "money": (
            "La bicicleta se vendió por {0}.", "Mi casero pide {0} al mes.",
            "Un café cuesta {0} en el aeropuerto.", "Ganó {0} y gastó {1} en zapatos.",
        ),
        "time": (
            "La panadería abre a {0}.", "Despiérteme a {0}, por favor.", "El ferry sale a {0}.",
            "Nací a {0}.", "El concierto empezó a {0} y terminó a {1}.",
            "La enfermera viene a {0}.",
        ),
        "date": (
            "El examen se celebra el {0}.", "Nuestro contrato de alquiler termina el {0}.",
            "Se casaron el {0}.", "El barco se hundió el {0}.",
        ),
        "year": (
            "El castillo se quemó en {0}.", "Mi padre se jubiló en {0}.",
            "La ley se cambió en {0}.",
        ),
    },
}  # fmt: skip
_SHARES: Final = {
    "count": 25,
    "ordinal": 5,
    "percent": 10,
    "decimal": 6,
    "money": 16,
    "time": 20,
    "date": 12,
    "year": 6,
}
_MONEY: Final = {
    "en": {"USD": "dollars", "EUR": "euros", "GBP": "pounds"},
    "de": {"USD": "Dollar", "EUR": "Euro", "GBP": "Pfund"},
    "fr": {"USD": "dollars", "EUR": "euros", "GBP": "livres"},
    "es": {"USD": "dólares", "EUR": "euros", "GBP": "libras"},
}
_SIGNS: Final = {"USD": "$", "EUR": "€", "GBP": "£"}
_PERCENT: Final = {"en": " percent", "de": " Prozent", "fr": " pour cent", "es": " por ciento"}
_POINT: Final = {"en": "point", "de": "Komma", "fr": "virgule", "es": "coma"}


def number_cases(count: int = 2000, seed: int = 1) -> list[Case]:
    """Return the sentences, spread evenly over the directions."""
    rng = random.Random(seed)
    return [_case(DIRECTIONS[i % len(DIRECTIONS)], rng) for i in range(count)]


def holds(values: list[Quantity], target: str, output: str) -> bool:
    """Return whether an output has all the values, a repeated one as often as it is wanted."""
    given = read(output, target)
    for value in values:
        same = next((other for other in given if is_same(value, other)), None)
        if same is None:
            return False
        given.remove(same)
    return True


def _case(direction: str, rng: random.Random) -> Case:
    source, target = direction.split("-")
    kind = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
    template = rng.choice(_SENTENCES[source][kind])
    make = _MAKERS[kind]
    values = [make(source, rng) for i in range(2) if f"{{{i}}}" in template]
    text = template.format(*(said for said, _ in values))
    text = text[0].upper() + text[1:].replace("..", ".")
    if rng.random() < _STRIPPED:
        text = strip_style(text, 0.0)
    return Case(
        f"numbers/{kind}",
        source,
        target,
        text,
        partial(holds, [value for _, value in values], target),
    )


def _quantity(kind: str, value: float, **more: object) -> Quantity:
    return Quantity(0, 0, kind, value, (0, 0), **more)  # type: ignore[arg-type]


def _number(rng: random.Random) -> int:
    size = rng.random()
    if size < 0.2:
        return rng.randrange(2, 13)
    if size < 0.65:
        return rng.randrange(13, 100)
    if size < 0.85:
        return rng.randrange(100, 1000)
    return rng.choice((rng.randrange(1000, 10_000), rng.randrange(10, 900) * 1000))


def _count(language: str, rng: random.Random) -> Value:
    number = _number(rng)
    gender: Gender = "f" if language == "fr" else "m" if language == "es" else ""
    if number % 10 == 1 and language != "en":  # the noun of the template decides the gender
        number += 1
    said = cardinal(number, language, gender, is_long=rng.random() < 0.5)
    text = said if rng.random() < 0.7 else write_number(number, language)
    return text, _quantity("number", number)


def _ordinal(language: str, rng: random.Random) -> Value:
    number = rng.randrange(2, 13) if rng.random() < 0.4 else rng.randrange(13, 100)
    said = ordinal(number, language, "m") + ("r" if language == "de" else "")
    return said, _quantity("ordinal", number)


def _decimal_text(tenths: int, language: str, *, is_said: bool) -> str:
    if not is_said:
        return write_number(tenths / 10, language)
    whole, place = divmod(tenths, 10)
    return f"{cardinal(whole, language)} {_POINT[language]} {cardinal(place, language)}"


def _decimal(language: str, rng: random.Random) -> Value:
    tenths = rng.randrange(1, 100) * 10 + rng.randrange(1, 10)
    text = _decimal_text(tenths, language, is_said=rng.random() < 0.6)
    return text, _quantity("number", tenths / 10)


def _percent(language: str, rng: random.Random) -> Value:
    is_said = rng.random() < 0.6
    if rng.random() < 0.4:
        tenths = rng.randrange(2, 99) * 10 + rng.randrange(1, 10)
        number, value = _decimal_text(tenths, language, is_said=is_said), tenths / 10
    else:
        value = rng.randrange(2, 100)
        number = cardinal(int(value), language) if is_said else write_number(value, language)
    if is_said or rng.random() < 0.5:
        return number + _PERCENT[language], _quantity("percent", value)
    return number + ("%" if language == "en" else " %"), _quantity("percent", value)


def _money(language: str, rng: random.Random) -> Value:
    code = rng.choice(("USD", "EUR", "EUR", "GBP"))
    name, style = _MONEY[language][code], rng.random()
    if style < 0.5:
        number = _number(rng) + 1
        number += number % 100 == 1
        gender: Gender = "f" if code == "GBP" and language in ("fr", "es") else "m"
        said = cardinal(number, language, gender if language != "de" else "")
        return f"{said} {name}", _quantity("money", number, unit=code)
    if style < 0.6:
        millions = rng.randrange(2, 90)
        of = {"fr": " d'" if code == "EUR" else " de ", "es": " de "}.get(language, " ")
        said = cardinal(millions * 10**6, language)
        return f"{said}{of}{name}", _quantity("money", millions * 10**6, unit=code)
    value = rng.randrange(2, 500) + rng.choice((0.0, 0.5, 0.95, 0.2))
    number_text = write_number(value, language, places=2 if value % 1 else 0)
    quantity = _quantity("money", round(value, 6), unit=code)
    if style < 0.8:
        return f"{number_text} {name}", quantity
    sign = _SIGNS[code]
    return f"{sign}{number_text}" if language == "en" else f"{number_text} {sign}", quantity


def _time(language: str, rng: random.Random) -> Value:
    minute = rng.choice((0, 15, 30, 45, 5 * rng.randrange(12), rng.randrange(60)))
    if rng.random() < 0.35:
        hour = rng.randrange(24)
        text = write_time(hour * 60 + minute, language, is_exact=True)
        return _with_article(text, hour, language), _quantity("time", hour * 60 + minute)
    if rng.random() < 0.12:
        hour = rng.choice((0, 12))
        text = clock_words(hour, 0, language)
        return text, _quantity("time", hour * 60)
    hour = rng.randrange(1, 12)
    minutes = hour * 60 + minute
    if rng.random() < 0.3:
        text = write_time(minutes, language, is_exact=False)
        text = _with_article(text, hour, language)
    else:
        text = clock_words(hour, minute, language, is_full=rng.random() < 0.6)
    # A time on a twelve-hour dial is read as before noon.
    return text, _quantity("time", minutes, is_exact=False)


def _with_article(text: str, hour: int, language: str) -> str:
    return f"la{'' if hour == 1 else 's'} {text}" if language == "es" else text


def _date(language: str, rng: random.Random) -> Value:
    month, number = rng.randrange(1, 13), rng.randrange(1900, 2040)
    day = rng.randrange(2, 29)
    number = number if rng.random() < 0.5 else 0
    quantity = _quantity("date", number, day=day, month=month)
    style = rng.random()
    if style < 0.4:
        return write_date(day, month, number, language), quantity
    if style < 0.55 and language != "en":
        number = number or rng.randrange(1950, 2040)
        mark = "." if language == "de" else "/"
        text = mark.join((f"{day:02d}", f"{month:02d}", str(number)))
        return text, _quantity("date", number, day=day, month=month)
    name = month_name(month, language)
    said_year = year(number, language) if number else ""
    if language == "en":
        if rng.random() < 0.5:
            text = f"the {ordinal(day, 'en')} of {name}" + (f" {said_year}" if number else "")
        else:
            text = f"{name} {ordinal(day, 'en')}" + (f", {said_year}" if number else "")
    elif language == "de":
        text = f"{ordinal(day, 'de')}n {name} {said_year}"
    elif language == "fr":
        text = f"{cardinal(day, 'fr')} {name} {said_year}"
    else:
        text = f"{cardinal(day, 'es')} de {name}" + (f" de {said_year}" if number else "")
    return text.rstrip(), quantity


def _year(language: str, rng: random.Random) -> Value:
    number = rng.randrange(1750, 2035)
    text = year(number, language) if rng.random() < 0.6 else str(number)
    return text, _quantity("number", number)


_MAKERS: Final[dict[str, Callable[[str, random.Random], Value]]] = {
    "count": _count,
    "ordinal": _ordinal,
    "percent": _percent,
    "decimal": _decimal,
    "money": _money,
    "time": _time,
    "date": _date,
    "year": _year,
}


def templates() -> Iterator[str]:
    """Yield the sentences before values are filled in."""
    for kinds in _SENTENCES.values():
        for sentences in kinds.values():
            yield from sentences
