/** A clock that stands still and sockets without a network, for the tests of the client. */

export class FakeSocket {
  readyState = 0;
  /** @type {any[]} */
  sent = [];
  onopen = null;
  onmessage = null;
  onclose = null;

  send(frame) {
    if (this.readyState !== 1) throw new Error("a socket that is not open was written to");
    this.sent.push(JSON.parse(frame));
  }

  /** What the client does. */
  close() {
    this.readyState = 3;
  }

  /** What the server does. */
  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  receive(event) {
    this.onmessage?.({ data: typeof event === "string" ? event : JSON.stringify(event) });
  }

  drop(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** Everything of one type that was sent. */
  of(type) {
    return this.sent.filter((message) => message.type === type);
  }
}

export class FakeWorld {
  nowMs = 1_000;
  /** @type {FakeSocket[]} */
  sockets = [];
  #timers = new Map();
  #count = 0;

  /** What `connect({environment})` takes. */
  environment = {
    open: (url, protocols) => {
      const socket = new FakeSocket();
      Object.assign(socket, { url, protocols });
      this.sockets.push(socket);
      return socket;
    },
    now: () => this.nowMs,
    random: () => 0.5,
    setTimer: (run, delayMs) => {
      this.#count += 1;
      this.#timers.set(this.#count, { run, atMs: this.nowMs + delayMs });
      return this.#count;
    },
    clearTimer: (timer) => this.#timers.delete(timer),
  };

  get socket() {
    return this.sockets.at(-1);
  }

  get numTimers() {
    return this.#timers.size;
  }

  /** Let time pass, and run what falls due in it, in order. */
  advance(ms) {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { atMs }]) => atMs <= untilMs);
      if (due.length === 0) break;
      const [id, { run, atMs }] = due.reduce((a, b) => (b[1].atMs < a[1].atMs ? b : a));
      this.#timers.delete(id);
      this.nowMs = atMs;
      run();
    }
    this.nowMs = untilMs;
  }

  /** The newest socket gets through and is greeted. */
  greet(id = `session-${this.sockets.length}`) {
    this.socket.open();
    this.socket.receive({ type: "session.created", seq: 1, t_ms: 0, session: { id, languages: [] } });
  }
}

/** One iterator a session, and the read that the last drain left waiting. */
const readers = new WeakMap();

/** All events that have come since the last call, without waiting for more. */
export async function drain(session) {
  const reader = readers.get(session) ?? { iterator: session[Symbol.asyncIterator](), pending: null };
  readers.set(session, reader);
  const events = [];
  for (;;) {
    reader.pending ??= reader.iterator.next();
    const next = await Promise.race([reader.pending, new Promise((done) => setImmediate(done))]);
    if (!next) return events;
    reader.pending = null;
    if (next.done) return events;
    events.push(next.value);
  }
}

/** A storage that lives as long as the test. @implements {Storage} */
export class Memory {
  /** @type {Map<string, string>} */
  #items = new Map();

  get length() {
    return this.#items.size;
  }

  clear() {
    this.#items.clear();
  }

  /** @param {string} key */
  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  /** @param {number} index */
  key(index) {
    return [...this.#items.keys()][index] ?? null;
  }

  /** @param {string} key */
  removeItem(key) {
    this.#items.delete(key);
  }

  /**
   * @param {string} key
   * @param {string} value
   */
  setItem(key, value) {
    this.#items.set(key, value);
  }
}
