"""How a piece gets into a language: copied, in one pass, or in two through English.

Knows languages and which pairs a model has; does not know segments, jobs or the wire.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from service.captions.policy import Source
from service.captions.settings import PIVOT, ModelInfo
from service.captions.stream import TargetStream


def is_pivoted(sources: Sequence[Source], target: str, model: ModelInfo) -> bool:
    """Whether any of these pieces takes two passes into a language."""
    languages = {source.language for source in sources}  # few, of what may be a thousand pieces
    return any(model.needs_pivot(language, target) for language in languages)


def for_pivot(source: Source, targets: Collection[str], model: ModelInfo) -> Source:
    """Return a piece as the first pass reads it; one that no target needs in two is copied."""
    is_wanted = any(model.needs_pivot(source.language, target) for target in targets)
    return source if is_wanted else replace(source, language=PIVOT)


def for_target(
    source: Source,
    index: int,
    target: str,
    pivot: TargetStream | None,
    named: str | None,
    model: ModelInfo,
) -> Source:
    """Return a piece as the translation into a language reads it.

    Args:
        source, index: the piece, and which one of its segment it is.
        pivot: the first pass of the segment, if any.
        named: the language that the session says the text is in.
    """
    if pivot is not None and model.needs_pivot(source.language, target):
        return pivot.as_source(source, index)
    if not model.knows(source.language):
        return replace(source, language=target)  # better unchanged than invented
    if not model.translates(source.language, target):
        return replace(source, language=named)
    return source
