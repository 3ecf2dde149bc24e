"""How people write: forms of address, and text as speech recognisers produce it.

Used to choose and make training examples, and to count in evaluation; knows no tokens.
"""

import re
import string

YOU = re.compile(r"\byou(r|rs|rself|rselves)?\b", re.IGNORECASE)
FAMILIAR = {
    "de": re.compile(r"\b(du|dich|dir|dein\w*|euch|euer|eure\w*)\b", re.IGNORECASE),
    "fr": re.compile(r"\b(tu|te|toi|ton|ta|tes)\b|\bt['’]", re.IGNORECASE),
    # Spanish often shows it only in the verb: common verbs, and tenses with unambiguous endings.
    "es": re.compile(
        r"\b(tú|te|ti|tus?|contigo|tuy[oa]s?|eres|estás|tienes|puedes|quieres|sabes|debes|has|vas"
        r"|haces|vienes|crees|piensas|necesitas|(dij|hic|v|fu|pud|estuv|tuv|quis)iste"
        r"|\w*([aei]|d)r(á|ía)s|(ha|se)r(á|ía)s)\b",
        re.IGNORECASE,
    ),
}
FORMAL = {
    "de": re.compile(r"(?<!^)(?<![.!?] )\b(Sie|Ihnen|Ihr(e[nmrs]?)?)\b|^Sie\b"),
    "fr": re.compile(r"\b(vous|votre|vos)\b", re.IGNORECASE),
    "es": re.compile(r"\b(usted|ustedes)\b", re.IGNORECASE),
}

_PUNCTUATION = "".join(sorted(set(string.punctuation + "«»„“”‚‘’…¿¡–—") - set("'’-%$&@#+")))
# A mark between digits is part of a number: 8:45, 2.5, 05/11.
_MARK = re.compile(rf"(?<!\d)[{re.escape(_PUNCTUATION)}]|[{re.escape(_PUNCTUATION)}](?!\d)")


def form_of_address(english: str, foreign: str, language: str) -> str | None:
    """Return whether a translation of English is "formal" or "informal"; None if unclear.

    A polite pronoun at the beginning may be another one ("Sie" is also "she"), unless the English
    has a "you".
    """
    if language not in FORMAL:
        return None
    familiar, formal = FAMILIAR[language].search(foreign), FORMAL[language].search(foreign)
    if (familiar is None) == (formal is None):
        return None
    if familiar is not None:
        return "informal"
    assert formal is not None
    return "formal" if formal.start() > 0 or YOU.search(english) else None


def strip_style(text: str, style: float) -> str:
    """Write a text as recognisers do.

    Args:
        style: below 0.7 in lower case and without marks, below 0.85 only without marks, else only
            in lower case.
    """
    if style < 0.85:
        text = _MARK.sub("", text)
    if style < 0.7 or style >= 0.85:
        text = text.lower()
    return " ".join(text.split())
