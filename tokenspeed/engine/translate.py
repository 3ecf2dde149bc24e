"""Whole texts, translated at once: for evaluation; users' texts go through service/translator.py.

Live text goes another way (service/captions/policy.py); this file knows no revisions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenspeed.engine.loading import LoadedModel
from tokenspeed.engine.request import Request
from tokenspeed.text.glossary import Glossary
from tokenspeed.text.pipeline import Hygiene
from tokenspeed.text.vocabulary import vocabulary_of
from tokenspeed.text.whole import Exchange, Whole

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+")


@dataclass(frozen=True)
class TranslatedText:
    """A translated text and what it cost; `untranslated` counts pieces left as their source."""

    text: str
    total_ms: float
    tokens: int
    untranslated: int = 0


def whole_request(
    model: LoadedModel, text: str, source_language: str | None, target_language: str
) -> Request:
    """Return the request that translates a complete text greedily, as one piece.

    Raises:
        ValueError: the model does not translate this pair.
    """
    prompt = model.prompts.build(text, source_language, target_language, is_open=False)
    cap = model.prompts.length_cap(len(prompt), source_language, target_language)
    room = model.engine.backend.max_length - len(prompt)
    return Request(prompt, max_new_tokens=max(1, min(cap, room)))


def translate(
    model: LoadedModel,
    texts: Sequence[str],
    source_language: str | None,
    target_language: str,
    *,
    is_alone: bool = False,
) -> list[TranslatedText]:
    """Translate texts piece by piece, all of them side by side.

    Args:
        is_alone: use the model alone, sentence by sentence, without anything of tokenspeed.text.
    Raises:
        ValueError: the model does not translate this pair.
        RequestTooLong: a piece does not fit a slot.
        EngineStopped: the engine was closed, or a step failed.
    """
    if is_alone:
        return _alone(model, texts, source_language, target_language)
    hygiene = hygiene_of(model, source_language, target_language)
    wholes = [Whole(text, hygiene) for text in texts]
    parts = [
        (i, part, Exchange(hygiene, part.source, source_language))
        for i, whole in enumerate(wholes)
        for part in whole.parts()
    ]
    total_ms, tokens, untranslated = [0.0] * len(texts), [0] * len(texts), [0] * len(texts)
    open_parts = parts
    while asked := [found for found in open_parts if found[2].shown is not None]:
        shown = [exchange.shown or "" for _, _, exchange in asked]
        requests = [whole_request(model, s, source_language, target_language) for s in shown]
        slowest = [0.0] * len(texts)
        completions = model.engine.run(requests)
        for (i, _, exchange), completion in zip(asked, completions, strict=True):
            output = model.tokenizer.decode(completion.tokens)
            answer = model.prompts.answer
            is_whole = completion.finish_reason == "stop" or answer.is_ended(output)
            exchange.take(answer.text(output), is_whole=is_whole)
            slowest[i] = max(slowest[i], completion.total_ms)
            tokens[i] += len(completion.tokens)
        total_ms = [a + b for a, b in zip(total_ms, slowest, strict=True)]
        open_parts = asked
    for i, part, exchange in parts:
        part.text = exchange.text
        untranslated[i] += exchange.is_untranslated
    texts_out = [whole.take_ready() for whole in wholes]
    return [
        TranslatedText(*found)
        for found in zip(texts_out, total_ms, tokens, untranslated, strict=True)
    ]


def _alone(
    model: LoadedModel, texts: Sequence[str], source_language: str | None, target_language: str
) -> list[TranslatedText]:
    pieces = [split_sentences(text) for text in texts]
    asked = [piece for text in pieces for piece in text]
    requests = [whole_request(model, text, source_language, target_language) for text in asked]
    completions = iter(model.engine.run(requests))
    found = []
    for text in pieces:
        parts = [next(completions) for _ in text]
        found.append(
            TranslatedText(
                text=" ".join(model.tokenizer.decode(part.tokens) for part in parts),
                total_ms=max((part.total_ms for part in parts), default=0.0),
                tokens=sum(len(part.tokens) for part in parts),
            )
        )
    return found


def hygiene_of(model: LoadedModel, source_language: str | None, target_language: str) -> Hygiene:
    """Return what is done to texts on their way to a model and back."""
    vocabulary = vocabulary_of(model.tokenizer)
    glossary = Glossary((), vocabulary.is_rare, source_language)
    return Hygiene(vocabulary, glossary, source_language, target_language)


def split_sentences(text: str) -> list[str]:
    """Cut a text after sentence marks; a blank text gives no sentence."""
    return [part for part in _SENTENCE_END.split(text.strip()) if part]
