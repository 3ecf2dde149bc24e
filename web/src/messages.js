/**
 * The messages of the protocol `tokenspeed.v1`, as types. Names are those of the wire, so that an
 * event is its frame. There is no code in here, and no browser loads it.
 *
 * Made by `make generate` from service/wire/protocol/; edit that.
 *
 * @module
 */

export {};

/**
 * Settings of a session: as requested, or as applied.
 *
 * @typedef {object} SessionParams
 * @property {SourceParams | undefined} [source] where the text comes from
 * @property {readonly TargetParams[] | undefined} [targets] the target languages. One that is
 *   dropped gets no more text, a new one starts with the open segments
 * @property {"captions" | "append_only" | undefined} [mode] `captions` shows text that may still
 *   change as `unstable`; `append_only` shows only committed text
 * @property {"low" | "balanced" | "high" | undefined} [stability] how long text waits before it is
 *   appended: `low` is soonest, `high` is surest, `balanced` is in between
 * @property {number | undefined} [context] earlier sentence pairs for the model to see, 0 to 2, no
 *   more than it was trained with
 * @property {readonly GlossaryEntry[] | undefined} [glossary] words and their translations, up to
 *   500
 * @property {readonly string[] | undefined} [do_not_translate] words to keep as they are, up to 500
 * @property {"keep" | "sentence" | undefined} [capitals] text in capitals is translated like normal
 *   sentences; `keep` returns it in capitals, `sentence` in sentence case
 * @property {"raw" | "mask" | undefined} [profanity] `mask` hides swear words behind stars, `f***`;
 *   `raw` leaves them
 * @property {boolean | undefined} [partials] whether to translate open segments too, or only
 *   committed ones
 * @property {boolean | undefined} [timing] whether deltas and finals say how long they took
 * @property {CaptionParams | undefined} [captions] asks for a `caption.cue` for each cue once a
 *   segment is final
 * @property {string | undefined} [room] where readers can follow; needs the room's host token, or
 *   an API key
 * @property {string | undefined} [source_id] identifies a speaker in the room beyond one session,
 *   so that a segment repeated in another session is recognised; at least 16 characters, chosen at
 *   random, and never shown to readers
 */

/**
 * Where the text comes from.
 *
 * @typedef {object} SourceParams
 * @property {string | undefined} [language] of the text; `en-US` counts as `en`. With `auto` each
 *   sentence is translated from the language that it is in. A sentence that is already in a target
 *   language passes through unchanged, whatever is named here
 */

/**
 * One target language.
 *
 * @typedef {object} TargetParams
 * @property {string} language to translate into; `de-AT` counts as `de`, `zh-TW` as `zh-Hant` if
 *   the model has that
 * @property {"formal" | "informal" | undefined} [formality] form of address: `formal` (Sie, vous,
 *   usted) or `informal` (du, tu, tú); left to the text if absent. A model that was not trained to
 *   choose in this language refuses it with the error `unsupported`
 * @property {string | undefined} [glossary_id] a stored glossary (`POST /v2/glossaries`); entries
 *   of the session's own glossary take precedence. One that does not exist, or is for another pair,
 *   is refused with `glossary_invalid`
 */

/**
 * A word and how it is to be translated.
 *
 * @typedef {object} GlossaryEntry
 * @property {string} source one or more words of the source, up to 100 characters
 * @property {string} target their translation
 * @property {boolean | undefined} [case_sensitive] whether only words in the same case match
 * @property {string | undefined} [language] the target that it is for; all if absent
 */

/**
 * How captions are split into cues.
 *
 * @typedef {object} CaptionParams
 * @property {number | undefined} [max_chars] in a line, 1 to 200
 * @property {number | undefined} [lines] in a cue, 1 to 10
 */

/**
 * A new session.
 *
 * @typedef {object} SessionInfo
 * @property {string} id names the session, for `session.resume`
 * @property {string} epoch names the running server; a session does not outlive it
 * @property {LimitsInfo} limits what the server accepts
 * @property {string} model name of the model
 * @property {readonly LanguageInfo[]} languages what it translates
 * @property {string} [resume_token] proves in `session.resume` that the session is the client's own
 */

