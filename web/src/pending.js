/**
 * What the server may not know yet: the newest open text, and the commits without their finals.
 *
 * Decides what is to be said; opens no socket and reads no clock. All of a lost session that must be
 * told to the next one is in here, and nothing else.
 *
 * @module
 */

/**
 * @typedef {object} SourceText
 * @property {string} segmentId
 * @property {string} stable text that will not be rewritten
 * @property {string} [unstable] text that the next update may rewrite
 * @property {number} [startMs]
 * @property {number} [endMs]
 *
 * @typedef {SourceText & {rev: number, sentRev: number}} OpenSegment
 * @typedef {{segment_id: string, rev: number, text: string, event_id: string,
 *   waiting: Set<string>, isRefused: boolean}} Commit `waiting` are the targets without a final
 * @typedef {import("./messages.js").ClientEvent} Message
 */

/** Text on its way. */
export class Pending {
  /** @type {OpenSegment | null} */
  #open = null;
  /** @type {Map<string, Commit>} */
  #commits = new Map();
  #eventCount = 0;

  /** @returns {string | null} the segment that is being written */
  get openId() {
    return this.#open?.segmentId ?? null;
  }

  /** @param {SourceText} source takes the place of whatever segment was open */
  update(source) {
    const open = this.#ofOpen(source.segmentId);
    this.#open = { ...source, rev: (open?.rev ?? 0) + 1, sentRev: open?.sentRev ?? 0 };
  }

  /**
   * @param {string} segmentId
   * @returns {string} what is known of its settled text
   */
  stableText(segmentId) {
    return this.#ofOpen(segmentId)?.stable ?? "";
  }

  /** @returns {Message | null} the open text, if it is newer than what was taken last */
  takeUpdate() {
    const open = this.#open;
    if (!open || open.sentRev === open.rev) return null;
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
    };
  }

  /**
   * @param {string} segmentId
   * @param {string | undefined} text of the whole segment, else what the last update said
   * @param {readonly string[]} targets whose finals it waits for
   * @returns {Message}
   * @throws {TypeError} nothing is known of the segment and no text was given
   */
  commit(segmentId, text, targets) {
    const open = this.#ofOpen(segmentId);
    const whole = text ?? (open ? open.stable + (open.unstable ?? "") : undefined);
    if (whole === undefined) throw new TypeError(`commit: segment ${segmentId} has no text`);
    if (open) this.#open = null;
    /** @type {Commit} */
    const commit = {
      segment_id: segmentId,
      rev: (open?.rev ?? 0) + 1,
      text: whole,
      event_id: this.nextId("commit"),
      waiting: new Set(targets),
      isRefused: false,
    };
    this.#commits.set(segmentId, commit);
    return toMessage(commit);
  }

  /**
   * @param {string} segmentId
   * @returns {Message | null} null when no server has heard of it
   */
  cancel(segmentId) {
    const open = this.#ofOpen(segmentId);
    if (open) this.#open = null;
    const isCommitted = this.#commits.delete(segmentId);
    const isKnown = open ? open.sentRev > 0 : isCommitted;
    return isKnown ? { type: "source.cancel", segment_id: segmentId } : null;
  }

  /**
   * A final has come.
   *
   * @param {string} segmentId
   * @param {string} target
   */
  settle(segmentId, target) {
    const commit = this.#commits.get(segmentId);
    commit?.waiting.delete(target);
    if (commit?.waiting.size === 0) this.#commits.delete(segmentId);
  }

  /** @param {readonly string[]} targets the others are not waited for any more */
  keepTargets(targets) {
    for (const [id, commit] of this.#commits) {
      for (const target of commit.waiting) {
        if (!targets.includes(target)) commit.waiting.delete(target);
      }
      if (commit.waiting.size === 0) this.#commits.delete(id);
    }
  }

  /**
   * The server did not take a message: text that it had no room for is kept, a commit that it will
   * never take is forgotten.
   *
   * @param {{event_id?: string, retryable?: boolean}} error
   * @returns {boolean} whether to offer `refused()` again after a while
   */
  refuse({ event_id, retryable }) {
    if (event_id === undefined) return false;
    const commit = [...this.#commits.values()].find((waiting) => waiting.event_id === event_id);
    if (commit && !retryable) this.#commits.delete(commit.segment_id);
    else if (commit) commit.isRefused = true;
    return retryable === true;
  }

  /** @returns {Message[]} the refused commits and the open text */
  refused() {
    const commits = [...this.#commits.values()].filter(({ isRefused }) => isRefused);
    return this.#again(commits);
  }

  /** @returns {Message[]} all that a new session must be told, oldest first */
  everything() {
    return this.#again([...this.#commits.values()]);
  }

  /** @returns {Message[]} the open text, in a revision that no server has seen */
  openAgain() {
    return this.#again([]);
  }

  /** @param {string} prefix */
  nextId(prefix) {
    this.#eventCount += 1;
    return `${prefix}-${this.#eventCount}`;
  }

  /** @param {Commit[]} commits */
  #again(commits) {
    const messages = commits.map((commit) => {
      commit.isRefused = false;
      return toMessage(commit);
    });
    if (this.#open) this.#open.rev += 1;
    const update = this.takeUpdate();
    return update ? [...messages, update] : messages;
  }

  /** @param {string} segmentId */
  #ofOpen(segmentId) {
    return this.#open?.segmentId === segmentId ? this.#open : null;
  }
}

/**
 * @param {Commit} commit
 * @returns {Message}
 */
function toMessage({ segment_id, rev, text, event_id }) {
  return { type: "source.commit", event_id, segment_id, rev, text };
}
