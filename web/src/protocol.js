/**
 * The wire protocol `tokenspeed.v1` as a client sees it: close codes and frames; `messages.js` has
 * the types of its messages. Holds no connection.
 *
 * @module
 */

// ---- made by `make generate` from service/wire/protocol/ ----
export const SUBPROTOCOL = "tokenspeed.v1";
export const IDLE_CODE = 4408;
export const RETRYABLE_CODES = new Set([1001, 1005, 1006, 1012, 1013]);
export const CLOSE_REASONS = /** @type {Readonly<Record<number, string>>} */ ({
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
});
// ---- end of what is made ----

/**
 * What comes out of a frame: an event of the server, or the error that it is none.
 *
 * @typedef {import("./messages.js").ServerEvent} ServerEvent
 * @typedef {import("./messages.js").Pong} Pong
 *
 * @typedef {{type: "error", error: {type: "client", code: "invalid_frame", message: string,
 *   event_id?: string, retryable?: false}}} FrameError made here, never sent by a server
 * @typedef {Exclude<ServerEvent, Pong> | (Pong & {round_trip_ms?: number}) |
 *   FrameError} ReceivedEvent `round_trip_ms` is measured here
 */

/**
 * @param {unknown} data one frame
 * @returns {ReceivedEvent}
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
