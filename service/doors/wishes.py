"""Wishes that come along with a text over HTTP: a glossary, a form of address.

Knows the fields of a body; does not know endpoints or translations.
"""

from typing import Any, Final

import orjson

from service.captions.settings import MAX_TERM_CHARS, MAX_TERMS
from service.doors.http import kind_of
from service.errors import RestError
from tokenspeed.model.prompt import FORMALITIES, Formality
from tokenspeed.text.glossary import Term

_EXPECTED: Final = 'expected {"word": "translation"} or [{"source": ..., "target": ...}]'


def terms_field(body: dict[str, Any], path: str = "") -> tuple[Term, ...]:
    """Return the field `glossary`: an object of words and translations, or a list of entries.

    An entry has `source`, `target` and perhaps `case_sensitive`, as in `session.update`. In a form
    the same is written as JSON.

    Args:
        path: of the object that the field is in, with a dot at its end.

    Raises:
        RestError: it is something else, or too long.
    """
    param = f"{path}glossary"
    raw = body.get("glossary")
    if isinstance(raw, str):
        try:
            raw = orjson.loads(raw)
        except orjson.JSONDecodeError as exc:
            raise RestError(400, f"{param} is not JSON, {_EXPECTED}", param=param) from exc
    if raw is None:
        return ()
    if isinstance(raw, dict):
        raw = [{"source": source, "target": target} for source, target in raw.items()]
    if not isinstance(raw, list):
        raise RestError(400, f"{param} is {kind_of(raw)}, {_EXPECTED}", param=param)
    if len(raw) > MAX_TERMS:
        raise RestError(413, f"{param} has {len(raw)} entries, at most {MAX_TERMS}", param=param)
    return tuple(_term(entry, f"{param}[{i}]") for i, entry in enumerate(raw))


def formality_field(
    body: dict[str, Any], target: str, formalities: frozenset[str], path: str = ""
) -> Formality | None:
    """Return the field `formality`, None where there is none.

    Raises:
        RestError: it is something else, or the model has no choice in this language.
    """
    param = f"{path}formality"
    raw = body.get("formality")
    if raw is None or raw == "":
        return None
    found = next((formality for formality in FORMALITIES if formality == raw), None)
    if found is None:
        expected = ", ".join(FORMALITIES)
        raise RestError(400, f"{param} is {str(raw)[:40]!r}, expected {expected}", param=param)
    if target not in formalities:
        raise RestError(400, f"the model has no choice of address in {target}", param=param)
    return found


def _term(entry: Any, param: str) -> Term:
    if not isinstance(entry, dict):
        raise RestError(400, f"{param} is {kind_of(entry)}, {_EXPECTED}", param=param)
    words = []
    for name in ("source", "target"):
        word = entry.get(name)
        if not isinstance(word, str) or not word.strip() or "\n" in word:
            raise RestError(400, f"{param}.{name} must be words", param=f"{param}.{name}")
        if len(word) > MAX_TERM_CHARS:
            problem = f"{param}.{name} has {len(word)} characters, at most {MAX_TERM_CHARS}"
            raise RestError(413, problem, param=f"{param}.{name}")
        words.append(word.strip())
    is_case_sensitive = entry.get("case_sensitive", False)
    if not isinstance(is_case_sensitive, bool):
        problem = f"{param}.case_sensitive must be true or false"
        raise RestError(400, problem, param=f"{param}.case_sensitive")
    return Term(words[0], words[1], is_case_sensitive)
