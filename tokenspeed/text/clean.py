"""Characters as a model knows them: composed, visible, with plain spaces.

What is removed or replaced is listed with its reason. Knows characters; does not know words,
languages or models: a function tells which characters a vocabulary has.

Cleaning a growing text again changes nothing before its last character: each decision only looks
back, except for marks that combine with the letter before them.
"""

import html
import unicodedata
from collections.abc import Callable
from typing import Final

import regex

# Characters that need no cleaning: most texts consist of these alone, and cost one match.
_PLAIN: Final = regex.compile(
    r"(?V1)[[\x20-\x7e\u00a1-\u02af\u2013\u2014\u2018-\u201e\u2022\u2026\u20ac]--[\u00ad]]*"
)

_SPACES: Final = regex.compile(
    # Line breaks (\r\n is one), tabs, separators of C0, no-break and typographic spaces: the
    # vocabulary has one space, and others become bytes, after which a model starts a new sentence.
    r"\r\n|[\t\n\v\f\r\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
)
_REMOVED: Final = regex.compile(
    "(?V1)["
    # NUL and other controls: remains of binary formats and terminals, invisible.
    r"[\x00-\x08\x0e-\x1b\x7f-\x9f]"
    # Soft hyphen: where a word may be broken, not a letter of it. Grapheme joiner, word joiner,
    # byte order mark, invisible operators of mathematics: only layout.
    r"[\u00ad\u034f\u2060-\u2064\ufeff]"
    # Embeddings, overrides and isolates of bidirectional text: the target has its own layout.
    r"[\u202a-\u202e\u2066-\u206f]"
    # Fillers that draw nothing; anchors of annotations and embedded objects.
    r"[\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufff9-\ufffc]"
    # Private use: every program means something else by it, and here it is used for placeholders.
    r"[\p{Co}]"
    # Not characters, by the standard.
    r"[\ufdd0-\ufdef\p{Noncharacter_Code_Point}]"
    "]"
)
_RTL: Final = r"\p{Hebrew}\p{Arabic}\p{Syriac}\p{Thaana}\p{Nko}"
_JOINING: Final = (
    r"\p{Arabic}\p{Syriac}\p{Mongolian}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}\p{Oriya}"
    r"\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}\p{Khmer}\p{Tibetan}\p{Myanmar}"
)
_PICTURE: Final = r"(?:\p{Extended_Pictographic}|\p{Emoji_Modifier})"
_CONDITIONAL: Final = regex.compile(
    # Joiners shape letters of these scripts, and glue pictures into one (families, professions).
    rf"(?V1)(?<![{_JOINING}]\p{{M}}{{0,8}})(?<!{_PICTURE}\ufe0f?)\u200d"
    rf"|(?<![{_JOINING}]\p{{M}}{{0,8}})\u200c"
    # Direction marks matter only after a letter of a right-to-left script.
    rf"|(?<![{_RTL}]\p{{M}}{{0,8}})[\u200e\u200f\u061c]"
    # How a picture or a keycap is drawn; after anything else a leftover.
    rf"|(?<!{_PICTURE})(?<![0-9#*])\ufe0f|[\ufe00-\ufe0e]|[\U000e0100-\U000e01ef]"
    # Tags spell the flags of regions; elsewhere they hide text.
    r"|(?<!\U0001f3f4[\U000e0020-\U000e007f]{0,8})[\U000e0000-\U000e007f]"
)
# Zero-width spaces separate words in scripts without spaces, and are removed there. Between other
# letters they become spaces; next to a mark or a space they are removed.
_ZERO_WIDTH: Final = regex.compile(r"(?V1)\u200b+")
_SPACELESS: Final = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
)
_LETTER: Final = regex.compile(r"[\p{L}\p{N}\p{M}]")
# Longer piles of marks (stream-safe text, UAX 15) are in no writing, and composing one takes
# quadratic time: a message full of them would block the service for minutes.
_PILE: Final = regex.compile(r"(\p{M}{30})\p{M}+")
_SURROGATE: Final = regex.compile(r"[\ud800-\udfff]")

