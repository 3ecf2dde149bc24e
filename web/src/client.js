/**
 * The client library: one live translation session over a WebSocket.
 *
 * Knows the wire protocol `tokenspeed.v1`, rate limiting and reconnection. It knows no page, no
 * DOM and no captions; `captions.js` turns the events that come out of here into text.
 *
 * A lost connection is recovered in one way: ask to resume the session; if the server has forgotten
 * it, continue with a new one. In both cases send all of `pending.js` again.
 *
 *     const session = connect({ url: "ws://127.0.0.1:8000/v1/stream", targets: ["de"] });
 *     session.update({ segmentId: "s1", stable: "Good", unstable: " morn" });
 *     session.commit({ segmentId: "s1", text: "Good morning." });
 *     for await (const event of session) console.log(event);
 *
 * @module
 */

import { nextDelayMs } from "./backoff.js";
import { Pending } from "./pending.js";
import {
  CLOSE_REASONS, IDLE_CODE, RETRYABLE_CODES, SUBPROTOCOL, SUPERSEDED_CODE, UNAUTHENTICATED_CODE,
  parseEvent, streamUrl,
} from "./protocol.js";
import { EventQueue } from "./queue.js";

/**
 * @typedef {import("./protocol.js").ReceivedEvent} ReceivedEvent
 * @typedef {import("./messages.js").SessionCreated} SessionCreated
 * @typedef {import("./pending.js").SourceText} SourceText
 * @typedef {import("./pending.js").Message} Message
 *
 * @typedef {"connecting" | "open" | "waiting" | "idle" | "closed"} ConnectionState
 * "waiting" = offline, reconnects by itself; "idle" = the server closed a silent session, the next
 * text opens it again; "closed" = final, `reason` says why.
 * @typedef {{type: "connection", state: ConnectionState, attempt: number, retry_in_ms: number,
 *   code: number, reason: string}} ConnectionEvent made here, never sent by a server
 *
 * @typedef {ReceivedEvent | ConnectionEvent} SessionEvent
 *
 * @typedef {object} Environment what tests replace
 * @property {(url: string, protocols: string[]) => WebSocket} open
 * @property {() => number} now milliseconds, monotonic
 * @property {() => number} random in [0, 1)
 * @property {(run: () => void, delayMs: number) => unknown} setTimer
 * @property {(timer: unknown) => void} clearTimer
 *
 * @typedef {object} Settings
 * @property {string} [source] language of the text, "auto" lets the server detect it
 * @property {readonly string[]} [targets] languages to translate to
 * @property {Readonly<Record<string, "formal" | "informal">>} [formality] by target: the form
 *   of address, if the model learnt to choose it
 * @property {readonly import("./messages.js").GlossaryEntry[]} [glossary]
 * @property {"captions" | "append_only"} [mode]
 * @property {"low" | "balanced" | "high"} [stability]
 * @property {{id: string, host_token: string, source_id?: string} | undefined} [room] where readers
 *   follow; to send the same segments again in another session, as after a reload, give it the
 *   `source_id` of the first (`newSourceId()`), or readers see them twice
 *
 * @typedef {object} ConnectOptions
 * @property {string} url of the service, such as https://host, or of its `/v1/stream`
 * @property {string | (() => Promise<string>)} [token] single-use token or key, sent in the query of
 *   a new session; a function is called for a fresh one each time
 * @property {string | (() => string | undefined)} [traceparent] of the span that this is part of, in
 *   W3C's form; sent in the query, as a browser sends no headers with a socket; a function is called
 *   for each connection
 * @property {AbortSignal} [signal] aborting ends the session at once
 * @property {number} [minUpdateIntervalMs] between updates; of more the newest is sent
 * @property {number} [connectTimeoutMs] how long a server may take to answer
 * @property {number} [pingIntervalMs] 0 turns off pings, and with them the detection of dead connections
 * @property {typeof WebSocket} [WebSocket] for Node.js 20, which has none: the one of the package `ws`
 * @property {Partial<Environment>} [environment]
 *
 * @typedef {{session_id: string, resume_token: string, epoch: string,
 *   last_seq: number}} Resumption what resumes a session, and the newest event seen
 * @typedef {"connect" | "retry" | "update" | "resend" | "ping" | "close"} TimerName
 */

