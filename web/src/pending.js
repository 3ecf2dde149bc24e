/**
 * What the server may not know yet: the newest open texts, commits without finals, and withdrawals.
 *
 * Decides what to send, and whether an answer is new; opens no socket and reads no clock. After a
 * lost connection all of it is sent again, to the same session or to a new one. That does no harm: a
 * segment is named by its id, and a server ignores what it already knows.
 *
 * @module
 */

/**
 * @typedef {import("./protocol.js").ReceivedEvent} ReceivedEvent
 *
 * @typedef {object} SourceText
 * @property {string} segmentId
 * @property {string} stable text that will not be rewritten
 * @property {string} [unstable] text that the next update may rewrite
 * @property {number} [startMs]
 * @property {number} [endMs]
 * @property {string} [speaker] who says it
 *
 * @typedef {SourceText & {rev: number, sentRev: number, isRefused: boolean}} OpenSegment
 * @typedef {{message: Message, waiting: Map<string, number>, isRefused: boolean,
 *   ping: string | null}} Commit `waiting` says how many characters have no final yet, by target. It is
 *   empty for a speaker in a room who shows no translation: no finals come, so the answer to a later
 *   `ping` is awaited
 * @typedef {import("./messages.js").ClientEvent} Message
 */

const MAX_FINALS = 1_000; // more than a server repeats
const MAX_SAID = 32; // finished commits that a room may not have heard

/** Text that the server may not have yet. */
export class Pending {
  /** @type {Map<string, OpenSegment>} */
  #open = new Map();
  /** @type {Map<string, Commit>} */
  #commits = new Map();
  /** @type {Map<string, Message>} by segment, until the server has said that it is gone */
  #cancels = new Map();
  /** @type {Set<string>} segment and target of the newest finals */
  #finals = new Set();
  /** @type {Map<string, Message>} the newest finished commits */
  #said = new Map();
  #eventCount = 0;

