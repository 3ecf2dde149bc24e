"""Pairs with amounts: counts, decimals, shares, ordinals, years, money, measures."""

import random
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Final

from babel.numbers import format_decimal

from tokenspeed.text.quantities.spelling import Gender, cardinal, ordinal, year
from tokenspeed.training.rules.frames import (
    WORDS,
    Form,
    Pair,
    Slot,
    choose,
    is_in_words,
    pair_of,
    same,
)

# Plurals: English, German, French, Spanish; gender in French and Spanish.
_THINGS: Final = tuple(
    tuple(line.split("|"))
    for line in """
pages|Seiten|pages|páginas|ff
slides|Folien|diapositives|diapositivas|ff
files|Dateien|fichiers|archivos|mm
tickets|Tickets|tickets|tickets|mm
questions|Fragen|questions|preguntas|ff
answers|Antworten|réponses|respuestas|ff
messages|Nachrichten|messages|mensajes|mm
emails|E-Mails|e-mails|correos|mm
servers|Server|serveurs|servidores|mm
devices|Geräte|appareils|dispositivos|mm
chairs|Stühle|chaises|sillas|ff
tables|Tische|tables|mesas|ff
rooms|Räume|salles|salas|ff
cameras|Kameras|caméras|cámaras|ff
microphones|Mikrofone|microphones|micrófonos|mm
cables|Kabel|câbles|cables|mm
errors|Fehler|erreurs|errores|fm
tests|Tests|tests|pruebas|mf
words|Wörter|mots|palabras|mf
sentences|Sätze|phrases|frases|ff
languages|Sprachen|langues|idiomas|fm
countries|Länder|pays|países|mm
cities|Städte|villes|ciudades|ff
houses|Häuser|maisons|casas|ff
cars|Autos|voitures|coches|fm
trains|Züge|trains|trenes|mm
bottles|Flaschen|bouteilles|botellas|ff
boxes|Kisten|caisses|cajas|ff
books|Bücher|livres|libros|mm
copies|Exemplare|exemplaires|ejemplares|mm
letters|Briefe|lettres|cartas|ff
orders|Bestellungen|commandes|pedidos|fm
invoices|Rechnungen|factures|facturas|ff
contracts|Verträge|contrats|contratos|mm
projects|Projekte|projets|proyectos|mm
tasks|Aufgaben|tâches|tareas|ff
branches|Filialen|succursales|sucursales|ff
offices|Büros|bureaux|oficinas|mf
meetings|Besprechungen|réunions|reuniones|ff
comments|Kommentare|commentaires|comentarios|mm
photos|Fotos|photos|fotos|ff
videos|Videos|vidéos|vídeos|fm
songs|Lieder|chansons|canciones|ff
apples|Äpfel|pommes|manzanas|ff
eggs|Eier|œufs|huevos|mm
trees|Bäume|arbres|árboles|mm
dogs|Hunde|chiens|perros|mm
seats|Plätze|places|plazas|ff
votes|Stimmen|voix|votos|fm
samples|Proben|échantillons|muestras|mf
points|Punkte|points|puntos|mm
steps|Schritte|étapes|pasos|fm
requests|Anfragen|requêtes|solicitudes|ff
releases|Versionen|versions|versiones|ff
examples|Beispiele|exemples|ejemplos|mm
changes|Änderungen|modifications|cambios|fm
""".strip().splitlines()
)
_PEOPLE: Final = tuple(
    tuple(line.split("|"))
    for line in """
participants|Teilnehmer|participants|participantes|mm
people|Personen|personnes|personas|ff
visitors|Besucher|visiteurs|visitantes|mm
customers|Kunden|clients|clientes|mm
employees|Mitarbeiter|employés|empleados|mm
students|Studenten|étudiants|estudiantes|mm
children|Kinder|enfants|niños|mm
speakers|Redner|orateurs|ponentes|mm
users|Nutzer|utilisateurs|usuarios|mm
members|Mitglieder|membres|miembros|mm
colleagues|Kollegen|collègues|colegas|mm
guests|Gäste|invités|invitados|mm
patients|Patienten|patients|pacientes|mm
teachers|Lehrer|professeurs|profesores|mm
listeners|Zuhörer|auditeurs|oyentes|mm
subscribers|Abonnenten|abonnés|suscriptores|mm
passengers|Fahrgäste|passagers|pasajeros|mm
developers|Entwickler|développeurs|desarrolladores|mm
volunteers|Freiwillige|bénévoles|voluntarios|mm
women|Frauen|femmes|mujeres|ff
""".strip().splitlines()
)


