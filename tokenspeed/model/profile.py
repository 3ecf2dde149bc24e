"""A profile: how to ask one family of models for translations, as data.

Each is a TOML file, in `profiles/` or a user's own. It says how to recognise a model, which wording
it was trained with, where the text goes, which languages it knows under which names, and what to
expect of its output. Knows files and words; does not know ids.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import regex

from tokenspeed.errors import ProfileError
from tokenspeed.text.languages import name_of, normalise

PROFILES: Final = Path(__file__).parent / "profiles"
CHAT_TEMPLATE: Final = "chat_template"  # as the value of `turns`: use the model's own
LAYOUTS: Final = ("frame", "marks")

_HOLE: Final = regex.compile(r"\{([a-z_]*)\}")
_MESSAGE_HOLES: Final = frozenset(
    {
        *("text", "source", "target", "source_code", "target_code", "target_chinese"),
        *("address", "open", "terms"),
    }
)
_MESSAGES: Final = {  # each wording, and the hole that only it has, and must have
    "message": "",
    "message_auto": "",
    "message_with_chinese": "",
    "message_terms": "terms",
    "message_context": "context",
}
_CHINESE: Final = ("zh", "yue")  # languages whose pairs `message_with_chinese` is for

Pair = tuple[str, str]


@dataclass(frozen=True)
class Sign:
    """What a model is recognised by: everything given must match.

    Attributes:
        model_types: possible values of model_type in config.json.
        name: pattern found in the directory's name, or in the model's name in config.json.
        template: fragments that its chat template must all contain.
        pieces: control pieces that its vocabulary must all have.
    """

    model_types: tuple[str, ...] = ()
    name: str = ""
    template: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()

    def fits(
        self, model_type: str, names: Sequence[str], template: str, vocabulary: Mapping[str, int]
    ) -> bool:
        """Whether a model is of this kind; `vocabulary`: its control pieces."""
        return (
            (not self.model_types or model_type in self.model_types)
            and (not self.name or any(regex.search(self.name, name) for name in names))
            and all(fragment in template for fragment in self.template)
            and all(piece in vocabulary for piece in self.pieces)
        )


@dataclass(frozen=True)
class Profile:
    """How to ask one family of models for translations.

    Attributes:
        name: of its file. title, models, licence, notes, sources: for people.
        sizes: the released ones: name, parameters in 1e9, and how many of these are embedding.
        signs: a model that matches any of them belongs to the family.
        layout: "frame", or "marks" for our own models, whose pairs are in their config.json.
        turns: what surrounds `{message}`, or `chat_template`. fallback_turns: for a model without
            a template of its own, the first of these whose control pieces its vocabulary has.
        begins: whether the begin mark of config.json comes first.
        system: system message for a chat template; "": none.
        message: the wording, with `{text}` and names of languages. message_auto: where the
            language of the text is not given. message_with_chinese: for pairs with Chinese.
        message_terms: for texts with glossary words; without it they go to `{terms}` of others.
        message_context: for texts with earlier sentences, which go to `{context}`.
        open: fills `{open}` while the text may still grow. addresses: fill `{address}`, by
            formality.
        address_languages: target languages in which that makes a difference.
        term, terms: one word and its translation, `{source_term}` and `{target_term}`; and what
            surrounds all of them, at `{terms}`.
        names: of each language by code, as the model was trained with.
        chinese: their names in Chinese, for wordings in Chinese: `{target_chinese}`.
        pairs: source and target.
        context: how many earlier sentences a prompt may have: in `message_context`, or without one
            in front of the text, with their translations as the beginning of the output.
        stop: control pieces that end an output, besides those of the model's files.
        ends_at: text that never occurs in a translation: it ends there.
        has_chatter: whether an output may begin with words about itself.
        has_placeholders: whether it copies the names that stand for protected words.
        max_ratio, margin: an output has at most max_ratio * tokens of its text + margin tokens.
    """

    name: str
    title: str
    models: tuple[str, ...] = ()
    sizes: tuple[tuple[str, float, float], ...] = ()
    licence: str = ""
    notes: str = ""
    sources: tuple[str, ...] = ()
    signs: tuple[Sign, ...] = ()
    layout: str = "frame"
    turns: str = "{message}"
    fallback_turns: tuple[str, ...] = ()
    begins: bool = False
    system: str = ""
    message: str = "{text}"
    message_auto: str = ""
    message_with_chinese: str = ""
    message_terms: str = ""
    message_context: str = ""
    open: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    address_languages: frozenset[str] = frozenset()
    term: str = ""
    terms: str = "{terms}"
    names: Mapping[str, str] = field(default_factory=dict)
    chinese: Mapping[str, str] = field(default_factory=dict)
    pairs: frozenset[Pair] = frozenset()
    context: int = 0
    stop: tuple[str, ...] = ()
    ends_at: tuple[str, ...] = ()
    has_chatter: bool = False
    has_placeholders: bool = True
    max_ratio: float = 2.0
    margin: int = 10

    def wording(
        self,
        source: str | None,
        target: str,
        *,
        is_open: bool = False,
        formality: str | None = None,
        terms: str = "",
        context: str = "",
        text: str = "{text}",
    ) -> str:
        """Return the message for a pair, with `text`, `terms` and `context` in their places.

        Terms or context for which it has no place are left out; of the two, terms go first.
        """
        holes = {
            "text": text,
            "target": self.names.get(target, target),
            "target_code": target,
            "target_chinese": self.chinese.get(target, ""),
            "open": self.open if is_open else "",
            "address": self.addresses.get(formality or "", ""),
            "terms": terms,
            "context": context,
        }
        if source is not None:
            holes |= {"source": self.names.get(source, source), "source_code": source}
        return _filled(self._message(source, target, bool(terms), bool(context)), holes)

    def _message(self, source: str | None, target: str, has_terms: bool, has_context: bool) -> str:
        special = self.message_terms if has_terms else ""
        special = special or (self.message_context if has_context else "")
        if not special and any(
            code is not None and code.split("-")[0] in _CHINESE for code in (source, target)
        ):
            special = self.message_with_chinese
        if special and not (source is None and "{source" in special):
            return special
        return self.message if source is not None else self.message_auto or self.message

    def listed(self, terms: Sequence[tuple[str, str]]) -> str:
        """Return the wording that lists words and their required translations."""
        told = [_filled(self.term, {"source_term": a, "target_term": b}) for a, b in terms]
        return _filled(self.terms, {"terms": "\n".join(told)})


def _filled(wording: str, holes: Mapping[str, str]) -> str:
    return _HOLE.sub(lambda found: holes.get(found[1], found[0]), wording)


@cache
def shipped_names() -> tuple[str, ...]:
    """Return the names of the shipped profiles."""
    return tuple(sorted(path.stem for path in PROFILES.glob("*.toml")))


@cache
def shipped_profile(name: str) -> Profile:
    """Return a shipped profile. Other files are not read, as looking up language names is slow."""
    return read_profile(PROFILES / f"{name}.toml")


def shipped_profiles() -> list[Profile]:
    """Return all shipped profiles, in the order in which they are tried."""
    # Those that require a name come first: the others fit many models.
    return sorted(
        map(shipped_profile, shipped_names()),
        key=lambda profile: not any(sign.name for sign in profile.signs),
    )


def read_profile(path: Path) -> Profile:
    """Read one profile.

    Raises:
        ProfileError: the file cannot be read, or has fields or values that are not valid.
    """
    raw = _read_toml(path)
    try:
        return _profile(path.stem, raw)
    except (KeyError, TypeError, ValueError) as exc:
        said = f"{exc.args[0]!r} is missing" if isinstance(exc, KeyError) else str(exc)
        raise ProfileError(path, said) from exc


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ProfileError(path, "not found") from exc
    except OSError as exc:
        raise ProfileError(path, f"cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ProfileError(path, f"not readable as TOML: {exc}") from exc


def _profile(name: str, raw: Mapping[str, Any]) -> Profile:
    about = _section(raw, "", _ABOUT)
    signs = [_section(sign, f"recognise[{i}].", _SIGN) for i, sign in enumerate(_list(raw))]
    prompt = _section(raw.get("prompt", {}), "prompt.", _PROMPT)
    output = _section(raw.get("output", {}), "output.", _OUTPUT)
    languages = _section(raw.get("languages", {}), "languages.", _LANGUAGES)
    for field_name, own in _MESSAGES.items():
        said = prompt.get(field_name, "")
        _check_holes(f"prompt.{field_name}", said, _MESSAGE_HOLES | ({own} - {""}))
        for hole in filter(None, ("text", own)):
            if field_name in prompt and said.count(f"{{{hole}}}") != 1:
                raise ValueError(f"prompt.{field_name} has no {{{hole}}}, or several")
    turns = {
        "turns": (prompt.get("turns", ""),),
        "fallback_turns": prompt.get("fallback_turns", ()),
    }
    for field_name, each in turns.items():
        for said in filter(lambda said: said not in ("", CHAT_TEMPLATE), each):
            _check_holes(f"prompt.{field_name}", said, {"message"})
            if said.count("{message}") != 1:
                raise ValueError(f"prompt.{field_name} has no {{message}}, or several")
    _check_holes("prompt.term", prompt.get("term", ""), {"source_term", "target_term"})
    _check_holes("prompt.terms", prompt.get("terms", ""), {"terms"})
    if "message_terms" in prompt and "term" not in prompt:
        raise ValueError("prompt.term is needed with prompt.message_terms: how each is told")
    message, message_auto = prompt.get("message", "{text}"), prompt.get("message_auto", "")
    if "{source" in message and (not message_auto or "{source" in message_auto):
        raise ValueError("prompt.message_auto is needed where prompt.message names the source")
    codes = languages.pop("codes", ())
    own_names, chinese = languages.pop("names", {}), languages.pop("chinese", {})
    for code in (*codes, *own_names, *chinese):
        if not isinstance(code, str) or normalise(code) != code:
            raise ValueError(f"languages: {code!r} is not a BCP 47 tag")
    if any("{target_chinese}" in prompt.get(name, "") for name in _MESSAGES):
        if unnamed := [code for code in codes if code not in chinese]:
            raise ValueError(f"languages.chinese does not name {', '.join(unnamed)}")
    through, listed = languages.pop("through", ""), languages.pop("pairs", ())
    addresses = _section(prompt.pop("addresses", {}), "prompt.addresses.", _ADDRESSES)
    if about.get("layout", "frame") not in LAYOUTS:
        raise ValueError(f"layout is {about['layout']!r}, expected {' or '.join(LAYOUTS)}")
    renamed = {"bos": "begins"}
    return Profile(
        name=name,
        title=about.pop("title"),
        sizes=tuple(_size(each) for each in about.pop("sizes", ())),
        signs=tuple(Sign(**sign) for sign in signs),
        names={code: own_names.get(code) or name_of(code) for code in codes} | own_names,
        chinese=chinese,
        pairs=_pairs(codes, through, listed),
        address_languages=frozenset(addresses.pop("languages", ())),
        addresses=addresses,
        **about,
        **{renamed.get(key, key): value for key, value in prompt.items()},
        **{_OUTPUT_NAMES.get(key, key): value for key, value in output.items()},
    )


def _size(raw: Any) -> tuple[str, float, float]:
    match raw:
        case [str(name), float() | int() as parameters, float() | int() as embedding]:
            return name, parameters, embedding
    raise ValueError(f"sizes has {raw!r}, expected a name, parameters in 1e9 and of embedding")


def _pairs(codes: Sequence[str], through: str, listed: Sequence[Sequence[str]]) -> frozenset[Pair]:
    """Return the listed pairs; else all pairs of the languages, or only those with `through`."""
    if listed:
        for pair in listed:
            if len(pair) != 2 or not all(code in codes for code in pair):
                raise ValueError(f"languages.pairs: {list(pair)} are not two of languages.codes")
        return frozenset((a, b) for a, b in listed)
    if through and through not in codes:
        raise ValueError(f"languages.through is {through!r}, expected one of languages.codes")
    return frozenset(
        (a, b) for a in codes for b in codes if a != b and (not through or through in (a, b))
    )


def _check_holes(name: str, wording: str, known: frozenset[str] | set[str]) -> None:
    for found in _HOLE.findall(wording):
        if found not in known:
            raise ValueError(f"{name} has {{{found}}}, known: {', '.join(sorted(known))}")


def _list(raw: Mapping[str, Any]) -> list[Any]:
    signs = raw.get("recognise", [])
    if not isinstance(signs, list):
        raise ValueError("recognise is a table, expected [[recognise]]")
    return signs


def _section(raw: Any, at: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return the fields of a table, checked for their types; lists become tuples.

    Raises:
        ValueError: a field is unknown or of another type.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"{at.rstrip('.')} is {raw!r}, expected a table")
    found: dict[str, Any] = {}
    for name, value in raw.items():
        if at == "" and name in ("recognise", "prompt", "output", "languages"):
            continue
        kind = kinds.get(name)
        if kind is None:
            raise ValueError(f"{at}{name} is unknown, known: {', '.join(kinds)}")
        is_number = kind is float and type(value) is int
        if not is_number and type(value) is not kind:
            raise ValueError(f"{at}{name} is {value!r}, expected {_KINDS[kind]}")
        if kind is list and name not in _NESTED and not all(isinstance(v, str) for v in value):
            raise ValueError(f"{at}{name} is {value!r}, expected a list of strings")
        if kind in (int, float) and value < 0:
            raise ValueError(f"{at}{name} is {value!r}, expected a number, at least 0")
        found[name] = tuple(value) if kind is list else value
    return found


_KINDS: Final = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}
_NESTED: Final = ("pairs", "sizes")
_ABOUT: Final[Mapping[str, type]] = {
    "title": str,
    "models": list,
    "sizes": list,
    "licence": str,
    "notes": str,
    "sources": list,
    "layout": str,
}
_SIGN: Final[Mapping[str, type]] = {
    "model_types": list,
    "name": str,
    "template": list,
    "pieces": list,
}
_PROMPT: Final[Mapping[str, type]] = {
    "turns": str,
    "fallback_turns": list,
    "bos": bool,
    "system": str,
    "message": str,
    "message_auto": str,
    "message_with_chinese": str,
    "message_terms": str,
    "message_context": str,
    "open": str,
    "addresses": dict,
    "term": str,
    "terms": str,
    "context": int,
}
_ADDRESSES: Final[Mapping[str, type]] = {"formal": str, "informal": str, "languages": list}
_OUTPUT: Final[Mapping[str, type]] = {
    "stop": list,
    "ends_at": list,
    "chatter": bool,
    "placeholders": bool,
    "max_ratio": float,
    "margin": int,
}
_OUTPUT_NAMES: Final = {"chatter": "has_chatter", "placeholders": "has_placeholders"}
_LANGUAGES: Final[Mapping[str, type]] = {
    "codes": list,
    "names": dict,
    "chinese": dict,
    "through": str,
    "pairs": list,
}