/**
 * What the server accepts from one session.
 *
 * @typedef {object} LimitsInfo
 * @property {number} frame_bytes in one frame; a larger one closes the connection with 1009
 * @property {number} segment_chars in one segment; a longer one is cut, with a `session.notice`,
 *   and continues under another name
 * @property {number} updates_per_s revisions that are translated; if more come, only the newest are
 * @property {number} idle_s seconds without a frame from the client after which the session is
 *   closed
 */

/**
 * A source language and what it can be translated into.
 *
 * @typedef {object} LanguageInfo
 * @property {string} code as in `source.language`
 * @property {string} name in English
 * @property {readonly string[]} targets codes of the languages that it can be translated into
 * @property {readonly string[]} pivot_targets those of them that are reached through English, in
 *   two passes
 */

/**
 * How long one update took.
 *
 * @typedef {object} Timing
 * @property {number} queue_ms until the engine started on it
 * @property {number} compute_ms engine time spent on it
 * @property {number} first_token_ms from its submission to the engine to the first new token
 * @property {number} total_ms from the arrival of the update to its last changed token handed to
 *   the socket
 * @property {number} accepted tokens of the previous translation that were confirmed rather than
 *   decoded
 * @property {number} decoded tokens that were decoded one by one
 */

/**
 * How a segment went.
 *
 * @typedef {object} FinalStats
 * @property {number} updates times that its text grew or changed
 * @property {number} erased words that were shown and taken back
 * @property {number} first_ms from the first text of its source to the first of its translation
 * @property {number} final_ms from its commit to its final
 * @property {number} terms distinct glossary entries, protected words, links, addresses and rare
 *   names in the source
 * @property {number} violations those of them that the translation lacks
 * @property {number} faults outputs that were not translations (loops, far too long, or copies of
 *   the source) and were rejected
 * @property {number} untranslated pieces left in the source language, because no output was a
 *   translation
 */

/**
 * A room, as its readers see it.
 *
 * @typedef {object} RoomInfo
 * @property {string} id the one in its address
 * @property {string} name for people to read
 * @property {number} speakers sessions that speak in it now
 * @property {number} readers how many are reading now
 * @property {boolean} is_closed whether its host has closed it; what was said stays for a while
 */

/**
 * A segment of a room in the language of a reader, as it stands.
 *
 * @typedef {object} RoomSegment
 * @property {string} segment_id a number; segments are shown in the order of their numbers
 * @property {string} text everything appended so far
 * @property {string} unstable the tail that may still change
 * @property {boolean} is_final whether it is complete
 * @property {boolean} is_retracted whether the segment was withdrawn
 * @property {string} [speaker] who says it, if known
 * @property {string} [source] what is said, for readers who want it
 * @property {number} start_ms when it began, since the room was opened
 * @property {number} end_ms when it was last spoken to
 */

/**
 * The current state of one translation.
 *
 * @typedef {object} SnapshotSegment
 * @property {string} segment_id of the segment
 * @property {string} target its language
 * @property {string} text everything appended so far
 * @property {string} unstable the tail that may still change
 * @property {boolean} is_final whether its final was sent
 */

/**
 * What went wrong.
 *
 * @typedef {object} ErrorInfo
 * @property {"invalid_request" | "auth" | "limit" | "server"} type who can do something about it:
 *   `invalid_request` the client's author, `auth` whoever has the credentials, `limit` nobody but
 *   time, `server` the server's operator
 * @property {"invalid_event" | "unknown_segment" | "unsupported_language" | "text_too_long" |
 *   "rate_limited" | "glossary_invalid" | "unsupported" | "unknown_room" | "unauthorized" |
 *   "session_expired" | "too_many_sessions" | "overloaded" | "internal"} code `invalid_event` (not
 *   an event, or a field is wrong), `unknown_segment`, `unsupported_language`, `text_too_long` (a
 *   piece of it does not fit the model), `rate_limited`, `glossary_invalid`, `unsupported` (known
 *   to the protocol, not built yet), `unknown_room` (there is none of this name, or it is closed),
 *   `unauthorized`, `session_expired` (nothing to resume: use the new session),
 *   `too_many_sessions`, `overloaded` or `internal`
 * @property {string} message what came and what was wanted, in English
 * @property {string} [param] dotted name of the field at fault, such as
 *   `session.targets[0].language`
 * @property {string} [event_id] of the event at fault, if it had one
 * @property {boolean} retryable whether the same event may succeed later
 */

