"""The messages of the protocol `tokenspeed.v1`, as frozen dataclasses: an event is its frame.

Made by `make generate` from the service's own classes; edit those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

SUBPROTOCOL: Final = "tokenspeed.v1"
IDLE_CODE: Final = 4408
UNAUTHENTICATED_CODE: Final = 4401
RETRYABLE_CODES: Final = frozenset({1001, 1005, 1006, 1012, 1013})
CLOSE_REASONS: Final[Mapping[int, str]] = {
    1000: "The session has ended",
    1001: "The server goes away; every final was sent",
    1002: "A frame broke the rules of WebSocket",
    1005: "The line was closed without a code",
    1006: "The line was lost",
    1007: "A frame was not UTF-8",
    1009: "A message was too big",
    1011: "The server made an error",
    1012: "The server restarts",
    1013: "The server has no room, or the client read too slowly",
    4400: "The client speaks another protocol",
    4401: "Not signed in",
    4404: "There is no such room",
    4408: "Nothing was sent for too long",
    4409: "The session went on elsewhere",
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
    """What every event of a client may carry.

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
            the language that it is in. A sentence in a language that is wanted passes through to
            it as it is, whatever is named here.
    """

    language: str | None = None


@dataclass(frozen=True, slots=True)
class TargetParams:
    """One wanted language.

    Attributes:
        language: to translate into; `de-AT` counts as `de`, `zh-TW` as `zh-Hant` where the model
            has that.
        formality: how whoever is spoken to is addressed: `formal` (Sie, vous, usted) or `informal`
            (du, tu, tú); left to the text where it is absent. A model that was not taught to
            choose in this language refuses it with the error `unsupported`.
        glossary_id: a glossary that was given before (`POST /v2/glossaries`), beneath the
            session's own. One that is not there, or of another pair, is refused with
            `glossary_invalid`.
    """

    language: str
    formality: Formality | None = None
    glossary_id: str | None = None


@dataclass(frozen=True, slots=True)
class GlossaryEntry:
    """A word and how it is to be translated.

    Attributes:
        source: one or more words of the source, up to 100 characters.
        target: what they become.
        case_sensitive: whether only words in the same case count.
        language: the target that it is for; all where it is left out.
    """

    source: str
    target: str
    case_sensitive: bool = False
    language: str | None = None


@dataclass(frozen=True, slots=True)
class CaptionParams:
    """How captions are cut into cues.

    Attributes:
        max_chars: of a line, 1 to 200.
        lines: of a cue, 1 to 10.
    """

    max_chars: int = 42
    lines: int = 2


@dataclass(frozen=True, slots=True)
class SessionParams:
    """Settings of a session: as they are wanted, or as they are applied.

    Attributes:
        source: where the text comes from.
        targets: the wanted languages. One that is dropped gets no more text, one that is new
            begins with what is open.
        mode: `captions` shows text that may still change as `unstable`; `append_only` shows only
            what stays.
        stability: how long text waits before it is appended: `low` is soonest, `high` waits until
            it is surest, `balanced` lies between.
        context: earlier sentence pairs that go along, 0 to 2, no more than the model was taught.
        glossary: words and their translations, up to 500.
        do_not_translate: words that stay as they are, up to 500.
        capitals: text in capitals is translated as sentences are; `keep` gives it back in
            capitals, `sentence` as sentences.
        profanity: `mask` gives swear words with stars, `f***`; `raw` leaves them.
        partials: whether open segments are translated, or only committed ones.
        timing: whether deltas and finals say how long they took.
        captions: asks for a `caption.cue` of each cue when a segment is final.
        room: where readers follow what is said; needs the room's host token, or an API key.
        source_id: names who speaks in the room for longer than a session lasts, so that a segment
            that is said again in another session is the same one there; 16 characters at least,
            drawn at random, and told to nobody who reads.
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
    """Set or change the session; what is absent stays as it is.

    May be sent at any time; a target must be set before the first text. Answered by
    `session.updated`, or by an `error`, and then nothing of it is applied.

    Attributes:
        session: what is wanted.
        token: credentials, in the first message of a client that can send no headers.
    """

    type: ClassVar[str] = "session.update"
    session: SessionParams
    token: str | None = None


