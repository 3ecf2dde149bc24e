"""The objects inside the server's events: sessions, translations, errors, rooms."""

from dataclasses import dataclass

from service.wire.protocol.codes import ErrorCode, ErrorType


@dataclass(frozen=True, slots=True)
class LanguageInfo:
    """A source language and what it can be translated into.

    Attributes:
        code: as in `source.language`.
        name: in English.
        targets: codes of the languages that it can be translated into.
        pivot_targets: those of them that are reached through English, in two passes.
    """

    code: str
    name: str
    targets: tuple[str, ...]
    pivot_targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitsInfo:
    """What the server accepts from one session.

    Attributes:
        frame_bytes: in one frame; a larger one closes the connection with 1009.
        segment_chars: in one segment; a longer one is cut, with a `session.notice`, and continues
            under another name.
        updates_per_s: revisions that are translated; if more come, only the newest are.
        idle_s: seconds without a frame from the client after which the session is closed.
    """

    frame_bytes: int
    segment_chars: int
    updates_per_s: int
    idle_s: float


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A new session.

    Attributes:
        id: names the session, for `session.resume`.
        epoch: names the running server; a session does not outlive it.
        limits: what the server accepts.
        model: name of the model.
        languages: what it translates.
        resume_token: proves in `session.resume` that the session is the client's own.
    """

    id: str
    epoch: str
    limits: LimitsInfo
    model: str
    languages: tuple[LanguageInfo, ...]
    resume_token: str | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one update took.

    Attributes:
        queue_ms: until the engine started on it.
        compute_ms: engine time spent on it.
        first_token_ms: from its submission to the engine to the first new token.
        total_ms: from the arrival of the update to its last changed token handed to the socket.
        accepted: tokens of the previous translation that were confirmed rather than decoded.
        decoded: tokens that were decoded one by one.
    """

    queue_ms: float
    compute_ms: float
    first_token_ms: float
    total_ms: float
    accepted: int
    decoded: int


@dataclass(frozen=True, slots=True)
class FinalStats:
    """How a segment went.

    Attributes:
        updates: times that its text grew or changed.
        erased: words that were shown and taken back.
        first_ms: from the first text of its source to the first of its translation.
        final_ms: from its commit to its final.
        terms: distinct glossary entries, protected words, links, addresses and rare names in the
            source.
        violations: those of them that the translation lacks.
        faults: outputs that were not translations (loops, far too long, or copies of the
            source) and were rejected.
        untranslated: pieces left in the source language, because no output was a translation.
    """

    updates: int
    erased: int
    first_ms: float
    final_ms: float
    terms: int = 0
    violations: int = 0
    faults: int = 0
    untranslated: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session used.

    Attributes:
        source_chars: characters that were committed.
        target_tokens: tokens that the model produced, partials included.
        seconds: how long the session lasted.
    """

    source_chars: int
    target_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What went wrong.

    Attributes:
        type: who can do something about it: `invalid_request` the client's author, `auth` whoever
            has the credentials, `limit` nobody but time, `server` the server's operator.
        code: `invalid_event` (not an event, or a field is wrong), `unknown_segment`,
            `unsupported_language`, `text_too_long` (a piece of it does not fit the model),
            `rate_limited`, `glossary_invalid`, `unsupported` (known to the protocol, not built
            yet), `unknown_room` (there is none of this name, or it is closed), `unauthorized`,
            `session_expired` (nothing to resume: use the new session), `too_many_sessions`,
            `overloaded` or `internal`.
        message: what came and what was wanted, in English.
        param: dotted name of the field at fault, such as `session.targets[0].language`.
        event_id: of the event at fault, if it had one.
        retryable: whether the same event may succeed later.
    """

    type: ErrorType
    code: ErrorCode
    message: str
    param: str | None = None
    event_id: str | None = None
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotSegment:
    """The current state of one translation.

    Attributes:
        segment_id: of the segment.
        target: its language.
        text: everything appended so far.
        unstable: the tail that may still change.
        is_final: whether its final was sent.
    """

    segment_id: str
    target: str
    text: str
    unstable: str = ""
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class RoomInfo:
    """A room, as its readers see it.

    Attributes:
        id: the one in its address.
        name: for people to read.
        speakers: sessions that speak in it now.
        readers: how many are reading now.
        is_closed: whether its host has closed it; what was said stays for a while.
    """

    id: str
    name: str
    speakers: int
    readers: int
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class RoomSegment:
    """A segment of a room in the language of a reader, as it stands.

    Attributes:
        segment_id: a number; segments are shown in the order of their numbers.
        text: everything appended so far.
        unstable: the tail that may still change.
        is_final: whether it is complete.
        is_retracted: whether the segment was withdrawn.
        speaker: who says it, if known.
        source: what is said, for readers who want it.
        start_ms: when it began, since the room was opened.
        end_ms: when it was last spoken to.
    """

    segment_id: str
    text: str
    unstable: str = ""
    is_final: bool = False
    is_retracted: bool = False
    speaker: str | None = None
    source: str | None = None
    start_ms: float = 0.0
    end_ms: float = 0.0
