"""What a client is told of a translation: the protocol's events from segments and streams.

Knows both; decides nothing.
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
    """Return what changed since the last delta; None where nothing did.

    Args:
        job: that brought the change; None where the text alone did.
        timing: of the job. The end of an update is told with it, news or not.
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
        lost_terms: that a first pass lost before the stream could see them.
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
            terms=stream.terms + lost_terms,
            violations=stream.violations + lost_terms,
            faults=stream.faults,
            untranslated=stream.untranslated,
        ),
        start_ms=segment.start_ms,
        end_ms=segment.end_ms,
        timing=timing,
        speaker=segment.speaker,
    )


def source_delta_of(segment: Segment, language: str | None) -> SourceDelta:
    """Return what is being said in a segment."""
    text = segment.text
    stable_end = max(len(text) - len(segment.unstable), 0)
    return SourceDelta(
        segment.segment_id, text[:stable_end], text[stable_end:], segment.speaker, language
    )


def source_final_of(segment: Segment, language: str | None, text: str) -> SourceFinal:
    """Return what was said in a segment; empty text where it was withdrawn."""
    return SourceFinal(
        segment.segment_id, text, segment.speaker, language, segment.start_ms, segment.end_ms
    )


def mismatch_of(segment: Segment, named: str | None, model: ModelInfo) -> SessionNotice | None:
    """Return what is told, once, of a segment that is not in the language that it is said to be in.

    Args:
        named: the language that the session says it is, None where it says none; then a language
            that the model does not know is one.
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
