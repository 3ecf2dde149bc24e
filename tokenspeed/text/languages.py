"""Languages: their codes, and their names in any language. All from CLDR, through `babel`.

Knows every language that CLDR names; does not know which of them a model translates.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import regex
from babel import Locale, UnknownLocaleError
from babel.core import get_global

AUTO: Final = "auto"  # a source whose language is not given

_MAX_TAG: Final = 128  # characters, with space around it
_SUBTAG: Final = regex.compile(r"[A-Za-z0-9]{1,8}")
_WORD: Final = regex.compile(r"[\p{L}\p{M}]+(?:[-_](?:\p{L}{2,4}|\d{3})\b)*")
_MAX_NAME_WORDS: Final = 3
# Inflections of a name in a sentence: "ins Deutsche", "langue allemande", "inglesa".
_ENDINGS: Final = ("en", "er", "em", "es", "as", "os", "e", "s", "a")
_CONSTRUCTED: Final = frozenset({"ia", "ie", "io", "vo"})  # "has ido" names no language
_QUOTES: Final = "\"'`“”„‘’«»<>[]()"
_ARROW_BEFORE: Final = regex.compile(r"(?:->|=>|→|⇒|>)\s*$")
_ARROW_AFTER: Final = regex.compile(r"\s*(?:->|=>|→|⇒)")


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a text names a language; `code` may be unknown to every model here."""

    start: int
    end: int
    code: str


def normalise(tag: str) -> str | None:
    """Return a tag as BCP 47 writes it: `EN_us` -> `en-US`, `deu` -> `de`, `iw` -> `he`.

    None if it is not a tag. Whether such a language exists is not checked.
    """
    return _normalised(tag) if len(tag) <= _MAX_TAG else None  # whole texts are not kept in memory


@lru_cache(maxsize=4096)
def _normalised(tag: str) -> str | None:
    subtags = tag.strip().replace("_", "-").split("-")
    if not all(map(_SUBTAG.fullmatch, subtags)):
        return None
    language = subtags[0].lower()
    if len(language) < 2 or not (language.isalpha() or len(subtags) == 1):
        return None
    language = str(get_global("language_aliases").get(language, language)).split("_")[0]
    return "-".join([language, *map(_subtag, subtags[1:])])


def primary(tag: str | None) -> str | None:
    """Return the language of a tag without script and region: `de_AT` -> `de`.

    None for `auto` and for no tag. What cannot be a tag is returned in lower case.
    """
    language = (normalise(tag or AUTO) or str(tag).lower()).split("-")[0]
    return None if language == AUTO else language


def matched(tag: str | None, languages: Iterable[str]) -> str | None:
    """Return which of some languages a tag asks for: ("zh-TW", ["zh", "zh-Hant"]) -> `zh-Hant`.

    It is the same tag if there; else, among those of its language, preferably one in its script,
    then with its region or without any. If there is none, the language of the tag. None for `auto`
    and for no tag.
    """
    language = primary(tag)
    if tag is None or language is None:
        return None
    asked = normalise(tag) or tag
    found = sorted(each for each in languages if _is_same(primary(each), language))
    if asked in found or not found:
        return asked if asked in found else language
    script, region = script_of(asked), _region(asked)
    return min(
        found,
        key=lambda each: (
            script_of(each) != script,
            _region(each) != region,
            _region(each) is not None,
            each.count("-"),
        ),
    )


def script_of(tag: str) -> str | None:
    """Return the script that a language is written in, according to CLDR: `zh-TW` -> `Hant`."""
    return _script_of(tag) if len(tag) <= _MAX_TAG else None


@lru_cache(maxsize=4096)
def _script_of(tag: str) -> str | None:
    subtags = (normalise(tag) or tag).split("-")
    named = [each for each in subtags[1:] if len(each) == 4 and each.isalpha()]
    if named:
        return named[0]
    likely = get_global("likely_subtags")
    for known in ("_".join(subtags), subtags[0]):
        if known in likely:
            return str(likely[known]).split("_")[1]
    return None


def spaces_sentences(tag: str) -> bool:
    """Whether sentences are separated by spaces; they are in Thai, though its words are not."""
    return primary(tag) not in ("zh", "yue", "ja")


def _region(tag: str) -> str | None:
    found = (each for each in tag.split("-")[1:] if len(each) == 2 or each.isdigit())
    return next(found, None)


def _is_same(language: str | None, other: str | None) -> bool:
    """Whether two codes name one language; `no` counts as `nb`."""
    return language == other or {language, other} == {"no", "nb"}


