"""Words that end in a period and end no sentence, and words that begin one.

For the languages of the default model, as their dictionaries have them; months are from CLDR. Lists
of other projects were considered: pysbd's calls "de", "en" and "un" abbreviations, syntok's has
three languages, and CLDR's and ICU's are in no package that installs without a compiler.
"""

from functools import cache
from typing import Final

import regex
from babel import Locale

_LANGUAGES: Final = ("de", "en", "es", "fr")

# A name or an example follows, however it begins: never the end of a sentence.
_LEADING: Final = (
    # en
    " mr mrs ms messrs dr prof hon e.g i.e cf vs viz approx esp incl"
    # de
    " hr fr frl dipl z.b z.t d.h d.i u.a s.o s.u bzw bzgl vgl ca evtl ggf inkl exkl zzgl"
    " sogen"
    # fr
    " m mm mme mmes mlle mlles mgr p.ex c.-à-d env"
    # es
    " sr sra sres srta srtas ee dña dra lic ud uds vd vds p.ej aprox gral"
)
# A number follows; without one some of them are words ("No. I am not"): they end a sentence.
_NUMBERED: Final = (
    " no nos nr nrn num núm n nº p pp pg pgs pág págs s vol vols bd bde ch chap kap cap fig"
    " figs abb abs art arts sec sect § par z ziff tab tabl eq ex op v tel tél ext rd pos lfd"
    " al éd ed aufl rs párr"
)
# They may end a sentence or occur inside one; the word after them decides.
_EITHER: Final = (
    # en
    " etc al inc ltd co corp bros jr esq llc plc assn dept univ ave blvd rd hwy st mt ft"
    " ph.d rev gen col maj capt cmdr lt sgt cpl pvt brig gov sen supt insp sec nr vol chap"
    " fig figs pp"
    # de
    " usw usf uhr std sek mio mrd tsd mwst abk abt abb abs anm allg jh jhd gmbh ff dgl bspw"
    " geb betr"
    # fr
    " hab suiv sqq ibid dép fém masc trad boul tél av pág págs núm"
    # es
    " cía dpto depto dcha izq izda pral tfno arq avda pza sto excmo cap"
)
_STARTERS: Final = (
    # en
    " the a an this that these those he she it we you they i there here his her its our your"
    " their my what when where who whom whose why how which and but so then or nor if in on"
    " at for from with as by to of after before since while because although however"
    " therefore meanwhile moreover also yes no not now today tomorrow yesterday let please"
    " thank all most some many several each every one two both another other such see it's"
    " that's there's he's she's we're they're i'm you're don't is are was were do does did"
    " can could will would should may must has have had"
    # de
    " der die das den dem des ein eine einen einem einer er sie es wir ihr ich du man mein"
    " dein sein unser euer und aber oder denn doch sondern also dann wenn als weil da dass"
    " ob obwohl während nachdem bevor wer wen wem was wo wohin woher wann warum wieso wie"
    " welche welcher dieser diese dieses jener jede jeder alle viele einige manche kein"
    " keine nicht auch nur noch schon hier dort heute morgen gestern jetzt im am zum zur in"
    " an auf bei mit nach von vor für über unter bis seit durch trotzdem deshalb daher"
    " außerdem bitte danke ja nein ist sind war waren hat haben kann"
    # fr
    " le la les l un une des du il elle on nous vous ils elles je tu ce cet cette ces c'est"
    " ceux mon ma mes ton ta tes son sa ses notre nos votre vos leur leurs et mais ou donc"
    " or ni car puis alors si quand lorsque comme parce que qui où pourquoi comment combien"
    " quel quelle dans sur sous avec sans pour par en à au aux chez depuis pendant après"
    " avant aussi ainsi cependant pourtant oui non ici là aujourd'hui demain hier tout tous"
    " toutes plusieurs chaque"
    # es
    " el los las unos unas él ella nosotros ustedes usted ellos ellas yo tú esto este esta"
    " estos estas ese esa esos esas aquel su sus mi mis tu nuestro nuestra y e pero o u"
    " porque pues aunque cuando mientras entonces como quién quien qué cuál dónde cuándo"
    " cómo por con sin sobre hasta desde según después antes también además no sí aquí allí"
    " hoy mañana ayer ahora todo todos cada muchos hay es son fue era ha han"
)

