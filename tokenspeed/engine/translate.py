"""Whole texts, translated at once: for the command line, the REST endpoints and evaluation.

Live text goes another way (service/captions/policy.py); this file knows no revisions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenspeed.engine.loading import LoadedModel
from tokenspeed.engine.request import Completion, Request
from tokenspeed.text.quantities.computing import repair, rewrite

# An output longer than this, for its source, is a model that runs in circles.
MAX_LENGTH_RATIO = 2.0
LENGTH_MARGIN = 10

# "am 3. Mai": a short number with a period is an ordinal.
_SENTENCE_END = re.compile(r"(?<=[.!?…])(?<!\b\d\.)(?<!\b\d\d\.)\s+")


@dataclass(frozen=True)
class TranslatedText:
    """A translated text and what it cost."""

    text: str
    total_ms: float
    tokens: int


def length_cap(source_tokens: int) -> int:
    """Return how many tokens a translation of this many may have."""
    return int(source_tokens * MAX_LENGTH_RATIO) + LENGTH_MARGIN


def whole_request(
    model: LoadedModel, text: str, source_language: str | None, target_language: str
) -> Request:
    """Return the request that translates a complete text greedily, as one piece.

    Raises:
        ValueError: the model does not translate this pair.
    """
    prompt = model.prompts.build(text, source_language, target_language, is_open=False)
    room = model.engine.backend.max_length - len(prompt)
    return Request(prompt, max_new_tokens=max(1, min(length_cap(len(prompt)), room)))


def translate(
    model: LoadedModel,
    texts: Sequence[str],
    source_language: str | None,
    target_language: str,
    *,
    is_alone: bool = False,
) -> list[TranslatedText]:
    """Translate texts sentence by sentence, all of them side by side.

    Args:
        is_alone: by the model alone, without computing numbers, times and dates.
    Raises:
        ValueError: the model does not translate this pair.
        RequestTooLong: a sentence does not fit a slot.
        EngineStopped: the engine was closed, or a step failed.
    """
    language = None if is_alone else source_language
    pieces = [split_sentences(text) for text in texts]
    requests = [
        whole_request(
            model, rewrite(piece, language) if language else piece, source_language, target_language
        )
        for text in pieces
        for piece in text
    ]
    completions = iter(model.engine.run(requests))
    return [
        _join(model, text, [next(completions) for _ in text], language, target_language)
        for text in pieces
    ]


def split_sentences(text: str) -> list[str]:
    """Cut a text after sentence marks; a blank text gives no sentence."""
    return [part for part in _SENTENCE_END.split(text.strip()) if part]


def _join(
    model: LoadedModel,
    pieces: Sequence[str],
    parts: list[Completion],
    source_language: str | None,
    target_language: str,
) -> TranslatedText:
    texts = [model.tokenizer.decode(part.tokens) for part in parts]
    if source_language is not None:
        texts = [
            repair(piece, text, source_language, target_language)
            for piece, text in zip(pieces, texts, strict=True)
        ]
    return TranslatedText(
        text=" ".join(texts),
        total_ms=max((part.total_ms for part in parts), default=0.0),
        tokens=sum(len(part.tokens) for part in parts),
    )
