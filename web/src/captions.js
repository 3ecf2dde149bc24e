/**
 * What a viewer knows: segments with their source and their translations, as a pure reducer.
 *
 * `state = applyEvent(state, event)` for every event of a session, in order. Nothing here opens a
 * socket, reads a clock or touches a page, so every user interface can share it.
 *
 * The `stable` text of an open segment only ever grows, even if the connection is lost and a new
 * session translates the segment again from its beginning. A final begins with all of it, unless
 * such a new session arrived at another translation, and never changes once it is shown.
 *
 * @module
 */

/**
 * @typedef {import("./client.js").SessionEvent} SessionEvent
 * @typedef {import("./messages.js").TranslationDelta} TranslationDelta
 * @typedef {import("./messages.js").TranslationFinal} TranslationFinal
 *
 * @typedef {object} Line one segment in one language
 * @property {string} stable shown and never taken back
 * @property {string} unstable the tail that the next event may replace
 * @property {string} received what the present session has appended; differs from `stable` only
 *   while a new session catches up with what an earlier one had shown
 * @property {boolean} isFinal
 *
 * @typedef {object} Segment
 * @property {string} id
 * @property {string} source
 * @property {string} sourceUnstable
 * @property {boolean} isCommitted the source will not change any more
 * @property {number | null} startMs on the clock of the client that sends the source
 * @property {number | null} endMs
 * @property {Readonly<Record<string, Line>>} lines by language
 *
 * @typedef {object} State
 * @property {string | null} sessionId
 * @property {readonly Segment[]} segments in the order in which they first appeared
 *
 * @typedef {{type: "source.local", segment_id: string, stable: string, unstable?: string,
 *   start_ms?: number, end_ms?: number, committed?: boolean}} LocalSource what the page itself sends;
 *   it is shown without waiting for the server
 * @typedef {{type: "translation.retracted", segment_id: string}} LocalRetraction likewise
 */

/** @type {State} */
export const EMPTY = { sessionId: null, segments: [] };

/** @type {Line} */
const NEW_LINE = { stable: "", unstable: "", received: "", isFinal: false };

/**
 * @param {State} state not changed
 * @param {SessionEvent | LocalSource | LocalRetraction} event types that say nothing about text are ignored
 * @returns {State} the same object when nothing has changed
 */
export function applyEvent(state, event) {
  switch (event.type) {
    case "session.created":
      return beginSession(state, event.session.id);
    case "source.local":
      return applySource(state, event);
    case "session.snapshot":
      return event.segments.reduce(applySnapshot, state);
    case "translation.delta":
      return applyDelta(state, event);
    case "translation.final":
      return applyFinal(state, event);
    case "translation.retracted":
      return retract(state, event.segment_id);
    default:
      return state;
  }
}

/**
 * @typedef {{segment: Segment, line: Line}} Shown
 *
 * @param {State} state
 * @param {string} target
 * @param {number} count
 * @returns {Shown[]} the newest lines of a language that have any text, oldest first
 */
export function newestLines(state, target, count) {
  /** @type {Shown[]} */
  const shown = [];
  for (let i = state.segments.length - 1; i >= 0 && shown.length < count; i -= 1) {
    const segment = state.segments[i];
    const line = segment?.lines[target];
    if (segment && line && (line.stable || line.unstable)) shown.unshift({ segment, line });
  }
  return shown;
}

/**
 * @param {State} state
 * @returns {Segment[]} everything that was said, also while it has no translation yet
 */
export function transcript(state) {
  return state.segments.filter(({ source, sourceUnstable, lines }) =>
    Boolean(source.trim() || sourceUnstable.trim() || Object.keys(lines).length > 0),
  );
}

/**
 * @param {Pick<Segment, "lines">} segment
 * @returns {boolean} whether no language has its final yet
 */
export function isWaiting({ lines }) {
  return !Object.values(lines).some((line) => line.isFinal);
}

/**
 * A new session knows nothing of open segments and will append their translation from its start.
 *
 * @param {State} state
 * @param {string} sessionId
 * @returns {State}
 */
