"""Swear words with stars, "f***", for readers of captions who do not want to see them.

A short table of words for each language, those that broadcasters mask; libraries know only English,
and many words that are not swear words. Knows words; does not know what somebody meant by them.
"""

from functools import cache
from typing import Final

import regex

_WORDS: Final = {
    "en": "fuck(?:s|ed|er|ers|ing|in)? motherfuck(?:er|ers|ing) shit(?:s|ty|ting)? bullshit"
    " bitch(?:es|y)? asshole(?:s)? bastard(?:s)? cunt(?:s)? dick(?:head|heads)"
    " wank(?:er|ers|ing)? piss(?:ed)? goddamn(?:ed)? whore(?:s)? slut(?:s)? twat(?:s)?",
    "de": "scheiß(?:e|en|er|es|egal)? scheiss(?:e|en|er|es|egal)? verdammte?[nrs]?"
    " arschl(?:och|öcher) arsch fick(?:en|t|er|st)? gefickt fotzen? huren? hurensohn"
    " wichsers? schlampen? miststück kacke verfickte?[nrs]?",
    "fr": "putain merdes? merdiques? connard(?:e|s|es)? salopes? salauds? enculé(?:e|s)?"
    " bordel foutre niquer? putes? chier emmerd(?:e|es|er|ent|ant)",
    "es": "mierdas? joder jodid[oa]s? put[oa]s? cabrón cabron(?:es|a)? coños? gilipollas follar"
    " hostias? pendej[oa]s? chinga(?:r|da|do)? verga culeros? maricón",
}


def mask(text: str, language: str) -> str:
    """Return a text with stars for all but the first letter of swear words, of the same length."""
    pattern = _pattern(language)
    return text if pattern is None else pattern.sub(_stars, text)


def _stars(match: regex.Match[str]) -> str:
    return match[0][0] + "*" * (len(match[0]) - 1)


@cache
def _pattern(language: str) -> regex.Pattern[str] | None:
    words = _WORDS.get(language)
    if words is None:
        return None
    return regex.compile(rf"\b(?:{'|'.join(words.split())})\b", regex.IGNORECASE)