/**
 * What a session used.
 *
 * @typedef {object} Usage
 * @property {number} source_chars characters that were committed
 * @property {number} target_tokens tokens that the model produced, partials included
 * @property {number} seconds how long the session lasted
 */

/**
 * Set or change the session; absent fields stay as they are.
 *
 * May be sent at any time; a target must be set before the first text. Answered by
 * `session.updated`, or by an `error`, in which case nothing of it is applied.
 *
 * @typedef {object} SessionUpdate
 * @property {"session.update"} type
 * @property {string | undefined} [event_id] the client's name for the event; an `error` that it
 *   causes repeats it
 * @property {SessionParams} session the settings to change
 * @property {string | undefined} [token] credentials, in the first message of a client that cannot
 *   send headers
 */

/**
 * The whole text of the open segment, `stable` and `unstable` together.
 *
 * A `rev` that is not newer than the last one seen is ignored and counted. If updates come faster
 * than they can be translated, only the newest is translated. A name is for one segment: an update
 * after its commit gets the error `unknown_segment`, unless it repeats what was said last.
 *
 * @typedef {object} SourceUpdate
 * @property {"source.update"} type
 * @property {string | undefined} [event_id] the client's name for the event; an `error` that it
 *   causes repeats it
 * @property {number} rev counts the revisions of the segment, upwards
 * @property {string | undefined} [stable] text that will not change any more
 * @property {string | undefined} [unstable] text after it that the next `rev` may rewrite
 * @property {string | undefined} [segment_id] names the segment; without one there is one implicit
 *   segment at a time
 * @property {number | undefined} [start_ms] when it begins, on the client's clock; repeated in its
 *   finals
 * @property {number | undefined} [end_ms] when it ends, likewise
 * @property {string | undefined} [speaker] who says it; repeated in what is told of the segment
 */

/**
 * More text at the end of the open segment; for typed text and recognisers that never rewrite.
 *
 * @typedef {object} SourceAppend
 * @property {"source.append"} type
 * @property {string | undefined} [event_id] the client's name for the event; an `error` that it
 *   causes repeats it
 * @property {string} text including any spaces
 * @property {string | undefined} [segment_id] names the segment; without one there is one implicit
 *   segment at a time
 * @property {string | undefined} [speaker] who says it, as in `source.update`
 */

/**
 * The segment is complete: every target gets its `translation.final`.
 *
 * The finals of one target come in the order of the commits. Idempotent: repeating the same
 *     commit,
 * as after a lost connection, is ignored and counted, as is committing a withdrawn segment; with
 * an older `rev` or other text it gets the error `unknown_segment`.
 *
 * @typedef {object} SourceCommit
 * @property {"source.commit"} type
 * @property {string | undefined} [event_id] the client's name for the event; an `error` that it
 *   causes repeats it
 * @property {string | undefined} [segment_id] names the segment; without one it is the implicit
 *   segment
 * @property {number | undefined} [rev] of the last text
 * @property {string | undefined} [text] the whole segment; if absent, the text of the last update
 * @property {string | undefined} [speaker] who says it, as in `source.update`
 */

/**
 * The recogniser withdrew the segment: it gets a `translation.retracted` instead of finals.
 *
 * @typedef {object} SourceCancel
 * @property {"source.cancel"} type
 * @property {string | undefined} [event_id] the client's name for the event; an `error` that it
 *   causes repeats it
 * @property {string | undefined} [segment_id] names the segment; without one it is the implicit
 *   segment
 */

/**
 * Commit everything that is open.
 *
 * @typedef {object} SourceFlush
 * @property {"source.flush"} type
 * @property {string | undefined} [event_id] the client's name for the event; an `error` that it
 *   causes repeats it
 */

/**
 * Resume a session on a new connection; must be its first message.
 *
 * If replicas share sessions, any of them will do, not only the one that was lost. Say again
 * whatever still has no final: what was in transit may not have arrived.
 *
 * @typedef {object} SessionResume
 * @property {"session.resume"} type
 * @property {string | undefined} [event_id] the client's name for the event; an `error` that it
 *   causes repeats it
 * @property {string} session_id of the `session.created` of the lost connection
 * @property {string} resume_token likewise
 * @property {number} last_seq `seq` of the newest event that the client has
 * @property {string} epoch of that `session.created`
 */

