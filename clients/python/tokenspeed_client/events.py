"""The messages of the protocol `tokenspeed.v1`, as frozen dataclasses: an event is its frame.

Made by `make generate` from the service's own classes; edit those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

SUBPROTOCOL: Final = "tokenspeed.v1"
IDLE_CODE: Final = 4408
UNAUTHENTICATED_CODE: Final = 4401
SUPERSEDED_CODE: Final = 4409
RETRYABLE_CODES: Final = frozenset({1001, 1005, 1006, 1011, 1012, 1013})
CLOSE_REASONS: Final[Mapping[int, str]] = {
    1000: "The session has ended",
    1001: "The server is shutting down; all finals were sent",
    1002: "A frame violated the WebSocket protocol",
    1005: "The connection was closed without a code",
    1006: "The connection was lost",
    1007: "A frame was not UTF-8",
    1009: "A message was too big",
    1011: "The server failed",
    1012: "The server is restarting",
    1013: "The server is full, or the client read too slowly",
    4400: "The client speaks another protocol",
    4401: "Not authenticated",
    4404: "There is no such room",
    4408: "The client sent nothing for too long",
    4409: "The session was continued on another connection",
}

Formality = Literal[
    "formal",
    "informal",
]
Mode = Literal[
    "captions",
    "append_only",
]
Stability = Literal[
    "low",
    "balanced",
    "high",
]
Capitals = Literal[
    "keep",
    "sentence",
]
Profanity = Literal[
    "raw",
    "mask",
]
NoticeCode = Literal[
    "coalescing",
    "backlog",
    "slow_consumer",
    "degraded",
    "segment_cut",
    "language_mismatch",
    "room_cut_off",
    "room_back",
]
ErrorType = Literal[
    "invalid_request",
    "auth",
    "limit",
    "server",
]
ErrorCode = Literal[
    "invalid_event",
    "unknown_segment",
    "unsupported_language",
    "text_too_long",
    "rate_limited",
    "glossary_invalid",
    "unsupported",
    "unknown_room",
    "unauthorized",
    "session_expired",
    "too_many_sessions",
    "overloaded",
    "internal",
]


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """Fields of every client event.

    Attributes:
        event_id: the client's name for the event; an `error` that it causes repeats it.
    """

    type: ClassVar[str]
    event_id: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class SourceParams:
    """Where the text comes from.

    Attributes:
        language: of the text; `en-US` counts as `en`. With `auto` each sentence is translated from
            the language that it is in. A sentence that is already in a target language passes
            through unchanged, whatever is named here.
    """

    language: str | None = None


@dataclass(frozen=True, slots=True)
class TargetParams:
    """One target language.

    Attributes:
        language: to translate into; `de-AT` counts as `de`, `zh-TW` as `zh-Hant` if the model
            has that.
        formality: form of address: `formal` (Sie, vous, usted) or `informal`
            (du, tu, tú); left to the text if absent. A model that was not trained to
            choose in this language refuses it with the error `unsupported`.
        glossary_id: a stored glossary (`POST /v2/glossaries`); entries of the session's own
            glossary take precedence. One that does not exist, or is for another pair, is refused
            with `glossary_invalid`.
    """

    language: str
    formality: Formality | None = None
    glossary_id: str | None = None


@dataclass(frozen=True, slots=True)
class GlossaryEntry:
    """A word and how it is to be translated.

    Attributes:
        source: one or more words of the source, up to 100 characters.
        target: their translation.
        case_sensitive: whether only words in the same case match.
        language: the target that it is for; all if absent.
    """

    source: str
    target: str
    case_sensitive: bool = False
    language: str | None = None


@dataclass(frozen=True, slots=True)
class CaptionParams:
    """How captions are split into cues.

    Attributes:
        max_chars: in a line, 1 to 200.
        lines: in a cue, 1 to 10.
    """

    max_chars: int = 42
    lines: int = 2


@dataclass(frozen=True, slots=True)
class SessionParams:
    """Settings of a session: as requested, or as applied.

    Attributes:
        source: where the text comes from.
        targets: the target languages. One that is dropped gets no more text, a new one
            starts with the open segments.
        mode: `captions` shows text that may still change as `unstable`; `append_only` shows only
            committed text.
        stability: how long text waits before it is appended: `low` is soonest, `high`
            is surest, `balanced` is in between.
        context: earlier sentence pairs for the model to see, 0 to 2, no more than it was trained
            with.
        glossary: words and their translations, up to 500.
        do_not_translate: words to keep as they are, up to 500.
        capitals: text in capitals is translated like normal sentences; `keep` returns it in
            capitals, `sentence` in sentence case.
        profanity: `mask` hides swear words behind stars, `f***`; `raw` leaves them.
        partials: whether to translate open segments too, or only committed ones.
        timing: whether deltas and finals say how long they took.
        captions: asks for a `caption.cue` for each cue once a segment is final.
        room: where readers can follow; needs the room's host token, or an API key.
        source_id: identifies a speaker in the room beyond one session, so that a segment
            repeated in another session is recognised; at least 16 characters,
            chosen at random, and never shown to readers.
    """

    source: SourceParams | None = None
    targets: tuple[TargetParams, ...] | None = None
    mode: Mode | None = None
    stability: Stability | None = None
    context: int | None = None
    glossary: tuple[GlossaryEntry, ...] | None = None
    do_not_translate: tuple[str, ...] | None = None
    capitals: Capitals | None = None
    profanity: Profanity | None = None
    partials: bool | None = None
    timing: bool | None = None
    captions: CaptionParams | None = None
    room: str | None = None
    source_id: str | None = None


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
class Error(ServerEvent):
    """Something was refused or failed; most errors leave the session open.

    Attributes:
        error: what, why, and what to do.
    """

    type: ClassVar[str] = "error"
    error: ErrorInfo


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