def name_of(tag: str, language: str = "en") -> str:
    """Return what a language is called in another: ("de", "fr") -> `allemand`.

    A region is included if CLDR has a name for both together (`pt-BR`). Without a name, the tag is
    returned.
    """
    names = _names(language)
    normal = normalise(tag) or tag
    return names.get(normal.replace("-", "_")) or names.get(normal.split("-")[0]) or tag


def code_of(name: str, languages: Iterable[str] = ()) -> str | None:
    """Return the code of a language: by its code or tag, or by its name.

    Args:
        name: as somebody wrote it; case and accents do not matter.
        languages: codes of those available, in which the name may also be, besides English.
    """
    ours = tuple(languages)
    tag = normalise(name)
    if tag is not None and tag.split("-")[0] in _names("en"):
        return matched(tag, ours)
    wanted = _folded(name.strip())
    for language in ours:
        if "-" in language and wanted == _folded(name_of(language)):
            return language  # "Brazilian Portuguese"
    for language in dict.fromkeys(("en", *ours)):
        if wanted in _codes(language):
            return matched(_codes(language)[wanted], ours)
    return None


def mentions(text: str, languages: Iterable[str]) -> list[Mention]:
    """Return the languages that a text names, from left to right.

    Names count in English and in any of `languages`, whatever their case and accents, with their
    grammatical endings. As many codes are words ("de", "es"), a code counts only between quotes,
    next to an arrow, with a region, or, if it is one of `languages`, in capitals ("DO IT").
    """
    ours = tuple(dict.fromkeys(("en", *languages)))
    words = list(_WORD.finditer(text))
    found: list[Mention] = []
    at = 0
    while at < len(words):
        for count in range(min(_MAX_NAME_WORDS, len(words) - at), 0, -1):
            start, end = words[at].start(), words[at + count - 1].end()
            code = _named(text[start:end], ours)
            if code is None and count == 1:
                code = _coded(text, start, end, ours)
            if code is not None:
                found.append(Mention(start, end, code))
                at += count - 1
                break
        at += 1
    return found


def _named(words: str, languages: tuple[str, ...]) -> str | None:
    folded = _folded(words)
    bare = [folded.removesuffix(ending) for ending in _ENDINGS if folded.endswith(ending)]
    for name in (folded, *bare):
        for language in languages:
            code = _codes(language).get(name)
            # Codes of three letters name small languages, some like words ("Even", "Fang").
            if code is not None and len(code) == 2 and code not in _CONSTRUCTED:
                return code
    return None


def _coded(text: str, start: int, end: int, languages: tuple[str, ...]) -> str | None:
    word = text[start:end]
    tag = normalise(word)
    code = None if tag is None else tag.split("-")[0]
    if code is None or code not in _names("en"):
        return None
    region = word[len(code) :] if tag != code else ""
    if code in languages and (word.isupper() or region):
        return code
    if region and not region.islower():  # pt-BR, but not to-do
        return code
    is_quoted = text[start - 1 : start] in _QUOTES and text[end : end + 1] in _QUOTES and start
    has_arrow = _ARROW_BEFORE.search(text[:start]) or _ARROW_AFTER.match(text[end:])
    return code if is_quoted or has_arrow else None


def _subtag(subtag: str) -> str:
    """Write a script with an initial capital, a region in capitals, all else in lower case."""
    if len(subtag) == 4 and subtag.isalpha():
        return subtag.capitalize()
    return subtag.upper() if len(subtag) == 2 or subtag.isdigit() else subtag.lower()


def _folded(name: str) -> str:
    """Return a name without what people leave out: capitals and accents."""
    apart = unicodedata.normalize("NFD", name.casefold())
    return " ".join("".join(c for c in apart if not unicodedata.combining(c)).split())


@lru_cache(maxsize=64)
def _names(language: str) -> dict[str, str]:
    """Names of all languages in one language, by CLDR code (`pt_BR`); {} if CLDR lacks it."""
    try:
        locale = Locale.parse((normalise(language) or "und").split("-")[0])
    except (UnknownLocaleError, ValueError):
        return {}
    return dict(locale.languages)


@lru_cache(maxsize=64)
def _codes(language: str) -> dict[str, str]:
    """Codes by folded name; if two languages share a name, the shorter code."""
    names = sorted(_names(language).items(), key=lambda item: (-len(item[0]), item[0]))
    return {_folded(name): code.split("_")[0] for code, name in names}