/**
 * Ask for a `pong`; browsers cannot see WebSocket pings.
 *
 * @typedef {object} Ping
 * @property {"ping"} type
 * @property {string | undefined} [event_id] the client's name for the event; an `error` that it
 *   causes repeats it
 * @property {string | undefined} [id] repeated in the answer
 */

/**
 * Finish what is open, then end the session.
 *
 * @typedef {object} SessionClose
 * @property {"session.close"} type
 * @property {string | undefined} [event_id] the client's name for the event; an `error` that it
 *   causes repeats it
 */

/**
 * The first event of a session.
 *
 * @typedef {object} SessionCreated
 * @property {"session.created"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {SessionInfo} session the session, and what it can be asked to do
 */

/**
 * Answers `session.update`.
 *
 * @typedef {object} SessionUpdated
 * @property {"session.updated"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {SessionParams} session all settings as actually applied
 */

/**
 * The translation of a segment has grown, or its tail has changed.
 *
 * Deltas waiting for a slow reader are merged: every `append` is kept, and the newest
 * `unstable`. With `timing`, one comes at the end of each update, even if nothing changed.
 *
 * @typedef {object} TranslationDelta
 * @property {"translation.delta"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {string} segment_id of the segment
 * @property {string} target its language
 * @property {number} source_rev the source revision that it translates
 * @property {string} append newly committed text; it is sent once and never taken back
 * @property {string} unstable the whole tail after it; replaces the previous one
 * @property {Timing} [timing] of an update that ended, if `timing` is set
 * @property {string} [speaker] as the client said
 */

/**
 * The committed translation of a segment, once for each target.
 *
 * Finals of one target are sent in the order in which their segments were committed, the parts of
 * a cut segment in the order of its text; targets do not wait for each other. While a final waits
 * for an earlier one, its text already arrives in deltas.
 *
 * @typedef {object} TranslationFinal
 * @property {"translation.final"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {string} segment_id of the segment
 * @property {string} target its language
 * @property {string} text the whole translation; begins with everything that was appended
 * @property {string} source_text what was translated
 * @property {FinalStats} stats how the segment went
 * @property {number} [start_ms] as the client said
 * @property {number} [end_ms] as the client said
 * @property {Timing} [timing] of the last update, if `timing` is set and the commit needed one
 * @property {string} [speaker] as the client said
 */

/**
 * The segment was withdrawn by `source.cancel`; nothing more comes of it.
 *
 * @typedef {object} TranslationRetracted
 * @property {"translation.retracted"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {string} segment_id of the segment
 * @property {string} target its language
 */

/**
 * What is being said, for readers of a room who want the source beside its translation.
 *
 * @typedef {object} SourceDelta
 * @property {"source.delta"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {string} segment_id of the segment
 * @property {string} stable all text that will not change any more
 * @property {string} unstable text after it that may still change; replaces the previous one
 * @property {string} [speaker] who says it, if known
 * @property {string} [language] that it is said in, if known
 */

/**
 * Everything that was said in a segment, sent once.
 *
 * @typedef {object} SourceFinal
 * @property {"source.final"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {string} segment_id of the segment
 * @property {string} text what was said; empty if the segment was withdrawn
 * @property {string} [speaker] who said it, if known
 * @property {string} [language] that it was said in, if known
 * @property {number} [start_ms] as the client said; in a room, counted from its opening
 * @property {number} [end_ms] likewise
 */

/**
 * Lines to be shown together, if `captions` is set; sent after the final of their segment.
 *
 * @typedef {object} CaptionCue
 * @property {"caption.cue"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {string} cue_id names the cue
 * @property {string} segment_id of the segment
 * @property {string} target its language
 * @property {readonly string[]} lines from top to bottom
 * @property {number} start_ms when to show them, on the clock of `start_ms` in `source.update`, or
 *   counted from the start of the session if the client sends none
 * @property {number} end_ms when to remove them; at most 17 characters a second are shown
 */

/**
 * A reader's first event, repeated if it lags: the current state of a room's segments.
 *
 * Segments that have not changed since the `seq` that the reader came back with are omitted.
 *
 * @typedef {object} RoomState
 * @property {"room.state"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {RoomInfo} room what the room is
 * @property {string} target the language that is read; `source` for what is said itself
 * @property {readonly RoomSegment[]} segments in the order in which they began; each replaces what
 *   the reader has
 * @property {number} over number of the newest finished segment, 0 if there is none; a translation
 *   of one up to it is about something said earlier
 */