# English, German, French, Spanish; sign; genders; smaller unit.
_CURRENCIES: Final = tuple(
    tuple(line.split("|"))
    for line in """
dollars|Dollar|dollars|dólares|$|mm|cents|Cent|cents|centavos
euros|Euro|euros|euros|€|mm|cents|Cent|centimes|céntimos
pounds|Pfund|livres|libras|£|ff|pence|Pence|pence|peniques
francs|Franken|francs|francos||mm|centimes|Rappen|centimes|céntimos
yen|Yen|yens|yenes|¥|mm||||
pesos|Peso|pesos|pesos||mm|centavos|Centavos|centavos|centavos
rupees|Rupien|roupies|rupias|₹|ff||||
""".strip().splitlines()
)
_MEASURES: Final = tuple(
    tuple(line.split("|"))
    for line in """
kilometers|Kilometer|kilomètres|kilómetros|mm|far
meters|Meter|mètres|metros|mm|long
centimeters|Zentimeter|centimètres|centímetros|mm|long
millimeters|Millimeter|millimètres|milímetros|mm|long
miles|Meilen|miles|millas|mf|far
kilos|Kilo|kilos|kilos|mm|heavy
grams|Gramm|grammes|gramos|mm|heavy
tons|Tonnen|tonnes|toneladas|ff|heavy
pounds|Pfund|livres|libras|ff|heavy
liters|Liter|litres|litros|mm|much
degrees|Grad|degrés|grados|mm|warm
megabytes|Megabyte|mégaoctets|megabytes|mm|data
gigabytes|Gigabyte|gigaoctets|gigabytes|mm|data
watts|Watt|watts|vatios|mm|power
volts|Volt|volts|voltios|mm|power
milliseconds|Millisekunden|millisecondes|milisegundos|fm|time
seconds|Sekunden|secondes|segundos|fm|time
minutes|Minuten|minutes|minutos|fm|time
hours|Stunden|heures|horas|ff|time
days|Tage|jours|días|mm|days
weeks|Wochen|semaines|semanas|ff|days
months|Monate|mois|meses|mm|days
years|Jahre|ans|años|mm|days
""".strip().splitlines()
)
_POINT: Final = {"en": "point", "de": "Komma", "fr": "virgule", "es": "coma"}
_MINUS: Final = {"en": "minus", "de": "minus", "fr": "moins", "es": "menos"}
_FRACTIONS: Final = (  # with the article that a share takes
    ("half of", "die Hälfte {g}", "la moitié {f}", "la mitad {f}"),
    ("a third of", "ein Drittel {g}", "un tiers {f}", "un tercio {f}"),
    ("two thirds of", "zwei Drittel {g}", "deux tiers {f}", "dos tercios {f}"),
    ("a quarter of", "ein Viertel {g}", "un quart {f}", "una cuarta parte {f}"),
    ("three quarters of", "drei Viertel {g}", "trois quarts {f}", "tres cuartas partes {f}"),
    ("a fifth of", "ein Fünftel {g}", "un cinquième {f}", "una quinta parte {f}"),
    ("a tenth of", "ein Zehntel {g}", "un dixième {f}", "una décima parte {f}"),
)
_WHOLES: Final = (  # English; German genitive; French and Spanish with "de"
    ("the time", "der Zeit", "du temps", "del tiempo"),
    ("the work", "der Arbeit", "du travail", "del trabajo"),
    ("the budget", "des Budgets", "du budget", "del presupuesto"),
    ("the population", "der Bevölkerung", "de la population", "de la población"),
    ("our customers", "unserer Kunden", "de nos clients", "de nuestros clientes"),
    ("the files", "der Dateien", "des fichiers", "de los archivos"),
    ("the cake", "des Kuchens", "du gâteau", "del pastel"),
    ("the memory", "des Speichers", "de la mémoire", "de la memoria"),
)


