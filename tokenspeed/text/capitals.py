"""Text in capitals alone, as stenographers and broadcasters write: read as a sentence, given back.

Models have seen little of it, and copy or lose its words. Knows letters; does not know languages
beyond the English pronoun, nor which words are names.
"""

from typing import Final

import regex

_WORD: Final = regex.compile(r"[\p{L}\p{M}'’]+")
_FIRST: Final = regex.compile(r"(?:^|(?<!\b\p{L})[.!?…]['\"”’»)]*\s+|[¿¡]\s*)['\"“„«(¿¡\s]*\K\p{L}")
_PRONOUN: Final = regex.compile(r"\bi\b(?![.\-])")
# Short forms that are written in capitals everywhere, and no words: models know them so.
_SHORT: Final = (
    "NATO|EU|UN|UNO|USA|UK|BBC|CNN|FBI|CIA|NASA|UNESCO|UNICEF|IMF|GDP|CEO|TV|MP|DNA|HIV|UEFA|FIFA|NBA"
    "|NFL|BMW|IBM|ARD|ZDF|SPD|CDU|CSU|FDP|ONU|OTAN|PSOE|SNCF|PDF|USB|URL|HTML|API|GPS|COVID|EZB|ECB|FC"
)
# "US" where a country is meant, and no pronoun; letters with periods, "U.S.", but not "P.M.".
_KEPT: Final = regex.compile(
    rf"\b(?:{_SHORT})\b|(?<=\b(?:THE|A|AN|IN|FROM|BY|OF)\s)US\b"
    r"|\b(?!A\.M\.|P\.M\.|I\.E\.|E\.G\.|Z\.B\.|D\.H\.)(?:\p{Lu}\.){2,}"
)
# Capitals write "ss" for "ß"; stems that have it whatever follows.
_SHARP: Final = regex.compile(
    r"\b(?:ab|an|auf|aus|be|ver|vor|hin|zu|durch|ein|ge|er|ent|um|un|mit|haupt|bahnhof|auto|land)?"
    r"(?:gro|grö|hei|wei|flei|drei|schwei|schmei|spa|spä|stra|sü|fu|fü|gru|grü|au|drau|schlie|flie"
    r"|gie|genie|lie|hie|sto|stö|bei|rei|blo)ss(?=[eitl]|\b|en|er|ig)"
)

BEGIN: Final = 0.95  # share of capital letters from where on a text is in capitals
END: Final = 0.7  # below it, a growing text that began like that is not
MIN_WORDS: Final = 2  # of two letters or more; one alone may be a name such as NATO
MIN_LETTERS: Final = 5


def are_capitals(text: str, before: bool = False) -> bool:
    """Whether a text is written in capitals alone.

    Args:
        before: what was said of its beginning; a growing text does not change its mind at once.
    """
    upper = lower = words = 0
    for match in _WORD.finditer(text):
        word = match[0]
        capitals = sum(c.isupper() for c in word)
        upper += capitals
        lower += sum(c.islower() and c != "ß" for c in word)
        words += capitals > 1
    if before:
        return upper >= END * (upper + lower)
    is_enough = words >= MIN_WORDS and upper >= MIN_LETTERS
    return is_enough and upper >= BEGIN * (upper + lower)


def to_sentence(text: str, *, is_beginning: bool = True, language: str | None = None) -> str:
    """Write a text in capitals as a sentence: small but for first letters.

    Args:
        language: of the text, None where it is not known.
        is_beginning: whether nothing stands before it.
    """
    kept = {i for match in _KEPT.finditer(text) for i in range(*match.span())}
    small = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    small = _PRONOUN.sub("I", small)
    small = "".join(text[i] if i in kept else c for i, c in enumerate(small))
    if language == "de":
        small = _SHARP.sub(lambda match: match[0][:-2] + "ß", small)
    if not is_beginning:
        return small
    return _FIRST.sub(
        lambda match: match[0].upper() if len(match[0].upper()) == 1 else match[0], small
    )


def to_capitals(text: str) -> str:
    """Write a text in capitals; a sharp s becomes two letters."""
    return text.upper()
