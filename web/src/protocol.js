/**
 * The wire protocol `tokenspeed.v1` as a client sees it: close codes and frames; `messages.js` has
 * the types of its messages. Holds no connection.
 *
 * @module
 */

// ---- made by `make generate` from service/wire/protocol/ ----
export const SUBPROTOCOL = "tokenspeed.v1";
export const IDLE_CODE = 4408;
export const UNAUTHENTICATED_CODE = 4401;
export const SUPERSEDED_CODE = 4409;
export const RETRYABLE_CODES = new Set([1001, 1005, 1006, 1011, 1012, 1013]);
export const CLOSE_REASONS = /** @type {Readonly<Record<number, string>>} */ ({
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
});
// ---- end of what is made ----

/**
 * What a frame is parsed into: an event of the server, or the error that it is not one.
 *
 * @typedef {import("./messages.js").ServerEvent} ServerEvent
 * @typedef {import("./messages.js").Pong} Pong
 *
 * @typedef {{type: "error", error: {type: "client", code: "invalid_frame", message: string,
 *   event_id?: string, retryable?: false}}} FrameError made here, never sent by a server
 * @typedef {Exclude<ServerEvent, Pong> | (Pong & {round_trip_ms?: number}) |
 *   FrameError} ReceivedEvent `round_trip_ms` is measured here
 */

const SCHEMES = /** @type {Readonly<Record<string, string>>} */ ({
  "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:",
});

/**
 * @param {string} url of a service, or of its `/v1/stream`
 * @returns {string} the WebSocket address of its stream
 * @throws {TypeError} it is neither
 */
export function streamUrl(url) {
  const found = socketUrl(url);
  const path = found.pathname.replace(/\/+$/, "");
  found.pathname = path.endsWith("/v1/stream") ? path : `${path}/v1/stream`;
  return found.href;
}

/**
 * @param {string} url link of a room (`/r/ID`), or of its `listen`
 * @returns {string} the WebSocket address of its readers
 * @throws {TypeError} it is neither
 */
export function listenUrl(url) {
  const found = socketUrl(url);
  const parts = found.pathname.match(/^(.*?)\/(?:r|v1\/rooms)\/([^/]+?)(?:\/listen)?\/*$/);
  if (!parts) throw new TypeError(`not the link of a room: ${url}`);
  found.pathname = `${parts[1]}/v1/rooms/${parts[2]}/listen`;
  return found.href;
}

/**
 * @param {string} url
 * @returns {URL}
 */
function socketUrl(url) {
  const found = new URL(url);
  const scheme = SCHEMES[found.protocol];
  if (!scheme) throw new TypeError(`not the address of a service: ${url}`);
  found.protocol = scheme;
  return found;
}

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
