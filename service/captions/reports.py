"""Protocol events about translations, built from segments and streams.

Decides nothing.
"""

from service.captions.job import Job
from service.captions.segment import Segment
from service.captions.settings import ModelInfo
from service.captions.stream import TargetStream
from service.wire.protocol import (
    FinalStats,
    SessionNotice,
    SourceDelta,
    SourceFinal,
    Timing,
    TranslationDelta,
    TranslationFinal,
)
from tokenspeed.text.languages import name_of


def delta_of(
    segment: Segment, stream: TargetStream, job: Job | None, timing: Timing | None, now_s: float
) -> TranslationDelta | None:
    """Return what changed since the last delta, or None if nothing did.

    Args:
        job: that caused the change; None if the source text alone did.
        timing: of the job. With it, the end of an update is reported even if nothing changed.
    """
    append, unstable, is_news = stream.take(now_s)
    if not is_news and timing is None:
        return None
    rev = max(segment.rev, 0) if job is None else job.rev
    return TranslationDelta(
        segment.segment_id, stream.target, rev, append, unstable, timing, segment.speaker
    )


def final_of(
    segment: Segment,
    stream: TargetStream,
    timing: Timing | None,
    now_s: float,
    lost_terms: int = 0,
) -> TranslationFinal:
    """Return the whole translation of a committed segment.

    Args:
        lost_terms: terms that the first pass dropped, which the stream could not see.
    """
    stream.take(now_s)
    assert segment.committed_s is not None
    first_s = now_s if stream.first_shown_s is None else stream.first_shown_s
    return TranslationFinal(
        segment_id=segment.segment_id,
        target=stream.target,
        text=stream.committed,
        source_text=segment.text,
        stats=FinalStats(
            updates=stream.updates,
            erased=stream.erased,
            first_ms=round((first_s - segment.first_arrival_s) * 1e3, 3),
            final_ms=round((now_s - segment.committed_s) * 1e3, 3),
            terms=stream.counts.terms + lost_terms,
            violations=stream.counts.violations + lost_terms,
            faults=stream.counts.faults,
            untranslated=stream.counts.untranslated,
        ),
        start_ms=segment.start_ms,
        end_ms=segment.end_ms,
        timing=timing,
        speaker=segment.speaker,
    )


def source_delta_of(segment: Segment, language: str | None) -> SourceDelta:
    """Return the source text of an open segment."""
    text = segment.text
    stable_end = max(len(text) - len(segment.unstable), 0)
    return SourceDelta(
        segment.segment_id, text[:stable_end], text[stable_end:], segment.speaker, language
    )


def source_final_of(segment: Segment, language: str | None, text: str) -> SourceFinal:
    """Return the source text of a finished segment; empty if it was withdrawn."""
    return SourceFinal(
        segment.segment_id, text, segment.speaker, language, segment.start_ms, segment.end_ms
    )


def mismatch_of(segment: Segment, named: str | None, model: ModelInfo) -> SessionNotice | None:
    """Return the notice, sent once, that a segment is not in the language that it is said to be in.

    Args:
        named: source language in the session's settings. If None, only a language that the model
            does not know is a mismatch.
    """
    found = segment.spoken.mismatch
    if named is None:
        found = next((each for each in segment.spoken.languages if not model.knows(each)), None)
    if found is None or segment.is_mismatch_told:
        return None
    message = f"segment {segment.segment_id!r} is in {name_of(found)}"
    if named is not None:
        message += f", the source is said to be {name_of(named)}"
    if not model.knows(found):
        message += "; the model does not know it, what is in it passes through"
    return SessionNotice(
        "language_mismatch",
        message,
        segment_id=segment.segment_id,
        language=named,
        detected_language=found,
    )