@dataclass(frozen=True, slots=True)
class SourceUpdate(ClientEvent):
    """The whole text of the open segment, `stable` and `unstable` together.

    A `rev` that is not newer than the last one seen is ignored and counted. Of updates that come
    faster than they can be translated only the newest is. A name is for one segment: an update
    after its commit gets the error `unknown_segment`, unless it says again what was said last.

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
        text: with its own spaces.
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

    The finals of one target come in the order of the commits. Idempotent: the same commit again,
    as after a lost line, is ignored and counted, as is that of a segment that was withdrawn; with
    an older `rev` or another text it gets the error `unknown_segment`.

    Attributes:
        segment_id: names the segment; without one it is the implicit segment.
        rev: of the last text.
        text: the whole segment; what the last update said where it is left out.
        speaker: who says it, as in `source.update`.
    """

    type: ClassVar[str] = "source.commit"
    segment_id: str | None = None
    rev: int | None = None
    text: str | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class SourceCancel(ClientEvent):
    """The recogniser withdrew the segment: no final comes, but a `translation.retracted`.

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
    """Go on with a session on a new connection; its first message.

    Where replicas share sessions, at any of them; it need not be the one that was lost. Say again
    what has no final then: what was on its way may not have arrived.

    Attributes:
        session_id: of the `session.created` of the lost connection.
        resume_token: likewise.
        last_seq: of the newest event that the client has.
        epoch: of that `session.created`.
    """

    type: ClassVar[str] = "session.resume"
    session_id: str
    resume_token: str
    last_seq: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Ping(ClientEvent):
    """Ask for a `pong`; browsers cannot see the pings of WebSocket.

    Attributes:
        id: is repeated in the answer.
    """

    type: ClassVar[str] = "ping"
    id: str | None = None


@dataclass(frozen=True, slots=True)
class SessionClose(ClientEvent):
    """Finish what is open, then end the session."""

    type: ClassVar[str] = "session.close"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """What every event of the server carries.

    Attributes:
        seq: counts the events of a session from 1, without holes; 0 in an error before a session.
        t_ms: milliseconds since the session began.
    """

    type: ClassVar[str]
    seq: int = field(default=0, kw_only=True)
    t_ms: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True, slots=True)
class LimitsInfo:
    """What the server takes from one session.

    Attributes:
        frame_bytes: of one frame; a larger one closes the connection with 1009.
        segment_chars: of one segment; a longer one is cut, with a `session.notice`, and goes on
            under another name.
        updates_per_s: revisions that are translated; of more than that only the newest are.
        idle_s: seconds without a frame of the client after which the session is closed.
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
        targets: codes of the languages that it is translated into.
        pivot_targets: those of them that are reached through English, in two passes.
    """

    code: str
    name: str
    targets: tuple[str, ...]
    pivot_targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A fresh session.

    Attributes:
        id: names the session, for `session.resume`.
        epoch: names the running server; a session does not outlive it.
        limits: what the server takes.
        model: name of the model.
        languages: what it translates.
        resume_token: what `session.resume` proves with that the session is the client's own.
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
        session: what the session is, and what can be asked of it.
    """

    type: ClassVar[str] = "session.created"
    session: SessionInfo


@dataclass(frozen=True, slots=True)
class SessionUpdated(ServerEvent):
    """Answers `session.update`.

    Attributes:
        session: all settings as they are really applied.
    """

    type: ClassVar[str] = "session.updated"
    session: SessionParams


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one update took.

    Attributes:
        queue_ms: until the engine began with it.
        compute_ms: that the engine worked on it.
        first_token_ms: from the engine's taking it in to its first new token.
        total_ms: from the arrival of the update to its last changed token handed to the socket.
        accepted: tokens of the translation before that were confirmed rather than decoded.
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

    Deltas that wait for a slow reader become one: every `append` is kept, and the newest
    `unstable`. With `timing` one comes at the end of each update, even where nothing changed.

    Attributes:
        segment_id: of the segment.
        target: its language.
        source_rev: the revision of the source that it answers.
        append: text that is newly stable; it is sent once and never taken back.
        unstable: the whole tail after it as it is now; takes the place of the one before.
        timing: of an update that ended, where `timing` is set.
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
        terms: different glossary entries, protected words, links, addresses and rare names of the
            source.
        violations: those of them that the text lacks.
        faults: outputs that were no translation (that ran in circles, were far too long, or copied
            the source) and were not used.
        untranslated: pieces of the text that are the source, because no output was a translation.
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

    Finals of one target leave in the order in which their segments were committed, the parts of a
    segment that was cut in the order of its text; targets do not wait for each other. A final that
    waits for an earlier one has its text in deltas before.

    Attributes:
        segment_id: of the segment.
        target: its language.
        text: the whole translation; begins with all that was appended.
        source_text: what was translated.
        stats: how the segment went.
        start_ms: as the client said.
        end_ms: as the client said.
        timing: of the last update, where `timing` is set and the commit needed one.
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
    """The segment was withdrawn by `source.cancel`; no more comes of it.

    Attributes:
        segment_id: of the segment.
        target: its language.
    """

    type: ClassVar[str] = "translation.retracted"
    segment_id: str
    target: str


