"""Options that come with a text over HTTP: glossaries, formality, capitals, swear words.

Knows the fields of a body; does not know endpoints or translations.
"""

from dataclasses import replace
from typing import Any, Final

import orjson

from service.captions.settings import MAX_TERM_CHARS, MAX_TERMS
from service.doors.http import kind_of
from service.doors.state import AppState
from service.errors import RestError
from service.translator import TextOptions
from tokenspeed.model.prompt import FORMALITIES, Formality
from tokenspeed.text.glossary import Term
from tokenspeed.text.pipeline import Capitals, Profanity

_EXPECTED: Final = 'expected {"word": "translation"} or [{"source": ..., "target": ...}]'
# Session settings that mean nothing for a whole text: silence would be taken for support.
_OF_SESSIONS: Final = ("mode", "stability", "context", "captions", "partials", "timing", "room")
_KNOWN: Final = frozenset(
    "source target glossary glossary_id do_not_translate formality capitals profanity".split()
)


async def options_of(
    body: dict[str, Any],
    state: AppState,
    source: str | None,
    target: str,
    client: str,
    path: str = "",
) -> TextOptions:
    """Return how the texts of a request are to be translated.

    Args:
        path: of the object that the fields are in, with a dot at its end; one that is ours alone
            has no other fields.

    Raises:
        RestError: a field cannot be used, or is for a session.
    """
    # Not sorted: there may be thousands.
    for name in _OF_SESSIONS if not path else (name for name in body if name not in _KNOWN):
        if body.get(name) is not None:
            what = "is a setting of sessions" if name in _OF_SESSIONS else "is not known"
            raise RestError(400, f"{path}{name} {what}", param=f"{path}{name}")
    own = [*terms_field(body, path), *_kept_words(body, path)]
    named = {term.source.casefold() for term in own}
    stored = await stored_terms(body, state, source, target, path)
    capitals: Capitals = (
        "sentence" if _choice(body, "capitals", path, ("keep", "sentence")) else "keep"
    )
    profanity: Profanity = "mask" if _choice(body, "profanity", path, ("raw", "mask")) else "raw"
    return TextOptions(
        client,
        (*own, *(term for term in stored if term.source.casefold() not in named)),
        formality_field(body, target, state.translator.prompts.formalities, path),
        capitals,
        profanity,
    )


async def stored_terms(
    body: dict[str, Any], state: AppState, source: str | None, target: str, path: str = ""
) -> tuple[Term, ...]:
    """Return the terms of `glossary_id`, none if there is no such field.

    Raises:
        RestError: it is not there, of another pair, or cannot be looked up at the moment.
    """
    param = f"{path}glossary_id"
    raw = body.get("glossary_id")
    if raw is None or raw == "":
        return ()
    found = await state.glossaries.find(raw, state.now_s()) if isinstance(raw, str) else None
    if found is None:
        raise RestError(404, f"{param} is unknown or has expired", param=param)
    if found.target != target or source not in (None, found.source):
        said = f"{param} is for {found.source} to {found.target}"
        raise RestError(400, said, param=param)
    return found.terms


def _kept_words(body: dict[str, Any], path: str) -> list[Term]:
    param = f"{path}do_not_translate"
    raw = body.get("do_not_translate")
    if isinstance(raw, str):
        raw = _listed(raw, param) if raw.lstrip().startswith("[") else [raw]
    if raw is None:
        return []
    if not isinstance(raw, list) or not all(isinstance(word, str) for word in raw):
        raise RestError(400, f"{param} must be a list of words", param=param)
    words = [{"source": word, "target": word, "case_sensitive": True} for word in raw]
    if len(words) > MAX_TERMS:
        raise RestError(413, f"{param} has {len(words)} entries, at most {MAX_TERMS}", param=param)
    found = (_term(word, f"{param}[{i}]") for i, word in enumerate(words))
    return [replace(term, is_exact=True) for term in found]


def _listed(text: str, param: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise RestError(400, f"{param} is not a list in JSON", param=param) from exc


def _choice(body: dict[str, Any], name: str, path: str, values: tuple[str, str]) -> bool:
    """Return whether a field has the second of two values; the first is the default."""
    raw = body.get(name)
    if raw is None or raw == "":
        return False
    if raw not in values:
        said = f"{path}{name} is {_said(raw)}, expected {' or '.join(values)}"
        raise RestError(400, said, param=f"{path}{name}")
    return bool(raw == values[1])


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
    """Return the field `formality`, None if there is none.

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
        raise RestError(400, f"{param} is {_said(raw)}, expected {expected}", param=param)
    if target not in formalities:
        raise RestError(400, f"the model cannot choose a form of address in {target}", param=param)
    return found


def _said(raw: Any) -> str:
    """Return the beginning of a wrong value, or what kind it is: a list may be deep."""
    return repr(raw[:40]) if isinstance(raw, str) else kind_of(raw)


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
