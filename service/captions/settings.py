"""What a session was asked to do and what the model can do: settings merged, checked, reported.

Knows the protocol's parameters; does not know segments or time.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from service.captions.glossaries import StoredGlossary
from service.captions.policy import Preset
from service.captions.spoken import LanguageOf
from service.errors import ProtocolError
from service.wire.protocol import (
    Capitals,
    CaptionParams,
    Formality,
    GlossaryEntry,
    LanguageInfo,
    Mode,
    Profanity,
    SessionParams,
    SessionUpdate,
    SourceParams,
    Stability,
    TargetParams,
    parse_client,
    serialise,
)
from tokenspeed.text.glossary import Glossary, Term
from tokenspeed.text.glossary_files import HouseGlossary
from tokenspeed.text.languages import matched
from tokenspeed.text.pipeline import Hygiene
from tokenspeed.text.vocabulary import Vocabulary

PIVOT: Final = "en"  # the language that two-pass translations go through
MAX_CONTEXT: Final = 2  # earlier sentence pairs
MIN_SOURCE_ID_CHARS: Final = 16  # whoever guesses one could continue as another speaker
MAX_TERMS: Final = 500  # glossary entries of a session, and as many protected words
MAX_TERM_CHARS: Final = 100
MAX_TAG_CHARS: Final = 128
MAX_CUE_CHARS: Final = 200  # in a line
MAX_CUE_LINES: Final = 10


@lru_cache(maxsize=4096)
def _matched(tag: str, languages: frozenset[str]) -> str | None:
    return matched(tag, languages)


def _unknown(text: str, expected: str | None) -> str | None:
    return expected


def _no_guess(text: str) -> str | None:
    return None


def _none_stored(key: str) -> StoredGlossary | None:
    return None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a session needs to know about the model.

    Attributes:
        default_context: earlier sentence pairs for the model to see, unless a session says
            otherwise.
        max_context: pairs that the model was trained with; more are never used.
        vocabulary: as `tokenspeed.text` sees it.
        language_of: detects which of the model's languages a text is in.
        guess_of: says which it is most likely in, where that is not clear.
        formalities: languages in which the form of address can be chosen.
        house: terms of the operator; a session's own terms take precedence.
        stored: looks up a glossary by its id.
        hygiene: the class that cleans texts; replaced for comparisons.
        fingerprint: equal if token ids mean the same.
        codes: all its languages.
    """

    name: str
    languages: tuple[LanguageInfo, ...]
    default_context: int = 0
    max_context: int = 0
    vocabulary: Vocabulary = Vocabulary()
    language_of: LanguageOf = _unknown
    formalities: frozenset[str] = frozenset()
    house: HouseGlossary = field(default_factory=HouseGlossary)
    stored: Callable[[str], StoredGlossary | None] = _none_stored
    hygiene: type[Hygiene] = Hygiene
    fingerprint: str = ""
    guess_of: Callable[[str], str | None] = _no_guess
    codes: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once, as a glossary of 500 entries asks for each of them.
        codes = frozenset(code for info in self.languages for code in (info.code, *info.targets))
        object.__setattr__(self, "codes", codes)

    def translates(self, source: str | None, target: str) -> bool:
        """Whether the model can translate a pair, in one pass or two; None is an unknown source.

        Text that is already in the target language passes through.
        """
        if source == target:
            return any(target in (info.code, *info.targets) for info in self.languages)
        return any(target in info.targets for info in self.languages if source in (None, info.code))

    def knows(self, language: str | None) -> bool:
        """Whether text in a language can be translated at all; None is an unknown language."""
        return language is None or any(language == info.code for info in self.languages)

    def code_of(self, tag: str | None) -> str | None:
        """Return the model's language for a tag; None for `auto` or no tag."""
        if tag is None or len(tag) > MAX_TAG_CHARS:  # whole texts are not kept in memory
            return matched(tag, self.codes)
        return _matched(tag, self.codes)

    def route_of(self, text: str, targets: Collection[str]) -> str | None:
        """Return the language to translate a text from if its own is not clear; None: unknown.

        A model that is not told the language of a text reads it as English or translates it into
        English: what is likely in a language that takes two passes is taken for that.
        """
        guess = self.guess_of(text)
        if guess in targets or not any(self.needs_pivot(guess, target) for target in targets):
            return None  # a guess is not enough to pass a text through
        return guess

    def needs_pivot(self, source: str | None, target: str) -> bool:
        """Whether a pair takes two passes, through English."""
        return any(target in info.pivot_targets for info in self.languages if info.code == source)


