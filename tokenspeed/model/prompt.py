"""How a model is asked for a translation: text and languages in, prompt ids out.

The source stands first and the target mark after it, so that all targets of a source share its
keys and values, and a growing source keeps those of its beginning. Earlier sentences as context
need no marks of their own: they are the beginning of the source, and their translations the forced
beginning of the output.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from tokenspeed.errors import CheckpointError
from tokenspeed.model.tokenizer import Tokenizer
from tokenspeed.text.languages import name_of

Formality = Literal["formal", "informal"]  # how a translation addresses whoever is spoken to
FORMALITIES: tuple[Formality, ...] = ("formal", "informal")
DEFAULT_LANGUAGES = ("en", "de", "fr", "es")  # of a general model that says nothing of its own


class PromptFormat(Protocol):
    """The way one family of models wants its prompt."""

    languages: tuple[str, ...]
    pairs: frozenset[tuple[str, str]]  # (source, target) that the model translates
    context_pairs: int  # earlier sentences that may go along, as many as it was trained with
    formalities: frozenset[str]  # target languages whose form of address can be chosen

    def build(
        self,
        source: str,
        source_language: str | None,
        target_language: str,
        *,
        is_open: bool,
        formality: Formality | None = None,
    ) -> tuple[int, ...]:
        """Return the prompt.

        Args:
            source: text in the source language.
            source_language: its code, or None where it is not known.
            target_language: the code of the language wanted.
            is_open: whether the source may still grow, so that the output must not run ahead.
            formality: how "you" is rendered; None leaves it to the model.
        Raises:
            ValueError: the model does not translate this pair, or cannot be asked for a formality
                in the language wanted.
        """
        ...


class MarksFormat:
    """`<s> <en> source [<open>] [<formal>] <de>`: the default model's, its marks single pieces.

    The form of address stands by the target, so that the source's keys and values serve any.
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
        self.formalities = formalities
        self.languages = tuple(sorted({language for pair in pairs for language in pair}))
        names = (*self.languages, "auto", "open", *(FORMALITIES if formalities else ()))
        self._marks = {name: self._mark(name) for name in names}
        if tokenizer.bos_id is None:
            raise ValueError("config.json names no bos_token_id, the prompt begins with it")
        self._begin = tokenizer.bos_id

    def build(
        self,
        source: str,
        source_language: str | None,
        target_language: str,
        *,
        is_open: bool,
        formality: Formality | None = None,
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


class InstructionFormat:
    """A chat prompt in the format of LLaMA-3, for general instruction models."""

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
        self.formalities = formalities
        self.languages = tuple(sorted({language for pair in pairs for language in pair}))
        names = ("begin_of_text", "start_header_id", "end_header_id", "eot_id")
        self._begin, self._start, self._end, self._turn = (self._special(n) for n in names)

    def build(
        self,
        source: str,
        source_language: str | None,
        target_language: str,
        *,
        is_open: bool,
        formality: Formality | None = None,
    ) -> tuple[int, ...]:
        _check_pair(self.pairs, source_language, target_language)
        _check_formality(self.formalities, formality, target_language)
        encode, target = self._tokenizer.encode, name_of(target_language)
        state = f" Use {formality} address." if formality else ""
        state += " It is unfinished: translate only what is there." if is_open else ""
        return (
            self._begin,
            *self._header("system"),
            *encode("You translate live captions. Answer with the translation alone."),
            self._turn,
            *self._header("user"),
            *encode(source),
            # After the source, so that every target and the growing source share what is before.
            *encode(f"\n\nTranslate the text above into {target}.{state}"),
            self._turn,
            *self._header("assistant"),
        )

    def _header(self, role: str) -> tuple[int, ...]:
        encode = self._tokenizer.encode
        return (self._start, *encode(role), self._end, *encode("\n\n"))

    def _special(self, name: str) -> int:
        found = self._tokenizer.piece_id(f"<|{name}|>")
        if found is None:
            raise ValueError(f"the vocabulary has no piece <|{name}|>")
        return found


_FORMATS: dict[str, type[MarksFormat] | type[InstructionFormat]] = {
    "marks": MarksFormat,
    "instruction": InstructionFormat,
}


def load_prompt_format(directory: Path, tokenizer: Tokenizer) -> PromptFormat:
    """Choose the format of a model directory.

    A directory made by `tokenspeed train` says so in config.json: `"tokenspeed": {"prompt":
    "marks", "pairs": [["en", "de"], ...]}`. A directory that says nothing is asked by instruction.
    `"context": 2` says that the model was trained with up to two earlier sentences before its
    source; without it none are ever sent along. `"formality": ["de", ...]` names the target
    languages whose form of address the model was taught to choose by its marks.

    Raises:
        CheckpointError: the format is unknown, or the vocabulary lacks its marks.
    """
    path = directory / "config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    section = raw.get("tokenspeed", {})
    if not isinstance(section, dict):
        raise CheckpointError(path, f"tokenspeed is {section!r}, expected an object")
    name = section.get("prompt", "instruction")
    if not isinstance(name, str) or name not in _FORMATS:
        raise CheckpointError(path, f"prompt is {name!r}, supported: {', '.join(_FORMATS)}")
    pairs: Sequence[Sequence[str]] = section.get("pairs") or [
        (a, b) for a in DEFAULT_LANGUAGES for b in DEFAULT_LANGUAGES if a != b
    ]
    context_pairs, formality = section.get("context", 0), section.get("formality", [])
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
    try:
        formalities = frozenset(formality)
        both = frozenset((a, b) for a, b in pairs)
        return _FORMATS[name](tokenizer, both, context_pairs, formalities)
    except ValueError as exc:
        raise CheckpointError(directory, f"cannot be asked for translations: {exc}") from exc


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
