"""How a model is asked for a translation: text and languages in, prompt ids out.

The keys and values before the first change of a prompt are reused. Our own models read the source
first and the target mark after it, so that all targets of a source share them too; other models
need the order they were trained with, mostly the instruction first. Earlier sentences as context
need no marks of their own: they are the beginning of the source, and their translations the forced
beginning of the output. A model that was trained with context in its message gets it there.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from tokenspeed.errors import CheckpointError, ProfileError
from tokenspeed.model.chat_template import PLACEHOLDER, ChatTemplate, find_chat_template
from tokenspeed.model.frame import Frame
from tokenspeed.model.profile import (
    CHAT_TEMPLATE,
    Profile,
    read_profile,
    shipped_names,
    shipped_profile,
    shipped_profiles,
)
from tokenspeed.model.tokenizer import CONTROL_SHAPE, Tokenizer
from tokenspeed.text.answer import Answer
from tokenspeed.text.languages import name_of

Formality = Literal["formal", "informal"]  # how a translation addresses whoever is spoken to
FORMALITIES: tuple[Formality, ...] = ("formal", "informal")
Terms = Sequence[tuple[str, str]]
_Asked = tuple[str | None, str, bool, Formality | None]  # source, target, is it open, formality

# A model whose output is longer than this, for its source, repeats itself.
MAX_LENGTH_RATIO: Final = 2.0
LENGTH_MARGIN: Final = 10

TERMS_PLACEHOLDER: Final = "xTERMSx"  # like that of the text
CONTEXT_PLACEHOLDER: Final = "xCONTEXTx"
_OLD_NAMES: Final = {"instruction": "llama-3"}  # in config.json


class PromptFormat(Protocol):
    """The prompts of one family of models."""

    profile: Profile
    languages: tuple[str, ...]
    pairs: frozenset[tuple[str, str]]  # (source, target) that the model translates
    context_pairs: int  # earlier sentences that a prompt may have, as many as in training
    tells_context: bool  # whether they have a place in the message, else they precede the text
    formalities: frozenset[str]  # target languages whose form of address can be chosen
    stop_ids: tuple[int, ...]  # that end an output, besides those of the model's files
    answer: Answer  # where the translation begins and ends in an output

    def length_cap(
        self,
        prompt_tokens: int,
        source_language: str | None,
        target_language: str,
        *,
        terms: Terms = (),
        context: Sequence[str] = (),
    ) -> int:
        """Return how many tokens a translation may have, given those of its whole prompt.

        Args:
            terms, context: what the prompt was built with.
        """
        ...

    def build(
        self,
        source: str,
        source_language: str | None,
        target_language: str,
        *,
        is_open: bool,
        formality: Formality | None = None,
        terms: Terms = (),
        context: Sequence[str] = (),
    ) -> tuple[int, ...]:
        """Return the prompt.

        Args:
            source: text in the source language.
            source_language: its code, or None if unknown.
            target_language: code of the language to translate into.
            is_open: whether the source may still grow, so that the output must not run ahead.
            formality: how "you" is rendered; None leaves it to the model.
            terms: words of the source and their translations, if the profile has a place for them.
            context: earlier sentences of the source, if the profile has a place for them.
        Raises:
            ValueError: the model does not translate this pair, or has no choice of formality in
                the target language.
        """
        ...


class MarksFormat:
    """`<s> <en> source [<open>] [<formal>] <de>`, for the default model; each mark is one piece.

    The form of address comes next to the target, so that every form shares the source's keys and
    values.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        pairs: frozenset[tuple[str, str]],
        context_pairs: int = 0,
        formalities: frozenset[str] = frozenset(),
    ) -> None:
        self._tokenizer = tokenizer
        self.pairs = pairs
        self.context_pairs = context_pairs
        self.tells_context = False
        self.formalities = formalities
        self.stop_ids: tuple[int, ...] = ()
        self.answer = Answer()
        self.profile = shipped_profile("marks")
        self.languages = tuple(sorted({language for pair in pairs for language in pair}))
        names = (*self.languages, "auto", "open", *(FORMALITIES if formalities else ()))
        self._marks = {name: self._mark(name) for name in names}
        if tokenizer.bos_id is None:
            raise ValueError("config.json names no bos_token_id, the prompt begins with it")
        self._begin = tokenizer.bos_id

    def length_cap(
        self,
        prompt_tokens: int,
        source_language: str | None,
        target_language: str,
        *,
        terms: Terms = (),
        context: Sequence[str] = (),
    ) -> int:
        return length_cap(prompt_tokens)

    def build(
        self,
        source: str,
        source_language: str | None,
        target_language: str,
        *,
        is_open: bool,
        formality: Formality | None = None,
        terms: Terms = (),
        context: Sequence[str] = (),
    ) -> tuple[int, ...]:
        _check_pair(self.pairs, source_language, target_language)
        _check_formality(self.formalities, formality, target_language)
        ids = [self._begin, self._marks[source_language or "auto"]]
        ids += self._tokenizer.encode(source)
        if is_open:
            ids.append(self._marks["open"])
        if formality:
            ids.append(self._marks[formality])
        ids.append(self._marks[target_language])
        return tuple(ids)

    def _mark(self, name: str) -> int:
        found = self._tokenizer.piece_id(f"<{name}>")
        if found is None:
            raise ValueError(f"the vocabulary has no piece <{name}>")
        return found


