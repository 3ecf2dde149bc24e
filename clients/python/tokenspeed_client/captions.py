"""What a viewer knows: segments with their source and their translations, as a pure reducer.

`state = apply_event(state, event)` for every event of a session, in order. The same frames give the
same state as `captions.js` of the JavaScript client.

The `stable` text of an open segment only ever grows, even if the connection is lost and a new
session translates the segment again from its beginning. A final begins with all of it, unless such
a new session arrived at another translation, and never changes once it is shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from tokenspeed_client.events import (
    SessionCreated,
    SessionSnapshot,
    SnapshotSegment,
    TranslationDelta,
    TranslationFinal,
    TranslationRetracted,
)


@dataclass(frozen=True, slots=True)
class Line:
    """One segment in one language.

    Attributes:
        stable: shown and never taken back.
        unstable: the tail that the next event may replace.
        received: what the present session has appended; differs from `stable` only while a new
            session catches up with what an earlier one had shown.
    """

    stable: str = ""
    unstable: str = ""
    received: str = ""
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said, and its translations.

    Attributes:
        is_committed: whether the source will not change any more.
        start_ms: on the clock of the client that sends the source.
        lines: by language.
    """

    id: str
    source: str = ""
    source_unstable: str = ""
    is_committed: bool = False
    start_ms: float | None = None
    end_ms: float | None = None
    lines: Mapping[str, Line] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Captions:
    """Everything that was said.

    Attributes:
        session_id: None before the first session.
        segments: in the order in which they first appeared.
    """

    session_id: str | None = None
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalSource:
    """Text that the program itself sends; it is shown without waiting for the server."""

    type: ClassVar[str] = "source.local"
    segment_id: str
    stable: str
    unstable: str = ""
    start_ms: float | None = None
    end_ms: float | None = None
    committed: bool = False


EMPTY: Final = Captions()


def apply_event(state: Captions, event: object) -> Captions:
    """Return the state after an event; the same object if it says nothing new about text."""
    match event:
        case SessionCreated():
            return _begin_session(state, event.session.id)
        case LocalSource():
            return _change(state, event.segment_id, lambda segment: _told(segment, event))
        case SessionSnapshot():
            for found in event.segments:
                state = _apply_snapshot(state, found)
            return state
        case TranslationDelta():
            return _change_line(
                state,
                event.segment_id,
                event.target,
                lambda line: _grow(line, event.append, event.unstable),
            )
        case TranslationFinal():
            return _change(state, event.segment_id, lambda segment: _finished(segment, event))
        case TranslationRetracted():
            kept = tuple(found for found in state.segments if found.id != event.segment_id)
            return state if len(kept) == len(state.segments) else replace(state, segments=kept)
    return state


def newest_lines(state: Captions, target: str, count: int) -> list[tuple[Segment, Line]]:
    """Return the newest lines of a language that have any text, oldest first."""
    shown: list[tuple[Segment, Line]] = []
    for segment in reversed(state.segments):
        line = segment.lines.get(target)
        if len(shown) < count and line is not None and (line.stable or line.unstable):
            shown.insert(0, (segment, line))
    return shown


def _begin_session(state: Captions, session_id: str) -> Captions:
    """A new session knows nothing of open segments and appends their translation from its start."""
    if state.session_id == session_id:
        return state
    segments = tuple(
        replace(
            segment,
            lines={
                target: line if line.is_final else replace(line, received="")
                for target, line in segment.lines.items()
            },
        )
        for segment in state.segments
    )
    return Captions(session_id, segments)


def _told(segment: Segment, event: LocalSource) -> Segment:
    if segment.is_committed:
        return segment
    return replace(
        segment,
        source=event.stable,
        source_unstable=event.unstable,
        is_committed=event.committed,
        start_ms=_first(segment.start_ms, event.start_ms),
        end_ms=_first(event.end_ms, segment.end_ms),
    )


def _apply_snapshot(state: Captions, found: SnapshotSegment) -> Captions:
    """The pieces that were appended during a gap are not known, but the whole text is."""
    return _change_line(
        state,
        found.segment_id,
        found.target,
        lambda line: _grow(replace(line, received=""), found.text, found.unstable),
    )


def _grow(line: Line, append: str, tail: str) -> Line:
    received = line.received + append
    if received.startswith(line.stable):
        return replace(line, received=received, stable=received, unstable=tail)
    # A new session is still behind what an earlier one had shown: show its tail only where it
    # continues the text on the screen.
    whole = received + tail
    unstable = whole[len(line.stable) :] if whole.startswith(line.stable) else ""
    return replace(line, received=received, unstable=unstable)


def _finished(segment: Segment, event: TranslationFinal) -> Segment:
    before = segment.lines.get(event.target)
    if before is not None and before.is_final:
        return segment
    line = Line(event.text, "", event.text, is_final=True)
    return replace(
        segment,
        source=segment.source if segment.is_committed else event.source_text,
        source_unstable="",
        is_committed=True,
        start_ms=_first(segment.start_ms, event.start_ms),
        end_ms=_first(segment.end_ms, event.end_ms),
        lines={**segment.lines, event.target: line},
    )


def _change_line(
    state: Captions, segment_id: str, target: str, change: Callable[[Line], Line]
) -> Captions:
    def changed(segment: Segment) -> Segment:
        before = segment.lines.get(target, Line())
        if before.is_final:
            return segment
        return replace(segment, lines={**segment.lines, target: change(before)})

    return _change(state, segment_id, changed)


def _change(state: Captions, segment_id: str, change: Callable[[Segment], Segment]) -> Captions:
    """Change a segment; a new one is added first."""
    segments = list(state.segments)
    # Almost always one of the last.
    index = len(segments) - 1
    while index >= 0 and segments[index].id != segment_id:
        index -= 1
    before = segments[index] if index >= 0 else Segment(segment_id)
    after = change(before)
    if after is before:
        return state
    if index < 0:
        segments.append(after)
    else:
        segments[index] = after
    return replace(state, segments=tuple(segments))


def _first(one: float | None, other: float | None) -> float | None:
    return other if one is None else one
