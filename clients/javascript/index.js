/**
 * Client of TokenSpeed: sessions for speakers, connections for readers, and reducers that turn events
 * into captions.
 *
 * @module
 */

/**
 * @typedef {import("./client.js").SessionEvent} SessionEvent
 * @typedef {import("./client.js").ConnectOptions} ConnectOptions
 * @typedef {import("./client.js").Settings} Settings
 * @typedef {import("./messages.js").ServerEvent} ServerEvent
 */

export { NOBODY, applyRoomEvent } from "./audience.js";
export { EMPTY, applyEvent, newestLines, transcript } from "./captions.js";
export { Session, connect, newSourceId } from "./client.js";
export { listen } from "./listen.js";