  /** @returns {string[]} the open segments, the newest last */
  get openIds() {
    return [...this.#open.keys()];
  }

  /** @param {SourceText} source replaces the segment's earlier text */
  update(source) {
    const open = this.#open.get(source.segmentId);
    const { rev, sentRev, isRefused } = open ?? { rev: 0, sentRev: 0, isRefused: false };
    this.#open.set(source.segmentId, { ...source, rev: rev + 1, sentRev, isRefused });
  }

  /**
   * @param {string} segmentId
   * @returns {SourceText} its text, empty if it is not known
   */
  textOf(segmentId) {
    return this.#open.get(segmentId) ?? { segmentId, stable: "" };
  }

  /** @returns {Message[]} the open texts that have changed since they were last taken */
  updates() {
    const fresh = [...this.#open.values()].filter(({ rev, sentRev }) => sentRev !== rev);
    return fresh.map((open) => {
      open.sentRev = open.rev;
      return {
        type: "source.update",
        event_id: this.nextId("update"),
        segment_id: open.segmentId,
        rev: open.rev,
        stable: open.stable,
        unstable: open.unstable ?? "",
        start_ms: open.startMs,
        end_ms: open.endMs,
        speaker: open.speaker,
      };
    });
  }

  /**
   * @param {string} segmentId
   * @param {string | undefined} text of the whole segment, by default the text of the last update
   * @param {readonly string[]} targets whose finals it waits for
   * @param {string} [speaker] who says it
   * @returns {Message}
   * @throws {TypeError} the segment is not known and no text was given
   */
  commit(segmentId, text, targets, speaker) {
    const open = this.#open.get(segmentId);
    const whole = text ?? (open ? open.stable + (open.unstable ?? "") : undefined);
    if (whole === undefined) throw new TypeError(`commit: segment ${segmentId} has no text`);
    this.#open.delete(segmentId);
    /** @type {import("./messages.js").SourceCommit} */
    const message = {
      type: "source.commit",
      event_id: this.nextId("commit"),
      segment_id: segmentId,
      rev: (open?.rev ?? 0) + 1,
      text: whole,
      speaker: speaker ?? open?.speaker,
    };
    const waiting = new Map(targets.map((target) => [target, whole.length]));
    this.#commits.set(segmentId, { message, waiting, isRefused: false, ping: null });
    return message;
  }

  /**
   * @returns {{type: "ping", id: string}} servers handle messages in order, so its answer confirms
   *   all earlier ones
   */
  ping() {
    const id = this.nextId("ping");
    for (const commit of this.#commits.values()) {
      if (commit.waiting.size === 0 && commit.ping === null && !commit.isRefused) commit.ping = id;
    }
    return { type: "ping", id };
  }

  /** Forget the pings of an earlier connection: their answers no longer come. */
  beginLine() {
    for (const commit of this.#commits.values()) commit.ping = null;
  }

  /**
   * @param {string} segmentId
   * @returns {Message | null} null when no server has heard of it
   */
  cancel(segmentId) {
    const open = this.#open.get(segmentId);
    this.#open.delete(segmentId);
    const isCommitted = this.#commits.delete(segmentId);
    if (!isCommitted && !(open && open.sentRev > 0)) return null;
    /** @type {Message} */
    const message = { type: "source.cancel", event_id: this.nextId("cancel"), segment_id: segmentId };
    this.#cancels.set(segmentId, message);
    return message;
  }

  /**
   * Note what the server says.
   *
   * @param {ReceivedEvent} event
   * @returns {boolean} whether it is new: not of a translation that already has its final, which a
   *   new session repeats, nor of a segment that was withdrawn
   */
  take(event) {
    switch (event.type) {
      case "session.snapshot":
        event.segments = event.segments.filter((segment) => this.#isWanted(segment));
        return true;
      case "translation.delta":
        return this.#isWanted(event);
      case "translation.final":
        if (!this.#isWanted(event)) return false;
        this.#finish(event);
        return true;
      case "translation.retracted":
        this.#cancels.delete(this.#nameOf(event.segment_id));
        return true;
      case "pong":
        for (const [id, { ping, isRefused }] of [...this.#commits]) {
          if (ping !== null && ping === event.id && !isRefused) this.#end(id);
        }
        return true;
      case "error":
        return this.#refuse(event.error);
      default:
        return true;
    }
  }

  /** @param {readonly string[]} targets whose finals are still awaited */
  keepTargets(targets) {
    for (const { waiting } of this.#commits.values()) {
      for (const target of waiting.keys()) {
        if (!targets.includes(target)) waiting.delete(target);
      }
    }
  }

  /** @returns {boolean} whether to send `refused()` again after a while */
  get hasRefused() {
    const kept = [...this.#open.values(), ...this.#commits.values()];
    return kept.some(({ isRefused }) => isRefused);
  }

  /** @returns {Message[]} the refused commits and the open texts */
  refused() {
    const commits = [...this.#commits.values()].filter(({ isRefused }) => isRefused);
    return this.#again(commits);
  }

  /**
   * A session that could not be resumed may have ended with its replica, before the room heard what
   * the client did. A room ignores what it knows.
   *
   * @returns {Message[]} the newest commits that have their finals, oldest first
   */
  said() {
    return [...this.#said.values()];
  }

  /** Forget what was said in an earlier room. */
  beginRoom() {
    this.#said.clear();
  }

  /** Forget what a new session need not be told: withdrawals from an earlier one. */
  beginSession() {
    this.#cancels.clear();
  }

  /** @returns {Message[]} everything that the server may not have received, oldest first */
  everything() {
    return [...this.#cancels.values(), ...this.#again([...this.#commits.values()])];
  }

  /** @returns {Message[]} the open texts, in revisions that no server has seen */
  openAgain() {
    return this.#again([]);
  }

  /** @param {string} prefix */
  nextId(prefix) {
    this.#eventCount += 1;
    return `${prefix}-${this.#eventCount}`;
  }

  /** @param {{segment_id: string, target: string}} event */
  #isWanted({ segment_id, target }) {
    const isCancelled = this.#cancels.has(this.#nameOf(segment_id));
    return !isCancelled && !this.#finals.has(`${segment_id} ${target}`);
  }

  /** @param {import("./messages.js").TranslationFinal} event */
  #finish({ segment_id, target, source_text }) {
    this.#finals.add(`${segment_id} ${target}`);
    const [oldest] = this.#finals;
    if (this.#finals.size > MAX_FINALS) this.#finals.delete(String(oldest));
    const name = this.#nameOf(segment_id);
    const waiting = this.#commits.get(name)?.waiting;
    if (!waiting) return;
    const numLeft = (waiting.get(target) ?? 0) - source_text.length;
    if (numLeft > 0) waiting.set(target, numLeft);
    else waiting.delete(target);
    if (waiting.size === 0) this.#end(name);
  }

  /** @param {string} name of a commit that needs no answer any more */
  #end(name) {
    const commit = this.#commits.get(name);
    this.#commits.delete(name);
    this.#said.delete(name);
    if (commit) this.#said.set(name, commit.message);
    const [oldest] = this.#said.keys();
    if (this.#said.size > MAX_SAID) this.#said.delete(String(oldest));
  }

  /**
   * A server cuts a segment that is too long: `s1`, `s1~2`, `s1~3`.
   *
   * @param {string} segmentId on the wire
   * @returns {string} what the client calls it
   */
  #nameOf(segmentId) {
    const isOurs = this.#commits.has(segmentId) || this.#cancels.has(segmentId) || this.#open.has(segmentId);
    return isOurs ? segmentId : segmentId.replace(/~\d+$/, "");
  }

  /**
   * Note a message that the server refused: text that it had no room for is kept; a commit that it
   * will never accept is forgotten. A segment that it does not know need not be withdrawn.
   *
   * @param {{event_id?: string, retryable?: boolean}} error
   * @returns {boolean} whether that is new
   */
  #refuse({ event_id, retryable }) {
    if (event_id === undefined) return true;
    if (event_id.startsWith("cancel-")) {
      for (const [id, cancel] of this.#cancels) {
        if (cancel.event_id === event_id) this.#cancels.delete(id);
      }
      return false; // it was sent twice, and refused the second time
    }
    const refused = [...this.#commits].find(([, { message }]) => message.event_id === event_id);
    if (refused && !retryable) this.#commits.delete(refused[0]);
    else if (refused) refused[1].isRefused = true;
    else if (retryable) for (const open of this.#open.values()) open.isRefused = true;
    return true;
  }

  /** @param {Commit[]} commits */
  #again(commits) {
    const messages = commits.map((commit) => {
      commit.isRefused = false;
      return commit.message;
    });
    for (const open of this.#open.values()) {
      open.rev += 1;
      open.isRefused = false;
    }
    return [...messages, ...this.updates()];
  }
}
