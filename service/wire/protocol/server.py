"""What the server sends, one frozen dataclass for each message."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from service.wire.protocol.codes import NoticeCode
from service.wire.protocol.parts import (
    ErrorInfo,
    FinalStats,
    RoomInfo,
    RoomSegment,
    SessionInfo,
    SnapshotSegment,
    Timing,
    Usage,
)
from service.wire.protocol.settings import SessionParams


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """Fields of every server event.

    Attributes:
        seq: counts the events of a session from 1, without gaps; 0 in an error before a session.
        t_ms: milliseconds since the session began.
    """

    type: ClassVar[str]
    seq: int = field(default=0, kw_only=True)
    t_ms: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True, slots=True)
class SessionCreated(ServerEvent):
    """The first event of a session.

    Attributes:
        session: the session, and what it can be asked to do.
    """

    type: ClassVar[str] = "session.created"
    session: SessionInfo


@dataclass(frozen=True, slots=True)
class SessionUpdated(ServerEvent):
    """Answers `session.update`.

    Attributes:
        session: all settings as actually applied.
    """

    type: ClassVar[str] = "session.updated"
    session: SessionParams


@dataclass(frozen=True, slots=True)
class TranslationDelta(ServerEvent):
    """The translation of a segment has grown, or its tail has changed.

    Deltas waiting for a slow reader are merged: every `append` is kept, and the newest
    `unstable`. With `timing`, one comes at the end of each update, even if nothing changed.

    Attributes:
        segment_id: of the segment.
        target: its language.
        source_rev: the source revision that it translates.
        append: newly committed text; it is sent once and never taken back.
        unstable: the whole tail after it; replaces the previous one.
        timing: of an update that ended, if `timing` is set.
        speaker: as the client said.
    """

    type: ClassVar[str] = "translation.delta"
    segment_id: str
    target: str
    source_rev: int
    append: str
    unstable: str
    timing: Timing | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class TranslationFinal(ServerEvent):
    """The committed translation of a segment, once for each target.

    Finals of one target are sent in the order in which their segments were committed, the parts of
    a cut segment in the order of its text; targets do not wait for each other. While a final waits
    for an earlier one, its text already arrives in deltas.

    Attributes:
        segment_id: of the segment.
        target: its language.
        text: the whole translation; begins with everything that was appended.
        source_text: what was translated.
        stats: how the segment went.
        start_ms: as the client said.
        end_ms: as the client said.
        timing: of the last update, if `timing` is set and the commit needed one.
        speaker: as the client said.
    """

    type: ClassVar[str] = "translation.final"
    segment_id: str
    target: str
    text: str
    source_text: str
    stats: FinalStats
    start_ms: float | None = None
    end_ms: float | None = None
    timing: Timing | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class TranslationRetracted(ServerEvent):
    """The segment was withdrawn by `source.cancel`; nothing more comes of it.

    Attributes:
        segment_id: of the segment.
        target: its language.
    """

    type: ClassVar[str] = "translation.retracted"
    segment_id: str
    target: str


@dataclass(frozen=True, slots=True)
class SourceDelta(ServerEvent):
    """What is being said, for readers of a room who want the source beside its translation.

    Attributes:
        segment_id: of the segment.
        stable: all text that will not change any more.
        unstable: text after it that may still change; replaces the previous one.
        speaker: who says it, if known.
        language: that it is said in, if known.
    """

    type: ClassVar[str] = "source.delta"
    segment_id: str
    stable: str
    unstable: str
    speaker: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFinal(ServerEvent):
    """Everything that was said in a segment, sent once.

    Attributes:
        segment_id: of the segment.
        text: what was said; empty if the segment was withdrawn.
        speaker: who said it, if known.
        language: that it was said in, if known.
        start_ms: as the client said; in a room, counted from its opening.
        end_ms: likewise.
    """

    type: ClassVar[str] = "source.final"
    segment_id: str
    text: str
    speaker: str | None = None
    language: str | None = None
    start_ms: float | None = None
    end_ms: float | None = None


@dataclass(frozen=True, slots=True)
class CaptionCue(ServerEvent):
    """Lines to be shown together, if `captions` is set; sent after the final of their segment.

    Attributes:
        cue_id: names the cue.
        segment_id: of the segment.
        target: its language.
        lines: from top to bottom.
        start_ms: when to show them, on the clock of `start_ms` in `source.update`, or counted from
            the start of the session if the client sends none.
        end_ms: when to remove them; at most 17 characters a second are shown.
    """

    type: ClassVar[str] = "caption.cue"
    cue_id: str
    segment_id: str
    target: str
    lines: tuple[str, ...]
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class RoomState(ServerEvent):
    """A reader's first event, repeated if it lags: the current state of a room's segments.

    Segments that have not changed since the `seq` that the reader came back with are omitted.

    Attributes:
        room: what the room is.
        target: the language that is read; `source` for what is said itself.
        segments: in the order in which they began; each replaces what the reader has.
        over: number of the newest finished segment, 0 if there is none; a translation of one up
            to it is about something said earlier.
    """

    type: ClassVar[str] = "room.state"
    room: RoomInfo
    target: str
    segments: tuple[RoomSegment, ...]
    over: int = 0


@dataclass(frozen=True, slots=True)
class RoomUpdated(ServerEvent):
    """The room itself has changed: its name, its speakers, or it was closed.

    Attributes:
        room: its new state.
    """

    type: ClassVar[str] = "room.updated"
    room: RoomInfo


@dataclass(frozen=True, slots=True)
class SessionNotice(ServerEvent):
    """Something that a client may want to know; it need not act on it.

    Attributes:
        code: `coalescing` (updates come faster than they are translated; only the newest count),
            `degraded` (the machine is busy: partials come less often, finals as usual), `backlog`
            (so much committed text awaits translation that no more is read until half of
            it is done; nothing is lost), `slow_consumer` (frames are read too slowly; the
            connection closes with 1013), `segment_cut` (a segment is longer than
            `limits.segment_chars`: it is committed up to the end of a sentence, if there is one,
            and continues as `next_segment_id`), `language_mismatch` (a segment is clearly not in
            the language that `source.language` names, or in none that the model knows; text in
            another language is translated from that, or passes through if the model cannot),
            `room_cut_off` (the store that the replicas of a room share is out of reach: what is
            said is translated for its speaker, kept, and reaches the room's readers later) or
            `room_back` (it is within reach again, and all of it comes).
        message: the same with numbers, in English.
        segment_id: the segment concerned, if it is about one.
        next_segment_id: the name under which a cut segment continues.
        language: that the session names, in a mismatch.
        detected_language: that the text is in, in a mismatch.
    """

    type: ClassVar[str] = "session.notice"
    code: NoticeCode
    message: str
    segment_id: str | None = None
    next_segment_id: str | None = None
    language: str | None = None
    detected_language: str | None = None


@dataclass(frozen=True, slots=True)
class SessionGoingAway(ServerEvent):
    """The server is shutting down: what is open is finished, then the connection closes with 1001.

    If replicas share sessions, what is open is left as it is, and the session continues at
    another: come back with `session.resume`, and say again whatever has no final.

    Attributes:
        time_left_ms: the time left at most.
        reason: `shutdown`.
    """

    type: ClassVar[str] = "session.going_away"
    time_left_ms: float
    reason: str


@dataclass(frozen=True, slots=True)
class SessionResumed(ServerEvent):
    """Answers `session.resume`; its `seq` repeats the client's `last_seq`.

    Attributes:
        recovered: whether all missed events follow; if not, the missed finals and a
            `session.snapshot` do.
        from_seq: `seq` of the next event.
    """

    type: ClassVar[str] = "session.resumed"
    recovered: bool
    from_seq: int


@dataclass(frozen=True, slots=True)
class SessionSnapshot(ServerEvent):
    """The open segments as they stand, if too much was missed to replay it all.

    Attributes:
        segments: one for each segment and target.
    """

    type: ClassVar[str] = "session.snapshot"
    segments: tuple[SnapshotSegment, ...]


@dataclass(frozen=True, slots=True)
class Pong(ServerEvent):
    """Answers `ping`.

    Attributes:
        server_time: seconds since 1970.
        id: of the `ping`.
    """

    type: ClassVar[str] = "pong"
    server_time: float
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Error(ServerEvent):
    """Something was refused or failed; most errors leave the session open.

    Attributes:
        error: what, why, and what to do.
    """

    type: ClassVar[str] = "error"
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class SessionClosed(ServerEvent):
    """The last event of a session; the connection closes after it.

    Attributes:
        reason: `client` (it asked), `idle` (it was silent for too long) or `shutdown`.
        usage: what the session used.
    """

    type: ClassVar[str] = "session.closed"
    reason: str
    usage: Usage


SERVER_EVENTS: Final[Mapping[str, type[ServerEvent]]] = {
    kind.type: kind
    for kind in (
        SessionCreated,
        SessionUpdated,
        TranslationDelta,
        TranslationFinal,
        TranslationRetracted,
        SourceDelta,
        SourceFinal,
        CaptionCue,
        RoomState,
        RoomUpdated,
        SessionNotice,
        SessionGoingAway,
        SessionResumed,
        SessionSnapshot,
        Pong,
        Error,
        SessionClosed,
    )
}
