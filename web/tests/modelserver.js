/** The rules by which the service keeps a session for a client, over lines that the test can cut. */

/** @returns {string} grows at its end alone when the text does */
export function translate(text, target) {
  return `${target}: ${text.toUpperCase()}`;
}

class ModelSession {
  segments = new Map(); // open ones: id -> {rev, text, appended by target}
  closed = new Map(); // id -> last rev
  targets = [];
  seq = 0;
  /** @type {any[]} */
  log = [];

  constructor(id, epoch) {
    this.id = id;
    this.token = `token-of-${id}`;
    this.tell({ type: "session.created", session: { id, epoch, resume_token: this.token, languages: [] } });
  }

  tell(event) {
    this.seq += 1;
    this.log.push({ ...event, seq: this.seq });
  }

  take(message) {
    const { type, segment_id: id } = message;
    if (type === "session.update") this.targets = message.session.targets.map(({ language }) => language);
    else if (type === "source.update") this.update(message);
    else if (type === "source.commit") {
      if (this.closed.has(id)) return;
      this.closed.set(id, message.rev);
      this.segments.delete(id);
      for (const target of this.targets) {
        const text = translate(message.text, target);
        this.tell({ type: "translation.final", segment_id: id, target, text, source_text: message.text });
      }
    } else if (type === "source.cancel") this.cancel(message);
    else throw new Error(`the model does not know ${type}`);
  }

  update({ segment_id: id, rev, stable, event_id }) {
    if (this.closed.has(id)) {
      if (rev > this.closed.get(id)) this.refuse("unknown_segment", event_id);
      return;
    }
    const segment = this.segments.get(id) ?? { rev: -1, appended: {} };
    this.segments.set(id, segment);
    if (rev <= segment.rev) return;
    segment.rev = rev;
    for (const target of this.targets) {
      const before = segment.appended[target] ?? "";
      const after = translate(stable, target);
      segment.appended[target] = after;
      const append = after.slice(before.length);
      this.tell({ type: "translation.delta", segment_id: id, target, source_rev: rev, append, unstable: "" });
    }
  }

  cancel({ segment_id: id, event_id }) {
    if (!this.segments.has(id)) {
      this.refuse("unknown_segment", event_id);
      return;
    }
    const { rev } = this.segments.get(id);
    this.segments.delete(id);
    this.closed.set(id, rev);
    for (const target of this.targets) this.tell({ type: "translation.retracted", segment_id: id, target });
  }

  refuse(code, event_id) {
    this.tell({ type: "error", error: { type: "invalid_request", code, message: code, event_id } });
  }

  snapshot() {
    const segments = [...this.segments].flatMap(([segment_id, { appended }]) =>
      Object.entries(appended).map(([target, text]) => ({
        segment_id, target, text, unstable: "", is_final: false,
      })),
    );
    this.tell({ type: "session.snapshot", segments });
  }
}

export class ModelServer {
  counts = { resumed: 0, gaps: 0, expired: 0 };
  #sessions = new Map();
  #epoch = 1;
  #number = 0;
  #accepted = 0;
  /** @type {any} */
  #line = null;
  #maxReplay;

  /** @param {number} maxReplay events that can be sent again */
  constructor(maxReplay) {
    this.#maxReplay = maxReplay;
  }

  /** Take the newest of the client's sockets, if it is new. */
  accept(sockets) {
    const socket = sockets.at(-1);
    if (sockets.length === this.#accepted || socket.readyState !== 0) return;
    this.#accepted = sockets.length;
    this.#number += 1;
    const session = new ModelSession(`session-${this.#number}`, String(this.#epoch));
    this.#line = { socket, session, numTaken: 0, given: 0, first: [] };
    this.#sessions.set(session.id, session);
    socket.open();
  }

  /** Read a few of the messages that are on their way. */
  takeSome(random) {
    for (let count = 1 + Math.floor(random() * 4); count > 0 && this.#takeOne(); count -= 1);
  }

  /** Deliver a few events. */
  giveSome(random) {
    for (let count = 1 + Math.floor(random() * 4); count > 0 && this.#giveOne(); count -= 1);
  }

  /** Let everything arrive. */
  flush() {
    while (this.#takeOne() || this.#giveOne());
  }

  /** What is on its way is lost, in both directions. */
  cut() {
    const line = this.#line;
    this.#line = null;
    line?.socket.drop(1006);
  }

  restart() {
    this.#sessions.clear();
    this.#epoch += 1;
    this.cut();
  }

  #takeOne() {
    const line = this.#line;
    const message = line?.socket.sent[line.numTaken];
    if (!message) return false;
    line.numTaken += 1;
    if (message.type === "session.resume") this.#resume(line, message);
    else line.session.take(message);
    return true;
  }

  #giveOne() {
    const line = this.#line;
    if (!line) return false;
    const event = line.first.shift() ?? line.session.log[line.given];
    if (!event) return false;
    if (event.seq === line.given + 1 && event === line.session.log[line.given]) line.given += 1;
    line.socket.receive(event);
    return true;
  }

  #resume(line, { session_id, resume_token, last_seq, epoch }) {
    const older = this.#sessions.get(session_id);
    if (!older || older.token !== resume_token || epoch !== String(this.#epoch)) {
      this.counts.expired += 1;
      line.session.refuse("session_expired");
      return;
    }
    this.#sessions.delete(line.session.id);
    line.session = older;
    const missed = older.log.slice(last_seq);
    const recovered = missed.length <= this.#maxReplay;
    this.counts[recovered ? "resumed" : "gaps"] += 1;
    line.first = [{ type: "session.resumed", recovered, from_seq: last_seq + 1, seq: last_seq }];
    line.given = last_seq;
    if (recovered) return;
    const finals = missed.filter(({ type }) => type === "translation.final");
    line.first.push(...finals.map((event) => ({ ...event, seq: last_seq })));
    line.given = older.seq;
    older.snapshot();
  }
}