@dataclass(frozen=True, slots=True)
class SourceDelta(ServerEvent):
    """What is being said, for readers of a room who want it beside its translation.

    Attributes:
        segment_id: of the segment.
        stable: text that will not change any more, whole.
        unstable: text after it that may still change; takes the place of the one before.
        speaker: who says it, where that was told.
        language: that it is said in, where that is known.
    """

    type: ClassVar[str] = "source.delta"
    segment_id: str
    stable: str
    unstable: str
    speaker: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFinal(ServerEvent):
    """All that was said in a segment, once.

    Attributes:
        segment_id: of the segment.
        text: what was said; empty where the segment was withdrawn.
        speaker: who said it, where that was told.
        language: that it was said in, where that is known.
        start_ms: as the client said, in a room since it was opened.
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
    """Lines to be shown together, where `captions` is set; after the final of their segment.

    Attributes:
        cue_id: names the cue.
        segment_id: of the segment.
        target: its language.
        lines: from top to bottom.
        start_ms: when they are shown, on the clock of `start_ms` in `source.update`, or since the
            session began where the client sends none.
        end_ms: when they go; at most 17 characters a second are shown.
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
    """A room, as its readers are told.

    Attributes:
        id: in its address.
        name: for people.
        speakers: sessions that speak in it now.
        readers: how many read along, at this moment.
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
        text: all that was appended.
        unstable: the tail that may still change.
        is_final: whether nothing more comes.
        is_retracted: whether the segment was withdrawn.
        speaker: who says it, where that was told.
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
    """The first event of a reader, and again where it lags: how the segments of a room stand.

    Segments that have not changed since the `seq` that the reader came back with are left out.

    Attributes:
        room: what the room is.
        target: the language that is read; `source` for what is said itself.
        segments: in the order in which they began; each takes the place of what the reader has.
        over: number of the newest segment that is over, 0 where none is; a translation of one up
            to it is news of something said before.
    """

    type: ClassVar[str] = "room.state"
    room: RoomInfo
    target: str
    segments: tuple[RoomSegment, ...]
    over: int = 0


@dataclass(frozen=True, slots=True)
class RoomUpdated(ServerEvent):
    """Something about the room itself has changed: its name, its speakers, or it was closed.

    Attributes:
        room: what the room is now.
    """

    type: ClassVar[str] = "room.updated"
    room: RoomInfo


@dataclass(frozen=True, slots=True)
class SessionNotice(ServerEvent):
    """Something that a client may want to know, and need do nothing about.

    Attributes:
        code: `coalescing` (updates come faster than they are translated; the newest count),
            `degraded` (the machine is busy: partials come less often, finals as ever), `backlog`
            (so much that is committed waits for its translation that no more is read until half of
            it is done; nothing is lost), `slow_consumer` (frames are read too slowly; the
            connection closes with 1013), `segment_cut` (a segment is longer than
            `limits.segment_chars`: it is committed up to the end of a sentence, where there is one,
            and goes on as `next_segment_id`), `language_mismatch` (a segment is clearly not in
            the language that `source.language` names, or in none that the model knows; what is in
            another one is translated from that, or passes through where the model cannot),
            `room_cut_off` (what the replicas of a room share is out of reach: what is said is
            translated for its speaker, kept, and reaches the room's readers later) or `room_back`
            (it is within reach again, and all of it comes).
        message: the same with numbers, in English.
        segment_id: what it is about, where it is about one segment.
        next_segment_id: under which a segment that was cut goes on.
        language: that the session names, of a mismatch.
        detected_language: that the text is in, of a mismatch.
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
    """The server shuts down: what is open is finished, then the connection closes with 1001.

    Where replicas share sessions, what is open is left as it is, and the session goes on at
    another: come back with `session.resume`, and say again what has no final.

    Attributes:
        time_left_ms: that there is for it at most.
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
    """One translation as it stands.

    Attributes:
        segment_id: of the segment.
        target: its language.
        text: all that was appended.
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
    """The open segments as they stand, where too much was missed to send it all again.

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
        code: `invalid_event` (no event, or a field is wrong), `unknown_segment`,
            `unsupported_language`, `text_too_long` (a piece of it does not fit the model),
            `rate_limited`, `glossary_invalid`, `unsupported` (known to the protocol, not built
            yet), `unknown_room` (there is none of this name, or it is closed), `unauthorized`,
            `session_expired` (nothing to resume: go on with the new session), `too_many_sessions`,
            `overloaded` or `internal`.
        message: what came and what was wanted, in English.
        param: dotted name of the field at fault, such as `session.targets[0].language`.
        event_id: of the event at fault, where it had one.
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
    """Something was refused or failed; most errors keep the session open.

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
        target_tokens: tokens that the model said, partials included.
        seconds: that the session lasted.
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