def counts(language: str, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs with counts of things or people, without end."""
    while True:
        kind = rng.choices(("things", "people", "any"), (60, 35, 5))[0]
        frame = choose(kind, rng)
        is_people = kind == "people" or (kind == "any" and rng.random() < 0.5)
        nouns = _PEOPLE if is_people else _THINGS
        noun = rng.choice(nouns)
        if frame[2].endswith("contrôlés cette semaine.") and noun[4][0] == "f":
            continue  # the participle agrees with a masculine only
        if " unos " in frame[3].lower() + " " and noun[4][1] == "f":
            continue
        if frame[3].startswith("Unos") and (noun[4] != "mm"):
            continue
        if "peuvent-ils" in frame[2] and noun[4][0] == "f":
            continue
        first, second = _count(rng), _count(rng)
        is_long = rng.random() < 0.5
        said = partial(_counted, noun=noun, is_long=is_long)
        yield pair_of(
            frame,
            language,
            {
                "c": partial(said, number=first),
                "c2": partial(said, number=second),
                "d": partial(said, number=first, is_dative=True),
            },
            "numbers",
            rng,
            _words_share(first),
        )


def bare(language: str, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs with a bare number: ages, pages, decimals, shares, ordinals, years, scores."""
    kinds = (_number, _number, _decimal, _share, _share, _ordinal, _year, _score, _phone, _fraction)
    while True:
        yield rng.choice(kinds)(language, rng)


def money(language: str, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs with prices, without end."""
    while True:
        currency = rng.choice(_CURRENCIES[: 3 if rng.random() < 0.75 else None])
        style = rng.random()
        slots = {name: _price(rng, currency, style) for name in ("m", "m2")}
        frame = choose("money", rng)
        yield pair_of(frame, language, slots, "money", rng, 0.55 if style < 0.7 else 0.0)


def measures(language: str, rng: random.Random) -> Iterator[Pair]:
    """Yield pairs with lengths, weights, temperatures, sizes and durations, without end."""
    while True:
        unit = rng.choice(_MEASURES)
        kind = unit[5]
        frame = choose(f"measure-{kind}", rng)
        if "{d}" in frame[0] + frame[1] and kind == "time":
            continue
        is_decimal = kind not in ("days",) and rng.random() < 0.2
        slots: dict[str, Slot] = {}
        for name in ("c", "c2"):
            if is_decimal:
                slots[name] = partial(_measured, tenths=rng.randrange(11, 400), unit=unit)
            else:
                number = rng.randrange(2, 61) if rng.random() < 0.8 else rng.randrange(61, 1000)
                said = partial(_counted, noun=unit, number=number, is_long=rng.random() < 0.5)
                slots[name] = said
                if name == "c":
                    slots["d"] = partial(said, is_dative=True)
        yield pair_of(frame, language, slots, "measures", rng, 0.5)


@lru_cache(maxsize=4096)
def digits(number: float | int, language: str) -> str:
    """Return a number as a locale writes it, with plain spaces."""
    # CLDR's minimum number of digits for grouping, which babel does not read.
    is_grouped = language != "es" or abs(number) >= 10000
    text = str(
        format_decimal(
            number, locale=language, decimal_quantization=False, group_separator=is_grouped
        )
    )
    return text.replace("\u202f", " ").replace("\xa0", " ")


def _count(rng: random.Random) -> int:
    size = rng.random()
    if size < 0.25:
        return rng.randrange(2, 13)
    if size < 0.6:
        return _not_one(rng.randrange(13, 100))
    if size < 0.8:
        return _not_one(rng.randrange(100, 1000))
    if size < 0.9:
        return _not_one(rng.randrange(1000, 10000))
    if size < 0.94:
        return rng.randrange(1, 100) * 1000 + 1000
    if size < 0.97:
        return rng.randrange(2, 100) * 10 ** rng.choice((6, 6, 9))
    return _not_one(rng.randrange(10000, 10**7))


def _not_one(number: int) -> int:
    """Return a number that does not end in a bare "one", whose noun would need care in German."""
    return number + 1 if number % 100 == 1 else number


def _words_share(number: int) -> float:
    return 0.6 if number < 10000 or number % 10**6 == 0 else 0.3


def _counted(
    language: str,
    form: Form,
    *,
    number: int,
    noun: tuple[str, ...],
    is_long: bool,
    is_dative: bool = False,
) -> str:
    """Return a number of 2 or more and its noun, which it agrees with."""
    at = ("en", "de", "fr", "es").index(language)
    name, is_said = noun[at], is_in_words(form, number)
    genders: dict[str, Gender] = {"fr": noun[4][0], "es": noun[4][1]}  # type: ignore[dict-item]
    if is_dative and language == "de" and name[-1] not in "ns" and name not in _UNCHANGED:
        name += "n"
    if not is_said and number % 10**6 == 0:
        return f"{_millions(number, language)}{_of(language, name)}{name}"
    if not is_said:
        return f"{digits(number, language)} {name}"
    text = cardinal(number, language, genders.get(language, ""), is_long=is_long)
    if number % 10**6 == 0:
        return f"{text}{_of(language, name)}{name}"
    return f"{text} {name}"


_UNCHANGED: Final = frozenset({
    "Kilometer", "Meter", "Zentimeter", "Millimeter", "Kilo", "Gramm", "Pfund", "Liter", "Grad",
    "Megabyte", "Gigabyte", "Watt", "Volt", "Dollar", "Euro", "Yen", "Peso",
})  # fmt: skip
_MILLIONS: Final = {
    "en": ("million", "million", "billion", "billion"),
    "de": ("Million", "Millionen", "Milliarde", "Milliarden"),
    "fr": ("million", "millions", "milliard", "milliards"),
    "es": ("millón", "millones", "mil millones", "mil millones"),
}


def _millions(number: int, language: str) -> str:
    """Return whole millions or milliards as "3 million"."""
    one, more, thousand_one, thousand_more = _MILLIONS[language]
    if number % 10**9:
        count, names = number // 10**6, (one, more)
    else:
        count, names = number // 10**9, (thousand_one, thousand_more)
    if language == "es" and names[0] == "mil millones":
        return "mil millones" if count == 1 else f"{digits(count * 1000, 'es')} millones"
    return f"{digits(count, language)} {names[count != 1]}"


def _of(language: str, name: str) -> str:
    """Return the word between a million and what is counted."""
    if language == "fr":
        return " d'" if name[0].lower() in "aeéiouhœ" and name != "huit" else " de "
    return " de " if language == "es" else " "


def _plain(number: int, is_long: bool = False) -> Slot:
    return lambda language, form: (
        cardinal(number, language, is_long=is_long)
        if is_in_words(form, number)
        else digits(number, language)
    )


def _number(language: str, rng: random.Random) -> Pair:
    frame = choose("number", rng)
    if "years" in frame[0] or frame[0].startswith("She"):
        first, second = rng.randrange(2, 100), rng.randrange(2, 100)
    elif "{n2}" in frame[0] or rng.random() < 0.7:
        first, second = sorted((rng.randrange(2, 100), rng.randrange(2, 130)))
    else:
        first, second = rng.randrange(100, 1000), 0
    slots = {"n": _plain(first, rng.random() < 0.5), "n2": _plain(second)}
    return pair_of(frame, language, slots, "numbers", rng, 0.65)


def _decimal_text(language: str, form: Form, *, hundredths: int, is_negative: bool) -> str:
    whole, rest = divmod(hundredths, 100)
    places = f"{rest:02d}".rstrip("0") or "0"
    if form != WORDS:
        mark = "." if language == "en" else ","
        return f"{'-' if is_negative else ''}{digits(whole, language)}{mark}{places}"
    said = " ".join(cardinal(int(c), language) for c in places)
    minus = f"{_MINUS[language]} " if is_negative else ""
    return f"{minus}{cardinal(whole, language)} {_POINT[language]} {said}"


def _decimal(language: str, rng: random.Random) -> Pair:
    step = rng.choice((10, 10, 1))
    slots: dict[str, Slot] = {
        name: partial(
            _decimal_text,
            hundredths=rng.randrange(1, 6000) * step + step,
            is_negative=rng.random() < 0.1,
        )
        for name in ("x", "x2")
    }
    return pair_of(choose("decimal", rng), language, slots, "numbers", rng, 0.45)


def _percent(language: str, form: Form, *, tenths: int, is_sign: bool) -> str:
    name = {"en": " percent", "de": " Prozent", "fr": " pour cent", "es": " por ciento"}[language]
    number = tenths // 10
    if tenths % 10:
        text = _decimal_text(language, form, hundredths=tenths * 10, is_negative=False)
    else:
        text = cardinal(number, language) if form == WORDS else digits(number, language)
    if form == WORDS or not is_sign:
        return text + name
    return text + ("%" if language == "en" else " %")


def _share(language: str, rng: random.Random) -> Pair:
    is_sign = rng.random() < 0.5
    slots: dict[str, Slot] = {}
    for name in ("p", "p2"):
        tenths = rng.randrange(2, 101) * 10 if rng.random() < 0.7 else rng.randrange(2, 1000)
        slots[name] = partial(_percent, tenths=tenths, is_sign=is_sign)
    share = slots["p"]
    slots["a"] = lambda language, form: f"el {share(language, form)}"
    return pair_of(choose("share", rng), language, slots, "numbers", rng, 0.55)


def _ordinal(language: str, rng: random.Random) -> Pair:
    number = rng.randrange(1, 13) if rng.random() < 0.5 else rng.randrange(13, 100)

    def said(language: str, form: Form, ending: str = "") -> str:
        if number <= 12 or form == WORDS:
            return ordinal(number, language, "f") + ending
        if language == "en":
            teens = number % 100 // 10 == 1
            return (
                f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
            )
        return f"{number}" + {"de": ".", "fr": "e", "es": ".ª"}[language]

    def in_dative(language: str, form: Form) -> str:
        return said(language, form, "n" if number <= 12 or form == WORDS else "")

    slots: dict[str, Slot] = {"o": said, "on": in_dative}
    if number > 30 and rng.random() < 0.7:
        return pair_of(choose("ordinal", rng), language, slots, "numbers", rng, 0.0)
    return pair_of(choose("ordinal", rng), language, slots, "numbers", rng, 0.5)


def _year(language: str, rng: random.Random) -> Pair:
    first, second = sorted((rng.randrange(1700, 2060), rng.randrange(1900, 2060)))

    def said(number: int) -> Slot:
        return lambda language, form: year(number, language) if form == WORDS else str(number)

    slots = {"y": said(first), "y2": said(second + 1)}
    return pair_of(choose("year", rng), language, slots, "numbers", rng, 0.5)


def _score(language: str, rng: random.Random) -> Pair:
    second = rng.randrange(0, 6)
    slots = {"n": _plain(second + rng.randrange(1, 5)), "n2": _plain(second)}
    if rng.random() < 0.5:
        return pair_of(choose("score", rng), language, slots, "numbers", rng, 0.5)
    frame = choose("score", rng)
    close = (
        frame[0].replace("} to {", "}–{"),
        frame[1].replace("} zu {", "}:{"),
        frame[2].replace("} à {", "}-{"),
        frame[3].replace("} a {", "}-{"),
    )
    return pair_of(close, language, slots, "numbers", rng, 0.0)


def _phone(language: str, rng: random.Random) -> Pair:
    numbers = [rng.randrange(10) for _ in range(rng.randrange(3, 11))]
    groups = rng.choice((2, 3, 4))
    written = "".join(map(str, numbers))
    if rng.random() < 0.5:
        written = " ".join(written[i : i + groups] for i in range(0, len(written), groups))

    def said(language: str, form: Form) -> str:
        return " ".join(cardinal(n, language) for n in numbers) if form == WORDS else written

    return pair_of(choose("phone", rng), language, {"t": said}, "numbers", rng, 0.5)


def _fraction(language: str, rng: random.Random) -> Pair:
    part, whole = rng.choice(_FRACTIONS), rng.choice(_WHOLES)
    texts = (
        f"{part[0]} {whole[0]}",
        part[1].format(g=whole[1]),
        part[2].format(f=whole[2]),
        part[3].format(f=whole[3]),
    )
    frame = choose("fraction", rng)
    is_plural = part[0].split()[0] in ("two", "three")
    if frame[0].startswith("That is") and is_plural:
        frame = ("That is {s}.", "Das sind {s}.", "C'est {s}.", "Son {s}.")
    return pair_of(frame, language, {"s": same(*texts)}, "numbers", rng, 0.0)


def _measured(language: str, form: Form, *, tenths: int, unit: tuple[str, ...]) -> str:
    number = _decimal_text(language, form, hundredths=tenths * 10, is_negative=False)
    return f"{number} {unit[('en', 'de', 'fr', 'es').index(language)]}"


def _price(rng: random.Random, currency: tuple[str, ...], style: float) -> Slot:
    """Return a price: whole, with cents, of millions, or with a sign."""
    number = rng.choice((rng.randrange(2, 100), _not_one(rng.randrange(100, 1000))))
    number = rng.choice((number, number, rng.randrange(2, 500) * 100))
    cents = rng.choice((5, 20, 25, 30, 40, 45, 50, 60, 75, 80, 90, 95, 99))
    noun = (*currency[:4], currency[5])
    if style < 0.4:
        return partial(_counted, noun=noun, number=number, is_long=rng.random() < 0.5)
    if style < 0.55 and currency[6]:
        return partial(_with_cents, number=number % 100 + 2, cents=cents, currency=currency)
    if style < 0.7:
        millions = rng.randrange(2, 300) * 10 ** rng.choice((6, 6, 6, 9))
        return partial(_counted, noun=noun, number=millions, is_long=False)
    sign = currency[4] or "€"
    hundredths = number * 100 + (cents if rng.random() < 0.5 else 0)
    return partial(_with_sign, hundredths=hundredths, sign=sign)


def _with_cents(
    language: str, form: Form, *, number: int, cents: int, currency: tuple[str, ...]
) -> str:
    at = ("en", "de", "fr", "es").index(language)
    if form != WORDS:
        mark = "." if language == "en" else ","
        return f"{number}{mark}{cents:02d} {currency[at]}"
    genders: dict[str, Gender] = {"fr": currency[5][0], "es": currency[5][1]}  # type: ignore[dict-item]
    whole = f"{cardinal(number, language, genders.get(language, ''))} {currency[at]}"
    joint = {"en": "and", "de": "und", "fr": "et", "es": "y"}[language]
    return f"{whole} {joint} {cardinal(cents, language)} {currency[6 + at]}"


def _with_sign(language: str, form: Form, *, hundredths: int, sign: str) -> str:
    number, cents = divmod(hundredths, 100)
    text = digits(number, language)
    if cents:
        text += ("." if language == "en" else ",") + f"{cents:02d}"
    return f"{sign}{text}" if language == "en" else f"{text} {sign}"
