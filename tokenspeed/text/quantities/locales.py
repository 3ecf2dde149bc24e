"""How four languages say and write numbers, times, dates and money.

Months are CLDR's, through `babel`. Times of day are our own tables: no library reads "halb zehn",
"neuf heures et demie" or "las nueve menos cuarto" (`dateparser` does not, and takes milliseconds a
text). In a pattern {H} stands for the number of an hour, noon or midnight, {C} for only the latter
two, {M} for a number of minutes, {D} for a day, {O} for an ordinal, {Y} for a year, {m} for a
month.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

from babel import Locale

LANGUAGES: Final = ("en", "de", "fr", "es")
SIGNS: Final = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}

# A way to say a time of day: pattern, minutes to add to the hour, and whether M is added (1) or
# taken away (-1).
Clock = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a language that give a number a meaning; all in lower case."""

    point: str  # between a number and its decimals
    minus: str
    scales: dict[str, int]  # exponent of ten of what may follow a number
    plurals: frozenset[str]  # "hundreds": not numbers by themselves
    bare: frozenset[str]  # scales that are not numbers without something before them
    before_scale: frozenset[str]  # "a" of "a million"
    vague: frozenset[str]  # "several" of "several hundred"
    ones: frozenset[str]  # also articles, pronouns, adjectives or nouns
    percent: str
    currencies: dict[str, str]  # word -> code
    cents: str
    joint: str  # between money and its cents
    of: str  # what may come between a scale and what is counted
    half: str  # after a number: one half more
    later: str  # shows that all times of a sentence are after noon
    units: frozenset[str]
    about: dict[str, int]  # nouns for a round number, which with "a" mean "about"
    numbered: str  # what has a number whose digits are said one after another
    clocks: tuple[Clock, ...]
    noons: dict[str, int]  # hours
    part: str  # of the day, after a time
    late: str  # parts that are after noon
    dates: tuple[str, ...]
    decimal: str = ","
    group: str = "."


