"""Numbers in words, as people say them in English, German, French and Spanish.

The rules are CLDR's, through `unicode-rbnf` (MIT). It was chosen over `num2words` (LGPL), which has
no gender: "veintiuna páginas", "trois cent une pages". This file adds only what CLDR leaves out:
"and" in English, "hundert" besides "einhundert", spaces instead of hyphens in French.
"""

import re
from functools import lru_cache
from typing import Final, Literal

from unicode_rbnf import RbnfEngine

Gender = Literal["m", "f", ""]  # of what is counted; none: a bare number

_CARDINAL: Final = {
    "en": {"": "spellout-cardinal"},
    "de": {"": "spellout-numbering", "m": "spellout-cardinal-masculine",
           "f": "spellout-cardinal-feminine"},
    "fr": {"": "spellout-numbering", "m": "spellout-cardinal-masculine",
           "f": "spellout-cardinal-feminine"},
    "es": {"": "spellout-numbering", "m": "spellout-cardinal-masculine",
           "f": "spellout-cardinal-feminine"},
}  # fmt: skip
_ORDINAL: Final = {
    "en": {"": "spellout-ordinal"},
    "de": {"": "spellout-ordinal"},  # with the ending -e; "-n" as in "am zweiten Mai"
    "fr": {"": "spellout-ordinal-masculine", "f": "spellout-ordinal-feminine"},
    "es": {
        "": "spellout-ordinal-masculine",
        "f": "spellout-ordinal-feminine",
        "m": "spellout-ordinal-masculine-adjective",
    },
}


def cardinal(number: int, language: str, gender: Gender = "", *, is_long: bool = False) -> str:
    """Return a whole number in words.

    Args:
        gender: of what is counted, where the language needs it.
        is_long: "one hundred and two", "einhundertzwei" rather than "one hundred two" and
            "hundertzwei".
    Raises:
        KeyError: the language is not one of the four.
    """
    return _cardinal(number, language, gender, is_long)


def ordinal(number: int, language: str, gender: Gender = "") -> str:
    """Return an ordinal in words; German ends in -e.

    Raises:
        KeyError: the language is not one of the four.
    """
    rules = _ORDINAL[language]
    return _spell(number, language, rules.get(gender, rules[""])).replace("-et-", " et ")


def year(number: int, language: str) -> str:
    """Return a year as it is said: "nineteen eighty-four", "neunzehnhundertvierundachtzig".

    Raises:
        KeyError: the language is not one of the four.
    """
    if language in ("fr", "es"):  # CLDR's "dix-neuf-cent" is rare today
        return cardinal(number, language)
    return _spell(number, language, "spellout-numbering-year")


@lru_cache(maxsize=4096)
def _cardinal(number: int, language: str, gender: Gender, is_long: bool) -> str:
    rules = _CARDINAL[language]
    said = _spell(number, language, rules.get(gender, rules[""]))
    if language == "fr":
        return said.replace("-et-", " et ")
    if language == "en" and is_long:
        return re.sub(r"\bhundred (?=\w)(?!thousand|million|billion)", "hundred and ", said)
    if language == "de" and not is_long:
        return re.sub(r"^ein(?=hundert|tausend)", "", said)
    if language == "es" and gender == "f":  # "doscientas mil páginas", which CLDR leaves out
        millions, mark, rest = said.rpartition("mill")
        return millions + mark + re.sub(r"(cient|quinient)os\b", r"\1as", rest)
    return said


def _spell(number: int, language: str, rules: str) -> str:
    return str(_engine(language).format_number(number, ruleset_names=[rules]).text)


@lru_cache(maxsize=4)
def _engine(language: str) -> RbnfEngine:
    if language not in _CARDINAL:
        raise KeyError(language)
    return RbnfEngine.for_language(language)
