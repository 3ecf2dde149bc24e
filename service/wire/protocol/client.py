"""What clients send, one frozen dataclass for each message."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from service.wire.protocol.settings import SessionParams


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """Fields of every client event.

    Attributes:
        event_id: the client's name for the event; an `error` that it causes repeats it.
    """

    type: ClassVar[str]
    event_id: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class SessionUpdate(ClientEvent):
    """Set or change the session; absent fields stay as they are.

    May be sent at any time; a target must be set before the first text. Answered by
    `session.updated`, or by an `error`, in which case nothing of it is applied.

    Attributes:
        session: the settings to change.
        token: credentials, in the first message of a client that cannot send headers.
    """

    type: ClassVar[str] = "session.update"
    session: SessionParams
    token: str | None = None


@dataclass(frozen=True, slots=True)
class SourceUpdate(ClientEvent):
    """The whole text of the open segment, `stable` and `unstable` together.

    A `rev` that is not newer than the last one seen is ignored and counted. If updates come faster
    than they can be translated, only the newest is translated. A name is for one segment: an update
    after its commit gets the error `unknown_segment`, unless it repeats what was said last.

    Attributes:
        rev: counts the revisions of the segment, upwards.
        stable: text that will not change any more.
        unstable: text after it that the next `rev` may rewrite.
        segment_id: names the segment; without one there is one implicit segment at a time.
        start_ms: when it begins, on the client's clock; repeated in its finals.
        end_ms: when it ends, likewise.
        speaker: who says it; repeated in what is told of the segment.
    """

    type: ClassVar[str] = "source.update"
    rev: int
    stable: str = ""
    unstable: str = ""
    segment_id: str | None = None
    start_ms: float | None = None
    end_ms: float | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class SourceAppend(ClientEvent):
    """More text at the end of the open segment; for typed text and recognisers that never rewrite.

    Attributes:
        text: including any spaces.
        segment_id: names the segment; without one there is one implicit segment at a time.
        speaker: who says it, as in `source.update`.
    """

    type: ClassVar[str] = "source.append"
    text: str
    segment_id: str | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class SourceCommit(ClientEvent):
    """The segment is complete: every target gets its `translation.final`.

    The finals of one target come in the order of the commits. Idempotent: repeating the same
        commit,
    as after a lost connection, is ignored and counted, as is committing a withdrawn segment; with
    an older `rev` or other text it gets the error `unknown_segment`.

    Attributes:
        segment_id: names the segment; without one it is the implicit segment.
        rev: of the last text.
        text: the whole segment; if absent, the text of the last update.
        speaker: who says it, as in `source.update`.
    """

    type: ClassVar[str] = "source.commit"
    segment_id: str | None = None
    rev: int | None = None
    text: str | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class SourceCancel(ClientEvent):
    """The recogniser withdrew the segment: it gets a `translation.retracted` instead of finals.

    Attributes:
        segment_id: names the segment; without one it is the implicit segment.
    """

    type: ClassVar[str] = "source.cancel"
    segment_id: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFlush(ClientEvent):
    """Commit everything that is open."""

    type: ClassVar[str] = "source.flush"


@dataclass(frozen=True, slots=True)
class SessionResume(ClientEvent):
    """Resume a session on a new connection; must be its first message.

    If replicas share sessions, any of them will do, not only the one that was lost. Say again
    whatever still has no final: what was in transit may not have arrived.

    Attributes:
        session_id: of the `session.created` of the lost connection.
        resume_token: likewise.
        last_seq: `seq` of the newest event that the client has.
        epoch: of that `session.created`.
    """

    type: ClassVar[str] = "session.resume"
    session_id: str
    resume_token: str
    last_seq: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Ping(ClientEvent):
    """Ask for a `pong`; browsers cannot see WebSocket pings.

    Attributes:
        id: repeated in the answer.
    """

    type: ClassVar[str] = "ping"
    id: str | None = None


@dataclass(frozen=True, slots=True)
class SessionClose(ClientEvent):
    """Finish what is open, then end the session."""

    type: ClassVar[str] = "session.close"


CLIENT_EVENTS: Final[Mapping[str, type[ClientEvent]]] = {
    kind.type: kind
    for kind in (
        SessionUpdate,
        SourceUpdate,
        SourceAppend,
        SourceCommit,
        SourceCancel,
        SourceFlush,
        SessionResume,
        Ping,
        SessionClose,
    )
}

# Designed but not built yet. Refused by name, so that silence is not taken for support; all
# other unknown fields are ignored, so that additions within v1 break nobody.