def _table(text: str) -> dict[str, str]:
    """Return `word -> code` of lines such as "USD dollar dollars"."""
    lines = (line.split() for line in text.strip().splitlines())
    return {word: code for code, *names in lines for word in names}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS: Final = {
    "en": Words(
        point="point",
        minus="minus|negative",
        scales={"hundred": 2, "thousand": 3, "lakh": 5, "lakhs": 5, "million": 6, "crore": 7,
                "crores": 7, "billion": 9, "trillion": 12},
        plurals=_names("tens hundreds thousands millions billions trillions dozens"),
        bare=_names("hundred thousand million billion trillion"),
        before_scale=_names("a"),
        vague=_names("half several few many some couple multi another"),
        ones=_names("one first second third quarter a half"),
        percent="percent|per cent|%",
        currencies=_table("""
            USD dollar dollars bucks usd
            EUR euro euros eur
            GBP pound pounds quid gbp
            JPY yen
            CHF franc francs
            MXN peso pesos
            INR rupee rupees"""),
        cents="cents?|pence|pennies|centimes?|centavos?",
        joint="and ",
        of="",
        half="(?: |-)and(?: |-)a(?: |-)half",
        later=(
            r"tonight|evening|afternoon|(?<!mid)night|dinner"
            r"|\d (?:to|-|–) \d{1,2}(?::\d\d)? ?p\.?m\b"  # "2:00 to 4:00 p.m."
        ),
        units=_names(
            "kilometers kilometres miles meters metres centimeters centimetres millimeters "
            "millimetres kilos kilograms grams tons tonnes liters litres degrees megabytes "
            "gigabytes terabytes kilobytes watts kilowatts volts milliseconds hertz km cm mm kg"
        ),
        about={},
        numbered=(
            r"(?:room|flight|gate|bus|line|route|highway|extension|channel|platform|track|code|pin"
            r"|number|dial|apartment|suite|unit)(?: number)?(?: is| was)?"
        ),
        clocks=(
            ("(?:a )?quarter (?:past|after) {H}(?: o['’] ?clock)?", 15, 0),
            ("(?:a )?quarter (?:to|till|of|before) {H}(?: o['’] ?clock)?", -15, 0),
            ("half past {H}", 30, 0),
            ("{M}(?: minutes?)? (?:past|after) {H}(?: o['’] ?clock)?", 0, 1),
            ("{M} minutes? (?:to|till|before) {H}(?: o['’] ?clock)?", 0, -1),
            (
                r"(?:(?<=\bat )|(?<=\bby )|(?<=\bit is )|(?<=\bit['’]s )|(?<=\bit was )"
                r"|(?<=\balready )|(?<=\buntil )){M} (?:to|till|before) {H}"
                r"(?: o['’] ?clock|(?! \w+s\b| percent))", 0, -1,
            ),
            ("{H} o['’] ?clock", 0, 0),
            (
                r"(?:(?<=\bat )|(?<=\bby )|(?<=\buntil )){H} {M}"
                r"(?! (?:percent|dollars|euros|pounds))", 0, 1,
            ),
            ("{H} {M}(?= ?[ap]\\.? ?m\\b)", 0, 1),
            ("{H}(?= ?[ap]\\.? ?m\\b)", 0, 0),
        ),
        noons={"noon": 12, "midday": 12, "midnight": 0},
        part=r" ?[ap]\.? ?m\b\.?| in the (?:morning|afternoon|evening)| at night",
        late="p|after|even|night",
        dates=(
            "(?:{m})\\.? (?:the )?{D}(?:(?:,| of)? {Y})?",
            "(?:the )?{O}(?: of)? (?:{m})(?:,? {Y})?",
            "{D}(?: of)? (?:{m})(?:,? {Y})?",
        ),
        decimal=".",
        group=",",
    ),
    "de": Words(
        point="komma",
        minus="minus",
        scales={"tausend": 3, "million": 6, "millionen": 6, "mio": 6, "milliarde": 9,
                "milliarden": 9, "mrd": 9, "billion": 12, "billionen": 12},
        plurals=_names("millionen milliarden billionen hunderte tausende"),
        bare=_names("million milliarde billion"),
        before_scale=_names("eine einer"),
        vague=_names("halbe halben einige mehrere paar viele wenige weitere"),
        ones=_names("ein eine einen einem einer eines eins erste ersten erster erstes erstem acht"),
        percent="prozent|%",
        currencies=_table("""
            USD dollar dollars usd
            EUR euro euros eur
            GBP pfund gbp
            JPY yen
            CHF franken francs
            MXN peso pesos
            INR rupie rupien"""),
        cents="cents?|pence|rappen|centavos?|centimes?",
        joint="und ",
        of="",
        half=" ?einhalb",
        later="abend|(?<!mitter)nacht|nachmittag",
        units=_names(
            "kilometer kilometern meilen meter metern zentimeter zentimetern millimeter "
            "millimetern kilo kilogramm gramm tonnen liter litern grad megabyte gigabyte terabyte "
            "kilobyte watt kilowatt volt millisekunden hertz km cm mm kg"
        ),
        about={},
        numbered=(
            r"(?:zimmer|raum|flug|gate|bus|linie|kanal|gleis|code|pin|nummer|durchwahl|wohnung)"
            r"(?:nummer)?(?: ist| war| lautet)?"
        ),
        clocks=(
            ("viertel nach {H}(?: uhr)?", 15, 0),
            ("eine minute nach {H}(?: uhr)?", 1, 0),
            ("eine minute vor {H}(?: uhr)?", -1, 0),
            ("viertel vor {H}(?: uhr)?", -15, 0),
            ("dreiviertel {H}(?: uhr)?", -15, 0),
            ("{M} viertel {H}(?: uhr)?", -15, 0),  # three of them
            ("halb {H}(?: uhr)?", -30, 0),
            ("{M}(?: minuten?)? nach halb {H}(?: uhr)?", -30, 1),
            ("{M}(?: minuten?)? vor halb {H}(?: uhr)?", -30, -1),
            ("{M}(?: minuten?)? nach {H}(?: uhr)?", 0, 1),
            ("{M}(?: minuten?)? vor {H}(?: uhr)?", 0, -1),
            ("{H} uhr {M}(?! (?:prozent|euro|dollar|pfund))", 0, 1),
            ("{H} ?uhr", 0, 0),
            (r"(?<=\bum ){H}(?= ?(?:[.,!?]|$))", 0, 0),
        ),
        noons={"mittag": 12, "mitternacht": 0},
        part=(
            " (?:morgens|früh|vormittags|mittags|nachmittags|abends|nachts"
            "|am (?:morgen|vormittag|nachmittag|abend)|in der (?:nacht|früh))"
            r"| ?[ap]\. ?m\b\.?"  # a model's, of an English text
        ),
        late=r"nachm|abend|mittags|p\.",
        dates=("{D}\\.? (?:{m})(?: {Y})?",),
    ),
    "fr": Words(
        point="virgule",
        minus="moins",
        scales={"mille": 3, "million": 6, "millions": 6, "milliard": 9, "milliards": 9},
        plurals=_names("millions milliards centaines milliers milles"),
        bare=_names("million milliard"),
        before_scale=_names("un"),
        vague=_names("demi quelques plusieurs autre"),
        ones=_names("un une premier première second seconde neuf"),
        percent="pour ?cents?|%",
        currencies=_table("""
            USD dollar dollars usd
            EUR euro euros eur
            GBP livre livres gbp
            JPY yen yens
            CHF franc francs
            MXN peso pesos
            INR roupie roupies"""),
        cents="cents?|centimes?|pence|centavos?",
        joint="et ",
        of="(?:d['’] ?|de )?",
        half=" et demie?",
        later="soir|(?<!mi)nuit|après-midi",
        units=_names(
            "kilomètres miles mètres centimètres millimètres kilos kilogrammes grammes tonnes "
            "litres degrés mégaoctets gigaoctets watts kilowatts volts millisecondes hertz km cm "
            "mm kg"
        ),
        about={"dizaine": 10, "quinzaine": 15, "vingtaine": 20, "trentaine": 30, "quarantaine": 40,
               "cinquantaine": 50, "soixantaine": 60, "centaine": 100},
        numbered=(
            r"(?:chambre|salle|vol|porte|bus|ligne|canal|voie|code|numéro|poste|appartement)"
            r"(?: numéro)?(?: est(?: le)?| était(?: le)?)?"
        ),
        clocks=(
            ("{H}(?: ?h(?:eures?)?)? et quart", 15, 0),
            ("{H}(?: ?h(?:eures?)?)? et demie?", 30, 0),
            ("{H}(?: ?h(?:eures?)?)? moins (?:le |un )?quart", -15, 0),
            ("{H} ?h(?:eures?)? moins {M}", 0, -1),
            ("{C} moins {M}", 0, -1),
            ("{C} {M}(?! (?:pour|euros|dollars|livres))", 0, 1),
            ("{H} ?h(?:eures?)? ?{M}(?! (?:pour|euros|dollars|livres))", 0, 1),
            ("{H} ?h(?:eures?)?(?= (?:pile|précises|du (?:matin|soir)|de l['’] ?après))", 0, 0),
            ("{H} ?h\\b", 0, 0),
        ),
        noons={"midi": 12, "minuit": 0},
        part=r" (?:du (?:matin|soir)|de (?:l['’] ?après-midi|la nuit))| ?[ap]\. ?m\b\.?",
        late=r"soir|après|p\.",
        dates=("{D} (?:{m})(?: {Y})?",),
        group=" ",
    ),
    "es": Words(
        point="coma|punto",
        minus="menos",
        scales={"mil": 3, "millón": 6, "millones": 6, "billón": 12, "billones": 12},
        plurals=_names("millones billones cientos miles"),
        bare=_names("millón billón"),
        before_scale=_names("un"),
        vague=_names("medio media varios algunos pocos otro"),
        ones=_names("un una uno primer primero primera segundo segunda tercer ciento"),
        percent="por ?cientos?|%",
        currencies=_table("""
            USD dólar dólares usd
            EUR euro euros eur
            GBP libra libras gbp
            JPY yen yenes
            CHF franco francos
            MXN peso pesos
            INR rupia rupias"""),
        cents="centavos?|céntimos?|peniques?|cents?",
        joint="(?:y|con) ",
        of="(?:de )?",
        half=" y medi[oa]",
        later="tarde|(?<!media)noche",
        units=_names(
            "kilómetros millas metros centímetros milímetros kilos kilogramos gramos toneladas "
            "litros grados megabytes gigabytes megas gigas vatios kilovatios voltios milisegundos "
            "hercios km cm mm kg"
        ),
        about={"decena": 10, "veintena": 20, "treintena": 30, "cincuentena": 50, "centenar": 100},
        numbered=(
            r"(?:habitación|sala|vuelo|puerta|autobús|línea|canal|andén|vía|código|número|extensión"
            r"|apartamento)(?: número)?(?: es(?: el)?| era(?: el)?)?"
        ),
        clocks=(
            ("(?:(?<=\\bla )|(?<=\\blas )){H} y cuarto", 15, 0),
            ("(?:(?<=\\bla )|(?<=\\blas )){H} y media", 30, 0),
            ("(?:(?<=\\bla )|(?<=\\blas )){H} menos cuarto", -15, 0),
            ("(?:(?<=\\bla )|(?<=\\blas )){H} y {M}(?: minutos?)?", 0, 1),
            ("(?:(?<=\\bla )|(?<=\\blas )){H} menos {M}(?: minutos?)?", 0, -1),
            (
                "(?:(?<=\\bla )|(?<=\\blas )){H}"
                "(?= (?:en punto|de la (?:ma|tar|no)|del medio))", 0, 0,
            ),
            ("{H} horas(?: y)? {M}(?: minutos)?", 0, 1),
        ),
        noons={"mediodía": 12, "medianoche": 0},
        part=" (?:de la (?:mañana|tarde|noche|madrugada)|del mediodía)| ?[ap]\\. ?m\\.",
        late="tarde|noche|p",
        dates=("{D} de (?:{m})(?: del? {Y})?",),
    ),
}  # fmt: skip


@cache
def words(language: str) -> Words:
    """Return the words of a language.

    Raises:
        KeyError: the language is not one of the four.
    """
    return _WORDS[language]


@cache
def months(language: str) -> dict[str, int]:
    """Return the names of the months in lower case, and their numbers."""
    wide = Locale.parse(language).months["format"]["wide"]
    found = {str(name).lower(): int(number) for number, name in wide.items()}
    found |= {"es": {"setiembre": 9}, "de": {"jänner": 1}}.get(language, {})
    return found


def month_name(number: int, language: str) -> str:
    """Return the name of a month as used in a sentence."""
    return str(Locale.parse(language).months["format"]["wide"][number])
