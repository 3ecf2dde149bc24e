"""What a chat's instruction asks for: from which language into which, and what delimits the text.

"Translate into German, not English", "del inglés al francés", "en->it". Each language that an
instruction names plays a part: source, target, or excluded; the words around it say which. Knows
text and languages; does not know which of them the model translates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

import regex

from tokenspeed.text.languages import Mention, code_of, mentions, name_of, primary

_Part = Literal["source", "into", "to", "bare", "not"]

MAX_READ_CHARS: Final = 4000  # a longer instruction is read only at its beginning and end
MAX_MENTIONS: Final = 50  # of languages; time grows with the square of their number
MAX_BEFORE: Final = 200  # characters before a language that say what part it plays
MAX_FENCE: Final = 40  # characters of a delimiter
MAX_FENCES: Final = 50  # delimiters that are taken off, one within another
MAX_LABEL: Final = 100  # characters of a label before or after a text, with the space around it


class UnclearInstruction(ValueError):
    """An instruction names several languages, none of which has priority."""


@dataclass(frozen=True, slots=True)
class Languages:
    """From which language into which; None if an instruction does not say."""

    source: str | None
    target: str | None


_NEGATION: Final = regex.compile(
    r"\b(?:not|never|no|don['’]?t|avoid|without|neither|nor|except|instead of"
    r"|(?:any|every)thing but|all but"
    r"|rather than|other than|nicht|nie|niemals|kein\w*|ohne|statt|anstatt|außer|weder"
    r"|pas|jamais|sans|aucun\w*|au lieu d[eu']|plutôt que|sauf"
    r"|nunca|jamás|sin|tampoco|en vez de|en lugar de|excepto)\b(?P<tail>.*)$",
    regex.IGNORECASE | regex.DOTALL,
)
# Ends the reach of a "not": "do not explain but translate into German".
_TURN: Final = regex.compile(
    r"\b(?:but|and|just|only|then|simply|always|sondern|und|nur|aber|mais|et|seulement|sino|pero|y)\b",
    regex.IGNORECASE,
)
_REACH_WORDS: Final = 6
_ARTICLES: Final = (
    r"(?:[\"'`]?\s*[:=]\s*)?(?:(?:the|a|an|your|its|das|dem|den|der|die|le|la|les|el|lo|un|une|language|langue|lengua"
    r"|idioma|sprache)\s+|l['’]\s*)*[\"'`“„«<(\[]*\s*$"
)
_FROM: Final = regex.compile(
    r"(?:\b(?:from|out of|aus|vom|von|depuis|desde|del|du|de|speaks|speaking"
    r"|(?:I|we|they|who) speak"
    r"|(?:spoken|written|said|text) in|(?:is|are|est|está|ist|sind|sont) (?:in|auf|en)"
    r"|originally|sources?(?:[ _-]?lang(?:uage)?)?(?:\s+is|\s*[:=])?)\s*|\bd['’])" + _ARTICLES,
    regex.IGNORECASE,
)
_INTO: Final = regex.compile(
    r"(?:\b(?:into|ins|nach|vers|hacia|target(?:[ _-]?lang(?:uage)?)?(?:\s+is|\s*[:=])?)"
    r"(?:\s+[\p{L}-]+){0,2}?|->|=>|→|⇒)\s*" + _ARTICLES,
    regex.IGNORECASE,
)
_TO: Final = regex.compile(
    r"\b(?:(?:to|in|auf|im)(?:\s+(?!translat|render|convert|interpret)[\p{L}-]+)??"
    r"|al|à|a|en|use|using|write|speak|output|zu)\s*" + _ARTICLES,
    regex.IGNORECASE,
)
# "Spanish is not allowed"
_RULED_OUT: Final = regex.compile(
    r"\s*(?:is|are|must|may|ist|darf|wird|est|es|está)\s+(?:\w+\s+)?"
    r"(?:not|never|forbidden|nicht|verboten|pas|interdit|no|prohibido)\b",
    regex.IGNORECASE,
)
_IS_SOURCE: Final = regex.compile(
    r"\s+(?:is|will be|ist|est|es)\s+(?:(?:the|das|die|der|le|la|el)\s+|l['’])?"
    r"(?:input|source|original|eingabe|quelle|entrée|entrada|fuente|origen)",
    regex.IGNORECASE,
)
# "If the text is in German already, leave it."
_CONDITION: Final = regex.compile(
    r"\b(?:if|when|whenever|whether|unless|in case|wenn|falls|si|lorsque|quand|cuando)\b",
    regex.IGNORECASE,
)
_DO: Final = regex.compile(
    r"\b(?:translat|render|convert|interpret|answer|repl|respond|write|output|use|give|return|put"
    r"|übersetz|antwort|schreib|tradu|répond|écri|respond|escrib)\w*",
    regex.IGNORECASE,
)
_TRANSLATE: Final = regex.compile(
    r"\b(?:translat|render|convert|interpret|put|turn|übersetz|übertrag|dolmetsch|tradu|transla)\w*",
    regex.IGNORECASE,
)
# Read from their end, as only the last one before a place is wanted.
_CLAUSE_END: Final = regex.compile(r"(?r)[.;!?\n,()]")
_SENTENCE_END: Final = regex.compile(r"(?r)[.;!?\n]")
_LIST: Final = regex.compile(
    r"[\s,/&]*(?:\b(?:or|nor|and|oder|und|noch|ou|et|ni|o|u|y|e)\b[\s,]*)?"
)
_PAIR: Final = regex.compile(r"\s*[-–—/|]\s*")
_SMALL_PAIR: Final = regex.compile(
    r"(?<![\w-])([a-z]{2,3})(?:\s+to\s+|\s+in\s+|[-_/|>2])([a-z]{2,3})(?![\w-])"
)
_SMALL_CODE: Final = regex.compile(
    r"(?<![\w-])(?:from|into|to|in|aus|nach|ins|auf|vers|(?:target|source)(?:[ _-]?lang(?:uage)?)?"
    r"|lang(?:uage)?)[\"'`]?\s*(?:is\s+|[:=]\s*)?[\"'`]?(?!(?:to|from|in)\b)(?P<code>[a-z]{2,3})(?![\w-])"
)
# Of a text without space around it.
_USER_HEAD: Final = regex.compile(r"(?P<head>[^\n]{1,200}?)(?::\s|\n)")

_LABEL_BEFORE: Final = regex.compile(
    r"\s*+(?:(?:source|original|input)?\s*+(?:text|sentence)|source|original|input)\s*+:\s*+",
    regex.IGNORECASE,
)
_LABEL_AFTER: Final = regex.compile(
    r"(?:\n\s*+(?:translat\w++(?:\s++text)?|output|target(?:\s++text)?)\s*+:|(?:=>|->))\Z",
    regex.IGNORECASE,
)
_FENCE: Final = regex.compile(r"\"\"\"|'''|```|#{3,40}+|-{3,40}+")
_TAG: Final = regex.compile(r"<([\p{L}_][\w-]{0,38}+)>")
_SPACES: Final = regex.compile(r"\s{2,}+")  # many of them take the square of their number
_SIGNS: Final = regex.compile(r"[^\p{L}\p{N}\s]+")

_PREPOSITIONS: Final = frozenset({"to", "in"})  # which are language codes, too
_CERTAIN, _LIKELY, _BARE, _VERB = 3, 2, 1, 2  # how strongly words suggest a target


def languages_of(instruction: str, languages: Sequence[str]) -> Languages:
    """Return the languages that an instruction asks for.

    Args:
        languages: codes of the languages that names may be written in.

    Raises:
        UnclearInstruction: it could be one of several.
    """
    instruction = _SPACES.sub(_one_space, _ends_of(instruction))
    named = _mentions(instruction, languages)
    if len(named) > MAX_MENTIONS:
        named = named[: MAX_MENTIONS // 2] + named[-MAX_MENTIONS // 2 :]
    reading = _Reading(instruction)
    for mention in named:
        reading.take(mention)
    return reading.languages()


class _Reading:
    """The part that each language plays in an instruction, read from left to right."""

    def __init__(self, instruction: str) -> None:
        self._text = instruction
        self._source: str | None = None
        self._targets: dict[str, int] = {}  # by code: how strongly words suggest it
        self._bare: list[Mention] = []  # mentioned, with no words about them yet
        self._last: Mention | None = None
        self._part: _Part = "bare"  # that the last one plays

    def take(self, mention: Mention) -> None:
        """Read the next language that is named."""
        clause = _since(_CLAUSE_END, self._text, mention.start)
        last_end = self._last.end if self._last else 0
        between = self._text[last_end : mention.start]
        is_listed = self._last is not None and _LIST.fullmatch(between) is not None
        if not between or not is_listed or self._part == "bare":
            self._part = _part(self._text[max(clause, last_end) : mention.start])
        # Otherwise it plays the same part: "not English or Spanish".
        if _RULED_OUT.match(self._text, mention.end) or _is_condition(
            self._text[clause : mention.start]
        ):
            self._part = "not"
        elif _IS_SOURCE.match(self._text, mention.end):
            self._part = "source"
        if self._part == "source":
            self._source = self._source or mention.code
        elif self._part == "bare":
            if self._bare and self._bare[-1] is self._last and _PAIR.fullmatch(between):
                self._source = self._source or self._bare.pop().code  # "English-German"
            self._bare.append(mention)
        elif self._part != "not":
            self._take_target(mention, clause)
        self._last = mention

    def _take_target(self, mention: Mention, clause: int) -> None:
        sentence = _since(_SENTENCE_END, self._text, mention.start)
        strength = _CERTAIN if self._part == "into" else _LIKELY
        strength += _VERB * bool(_TRANSLATE.search(self._text, sentence, mention.start))
        self._targets[mention.code] = max(strength, self._targets.get(mention.code, 0))
        before = [other for other in self._bare if other.start >= clause]
        if self._source is None and before and before[-1].code != mention.code:
            self._source = before[-1].code  # "the English text to Spanish"
            self._bare.remove(before[-1])

    def languages(self) -> Languages:
        """Return what the instruction asks for.

        Raises:
            UnclearInstruction: it could be one of several.
        """
        for mention in self._bare:
            self._targets.setdefault(mention.code, _BARE)
        target = _strongest(self._targets, self._source)
        return Languages(None if self._source == target else self._source, target)


def instruction_of(user_text: str, languages: Sequence[str]) -> tuple[Languages, str] | None:
    """Split a user message into an instruction and its text: "Translate into German: Hello".

    None if it does not begin with an instruction.
    """
    user_text = user_text.strip()
    found = _USER_HEAD.match(user_text)
    if found is None or not _TRANSLATE.search(found["head"]):
        return None
    asked = languages_of(found["head"], languages)
    return (asked, _bare(user_text[found.end() :].lstrip())) if asked.target else None


def _bare(text: str) -> str:
    """Return the text of a filled-in form: `Source text: Hello` followed by `Translation:`."""
    label = _LABEL_BEFORE.match(text)
    text = text[label.end() if label else 0 :].rstrip()
    label = _LABEL_AFTER.search(text, max(len(text) - MAX_LABEL, 0))
    text = text[: label.start() if label else len(text)].strip()
    fence = _FENCE.match(text)
    if fence and len(text) > 2 * len(fence[0]) and text.endswith(fence[0]):
        return text[fence.end() : -len(fence[0])].strip() or text
    return text


def without_fence(text: str, instruction: str) -> str:
    """Remove the delimiters that an instruction mentions: `🔤 Good morning. 🔤`.

    A delimiter is a run of symbols, or a pair of tags, at both ends, once or several times.
    """
    instruction, text = _ends_of(instruction), text.strip()
    for _ in range(MAX_FENCES):
        tag = _TAG.match(text)
        if tag is not None and text.endswith(f"</{tag[1]}>") and tag[0] in instruction:
            text = text[tag.end() : -len(tag[0]) - 1].strip()
            continue
        fence = _fence(text, instruction)
        if not fence:
            break
        text = text[len(fence) : -len(fence)].strip()
    return text


def _one_space(spaces: regex.Match[str]) -> str:
    return "\n" if "\n" in spaces[0] else " "


def _ends_of(instruction: str) -> str:
    """Return what is read of an instruction."""
    if len(instruction) <= MAX_READ_CHARS:
        return instruction
    return f"{instruction[: MAX_READ_CHARS // 2]}\n{instruction[-MAX_READ_CHARS // 2 :]}"


def _fence(text: str, instruction: str) -> str:
    signs = _SIGNS.match(text[:MAX_FENCE])
    for length in range(len(signs[0]) if signs else 0, 0, -1):
        fence = text[:length]
        is_round = len(text) > 2 * length and text.endswith(fence)
        # Instructions contain punctuation of their own, which says nothing about delimiters.
        is_mark = not fence.strip(".,;:!?'()¿¡…") or fence in ("-", "--")
        if is_round and fence in instruction and not is_mark:
            return fence
    return ""


def _part(before: str) -> _Part:
    """Return the part of a language, from the words before it in its clause."""
    before = before[-MAX_BEFORE:]
    negation = _NEGATION.search(before)
    if negation is not None:
        tail = negation["tail"]
        if len(tail.split()) <= _REACH_WORDS and not _TURN.search(tail):
            return "not"
    if _FROM.search(before):
        return "source"
    if _INTO.search(before):
        return "into"
    return "to" if _TO.search(before) else "bare"


def _is_condition(before: str) -> bool:
    """Whether the words before a language only state a condition: "if the text is in German"."""
    found = _CONDITION.search(before)
    return found is not None and _DO.search(before, found.end()) is None


def _mentions(instruction: str, languages: Sequence[str]) -> list[Mention]:
    """Return the languages that are named; lower-case codes only next to words about them."""
    found = [
        m
        for m in mentions(instruction, languages)
        if instruction[m.start : m.end] not in _PREPOSITIONS
    ]
    for match in islice(_SMALL_PAIR.finditer(instruction), MAX_MENTIONS):
        codes = [primary(match[1]), code_of(match[2])]
        if codes[0] in languages and codes[1] and codes[0] != codes[1]:
            found = [m for m in found if m.end <= match.start() or m.start >= match.end()]
            found += [Mention(*match.span(i), str(code)) for i, code in enumerate(codes, 1)]
    for match in islice(_SMALL_CODE.finditer(instruction), MAX_MENTIONS):
        start, end = match.span("code")
        is_free = all(end <= m.start or m.end <= start for m in found)
        if is_free and primary(match["code"]) in languages:
            found.append(Mention(start, end, str(primary(match["code"]))))
    return sorted(found, key=lambda mention: mention.start)


def _strongest(targets: dict[str, int], source: str | None) -> str | None:
    candidates = {code: strength for code, strength in targets.items() if code != source} or targets
    if not candidates:
        return None
    best = [code for code, rank in candidates.items() if rank == max(candidates.values())]
    if len(best) > 1:
        raise UnclearInstruction(f"name one target language, not {_listed(best)}")
    return best[0]


def _listed(codes: Iterable[str]) -> str:
    *names, last = map(name_of, codes)
    return f"{', '.join(names)} and {last}"


def _since(mark: regex.Pattern[str], text: str, end: int) -> int:
    """Return the start of the clause or sentence that contains `end`."""
    found = mark.search(text, 0, end)
    return found.end() if found else 0