# Only next to another day or a number: otherwise a period after them usually ends a sentence.
_DAY_NAMES: Final = (
    ("Mon", "Monday"), ("Tues?", "Tuesday"), ("Wed", "Wednesday"), ("Thu(?:rs?)?", "Thursday"),
    ("Fri", "Friday"), ("Sat", "Saturday"), ("Sun", "Sunday"),
)  # fmt: skip
_DAYS: Final = (
    *((rf"\b{short}\.(?=\s?[-–,/]|\s(?:and|or|to|through|at)\b|\s\d)", name)
      for short, name in _DAY_NAMES),
    *((rf"(?<=(?:\b(?:and|or|to)\s|[-–/]))\b{short}\.(?=\s*$)", f"{name}.")
      for short, name in _DAY_NAMES),
)  # fmt: skip
_DAY_NAMES_DE: Final = (
    ("Mo", "Montag"), ("Di", "Dienstag"), ("Mi", "Mittwoch"), ("Do", "Donnerstag"),
    ("Fr", "Freitag"), ("Sa", "Samstag"), ("So", "Sonntag"),
)  # fmt: skip
_SHORT_DAY_DE: Final = r"(?:Mo|Di|Mi|Do|Fr|Sa|So)\."
_DAYS_DE: Final = (
    *((rf"\b{short}\.(?=(?:\s?[-–/,]\s?|\s(?:bis|und|oder)\s){_SHORT_DAY_DE})", name)
      for short, name in _DAY_NAMES_DE),
    *((rf"(?<=(?:tag|woch)(?:\s?[-–/,]\s?|\s(?:bis|und|oder)\s)){short}\.", name)
      for short, name in _DAY_NAMES_DE),
)  # fmt: skip
_SHORT_DAY_FR: Final = r"(?:lun|mar|mer|jeu|ven|sam|dim)\."
_SHORT_DAY_ES: Final = r"(?:lun|mar|mié|jue|vie|sáb|dom)\."
# The first of two, then the second, behind what has become of the first.
_DAYS_FR: Final = (
    *((rf"\b{name[:3]}\.(?=(?:\s?[-–/,]\s?|\s(?:au|et|ou|à)\s){_SHORT_DAY_FR})", name)
      for name in ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")),
    *((rf"(?<=(?:di|dimanche)(?:\s?[-–/,]\s?|\s(?:au|et|ou|à)\s)){name[:3]}\.", name)
      for name in ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")),
)  # fmt: skip
_DAYS_ES: Final = (
    *((rf"\b{name[:3]}\.(?=(?:\s?[-–/,]\s?|\s(?:al?|y|o)\s){_SHORT_DAY_ES})", name)
      for name in ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo")),
    *((rf"(?<=(?:es|sábado|domingo)(?:\s?[-–/,]\s?|\s(?:al?|y|o)\s)){name[:3]}\.", name)
      for name in ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo")),
)  # fmt: skip
_DAY_DE: Final = "(?:Mo|Di|Mi|Do|Fr|Sa|So)"
_NO_DIGIT_BEFORE: Final = r"(?<![\d.,:–-])(?<!\d )"
_HOUR_DE: Final = r"\d{1,2}(?:[:.]\d\d)?"
_HOURS_DE: Final = rf"\s{_HOUR_DE}(?:\s?[-–]\s?|\sbis\s)\d"  # "Sa 10-14 Uhr"
_BARE_DAYS_DE: Final = tuple(
    (rf"\b{name[:2]}(?=\s?[-–]\s?{_DAY_DE}\b|{_HOURS_DE})"
     rf"|(?<=(?:\b{_DAY_DE}|tag|Mittwoch)\s?[-–]\s?){name[:2]}\b(?!\.)"
     + (r"(?=\s*(?:[,;)\d]|von\b|ab\b|$))" if name == "Sonntag" else ""), name)  # also "so"
    for name in ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag")
)  # fmt: skip
# "No. 5" is read as "number 5": models take the short form for a "no", and leave others out.
_SHORT: Final = {
    "en": (
        (r"\b[Nn]o\.\s*(?=\d)", "number "),
        (r"\b[Nn]os\.\s*(?=\d)", "numbers "),
        (r"\b[Aa]pprox\.", "approximately"),
        (r"\bpp\.\s?(?=\d)", "pages "),
        (r"\bp\.\s?(?=\d)", "page "),
        (r"\b[Ff]igs\.\s?(?=\d)", "figures "),
        (r"\b[Ff]ig\.\s?(?=\d)", "figure "),
        (r"\bincl\.", "including"),
        (r"\bexcl\.", "excluding"),
        (r"\b[Mm]in\.(?= of\b|,)", "minutes"),
        (r"\bhrs?\.(?=\s|,)", "hours"),
        (r"(?<=\d )lbs?\.", "pounds"),
        (r"(?<=\d )ft\.", "feet"),
        (r"(?<=\d )in\.(?= \p{Ll})", "inches"),
        *_DAYS,
        (r"\bw/o(?=\s)", "without"),
        (r"\bw/(?=\s)", "with"),
        (r"\bb/c(?=\s)", "because"),
        (r"\bU\.K(?:\.(?=\s+[\p{Ll}&]|[,;:'’])|(?=\.\s*$))", "UK"),
        (r"\bU\.N(?:\.(?=\s+[\p{Ll}&]|[,;:'’])|(?=\.\s*$))", "UN"),
        (r"\bE\.U(?:\.(?=\s+[\p{Ll}&]|[,;:'’])|(?=\.\s*$))", "EU"),
        (r"\b[Rr]m\.\s?(?=\d)", "room "),
        (r"\bArt\.\s?(?=\d)", "Article "),
        (r"\b[Aa]pt\.\s?(?=\d)", "apartment "),
        (r"(?<=\b1 |\d/\d |[½¼¾] )[Tt]bsp\b\.?(?= \p{Ll})", "tablespoon"),
        (r"(?<=\d )[Tt]bsps?\b\.?(?= \p{Ll})", "tablespoons"),
        (r"(?<=\d )hrs(?=\s|[,.!?]|$)", "hours"),
        (r"(?<=\d )mins(?=\s|[,.!?]|$)", "minutes"),
        (r"(?<=\d )secs(?=\s|[,.!?]|$)", "seconds"),
        (r"(?<=\d )yrs(?=\s|[,.!?]|$)", "years"),
        (r"(?<=\d )wks(?=\s|[,.!?]|$)", "weeks"),
        (r"(?<=\d )lbs(?=\s|[,.!?]|$)", "pounds"),
        (r"(?<=\d )oz\b\.?(?= of)", "ounces"),
        (r"(?<=[\p{L}\d] )@(?= [\p{L}\d$€£])", "at"),
        (r"\bRs\.?\s?(?=\d)", "₹"),
        (r"(?<=\b[ap]\.? ?m\b\.?|\bnoon|\bmidnight|\bat \d{1,2}(?::\d\d)?) sharp"
         r"(?=\s*(?:[.,;!?]|$))", " exactly"),
        (r"(?<=o['’] ?clock) sharp(?=\s*(?:[.,;!?]|$))", ""),
        (r"(?<=(?<![\p{L}\d.])\d{1,4}\.\d{1,3})s(?=[\s,;!?)]|\.?\s*$|\.\s)", " s"),  # seconds
        (r"(?<=(?:\p{Ll}|UK|UN|EU|U\.S\.),? )&(?= \p{Ll})", "and"),
    ),
    "de": (
        (r"\bNr\.\s*(?=\d)", "Nummer "),
        (r"\bNrn\.\s*(?=\d)", "Nummern "),
        (r"\bz\.\s?B\.", "zum Beispiel"),
        (r"\bd\.\s?h\.", "das heißt"),
        (r"\bu\.\s?a\.", "unter anderem"),
        (r"\bca\.\s?(?=\d)", "circa "),
        (r"\b[Ii]nkl\.", "inklusive"),
        (r"\b[Ee]xkl\.", "exklusive"),
        (r"\b[Zz]zgl\.", "zuzüglich"),
        (r"\b[Bb]zw\.", "beziehungsweise"),
        (r"\b[Gg]gf\.", "gegebenenfalls"),
        (r"\b[Ee]vtl\.", "eventuell"),
        (r"\bMwSt\b\.?", "Mehrwertsteuer"),
        (r"\bStd\.", "Stunden"),
        (r"\bMin\.(?= \p{Ll}|,)", "Minuten"),
        (r"\bS\.\s?(?=\d)", "Seite "),
        (r"\bAbb\.\s?(?=\d)", "Abbildung "),
        (r"\bTab\.\s?(?=\d)", "Tabelle "),
        (r"\bKap\.\s?(?=\d)", "Kapitel "),
        (r"\bAbs\.\s?(?=\d)", "Absatz "),
        (r"\bArt\.\s?(?=\d)", "Artikel "),
        (r"\brd\.\s?(?=\d)", "rund "),
        (r"(?<=[\p{L}\d],? )u\.(?= \p{L}(?!\.))", "und"),
        *_BARE_DAYS_DE,
        (rf"(?<!\b(?:von|zwischen) {_HOUR_DE})(?<=\d)\s?[-–]\s?(?={_HOUR_DE}\s?Uhr\b)", " bis "),
        # "Geöffnet 9-18 Uhr": without "von" models take the first hour for a time of its own.
        (rf"(?<!\b(?:von|zwischen) ){_NO_DIGIT_BEFORE}"
         rf"(?={_HOUR_DE} bis {_HOUR_DE}\s?Uhr\b)", "von "),
        (r"(?<=\p{Ll},? )&(?= \p{Ll})", "und"),
        *_DAYS_DE,
        # A model takes "Montag–Freitag" for one word.
        (r"(?<=(?:Mon|Diens|Donners|Frei|Sams|Sonn)tag|Mittwoch)\s?[-–]\s?(?=\p{Lu}\p{Ll}+(?:tag|och)\b)",
         " bis "),
        (r"\bHr\.\s?(?=\p{Lu})", "Herr "),
        (r"(?<![-–/,]\s?|\b(?:am|bis|oder|ab)\s)\bFr\.\s?(?=\p{Lu})", "Frau "),
        (r"(?<=\d)[.,][–—-]{1,2}(?=[\s.,;!?]|$)", ""),  # "CHF 25.–": no cents
    ),
    "fr": (
        (r"\b[Nn](?:[°º]|o\.?)\s*(?=\d)", "numéro "),
        (r"\b[Nn]os\.?\s*(?=\d)", "numéros "),
        (r"\bp\.\s?ex\.", "par exemple"),
        (r"\benv\.\s?(?=\d)", "environ "),
        (r"\bpers\.", "personnes"),
        (r"\bart\.\s?(?=\d)", "article "),
        (r"(?<!\bet )\bal\.\s?(?=\d)", "alinéa "),
        (r"\bet suiv\.", "et suivantes"),
        (r"(?<=[\d€$£]\s?)TTC\b", "toutes taxes comprises"),
        (r"(?<=[\d€$£]\s?)HT\b", "hors taxes"),
        (rf"(?<!\bde ){_NO_DIGIT_BEFORE}"
         r"(?=\d{1,2}\s?h\s?(?:\d\d)?\s?[-–]\s?\d{1,2}\s?h)", "de "),
        (r"(?<=\d\s?h\s?(?:\d\d)?)\s?[-–]\s?(?=\d{1,2}\s?h)", " à "),
        (r"(?<=\d )min\.(?= \p{Ll}|,)", "minutes"),
        (r"\bc\.?-à-d\.", "c'est-à-dire"),
        (r"(?<=\p{Ll},? )&(?= \p{Ll})", "et"),
        *_DAYS_FR,
    ),
    "es": (
        (r"\b(?:[Nn]úm\.|[Nn]\.?\s?[º°]|No\.)\s*(?=\d)", "número "),
        (r"\b(?:[Nn]úms\.|Nos\.)\s*(?=\d)", "números "),
        (r"\bp\.\s?ej\.", "por ejemplo"),
        (r"\b[Aa]rt\.\s?(?=\d)", "artículo "),
        (r"\bpárr\.\s?(?=\d)", "párrafo "),
        (r"\by ss\.", "y siguientes"),
        (r"\bC/\s?(?=\p{Lu})", "calle "),
        (rf"(?<!\bde ){_NO_DIGIT_BEFORE}"
         r"(?=\d{1,2}(?::\d\d)?\s?[-–]\s?\d{1,2}(?::\d\d)?\s?h\b)", "de "),
        (r"(?<=\d)\s?[-–]\s?(?=\d{1,2}(?::\d\d)?\s?h\b)", " a "),
        (r"\b[Aa]prox\.", "aproximadamente"),
        (r"\b[Aa]v(?:da|d)?\.(?=\s(?:de|del|\p{Lu}))", "avenida"),
        (r"(?<=\d )min\.(?= \p{Ll}|,)", "minutos"),
        (r"\bing\.\s?(?=\p{Lu})|\bIng\.\s?(?=\p{Lu})", "ingeniero "),
        (r"\bEE\.?\s?UU\b\.?", "Estados Unidos"),
        (r"(?<=\p{Ll},? )&(?= \p{Ll})", "y"),
        *_DAYS_ES,
    ),
}  # fmt: skip

# Whatever is in `_SHORT` has one of these; most texts that still grow have none.
_SIGN_OF_SHORT: Final = regex.compile(r"[./\d@&]|MwSt|UU|sharp")

LEADING: Final = frozenset(_LEADING.split())
NUMBERED: Final = frozenset(_NUMBERED.split())
STARTERS: Final = frozenset(_STARTERS.split())
_SPELLED: Final = {
    language: tuple((regex.compile(pattern), word) for pattern, word in pairs)
    for language, pairs in _SHORT.items()
}


def spell_out(text: str, language: str | None) -> str:
    """Write out short forms that models do not understand."""
    if language not in _SPELLED or not _SIGN_OF_SHORT.search(text):
        return text
    if not _any_short(language).search(text):
        return text
    for pattern, word in _SPELLED[language]:
        for match in reversed(list(pattern.finditer(text))):
            is_first = not text[: match.start()].strip()
            said = word[:1].upper() + word[1:] if is_first else word
            text = text[: match.start()] + said + text[match.end() :]
    return text


@cache
def _any_short(language: str) -> regex.Pattern[str]:
    """Return a pattern that finds any short form: most texts have none, and are searched once."""
    return regex.compile("|".join(pattern for pattern, _ in _SHORT[language]))


@cache
def either() -> frozenset[str]:
    """Return what may end a sentence or occur inside one, including short names of months."""
    months = (
        name.rstrip(".").lower()
        for language in _LANGUAGES
        for name in Locale(language).months["format"]["abbreviated"].values()
        if name.endswith(".") or (language == "en" and name not in ("Mar", "May"))
    )
    return frozenset(_EITHER.split()) | frozenset(months)