@dataclass(frozen=True, slots=True)
class Settings:
    """A session's settings as applied. `source` is None if unknown."""

    source: str | None = None
    targets: tuple[str, ...] = ()
    formality: Mapping[str, Formality] = field(default_factory=dict)  # by target
    stored: Mapping[str, StoredGlossary] = field(default_factory=dict)  # by target
    mode: Mode = "captions"
    stability: Stability = "balanced"
    context: int = 0
    glossary: tuple[GlossaryEntry, ...] = ()
    do_not_translate: tuple[str, ...] = ()
    capitals: Capitals = "keep"
    profanity: Profanity = "raw"
    partials: bool = True
    timing: bool = False
    captions: CaptionParams | None = None
    room: str | None = None
    source_id: str | None = None

    def dump(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        stored = {
            target: {
                "id": each.id,
                "name": each.name,
                "source": each.source,
                "target": each.target,
                "terms": [asdict(term) for term in each.terms],
            }
            for target, each in self.stored.items()
        }
        return {"frame": serialise(SessionUpdate(self.applied())), "stored": stored}

    @staticmethod
    def loaded(state: dict[str, Any], model: ModelInfo, max_targets: int) -> "Settings":
        """Restore dumped settings.

        Raises:
            ProtocolError: the model does not support them.
        """
        kept = {
            each["id"]: StoredGlossary(
                **each | {"terms": tuple(Term(**term) for term in each["terms"])},
                client=None,
                created=0.0,
            )
            for each in state["stored"].values()
        }
        update = parse_client(state["frame"])
        assert isinstance(update, SessionUpdate)
        return Settings().merged(update.session, replace(model, stored=kept.get), max_targets)

    def preset(self, presets: Mapping[str, Preset]) -> Preset:
        """Return how eager translations are."""
        return presets["append_only" if self.mode == "append_only" else self.stability]

    def merged(self, params: SessionParams, model: ModelInfo, max_targets: int) -> "Settings":
        """Return the settings with an update applied.

        Raises:
            ProtocolError: a value is invalid; then nothing of the update is applied.
        """
        merged = replace(
            self,
            **{
                name: value
                for name in (
                    "mode",
                    "stability",
                    "context",
                    "glossary",
                    "do_not_translate",
                    "capitals",
                    "profanity",
                    "partials",
                    "timing",
                    "captions",
                    "room",
                    "source_id",
                )
                if (value := getattr(params, name)) is not None
            },
        )
        if merged.captions is not None:
            _check_captions(merged.captions)
        if merged.source_id is not None and len(merged.source_id) < MIN_SOURCE_ID_CHARS:
            problem = f"has {len(merged.source_id)} characters, at least {MIN_SOURCE_ID_CHARS}"
            raise ProtocolError("invalid_event", problem, "session.source_id")
        if merged.context > MAX_CONTEXT:
            problem = f"is {merged.context}, expected 0 to {MAX_CONTEXT}"
            raise ProtocolError("invalid_event", problem, "session.context")
        merged = replace(merged, context=min(merged.context, model.max_context))
        _check_glossary(merged.glossary, model)
        _check_protected(merged.do_not_translate)
        if params.source is not None:
            merged = replace(merged, source=model.code_of(params.source.language))
        if params.targets is not None:
            # "auto" is not a target; the check below rejects it like any unsupported language.
            wanted = {
                (model.code_of(t.language) or "auto"): t.formality for t in reversed(params.targets)
            }
            codes = (model.code_of(target.language) or "auto" for target in params.targets)
            merged = replace(
                merged,
                targets=tuple(dict.fromkeys(codes)),
                formality={code: each for code, each in wanted.items() if each is not None},
                stored=_stored(params.targets, model),
            )
        if len(merged.targets) > max_targets:
            problem = f"has {len(merged.targets)} languages, at most {max_targets}"
            raise ProtocolError("invalid_event", problem, "session.targets")
        merged._check_pairs(model, has_targets=params.targets is not None)
        return merged

    def hygiene_of(
        self, target: str, model: ModelInfo, glossary: Glossary | None = None
    ) -> Hygiene:
        """Return the hygiene of texts into a language; `glossary`: if compiled already."""
        if glossary is not None:
            return self._hygiene(glossary, target, model)
        entries = [e for e in self.glossary if model.code_of(e.language) in (None, target)]
        terms = [Term(e.source, e.target, e.case_sensitive) for e in entries]
        if target in self.stored:
            own = {term.source.casefold() for term in terms}
            terms += [t for t in self.stored[target].terms if t.source.casefold() not in own]
        # A glossary entry is more specific: where both name a word, the entry wins.
        named = {term.source.casefold() for term in terms}
        terms += [
            Term(word, word, is_case_sensitive=True, is_exact=True)
            for word in self.do_not_translate
            if word.casefold() not in named
        ]
        made = model.house.with_terms(terms, self.source, target, model.vocabulary.is_rare)
        return self._hygiene(made, target, model)

    def pivot_hygiene(self, model: ModelInfo) -> Hygiene:
        """Return the hygiene of a first pass, which leaves glossary words untranslated."""
        stored = (term.source for each in self.stored.values() for term in each.terms)
        words = (*(entry.source for entry in self.glossary), *self.do_not_translate, *stored)
        terms = [Term(word, word) for word in words]
        is_rare = model.vocabulary.is_rare
        kept = model.house.keeping(terms, self.source, self.targets, is_rare)
        return self._hygiene(kept, PIVOT, model)

    def _hygiene(self, glossary: Glossary, target: str, model: ModelInfo) -> Hygiene:
        return model.hygiene(
            model.vocabulary, glossary, self.source, target, self.capitals, self.profanity
        )

    def applied(self) -> SessionParams:
        """Return the settings as the client is told them."""
        return SessionParams(
            source=SourceParams(self.source or "auto"),
            targets=tuple(
                TargetParams(t, self.formality.get(t), each.id if each else None)
                for t, each in ((t, self.stored.get(t)) for t in self.targets)
            ),
            mode=self.mode,
            stability=self.stability,
            context=self.context,
            glossary=self.glossary,
            do_not_translate=self.do_not_translate,
            capitals=self.capitals,
            profanity=self.profanity,
            partials=self.partials,
            timing=self.timing,
            captions=self.captions,
            room=self.room,
            source_id=self.source_id,
        )

    def _check_pairs(self, model: ModelInfo, *, has_targets: bool) -> None:
        known = {info.code for info in model.languages}
        if self.source is not None and self.source not in known:
            problem = f"{self.source!r} is not among {', '.join(sorted(known))}"
            raise ProtocolError("unsupported_language", problem, "session.source.language")
        for i, target in enumerate(self.targets):
            if not model.translates(self.source, target):
                problem = f"{self.source or 'auto'} to {target} is not supported"
                at_target = f"session.targets[{i}].language"
                param = at_target if has_targets else "session.source.language"
                raise ProtocolError("unsupported_language", problem, param)
            stored = self.stored.get(target)
            if stored is not None and self.source not in (None, stored.source):
                problem = f"is for {stored.source} to {stored.target}"
                raise ProtocolError(
                    "glossary_invalid", problem, f"session.targets[{i}].glossary_id"
                )
            if target in self.formality and target not in model.formalities:
                problem = f"the model cannot choose a form of address in {target}"
                raise ProtocolError("unsupported", problem, f"session.targets[{i}].formality")


def _stored(targets: Sequence[TargetParams], model: ModelInfo) -> dict[str, StoredGlossary]:
    found: dict[str, StoredGlossary] = {}
    for i, target in enumerate(targets):
        if target.glossary_id is None:
            continue
        stored = model.stored(target.glossary_id)
        at = f"session.targets[{i}].glossary_id"
        if stored is None:
            raise ProtocolError("glossary_invalid", "is unknown or has expired", at)
        if stored.target != model.code_of(target.language):
            problem = f"is for {stored.source} to {stored.target}"
            raise ProtocolError("glossary_invalid", problem, at)
        found.setdefault(stored.target, stored)
    return found


def _check_glossary(entries: Sequence[GlossaryEntry], model: ModelInfo) -> None:
    if len(entries) > MAX_TERMS:
        problem = f"has {len(entries)} entries, at most {MAX_TERMS}"
        raise ProtocolError("glossary_invalid", problem, "session.glossary")
    known = {target for info in model.languages for target in info.targets}
    seen: dict[tuple[str, str | None], str] = {}
    for i, entry in enumerate(entries):
        at = f"session.glossary[{i}]"
        for name, text in (("source", entry.source), ("target", entry.target)):
            _check_term(text, f"{at}.{name}")
        language = model.code_of(entry.language)
        if language is not None and language not in known:
            problem = f"{language!r} is not among {', '.join(sorted(known))}"
            raise ProtocolError("glossary_invalid", problem, f"{at}.language")
        source = entry.source if entry.case_sensitive else entry.source.casefold()
        if seen.setdefault((source, language), entry.target) != entry.target:
            problem = f"{entry.source!r} has two translations, {seen[source, language]!r} before"
            raise ProtocolError("glossary_invalid", problem, f"{at}.target")


def _check_captions(captions: CaptionParams) -> None:
    for name, value, most in (
        ("max_chars", captions.max_chars, MAX_CUE_CHARS),
        ("lines", captions.lines, MAX_CUE_LINES),
    ):
        if not 1 <= value <= most:
            problem = f"is {value}, expected 1 to {most}"
            raise ProtocolError("invalid_event", problem, f"session.captions.{name}")


def _check_protected(words: Sequence[str]) -> None:
    if len(words) > MAX_TERMS:
        problem = f"has {len(words)} entries, at most {MAX_TERMS}"
        raise ProtocolError("glossary_invalid", problem, "session.do_not_translate")
    for i, word in enumerate(words):
        _check_term(word, f"session.do_not_translate[{i}]")


def _check_term(text: str, param: str) -> None:
    if not text.strip() or text != text.strip() or "\n" in text:
        raise ProtocolError(
            "glossary_invalid", f"is {text[:40]!r}, expected words without space around", param
        )
    if len(text) > MAX_TERM_CHARS:
        problem = f"has {len(text)} characters, at most {MAX_TERM_CHARS}"
        raise ProtocolError("glossary_invalid", problem, param)