const SOURCE_ID_BYTES = 18;
const STABLE_AFTER_MS = 10_000; // a connection that lived this long resets the backoff
const CLOSE_TIMEOUT_MS = 3_000;
const RESEND_MS = 300; // after the server had no room for a text
const LATE_MS = 60_000; // for how long a server may still act on a connection that was given up
// Errors by which a server says that it does not know the session to resume.
const FORGOTTEN_CODES = new Set(["session_expired", "unauthorized"]);

/** @type {Environment} */
const BROWSER = {
  open: (url, protocols) => new WebSocket(url, protocols),
  now: () => performance.now(),
  random: Math.random,
  setTimer: (run, delayMs) => setTimeout(run, delayMs),
  clearTimer: (timer) => clearTimeout(/** @type {number} */ (timer)),
};

/**
 * Open a session. Returns at once; the events say when it is connected, or why it is not.
 *
 * @param {ConnectOptions & Settings} options
 * @returns {Session}
 * @throws {unknown} the reason of a signal that is already aborted
 */
export function connect(options) {
  options.signal?.throwIfAborted();
  return new Session(options);
}

/** @returns {string} a secret by which a room knows its speaker again in later sessions */
export function newSourceId() {
  const bytes = crypto.getRandomValues(new Uint8Array(SOURCE_ID_BYTES));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One session. Use `connect()` to make it. */
export class Session {
  /** @type {Required<Omit<ConnectOptions, "signal" | "token" | "traceparent" | "WebSocket" | "environment">>} */
  #options;
  /** @type {string | (() => string | undefined) | undefined} */
  #traceparent;
  /** @type {string | (() => Promise<string>) | undefined} */
  #token;
  /** @type {Environment} */
  #env;
  /** @type {Required<Omit<Settings, "room" | "glossary">> & Pick<Settings, "room" | "glossary">} */
  #settings;
  /** @type {EventQueue<SessionEvent>} */
  #events = new EventQueue();
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {ConnectionState} */
  #state = "connecting";
  #pending = new Pending();
  /** @type {Resumption | null} */
  #resumption = null;
  /** @type {SessionCreated | null} the new session, if the lost one cannot be resumed */
  #greeting = null;
  #sourceId = newSourceId();
  #attempt = 0;
  #hasAskedAgain = false; // for another token, after one was refused
  #isAsking = false; // to resume, without an answer yet
  /** @type {number[]} when connections ended without an answer to that */
  #unansweredAtMs = [];
  #retryDelayMs = 0;
  #openedAtMs = 0;
  #heardAtMs = 0;
  #updatedAtMs = -Infinity;
  /** @type {{id: string, sentAtMs: number} | null} */
  #ping = null;
  /** @type {Map<TimerName, unknown>} */
  #timers = new Map();
  /** @type {(() => void) | null} */
  #closing = null;

  /** @param {ConnectOptions & Settings} options */
  constructor(options) {
    this.#token = options.token;
    this.#traceparent = options.traceparent;
    this.#options = {
      url: streamUrl(options.url),
      minUpdateIntervalMs: options.minUpdateIntervalMs ?? 100,
      connectTimeoutMs: options.connectTimeoutMs ?? 8_000,
      pingIntervalMs: options.pingIntervalMs ?? 5_000,
    };
    const Socket = options.WebSocket;
    this.#env = {
      ...BROWSER,
      ...(Socket ? { open: (url, protocols) => new Socket(url, protocols) } : {}),
      ...options.environment,
    };
    this.#settings = {
      source: options.source ?? "auto",
      targets: options.targets ?? [],
      mode: options.mode ?? "captions",
      stability: options.stability ?? "balanced",
      formality: options.formality ?? {},
      ...(options.glossary ? { glossary: options.glossary } : {}),
      ...(options.room ? { room: options.room } : {}),
    };
    options.signal?.addEventListener("abort", () => this.#finish(1000, "aborted"), { once: true });
    this.#dial();
  }

  /** @returns {ConnectionState} */
  get state() {
    return this.#state;
  }

  /**
   * Change the languages or the policy while the session runs.
   *
   * @param {Settings} settings what is left out stays as it is
   */
  configure(settings) {
    const roomId = this.#settings.room?.id;
    this.#settings = { ...this.#settings, ...settings };
    if (this.#settings.room?.id !== roomId) this.#pending.beginRoom();
    this.#pending.keepTargets(this.#settings.targets);
    if (this.#state !== "open") return;
    this.#sendSettings();
    // A server that refused the languages before does not know the text.
    this.#sendAll(this.#pending.openAgain());
  }

  /**
   * Send the text of a segment as it is now: always the whole of it. Several may be open at once.
   *
   * At most one update is sent in `minUpdateIntervalMs`; while offline only the newest texts are kept.
   *
   * @param {SourceText} source
   */
  update(source) {
    this.#pending.update(source);
    this.#wake();
    this.#scheduleUpdate();
  }

  /**
   * Add text to the end of a segment; for typed text and for recognisers that never rewrite.
   *
   * @param {{segmentId: string, text: string, speaker?: string}} source
   */
  append({ segmentId, text, ...said }) {
    const { stable, unstable = "", ...was } = this.#pending.textOf(segmentId);
    this.update({ ...was, ...said, stable: stable + unstable + text });
  }

  /**
   * End a segment. Kept, and sent again after a reconnection, until every target has its final.
   *
   * @param {{segmentId: string, text?: string, speaker?: string}} source `text` is the whole segment,
   *   by default the text of the last update
   * @throws {TypeError} the segment is not known and no text was given
   */
  commit({ segmentId, text, speaker }) {
    const message = this.#pending.commit(segmentId, text, this.#settings.targets, speaker);
    this.#clear("update");
    this.#wake();
    this.#send(message);
    this.#scheduleUpdate(); // another segment may have been waiting for its turn
  }

  /**
   * Withdraw a segment.
   *
   * @param {string} segmentId
   */
  cancel(segmentId) {
    const message = this.#pending.cancel(segmentId);
    if (message) this.#send(message);
  }

  /** Commit all open segments. */
  flush() {
    for (const segmentId of this.#pending.openIds) this.commit({ segmentId });
    this.#send({ type: "source.flush" });
  }

  /** Reconnect now instead of at the end of the wait: when the network is back, or for a button. */
  reconnect() {
    if (this.#state === "waiting" || this.#state === "idle") {
      this.#clear("retry");
      this.#dial();
    }
  }

  /**
   * End the session; the server sends the finals that are still due first.
   *
   * @returns {Promise<void>} when the server has closed the session, or after three seconds
   */
  close() {
    if (this.#state === "closed") return Promise.resolve();
    if (this.#state !== "open") {
      this.#finish(1000, "closed");
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#closing = resolve;
      this.#sendUpdate();
      this.#send({ type: "session.close" });
      this.#timer("close", CLOSE_TIMEOUT_MS, () => this.#finish(1000, "closed"));
    });
  }

  /** @returns {AsyncIterator<SessionEvent, undefined>} ends when the session is closed */
  [Symbol.asyncIterator]() {
    return this.#events.iterate();
  }

  #dial() {
    this.#setState("connecting");
    if (this.#resumption || typeof this.#token !== "function") {
      // A session is resumed with a token of its own; a single-use token has been used up.
      this.#open(this.#resumption ? undefined : /** @type {string | undefined} */ (this.#token));
      return;
    }
    const attempt = this.#attempt;
    const isPresent = () => this.#state === "connecting" && this.#attempt === attempt;
    this.#token().then(
      (token) => isPresent() && this.#open(token),
      (error) => isPresent() && this.#lose(1006, error instanceof Error ? error.message : String(error)),
    );
  }

  /** @param {string | undefined} token */
  #open(token) {
    /** @type {WebSocket} */
    let socket;
    try {
      socket = this.#env.open(this.#address(token), [SUBPROTOCOL]);
    } catch (error) {
      // Only a forbidden address throws here (http page rules, bad scheme): trying again is useless.
      this.#finish(0, error instanceof Error ? error.message : String(error));
      return;
    }
    this.#socket = socket;
    this.#greeting = null;
    this.#timer("connect", this.#options.connectTimeoutMs, () =>
      this.#lose(1006, `No answer within ${this.#options.connectTimeoutMs / 1000} s`),
    );
    socket.onopen = () => {
      if (!this.#resumption) return;
      this.#isAsking = true;
      this.#write({ type: "session.resume", ...this.#resumption });
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lose(code, reason);
  }

  /** @param {string | undefined} token */
  #address(token) {
    const url = new URL(this.#options.url);
    if (token !== undefined) url.searchParams.set("token", token);
    const parent = typeof this.#traceparent === "function" ? this.#traceparent() : this.#traceparent;
    if (parent !== undefined) url.searchParams.set("traceparent", parent);
    return url.href;
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#heardAtMs = this.#env.now();
    const event = parseEvent(data);
    if (this.#state === "connecting") this.#meet(event);
    else this.#take(event);
  }

  /**
   * Find out which session the connection has: the one to resume, or a new one.
   *
   * @param {ReceivedEvent} event
   */
  #meet(event) {
    if (event.type === "session.resumed") this.#begin(event);
    else if (event.type === "session.created") {
      this.#greeting = event;
      if (!this.#resumption) this.#beginNew(event);
    } else if (event.type === "error" && this.#resumption && FORGOTTEN_CODES.has(event.error.code)) {
      this.#resumption = null;
      this.#isAsking = false;
      if (this.#greeting) {
        this.#beginNew(this.#greeting);
        this.#count(event);
      } else {
        this.#drop(); // such a server wants the token before it gives a new session
        this.#dial();
      }
    } else {
      if (event.type === "error") this.#isAsking = false; // it has no place, and will not act on it later
      this.#events.push(event);
    }
  }

  /** @param {ReceivedEvent} event that need not be sent again */
  #count(event) {
    if (this.#resumption && "seq" in event) this.#resumption.last_seq = event.seq;
  }

  /** @param {ReceivedEvent} event */
  #take(event) {
    this.#count(event);
    if (!this.#pending.take(event)) return;
    switch (event.type) {
      case "error":
        if (this.#pending.hasRefused) {
          this.#timer("resend", RESEND_MS, () => this.#sendAll(this.#pending.refused()));
        }
        break;
      case "pong":
        if (this.#ping && this.#ping.id === event.id) {
          event.round_trip_ms = this.#heardAtMs - this.#ping.sentAtMs;
          this.#ping = null;
        }
        break;
      case "session.closed":
        this.#events.push(event);
        if (this.#closing) this.#finish(1000, event.reason ?? "closed");
        return;
    }
    this.#events.push(event);
  }

  /** @param {SessionCreated} event */
  #beginNew(event) {
    const { id, epoch, resume_token } = event.session;
    this.#resumption =
      resume_token === undefined ? null : { session_id: id, resume_token, epoch, last_seq: 0 };
    this.#pending.beginSession();
    this.#hasAskedAgain = false;
    // Nobody remembers the earlier session, and its room may lack the last of it.
    this.#begin(event, this.#settings.room ? this.#pending.said() : []);
  }

  /**
   * There is a session: send the settings, then all that it may not know yet.
   *
   * @param {ReceivedEvent} event
   * @param {readonly Message[]} [again] what an earlier session knew already
   */
  #begin(event, again = []) {
    this.#clear("connect");
    this.#isAsking = false;
    this.#pending.beginLine();
    this.#take(event);
    this.#openedAtMs = this.#env.now();
    this.#setState("open");
    this.#sendSettings();
    this.#sendAll(again);
    this.#sendAll(this.#pending.everything());
    this.#schedulePing();
  }

  /**
   * The connection is lost: decide whether to reconnect, stay idle, or end.
   *
   * @param {number} code
   * @param {string} reason
   */
  #lose(code, reason) {
    // Whatever the code: a proxy closes with one of its own, and a server may still get the message.
    // Who closes as superseded has acted on it already.
    if (this.#isAsking && code !== SUPERSEDED_CODE) this.#unansweredAtMs.push(this.#env.now());
    this.#isAsking = false;
    this.#drop();
    if (this.#closing) this.#finish(code, reason);
    else if (code === UNAUTHENTICATED_CODE && this.#mayAskAgain()) this.#retry(code, reason);
    else if (code === IDLE_CODE) this.#setState("idle", 0, code, reason);
    else if (RETRYABLE_CODES.has(code)) this.#retry(code, reason || "No connection");
    else if (code === SUPERSEDED_CODE && this.#wasUs()) this.#retry(code, reason);
    else this.#finish(code, reason || (CLOSE_REASONS[code] ?? `Closed with code ${code}`));
  }

  /**
   * Whether an earlier connection of our own may have taken the session from this one: a slow server
   * may act late on one that was given up. Each of those excuses one takeover, so that two clients
   * with one session do not take it from each other for ever.
   */
  #wasUs() {
    const since = this.#env.now() - LATE_MS;
    this.#unansweredAtMs = this.#unansweredAtMs.filter((atMs) => atMs > since);
    return this.#unansweredAtMs.shift() !== undefined;
  }

  /** A token may have expired on its way, so a fresh one is tried once. */
  #mayAskAgain() {
    const may = typeof this.#token === "function" && !this.#hasAskedAgain;
    this.#hasAskedAgain = true;
    return may;
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #retry(code, reason) {
    const livedMs = this.#openedAtMs === 0 ? 0 : this.#env.now() - this.#openedAtMs;
    if (livedMs > STABLE_AFTER_MS) {
      this.#attempt = 0;
      this.#retryDelayMs = 0;
    }
    this.#openedAtMs = 0;
    this.#attempt += 1;
    this.#retryDelayMs = nextDelayMs(this.#retryDelayMs, this.#env.random);
    this.#setState("waiting", this.#retryDelayMs, code, reason);
    this.#timer("retry", this.#retryDelayMs, () => this.#dial());
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #finish(code, reason) {
    if (this.#state === "closed") return;
    this.#drop();
    this.#setState("closed", 0, code, reason);
    this.#events.end();
    this.#closing?.();
  }

  /** Drop the socket and every timer; late events of the socket no longer reach us. */
  #drop() {
    const socket = this.#socket;
    if (socket) {
      socket.onopen = null;
      socket.onmessage = null;
      socket.onclose = null;
      if (socket.readyState < 2) socket.close();
    }
    this.#socket = null;
    this.#ping = null;
    for (const name of [...this.#timers.keys()]) this.#clear(name);
  }

  #wake() {
    if (this.#state === "idle") this.#dial();
  }

  #scheduleUpdate() {
    if (this.#timers.has("update")) return;
    const waitMs = this.#updatedAtMs + this.#options.minUpdateIntervalMs - this.#env.now();
    if (waitMs <= 0) this.#sendUpdate();
    else this.#timer("update", waitMs, () => this.#sendUpdate());
  }

  #sendUpdate() {
    this.#clear("update");
    if (this.#state !== "open") return;
    const messages = this.#pending.updates();
    if (messages.length === 0) return;
    this.#sendAll(messages);
    this.#updatedAtMs = this.#env.now();
  }

  #sendSettings() {
    const { source, targets, mode, stability, formality, glossary, room } = this.#settings;
    this.#send({
      type: "session.update",
      ...(room ? { token: room.host_token } : {}),
      session: {
        source: { language: source },
        targets: targets.map((language) => {
          const wanted = formality[language];
          return wanted ? { language, formality: wanted } : { language };
        }),
        mode,
        stability,
        partials: true,
        timing: true,
        ...(glossary ? { glossary } : {}),
        ...(room ? { room: room.id, source_id: room.source_id ?? this.#sourceId } : {}),
      },
    });
  }

  #schedulePing() {
    const { pingIntervalMs } = this.#options;
    if (pingIntervalMs === 0) return;
    this.#timer("ping", pingIntervalMs, () => {
      if (this.#ping && this.#heardAtMs < this.#ping.sentAtMs) {
        this.#lose(1006, "The server has gone silent");
        return;
      }
      this.#sendPing();
      this.#schedulePing();
    });
    if (!this.#ping) this.#sendPing();
  }

  #sendPing() {
    const message = this.#pending.ping();
    this.#ping = { id: message.id, sentAtMs: this.#env.now() };
    this.#send(message);
  }

  /** @param {readonly Message[]} messages */
  #sendAll(messages) {
    for (const message of messages) this.#send(message);
  }

  /** @param {Message} message undefined fields are left out */
  #send(message) {
    if (this.#state === "open") this.#write(message);
  }

  /** @param {Message} message */
  #write(message) {
    this.#socket?.send(JSON.stringify(message));
  }

  /**
   * @param {ConnectionState} state
   * @param {number} [retryInMs]
   * @param {number} [code]
   * @param {string} [reason]
   */
  #setState(state, retryInMs = 0, code = 0, reason = "") {
    this.#state = state;
    const attempt = this.#attempt;
    this.#events.push({ type: "connection", state, attempt, retry_in_ms: retryInMs, code, reason });
  }

  /**
   * @param {TimerName} name
   * @param {number} delayMs
   * @param {() => void} run
   */
  #timer(name, delayMs, run) {
    this.#clear(name);
    const timer = this.#env.setTimer(() => {
      this.#timers.delete(name);
      run();
    }, delayMs);
    this.#timers.set(name, timer);
  }

  /** @param {TimerName} name */
  #clear(name) {
    if (this.#timers.has(name)) this.#env.clearTimer(this.#timers.get(name));
    this.#timers.delete(name);
  }
}