/**
 * The room itself has changed: its name, its speakers, or it was closed.
 *
 * @typedef {object} RoomUpdated
 * @property {"room.updated"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {RoomInfo} room its new state
 */

/**
 * Something that a client may want to know; it need not act on it.
 *
 * @typedef {object} SessionNotice
 * @property {"session.notice"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {"coalescing" | "backlog" | "slow_consumer" | "degraded" | "segment_cut" |
 *   "language_mismatch" | "room_cut_off" | "room_back"} code `coalescing` (updates come faster than
 *   they are translated; only the newest count), `degraded` (the machine is busy: partials come
 *   less often, finals as usual), `backlog` (so much committed text awaits translation that no more
 *   is read until half of it is done; nothing is lost), `slow_consumer` (frames are read too
 *   slowly; the connection closes with 1013), `segment_cut` (a segment is longer than
 *   `limits.segment_chars`: it is committed up to the end of a sentence, if there is one, and
 *   continues as `next_segment_id`), `language_mismatch` (a segment is clearly not in the language
 *   that `source.language` names, or in none that the model knows; text in another language is
 *   translated from that, or passes through if the model cannot), `room_cut_off` (the store that
 *   the replicas of a room share is out of reach: what is said is translated for its speaker, kept,
 *   and reaches the room's readers later) or `room_back` (it is within reach again, and all of it
 *   comes)
 * @property {string} message the same with numbers, in English
 * @property {string} [segment_id] the segment concerned, if it is about one
 * @property {string} [next_segment_id] the name under which a cut segment continues
 * @property {string} [language] that the session names, in a mismatch
 * @property {string} [detected_language] that the text is in, in a mismatch
 */

/**
 * The server is shutting down: what is open is finished, then the connection closes with 1001.
 *
 * If replicas share sessions, what is open is left as it is, and the session continues at
 * another: come back with `session.resume`, and say again whatever has no final.
 *
 * @typedef {object} SessionGoingAway
 * @property {"session.going_away"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {number} time_left_ms the time left at most
 * @property {string} reason `shutdown`
 */

/**
 * Answers `session.resume`; its `seq` repeats the client's `last_seq`.
 *
 * @typedef {object} SessionResumed
 * @property {"session.resumed"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {boolean} recovered whether all missed events follow; if not, the missed finals and a
 *   `session.snapshot` do
 * @property {number} from_seq `seq` of the next event
 */

/**
 * The open segments as they stand, if too much was missed to replay it all.
 *
 * @typedef {object} SessionSnapshot
 * @property {"session.snapshot"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {readonly SnapshotSegment[]} segments one for each segment and target
 */

/**
 * Answers `ping`.
 *
 * @typedef {object} Pong
 * @property {"pong"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {number} server_time seconds since 1970
 * @property {string} [id] of the `ping`
 */

/**
 * Something was refused or failed; most errors leave the session open.
 *
 * @typedef {object} ErrorEvent
 * @property {"error"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {ErrorInfo} error what, why, and what to do
 */

/**
 * The last event of a session; the connection closes after it.
 *
 * @typedef {object} SessionClosed
 * @property {"session.closed"} type
 * @property {number} seq counts the events of a session from 1, without gaps; 0 in an error before
 *   a session
 * @property {number} t_ms milliseconds since the session began
 * @property {string} reason `client` (it asked), `idle` (it was silent for too long) or `shutdown`
 * @property {Usage} usage what the session used
 */

/**
 * @typedef {SessionUpdate | SourceUpdate | SourceAppend | SourceCommit | SourceCancel | SourceFlush
 *   | SessionResume | Ping | SessionClose} ClientEvent
 */

/**
 * @typedef {SessionCreated | SessionUpdated | TranslationDelta | TranslationFinal |
 *   TranslationRetracted | SourceDelta | SourceFinal | CaptionCue | RoomState | RoomUpdated |
 *   SessionNotice | SessionGoingAway | SessionResumed | SessionSnapshot | Pong | ErrorEvent |
 *   SessionClosed} ServerEvent
 */
