/**
 * Keeps the transcript on this device from its first word: across reloads, crashes, and days.
 *
 * A tab has one transcript at a time. A tab that was closed or has crashed leaves its transcript
 * behind, and the next one that is opened continues it. If the browser allows no storage, nothing
 * is kept, and everything else works as usual.
 *
 * @module
 */

/**
 * @typedef {import("./captions.js").Segment} Segment
 * @typedef {{transcript: string, id: string, position: number, segment: Segment}} Kept
 */

const DATABASE = "tokenspeed";
const VERSION = 1; // changes with the shape of a segment
const SEGMENTS = "segments";
const OWN_KEY = "tokenspeed.transcript";
const LAST_KEY = "tokenspeed.last"; // of a tab: what was not written yet when its page was left
const MAX_LAST = 50; // segments of it
const OPEN_MS = 2_000; // how long to wait for a database that another tab may block

/** One transcript in the database. */
export class TranscriptStore {
  /** @type {IDBDatabase | null} */
  #database;
  #transcript;
  /** @type {Map<string, {segment: Segment, position: number}>} what is written, or being written */
  #written = new Map();
  /** @type {readonly Segment[] | null} newer than what is being written */
  #next = null;
  /** @type {readonly Segment[]} */
  #newest = [];
  #isWriting = false;

  /**
   * @param {IDBDatabase | null} database null = nothing can be kept
   * @param {string} transcript
   */
  constructor(database, transcript) {
    this.#database = database;
    this.#transcript = transcript;
  }

  /** Its name, unique on this device. */
  get transcript() {
    return this.#transcript;
  }

  /** @returns {Promise<Segment[]>} in order */
  async load() {
    if (!this.#database) return [];
    const kept = await ofTranscript(this.#database, this.#transcript);
    kept.sort((one, other) => one.position - other.position);
    for (const { id, segment, position } of kept) this.#written.set(id, { segment, position });
    const segments = new Map(kept.map(({ id, segment }) => [id, segment]));
    for (const segment of lastOf(this.#transcript)) segments.set(segment.id, segment);
    return [...segments.values()];
  }

  /** The page is being left, too fast for a database: put what is not written yet elsewhere. */
  leave() {
    if (!this.#isWriting) return;
    const last = { transcript: this.#transcript, segments: this.#newest.slice(-MAX_LAST) };
    try {
      sessionStorage.setItem(LAST_KEY, JSON.stringify(last));
    } catch {
      // Then the text of the last few milliseconds is lost.
    }
  }

  /**
   * Write what has changed, now; if a write is going on, the newest state waits for its end.
   *
   * @param {readonly Segment[]} segments all of the transcript; never changed, only replaced
   */
  save(segments) {
    if (!this.#database) return;
    this.#next = this.#newest = segments;
    if (!this.#isWriting) this.#write(this.#database);
  }

  /** @param {IDBDatabase} database */
  #write(database) {
    const segments = this.#next;
    this.#next = null;
    this.#isWriting = segments !== null;
    if (!segments) return;
    const transaction = database.transaction(SEGMENTS, "readwrite");
    const store = transaction.objectStore(SEGMENTS);
    const ids = new Set(segments.map(({ id }) => id));
    for (const id of [...this.#written.keys()]) {
      if (ids.has(id)) continue;
      store.delete([this.#transcript, id]);
      this.#written.delete(id);
    }
    for (const [position, segment] of segments.entries()) {
      const before = this.#written.get(segment.id);
      if (before?.segment === segment && before.position === position) continue;
      store.put({ transcript: this.#transcript, id: segment.id, position, segment });
      this.#written.set(segment.id, { segment, position });
    }
    transaction.oncomplete = () => this.#write(database);
    transaction.onabort = () => {
      this.#database = null; // full, or forbidden by now: the page continues without it
    };
  }
}

/**
 * @returns {Promise<TranscriptStore>} of this tab: its own, or one that a closed tab left behind,
 *   or a new one
 */
export async function openHistory() {
  const database = await open().catch(() => null);
  if (!database) return new TranscriptStore(null, "");
  const left = await transcripts(database).catch(() => []);
  const own = recalled();
  const wanted = own === null ? left : [own, ...left];
  for (const transcript of wanted) {
    if (await claim(transcript, transcript === own)) return kept(database, transcript);
  }
  const fresh = Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
  await claim(fresh, true);
  return kept(database, fresh);
}

/**
 * @param {IDBDatabase} database
 * @param {string} transcript
 */
function kept(database, transcript) {
  try {
    sessionStorage.setItem(OWN_KEY, transcript);
  } catch {
    // Then after a reload it is one that was left behind.
  }
  return new TranscriptStore(database, transcript);
}

function recalled() {
  try {
    return sessionStorage.getItem(OWN_KEY);
  } catch {
    return null;
  }
}

/**
 * Make a transcript this tab's, for as long as the tab lives.
 *
 * @param {string} transcript
 * @param {boolean} isOwn known to be this tab's, if the browser cannot tell
 * @returns {Promise<boolean>} whether no other tab has it
 */
function claim(transcript, isOwn) {
  if (!("locks" in navigator)) return Promise.resolve(isOwn);
  return new Promise((resolve) => {
    void navigator.locks.request(`${OWN_KEY}.${transcript}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise(() => {}); // held until the tab is gone
    });
  });
}

/**
 * @param {string} transcript
 * @returns {Segment[]} what its page had no time to write
 */
function lastOf(transcript) {
  try {
    const last = JSON.parse(sessionStorage.getItem(LAST_KEY) ?? "null");
    sessionStorage.removeItem(LAST_KEY);
    return last?.transcript === transcript && Array.isArray(last.segments) ? last.segments : [];
  } catch {
    return [];
  }
}

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, VERSION);
    request.onupgradeneeded = () => {
      const { result } = request;
      for (const name of [...result.objectStoreNames]) result.deleteObjectStore(name);
      const store = result.createObjectStore(SEGMENTS, { keyPath: ["transcript", "id"] });
      store.createIndex("transcript", "transcript");
    };
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
    setTimeout(() => reject(new Error("the database is blocked")), OPEN_MS);
  });
}

/**
 * @param {IDBDatabase} database
 * @returns {Promise<string[]>} the newest first: their names begin with the time
 */
async function transcripts(database) {
  const index = database.transaction(SEGMENTS).objectStore(SEGMENTS).index("transcript");
  /** @type {string[]} */
  const names = [];
  return new Promise((resolve, reject) => {
    const request = index.openKeyCursor(null, "prevunique");
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor) resolve(names);
      else {
        names.push(String(cursor.key));
        cursor.continue();
      }
    };
  });
}

/**
 * @param {IDBDatabase} database
 * @param {string} transcript
 * @returns {Promise<Kept[]>}
 */
function ofTranscript(database, transcript) {
  const index = database.transaction(SEGMENTS).objectStore(SEGMENTS).index("transcript");
  const request = index.getAll(transcript);
  return new Promise((resolve) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve([]);
  });
}
