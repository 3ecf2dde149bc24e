/**
 * The wire protocol `tokenspeed.v1` as a client sees it: events of the server, close codes.
 *
 * Knows names and types; holds no connection.
 *
 * @module
 */

/**
 * Names are those of the wire, so that an event is its frame; units are milliseconds.
 *
 * @typedef {{code: string, name: string, targets: readonly string[]}} LanguageInfo
 * @typedef {{id: string, epoch: string, model: string, languages: readonly LanguageInfo[],
 *   limits: Readonly<Record<string, number>>, resume_token?: string}} SessionInfo
 * @typedef {{queue_ms: number, compute_ms: number, first_token_ms: number, total_ms: number,
 *   accepted: number, decoded: number}} Timing
 * @typedef {{type: string, code: string, message: string, param?: string,
 *   event_id?: string, retryable?: boolean}} ErrorInfo
 *
 * @typedef {{seq?: number, t_ms?: number}} Stamp what every event of the server carries
 * @typedef {Stamp & {type: "session.created", session: SessionInfo}} SessionCreated
 * @typedef {Stamp & {type: "session.updated", session: Record<string, unknown>}} SessionUpdated
 * @typedef {Stamp & {type: "translation.delta", segment_id: string, target: string,
 *   source_rev: number, append: string, unstable: string, timing?: Timing}} TranslationDelta
 * @typedef {Stamp & {type: "translation.final", segment_id: string, target: string, text: string,
 *   source_text: string, start_ms?: number, end_ms?: number,
 *   stats?: Record<string, unknown>, timing?: Timing}} TranslationFinal
 * @typedef {Stamp & {type: "translation.retracted", segment_id: string,
 *   target?: string}} TranslationRetracted
 * @typedef {Stamp & {type: "session.notice", code: string, message?: string}} SessionNotice
 * @typedef {Stamp & {type: "session.going_away", time_left_ms?: number,
 *   reason?: string}} SessionGoingAway
 * @typedef {Stamp & {type: "session.closed", reason?: string,
 *   usage?: Record<string, number>}} SessionClosed
 * @typedef {Stamp & {type: "error", error: ErrorInfo}} ErrorEvent
 * @typedef {Stamp & {type: "pong", id?: string, server_time?: number,
 *   round_trip_ms?: number}} Pong `round_trip_ms` is measured here
 *
 * @typedef {SessionCreated | SessionUpdated | TranslationDelta | TranslationFinal |
 *   TranslationRetracted | SessionNotice | SessionGoingAway | SessionClosed | ErrorEvent |
 *   Pong} ServerEvent
 */

export const SUBPROTOCOL = "tokenspeed.v1";

// 1005 and 1006 are made by the browser: closed without a code, and line lost.
export const RETRYABLE_CODES = new Set([1001, 1005, 1006, 1012, 1013]);
export const IDLE_CODE = 4408;

export const CLOSE_REASONS = /** @type {Readonly<Record<number, string>>} */ ({
  1000: "The session has ended",
  1002: "The server does not speak this protocol",
  1009: "A message was too big",
  1011: "The server made an error",
  4400: "The session settings were refused",
  4401: "Not signed in",
  4409: "The session went on elsewhere",
});

/**
 * @param {unknown} data one frame
 * @returns {ServerEvent} an `error` event of type "client" for a frame that is no event
 */
export function parseEvent(data) {
  try {
    const event = JSON.parse(String(data));
    if (typeof event?.type === "string") return event;
  } catch {
    // falls through to the error below
  }
  const message = `Not an event of ${SUBPROTOCOL}: ${String(data).slice(0, 80)}`;
  return { type: "error", error: { type: "client", code: "invalid_frame", message } };
}
