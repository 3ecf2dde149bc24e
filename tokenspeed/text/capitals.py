"""Text all in capitals, as stenographers and broadcasters write: read as a sentence, given back.

Models have seen little of it, and copy or lose its words; the same happens to a single word in
capitals ("this is REALLY late"). Knows letters, and how many pieces a vocabulary has for a word;
does not know languages beyond the English pronoun and German nouns, nor which words are names.
"""

from collections.abc import Callable
from typing import Final

import regex

from tokenspeed.text.abbreviations import STARTERS

_WORD: Final = regex.compile(r"[\p{L}\p{M}'’]+")
_FIRST: Final = regex.compile(r"(?:^|(?<!\b\p{L})[.!?…]['\"”’»)]*\s+|[¿¡]\s*)['\"“„«(¿¡\s]*\K\p{L}")
_PRONOUN: Final = regex.compile(r"\bi\b(?![.\-])")
# Short forms that are always written in capitals, and are not words: models know them so.
_SHORT: Final = (
    "NATO|EU|UN|UNO|USA|UK|BBC|CNN|FBI|CIA|NASA|UNESCO|UNICEF|IMF|GDP|CEO|TV|MP|DNA|HIV|UEFA|FIFA|NBA"
    "|NFL|BMW|IBM|ARD|ZDF|SPD|CDU|CSU|FDP|ONU|OTAN|PSOE|SNCF|PDF|USB|URL|HTML|API|GPS|COVID|EZB|ECB|FC"
    "|ESA|FDA|CDC|WTO|OECD|OPEC|ASEAN|NGO|UTC|HBO|NBC|CBS|ESPN|NPR|DVD|MLB|NHL|RTL|WDR|NDR|RTVE|UCLA"
)
# "US" as a country, not the pronoun; letters with periods, "U.S.", but not "P.M.".
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

_LOUD: Final = regex.compile(
    r"(?:(?<![\p{L}\p{N}.&@#_/-])\p{Lu}{2,}(?![\p{L}\p{N}&@_/]|[-.]\p{L}) ?)+"
)
# Short words that are in capitals only to stress them, and are not abbreviations.
_STRESSED: Final = frozenset(
    "not no now all yes you my he she we too so two did had why how her him his our off yet"
    " nie nur ja nein ich du wir ihr sie mir dir sehr pas non oui moi toi lui bon muy sí tú yo ya"
    " hoy más qué".split()
)
_SENTENCE_BEFORE: Final = regex.compile(r"(?r)[.!?…]['\"”’»)]*\s+")
_TITLES: Final = frozenset(
    "visa seat bild zeit welt stern focus opel mini smart orange live".split()
)
MIN_LOUDER: Final = 2  # pieces that a stressed word has more in capitals than in small letters
MIN_LOUD_NOUN: Final = 4  # pieces of a German noun in capitals; of fewer are short forms as well

BEGIN: Final = 0.95  # share of capital letters from which a text is in capitals
END: Final = 0.7  # below it, a growing text that began in capitals no longer is
MIN_WORDS: Final = 2  # of two letters or more; a single one may be a name such as NATO
MIN_LETTERS: Final = 5


def are_capitals(text: str, before: bool = False) -> bool:
    """Whether a text is all in capitals.

    Args:
        before: the result for its beginning; for a growing text it does not change at once.
    """
    if not before and sum(map(str.isupper, text)) < MIN_LETTERS:
        return False  # most texts, in a tenth of the time
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


def unstressed(word: str, count_pieces: Callable[[str], int], language: str | None) -> str | None:
    """Return a stressed word in capitals as it is normally written; None if it is not stressed.

    A word that the vocabulary knows in lower case, but needs several pieces for in capitals, is
    stressed; short forms ("NATO", "HTML") and names ("SMITH") are not like that.

    Args:
        count_pieces: of a word in a vocabulary. language: of the text; None if unknown.
    """
    small, large = word.lower(), word.capitalize()
    if len(small) != len(word) or small in _TITLES or _KEPT.fullmatch(word):
        return None
    if small in _STRESSED:
        return small
    if len(word) < 4:
        return None
    counts = count_pieces(small), count_pieces(large)
    if min(counts) > MIN_LOUDER or count_pieces(word) < min(counts) + MIN_LOUDER:
        return None
    if counts[0] < counts[1] or (small in STARTERS and counts[0] == counts[1]):
        return small
    is_noun = language == "de" and counts[1] == 1 and count_pieces(word) >= MIN_LOUD_NOUN
    return large if is_noun else None


def quieten(
    text: str,
    count_pieces: Callable[[str], int],
    *,
    is_beginning: bool = True,
    language: str | None = None,
) -> str:
    """Write stressed words in lower case, in a text that is not all in capitals.

    Args:
        count_pieces: of a word in a vocabulary. language: of the text; None if unknown.
        is_beginning: whether nothing comes before it.
    """

    def quiet(match: regex.Match[str]) -> str:
        words = match[0].split(" ")
        said = [unstressed(word, count_pieces, language) if word else "" for word in words]
        if not any(said):
            return match[0]
        for i, word in enumerate(words):  # short ones beside a stressed word: "POR FAVOR"
            is_short = said[i] is None and len(word) < 4 and not _KEPT.fullmatch(word)
            if is_short and count_pieces(word.lower()) == 1 < count_pieces(word):
                said[i] = word.lower()
        is_first = is_beginning and not _WORD.search(text, 0, match.start())
        if is_first or _SENTENCE_BEFORE.match(text, 0, match.start()):
            said[0] = said[0] and said[0][0].upper() + said[0][1:]
        return " ".join(
            word if quiet is None else quiet for word, quiet in zip(words, said, strict=True)
        )

    return _LOUD.sub(quiet, text)


def to_sentence(text: str, *, is_beginning: bool = True, language: str | None = None) -> str:
    """Write a text in capitals as a sentence: in lower case except for first letters.

    Args:
        language: of the text; None if unknown.
        is_beginning: whether nothing comes before it.
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