# Variants that mean the same as a plain sign; the first that a vocabulary has is used.
_VARIANTS: Final = {
    "\u2010": "-", "\u2011": "-", "\u2012": "–-", "\u2015": "—–-", "\u2212": "-", "\ufe58": "-",
    "\ufe63": "-", "\u2018": "'", "\u201b": "'", "\u02bc": "’'", "\u02bb": "’'", "\u02b9": "'",
    "\u2032": "'", "\uff07": "'", "\u201f": '“"', "\u2033": '"', "\u2036": '"', "\u2044": "/",
    "\u2215": "/", "\u2217": "*", "\u2219": "·", "\u22c5": "·", "\u2024": ".", "\u00b4": "'",
    "\u2039": "'", "\u203a": "'", "\u201a": "'",
}  # fmt: skip
_VARIANT: Final = regex.compile(
    f"[{''.join(_VARIANTS)}\uff01-\uff5e\ufb00-\ufb06\u0132\u0133\u01c4-\u01cc\u01f1-\u01f3\u2488-\u249b"
    "\u2100-\u214f\u00bc-\u00be\u2150-\u215e\u3371-\u33df\U0001d400-\U0001d7ff]|\\p{Lu}"
)
# Signs for a unit, which a model is always shown as letters: "℃", "㎏".
UNITS: Final = regex.compile(r"[\u2103\u2109\u3371-\u33a0\u33a4\u33a7-\u33df]")
FRACTION: Final = regex.compile(r"[\u00bc-\u00be\u2150-\u215e]")
# Combining marks left after a Latin letter: those that could be composed are composed already.
_STRAY_MARK: Final = regex.compile(r"(?V1)(?<=\p{Latin}\p{M}{0,30})\p{M}")
# HTML entities for letters, and for apostrophes within a word.
_ENTITY: Final = regex.compile(
    r"(?P<inside>(?<=\p{L})&(?:#39|#x27|#8217|apos|rsquo);(?=\p{L}))"
    r"|&(?:[A-Za-z]{1,3}(?:grave|acute|circ|tilde|uml|ring|cedil|lig)|#\d{2,5}|#[xX][0-9a-fA-F]{2,4});"
)


def clean(text: str, is_known: Callable[[str], bool] | None = None) -> str:
    """Return a text as a model should read it.

    Args:
        text: anything; lone surrogates become U+FFFD.
        is_known: whether a vocabulary has a character; variants are folded where it does not.
            None: nothing is folded.
    """
    if _PLAIN.fullmatch(text) is None:
        text = _visible(text)
    return text if is_known is None else fold(text, is_known)


def fold(text: str, is_known: Callable[[str], bool]) -> str:
    """Write typographic variants as a vocabulary has them; the number of words stays."""
    if text.isascii():
        return text

    def plain(match: regex.Match[str]) -> str:
        sign = match[0]
        if sign.isascii() or is_known(sign):
            return sign
        if sign.isupper() and len(sign.lower()) == 1 and is_known(sign.lower()):
            return sign.lower()  # "Île": a rare capital becomes bytes, which spoil its word
        found = next((other for other in _VARIANTS.get(sign, "") if is_known(other)), None)
        if found is not None:
            return found
        folded = unicodedata.normalize("NFKC", sign).replace("\u2044", "/")
        if FRACTION.match(sign) and text[match.start() - 1 : match.start()].isdigit():
            folded = f" {folded}"  # "1½" is not eleven halves
        is_read = UNITS.match(sign) is not None or all(map(is_known, folded))
        return folded if is_read else sign

    text = _VARIANT.sub(plain, text)
    return _STRAY_MARK.sub(lambda match: match[0] if is_known(match[0]) else "", text)


def read_entities(text: str) -> str:
    """Replace HTML entities for letters ("caf&eacute;") with the letters."""
    if "&" not in text:
        return text

    def letter(match: regex.Match[str]) -> str:
        sign = html.unescape(match[0])
        return sign if match["inside"] or sign.isalpha() else match[0]

    return _ENTITY.sub(letter, text)


def _visible(text: str) -> str:
    if _SURROGATE.search(text):
        # Surrogate pairs written as two characters become one again.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = _REMOVED.sub("", _SPACES.sub(" ", text))
    text = _CONDITIONAL.sub("", text)
    text = _ZERO_WIDTH.sub(_space_of, text)
    return compose(text)


def compose(text: str) -> str:
    """Return a text in NFC, in linear time."""
    return unicodedata.normalize("NFC", _PILE.sub(r"\1", text))


def _space_of(match: regex.Match[str]) -> str:
    text, (start, end) = match.string, match.span()
    before, after = text[start - 1 : start], text[end : end + 1]
    if not (_LETTER.match(before) and _LETTER.match(after)):
        return ""
    return "" if _SPACELESS.match(before) or _SPACELESS.match(after) else " "
