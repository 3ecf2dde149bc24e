/**
 * A reader's connection to a room: opens it, notices when it is dead, resumes where it broke.
 *
 *     const line = listen({ url: link, target: "fr" }, { onEvent, onState });
 *     line.close();
 *
 * Knows the wire and time; `audience.js` turns what comes into text.
 *
 * @module
 */

import { nextDelayMs } from "./backoff.js";
import {
  CLOSE_REASONS, RETRYABLE_CODES, SUBPROTOCOL, UNAUTHENTICATED_CODE, listenUrl, parseEvent,
} from "./protocol.js";

/**
 * @typedef {import("./protocol.js").ReceivedEvent} ReceivedEvent
 *
 * @typedef {"connecting" | "open" | "waiting" | "closed" | "pass"} LineState "waiting" = offline,
 *   reconnects by itself; "closed" = final, `reason` says why; "pass" = a pass phrase is needed
 *
 * @typedef {object} ListenOptions
 * @property {string} url link of a room, or of its `listen`
 * @property {string} target language, or "source"
 * @property {"captions" | "append_only"} [mode]
 * @property {boolean} [hasSource] whether the source is wanted as well
 * @property {string} [pass] pass phrase
 * @property {number} [pingIntervalMs]
 * @property {typeof WebSocket} [WebSocket] for Node.js 20, which has none: the one of the package `ws`
 *
 * @typedef {object} Listener
 * @property {(event: ReceivedEvent) => void} onEvent
 * @property {(state: LineState, reason: string) => void} onState
 */

const STABLE_AFTER_MS = 10_000;

/**
 * @param {ListenOptions} options
 * @param {Listener} listener
 * @returns {{close: () => void, reconnect: () => void}}
 */
export function listen(options, listener) {
  const { target, mode = "captions", hasSource = false, pass, pingIntervalMs = 5_000 } = options;
  const Socket = options.WebSocket ?? WebSocket;
  let lastSeq = 0;
  let delayMs = 0;
  let openedAtMs = 0;
  let heardAtMs = 0;
  let isOver = false;
  /** @type {WebSocket | null} */
  let socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  function address() {
    const url = new URL(listenUrl(options.url));
    url.searchParams.set("target", target);
    if (mode !== "captions") url.searchParams.set("mode", mode);
    if (hasSource) url.searchParams.set("source", "1");
    if (pass !== undefined) url.searchParams.set("pass", pass);
    if (lastSeq > 0) url.searchParams.set("last_seq", String(lastSeq));
    return url.href;
  }

  function dial() {
    clearTimeout(timer);
    listener.onState("connecting", "");
    const line = new Socket(address(), [SUBPROTOCOL]);
    socket = line;
    heardAtMs = performance.now();
    line.onopen = () => {
      openedAtMs = performance.now();
      watch();
    };
    line.onmessage = ({ data }) => {
      heardAtMs = performance.now();
      const event = parseEvent(data);
      if ("seq" in event && event.seq > lastSeq) lastSeq = event.seq;
      if (event.type === "room.state") listener.onState("open", "");
      if (event.type !== "pong") listener.onEvent(event);
    };
    line.onclose = ({ code, reason }) => lose(code, reason);
  }

  /** Send pings: a sleeping phone or a pulled cable closes nothing, so silence has to show it. */
  function watch() {
    timer = setTimeout(() => {
      if (performance.now() - heardAtMs > 2.5 * pingIntervalMs) {
        lose(1006, "The server has gone silent");
        return;
      }
      socket?.send(JSON.stringify({ type: "ping" }));
      watch();
    }, pingIntervalMs);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  function lose(code, reason) {
    drop();
    if (isOver) return;
    const why = reason || CLOSE_REASONS[code] || "";
    if (code === UNAUTHENTICATED_CODE) end("pass", why);
    else if (RETRYABLE_CODES.has(code)) {
      if (openedAtMs > 0 && performance.now() - openedAtMs > STABLE_AFTER_MS) delayMs = 0;
      openedAtMs = 0;
      delayMs = nextDelayMs(delayMs, Math.random);
      listener.onState("waiting", why);
      timer = setTimeout(dial, delayMs);
    } else end("closed", why);
  }

  function drop() {
    clearTimeout(timer);
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    socket = null;
  }

  /**
   * @param {"closed" | "pass"} state
   * @param {string} why
   */
  function end(state, why) {
    isOver = true;
    listener.onState(state, why);
  }

  dial();
  return {
    close() {
      isOver = true;
      drop();
    },
    reconnect() {
      if (!isOver && socket === null) dial();
    },
  };
}
