"""What one speaker sent and received, and what follows from it: displays and update times."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from service.bench.captions.documents import Line, Update
from service.bench.captions.scores import Display, SegmentLog
from service.wire.protocol import (
    ServerEvent,
    SessionParams,
    SourceCommit,
    SourceParams,
    SourceUpdate,
    TargetParams,
    TranslationDelta,
    TranslationFinal,
)
from tokenspeed.text.segmenter import cut
from tokenspeed.text.words import count_words, normalise


@dataclass(frozen=True, slots=True)
class Sent:
    """An update and when it was sent, in seconds on the client's clock."""

    at: float
    update: Update


@dataclass(frozen=True, slots=True)
class Received:
    """An event and when it came, in seconds on the client's clock."""

    at: float
    event: ServerEvent


@dataclass(slots=True)
class Transcript:
    """One speaker's session."""

    lines: Sequence[Line]
    sent: list[Sent] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EngineUsage:
    """What an engine did: requests, and their tokens.

    Each decoded token, the end mark included, is a step that its update waited for; accepted ones
    cost no step of their own.
    """

    requests: int = 0
    superseded: int = 0
    decoded: int = 0
    accepted: int = 0
    draft_tokens: int = 0

    def __sub__(self, before: "EngineUsage") -> "EngineUsage":
        names = [f.name for f in fields(self)]
        return EngineUsage(**{name: getattr(self, name) - getattr(before, name) for name in names})


@dataclass(frozen=True, slots=True)
class UpdateTimes:
    """How soon updates were answered, in ms.

    Attributes:
        answered: of partials, by their own translation.
        coalesced: of partials that a newer revision overtook, until its answer.
        finals: from a commit to its final.
        skipped: partials that needed no translation: too short for the policy, or nothing new.
    """

    answered: list[float]
    coalesced: list[float]
    finals: list[float]
    skipped: int

    @property
    def partials(self) -> list[float]:
        """Of all partials that needed a translation."""
        return self.answered + self.coalesced


def session_params(source: str, target: str, *, has_partials: bool) -> SessionParams:
    """Return what a replaying client asks for."""
    return SessionParams(
        source=SourceParams(source),
        targets=(TargetParams(target),),
        mode="captions",
        partials=has_partials,
        timing=True,
    )


def client_event(update: Update) -> SourceUpdate | SourceCommit:
    """Return the wire's form of an update."""
    name = segment_name(update.line)
    if update.is_commit:
        return SourceCommit(segment_id=name, rev=update.rev, text=update.text)
    return SourceUpdate(update.rev, update.stable, update.unstable, segment_id=name)


def segment_name(line: int) -> str:
    """Return the segment of a line."""
    return f"line-{line}"


def segment_logs(transcript: Transcript) -> list[SegmentLog]:
    """Return what a reader saw of each line.

    Raises:
        ValueError: a line has no final.
    """
    return [_segment_log(line, *_of_line(transcript, i)) for i, line in enumerate(transcript.lines)]


def _of_line(
    transcript: Transcript, line: int
) -> tuple[list[Sent], list[tuple[float, TranslationDelta | TranslationFinal]]]:
    name = segment_name(line)
    events = [
        (item.at, item.event)
        for item in transcript.received
        if isinstance(item.event, TranslationDelta | TranslationFinal)
        and item.event.segment_id == name
    ]
    return [item for item in transcript.sent if item.update.line == line], events


def _segment_log(
    line: Line,
    sent: Sequence[Sent],
    events: Sequence[tuple[float, TranslationDelta | TranslationFinal]],
) -> SegmentLog:
    if not events or not isinstance(events[-1][1], TranslationFinal):
        raise ValueError(f"no final came for {line.source!r}")
    updates = {item.update.rev: item.update for item in sent}
    begin = sent[0].at - sent[0].update.source_ms / 1e3
    displays = []
    committed = ""
    for at, event in events:
        if isinstance(event, TranslationFinal):
            text, kept, answered = event.text, len(event.text), sent[-1].update
        else:
            committed += event.append
            text, kept = committed + event.unstable, len(committed)
            answered = updates[event.source_rev]
        displays.append(Display(text, kept, answered.words, answered.source_ms, (at - begin) * 1e3))
    return SegmentLog(line.source, line.reference, sent[-1].update.source_ms, tuple(displays))


def update_times(
    transcript: Transcript, min_source_words: int, *, has_partials: bool
) -> UpdateTimes:
    """Return how soon each update was answered.

    A partial is answered by the end of its own translation, which a session that wants timing is
    always told of, or else by that of a newer revision.

    Args:
        min_source_words: of the policy; shorter pieces are not translated.
        has_partials: whether partials were asked for.
    Raises:
        ValueError: a line has no final.
    """
    times = UpdateTimes([], [], [], 0)
    skipped = 0
    for index, line in enumerate(transcript.lines):
        sent, events = _of_line(transcript, index)
        finals = [at for at, event in events if isinstance(event, TranslationFinal)]
        if not finals:
            raise ValueError(f"no final came for {line.source!r}")
        times.finals.append((finals[0] - sent[-1].at) * 1e3)
        answers = [
            (event.source_rev, at)
            for at, event in events
            if isinstance(event, TranslationDelta) and event.timing is not None
        ]
        answers.append((sent[-1].update.rev, finals[0]))
        before = ""
        for item in sent[:-1]:
            rev, text = item.update.rev, item.update.text
            own = [at for answered, at in answers if answered == rev]
            newer = [at for answered, at in answers if answered > rev]
            is_short = count_words(cut(text)[-1]) < min_source_words
            if own:
                times.answered.append((max(own) - item.at) * 1e3)
            elif not has_partials or is_short or normalise(text) == normalise(before):
                skipped += 1
            else:
                times.coalesced.append((min(newer) - item.at) * 1e3)
            before = text
    return UpdateTimes(times.answered, times.coalesced, times.finals, skipped)