function beginSession(state, sessionId) {
  if (state.sessionId === sessionId) return state;
  const segments = state.segments.map((segment) => {
    const lines = mapValues(segment.lines, (line) =>
      line.isFinal ? line : { ...line, received: "" },
    );
    return { ...segment, lines };
  });
  return { sessionId, segments };
}

/**
 * @param {State} state
 * @param {LocalSource} event
 * @returns {State}
 */
function applySource(state, event) {
  return changeSegment(state, event.segment_id, (segment) => {
    if (segment.isCommitted) return segment;
    return {
      ...segment,
      source: event.stable,
      sourceUnstable: event.unstable ?? "",
      isCommitted: event.committed ?? false,
      startMs: segment.startMs ?? event.start_ms ?? null,
      endMs: event.end_ms ?? segment.endMs,
    };
  });
}

/**
 * @param {State} state
 * @param {TranslationDelta} event
 * @returns {State}
 */
function applyDelta(state, event) {
  return changeSegment(state, event.segment_id, (segment) => {
    const before = segment.lines[event.target] ?? NEW_LINE;
    if (before.isFinal) return segment;
    const line = grow(before, event.append, event.unstable);
    return { ...segment, lines: { ...segment.lines, [event.target]: line } };
  });
}

/**
 * The pieces that were appended during a gap are not known, but the whole text is.
 *
 * @param {State} state
 * @param {import("./messages.js").SnapshotSegment} snapshot
 * @returns {State}
 */
function applySnapshot(state, { segment_id, target, text, unstable }) {
  return changeSegment(state, segment_id, (segment) => {
    const before = segment.lines[target] ?? NEW_LINE;
    if (before.isFinal) return segment;
    const line = grow({ ...before, received: "" }, text, unstable);
    return { ...segment, lines: { ...segment.lines, [target]: line } };
  });
}

/**
 * @param {Line} line
 * @param {string} append
 * @param {string} tail
 * @returns {Line}
 */
function grow(line, append, tail) {
  const received = line.received + append;
  if (received.startsWith(line.stable)) {
    return { ...line, received, stable: received, unstable: tail };
  }
  // A new session is still behind what an earlier one had shown: show its tail only where it
  // continues the text on the screen.
  const whole = received + tail;
  const unstable = whole.startsWith(line.stable) ? whole.slice(line.stable.length) : "";
  return { ...line, received, unstable };
}

/**
 * @param {State} state
 * @param {TranslationFinal} event
 * @returns {State}
 */
function applyFinal(state, event) {
  return changeSegment(state, event.segment_id, (segment) => {
    if (segment.lines[event.target]?.isFinal) return segment;
    const line = { stable: event.text, unstable: "", received: event.text, isFinal: true };
    return {
      ...segment,
      source: segment.isCommitted ? segment.source : event.source_text,
      sourceUnstable: "",
      isCommitted: true,
      startMs: segment.startMs ?? event.start_ms ?? null,
      endMs: segment.endMs ?? event.end_ms ?? null,
      lines: { ...segment.lines, [event.target]: line },
    };
  });
}

/**
 * @param {State} state
 * @param {string} segmentId
 * @returns {State}
 */
function retract(state, segmentId) {
  const segments = state.segments.filter(({ id }) => id !== segmentId);
  return segments.length === state.segments.length ? state : { ...state, segments };
}

/**
 * @param {State} state
 * @param {string} id
 * @param {(segment: Segment) => Segment} change
 * @returns {State} with the segment added when it is new
 */
function changeSegment(state, id, change) {
  const index = state.segments.findLastIndex((segment) => segment.id === id);
  const before = state.segments[index] ?? {
    id,
    source: "",
    sourceUnstable: "",
    isCommitted: false,
    startMs: null,
    endMs: null,
    lines: {},
  };
  const after = change(before);
  if (after === before) return state;
  const segments =
    index < 0 ? [...state.segments, after] : state.segments.with(index, after);
  return { ...state, segments };
}

/**
 * @template T
 * @param {Readonly<Record<string, T>>} record
 * @param {(value: T) => T} change
 * @returns {Record<string, T>}
 */
function mapValues(record, change) {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}