class FrameFormat:
    """The wording of a profile, around the text.

    Args:
        profile: its pairs, wording and names of languages.
        template: the model's own, used where the profile leaves the turns to it.
    Raises:
        ProfileError: the template fails.
        ValueError: there is no template and no other turns that the vocabulary has, or it lacks a
            control piece of the profile.
    """

    def __init__(
        self, tokenizer: Tokenizer, profile: Profile, template: ChatTemplate | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self.profile = profile
        self.pairs = profile.pairs
        self.context_pairs = profile.context
        self.tells_context = bool(profile.message_context)
        targets = {target for _, target in profile.pairs}
        self.formalities = profile.address_languages & targets
        self.languages = tuple(sorted({language for pair in profile.pairs for language in pair}))
        self.stop_ids = tuple(self._piece(piece) for piece in profile.stop)
        if "\n" in profile.ends_at and not profile.has_chatter:
            # What follows would not be read, so it is not computed.
            self.stop_ids += tokenizer.line_breaks()
        self.answer = Answer(profile.ends_at, profile.has_chatter)
        self._turns, self._template = profile.turns, None
        if profile.turns == CHAT_TEMPLATE:
            self._template = template
            self._turns = self._fallback_turns() if template is None else ""
        self._begin: tuple[int, ...] = ()
        if profile.begins:
            if tokenizer.bos_id is None:
                raise ValueError("config.json names no bos_token_id, the prompt begins with it")
            self._begin = (tokenizer.bos_id,)
        # Done here, so that a bad template fails at start and not during a request.
        asked = [(None, target) for target in targets] + list(profile.pairs)
        told = [(False, False)]
        told += [(True, False)] if profile.term else []
        told += [(False, True)] if profile.message_context else []
        self._wordings = {
            (source, target, is_open, formality, *kind): self._around(
                source, target, is_open, formality, *kind
            )
            for source, target in asked
            for is_open in ((False, True) if profile.open else (False,))
            for formality in (None, *(FORMALITIES if target in self.formalities else ()))
            for kind in told
        }
        self._frame = lru_cache(maxsize=4096)(self._make_frame)
        # Frames with users' terms or context: a few, needed again for each word of a sentence.
        self._told_frame = lru_cache(maxsize=256)(self._make_frame)

    def length_cap(
        self,
        prompt_tokens: int,
        source_language: str | None,
        target_language: str,
        *,
        terms: Terms = (),
        context: Sequence[str] = (),
    ) -> int:
        frame = self._frame_of((source_language, target_language, False, None), terms, context)
        text_tokens = max(prompt_tokens - frame.overhead, 0)
        return int(text_tokens * self.profile.max_ratio) + self.profile.margin

    def build(
        self,
        source: str,
        source_language: str | None,
        target_language: str,
        *,
        is_open: bool,
        formality: Formality | None = None,
        terms: Terms = (),
        context: Sequence[str] = (),
    ) -> tuple[int, ...]:
        _check_pair(self.pairs, source_language, target_language)
        _check_formality(self.formalities, formality, target_language)
        is_marked = is_open and bool(self.profile.open)
        asked = (source_language, target_language, is_marked, formality)
        return self._frame_of(asked, terms, context).ids(source.strip())

    def _frame_of(self, asked: _Asked, terms: Terms, context: Sequence[str]) -> Frame:
        """Return the frame with terms, else context, if the profile has a place for them."""
        frame = self._frame(*self._wordings[*asked, False, False])
        has_terms = bool(terms and self.profile.term)
        has_context = not has_terms and bool(context) and self.tells_context
        if not has_terms and not has_context:
            return frame
        told = self.profile.listed(terms) if has_terms else "\n".join(context)
        place = TERMS_PLACEHOLDER if has_terms else CONTEXT_PLACEHOLDER
        # These are users' words as well: they must not bring in control pieces.
        said = self._tokenizer.defused(told)
        around = self._wordings[*asked, has_terms, has_context]
        found = self._told_frame(*(part.replace(place, said) for part in around))
        return found if found.controls == frame.controls else frame

    def _around(
        self,
        source: str | None,
        target: str,
        is_open: bool,
        formality: Formality | None,
        has_terms: bool,
        has_context: bool,
    ) -> tuple[str, str]:
        """Return what comes before and after the text."""
        message = self.profile.wording(
            source,
            target,
            is_open=is_open,
            formality=formality,
            terms=TERMS_PLACEHOLDER if has_terms else "",
            context=CONTEXT_PLACEHOLDER if has_context else "",
            text=PLACEHOLDER,
        )
        if self._template is not None:
            return self._template.around(message, self.profile.system)
        before, after = self._turns.replace("{message}", message).split(PLACEHOLDER)
        return before, after

    def _fallback_turns(self) -> str:
        """Return what surrounds a message of a model that lost its chat template."""
        missing = []
        for turns in self.profile.fallback_turns:
            pieces = [p for p in CONTROL_SHAPE.findall(turns) if p not in self._tokenizer.controls]
            if not pieces:
                return turns
            missing += pieces
        lacks = f", and the vocabulary has no {' or '.join(missing)}" if missing else ""
        raise ValueError(f"it has no chat template{lacks}")

    def _make_frame(self, before: str, after: str) -> Frame:
        return Frame(self._tokenizer, before, after, self._begin)

    def _piece(self, piece: str) -> int:
        found = self._tokenizer.piece_id(piece)
        if found is None:
            raise ValueError(f"the vocabulary has no piece {piece}")
        return found


def length_cap(source_tokens: int) -> int:
    """Return how many tokens the translation of this many tokens may have."""
    return int(source_tokens * MAX_LENGTH_RATIO) + LENGTH_MARGIN


def load_prompt_format(
    directory: Path, tokenizer: Tokenizer, profile: Path | None = None
) -> PromptFormat:
    """Choose how to prompt the model of a directory.

    The profile is the one that a user gives; else the one that config.json names: a directory made
    by `tokenspeed train` has `"tokenspeed": {"prompt": "marks", "pairs": [["en", "de"], ...]}`, and
    others may name any shipped profile; else the one that recognises the model.

    `"pairs"` replace those of the profile. `"context": 2` says that the model was trained with up
    to two earlier sentences before its source; without it the profile decides.
    `"formality": ["de", ...]` names the target languages whose form of address can be chosen.

    Raises:
        CheckpointError: config.json has a field that is not valid, or the vocabulary lacks the
            marks.
        ProfileError: no profile fits, or the given one cannot be used.
    """
    path = directory / "config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    section = raw.get("tokenspeed", {})
    if not isinstance(section, dict):
        raise CheckpointError(path, f"tokenspeed is {section!r}, expected an object")
    _check_section(path, section)
    template = find_chat_template(directory)
    chosen = _profile_of(directory, raw, section, tokenizer, template, profile)
    pairs = section.get("pairs") or chosen.pairs
    context_pairs = section.get("context", chosen.context)
    formality = section.get("formality", chosen.address_languages)
    both = frozenset((a, b) for a, b in pairs)
    try:
        if chosen.layout == "marks":
            return MarksFormat(tokenizer, both, context_pairs, frozenset(formality))
        chosen = replace(
            chosen,
            pairs=both,
            names={code: name_of(code) for pair in both for code in pair} | dict(chosen.names),
            context=context_pairs,
            address_languages=frozenset(formality),
        )
        return FrameFormat(tokenizer, chosen, template)
    except ValueError as exc:
        raise CheckpointError(
            directory, f"cannot be asked for translations as {chosen.title} is: {exc}"
        ) from exc


def _check_section(path: Path, section: dict[str, Any]) -> None:
    pairs, context_pairs = section.get("pairs", []), section.get("context", 0)
    formality = section.get("formality", [])
    wanted = (
        (
            "pairs",
            pairs,
            "a list of pairs of languages",
            isinstance(pairs, list) and all(_are_texts(pair) and len(pair) == 2 for pair in pairs),
        ),
        (
            "context",
            context_pairs,
            "a whole number from 0 on",
            type(context_pairs) is int and context_pairs >= 0,
        ),
        ("formality", formality, "a list of languages", _are_texts(formality)),
    )
    for field, value, expected, is_right in wanted:
        if not is_right:
            raise CheckpointError(path, f"tokenspeed.{field} is {value!r}, expected {expected}")


def _profile_of(
    directory: Path,
    raw: dict[str, Any],
    section: dict[str, Any],
    tokenizer: Tokenizer,
    template: ChatTemplate | None,
    given: Path | None,
) -> Profile:
    if given is not None:
        return read_profile(given)
    if "prompt" in section:
        name = section["prompt"]
        name = _OLD_NAMES.get(name, name) if isinstance(name, str) else name
        if not isinstance(name, str) or name not in shipped_names():
            raise CheckpointError(
                directory / "config.json",
                f"prompt is {name!r}, supported: {', '.join(shipped_names())}",
            )
        return shipped_profile(name)
    names = [directory.resolve().name, str(raw.get("_name_or_path", ""))]
    if directory.resolve().parent.name == "snapshots":  # in Hugging Face's cache
        names.append(directory.resolve().parents[1].name)
    source = template.source if template is not None else ""
    for profile in shipped_profiles():
        for sign in profile.signs:
            if sign.fits(str(raw.get("model_type")), names, source, tokenizer.controls):
                return profile
    if template is not None:
        return shipped_profile("generic")
    raise ProfileError(
        directory,
        "no profile recognises it, and it has no chat template: say how it is asked with "
        f'--profile FILE, or by "tokenspeed": {{"prompt": NAME}} in config.json '
        f"({', '.join(shipped_names())})",
    )


def _are_texts(values: object) -> bool:
    """Whether these are strings in a list."""
    return isinstance(values, list | tuple) and all(isinstance(each, str) for each in values)


def _check_pair(
    pairs: frozenset[tuple[str, str]], source_language: str | None, target_language: str
) -> None:
    known = {source for source, target in pairs if target == target_language}
    if not known or source_language not in known | {None}:
        raise ValueError(
            f"translation from {source_language or 'auto'} to {target_language} is not supported"
        )


def _check_formality(
    formalities: frozenset[str], formality: Formality | None, target_language: str
) -> None:
    if formality and target_language not in formalities:
        raise ValueError(f"the model cannot be asked for {formality} address in {target_language}")
