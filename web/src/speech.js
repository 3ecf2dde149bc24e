/**
 * Speech to text by the browser, if it can (Chrome, Edge, Safari).
 *
 * Knows no session: it reports text. Recognition ends by itself after a silence or a minute, so it
 * is restarted until `stop()`, unless it fails again and again.
 *
 * @module
 */

import { Agreement } from "./agreement.js";

/**
 * The parts of the Web Speech API used here; TypeScript's DOM library lacks the recogniser itself.
 *
 * @typedef {{readonly isFinal: boolean, readonly [index: number]:
 *   {readonly transcript: string, readonly confidence?: number} | undefined}} Result
 * @typedef {{readonly resultIndex: number, readonly results:
 *   {readonly length: number, readonly [index: number]: Result | undefined}}} ResultEvent
 * @typedef {object} Recognizer
 * @property {string} lang
 * @property {boolean} continuous
 * @property {boolean} interimResults
 * @property {boolean} [processLocally]
 * @property {((event: ResultEvent) => void) | null} onresult
 * @property {((event: {readonly error: string}) => void) | null} onerror
 * @property {(() => void) | null} onend
 * @property {(track?: MediaStreamTrack) => void} start
 * @property {() => void} abort
 *
 * @typedef {{langs: string[], processLocally: boolean}} LocalOptions
 * @typedef {{new (): Recognizer, available?: (options: LocalOptions) => Promise<string>,
 *   install?: (options: LocalOptions) => Promise<boolean>}} RecognizerClass
 *
 * @typedef {object} SpeechHandlers
 * @property {(heard: import("./agreement.js").Heard) => void} onInterim the whole present guess
 * @property {(text: string) => void} onFinal a finished phrase
 * @property {(key: string) => void} onProblem recognition has stopped for good; a key of the strings
 * @property {(key: string) => void} onNotice recognition continues; a key of the strings
 *
 * @typedef {object} SpeechOptions
 * @property {boolean} [isLocal] only on this device
 * @property {MediaStreamTrack | undefined} [track] of a device that was chosen
 */

const RESTART_MS = 250;
const MAX_RESTART_MS = 4_000;
const MAX_FAILURES = 5; // in a row
const LIVED_MS = 3_000; // a run that ends earlier without a word has failed
const SILENCES = 2; // in a row, until a notice is shown
// Errors after which trying again is useless.
const FATAL_ERRORS = new Set([
  "not-allowed", "service-not-allowed", "audio-capture", "language-not-supported",
]);

// A recogniser wants a region; these are the most common ones.
const REGIONS = /** @type {Readonly<Record<string, string>>} */ ({
  en: "en-US",
  de: "de-DE",
  fr: "fr-FR",
  es: "es-ES",
});

/** @returns {RecognizerClass | undefined} */
function recognizerClass() {
  const scope = /** @type {Record<string, any>} */ (globalThis);
  return scope["SpeechRecognition"] ?? scope["webkitSpeechRecognition"];
}

/** @returns {boolean} whether this browser can listen at all */
export function canListen() {
  return recognizerClass() !== undefined;
}

/** @returns {boolean} whether a device can be chosen for the recogniser */
export function canChooseDevice() {
  return recognizerClass()?.available !== undefined; // came later than `start(track)`
}

/**
 * @param {string} language
 * @returns {Promise<boolean>} whether this device recognises it by itself; if it could install that,
 *   it is asked to, for the next time
 */
export async function isLocal(language) {
  const Recognizer = recognizerClass();
  if (!Recognizer?.available || language === "auto") return false;
  const options = { langs: [regional(language)], processLocally: true };
  try {
    const found = await Recognizer.available(options);
    if (found === "downloadable") void Recognizer.install?.(options).catch(() => false);
    return found === "available";
  } catch {
    return false;
  }
}

/**
 * Start to listen.
 *
 * @param {string} language "auto" leaves the choice to the browser
 * @param {SpeechHandlers} handlers
 * @param {SpeechOptions} [options]
 * @returns {{stop: () => void}}
 * @throws {Error} the browser has no speech recognition; ask `canListen()` first
 */
export function listen(language, handlers, options = {}) {
  const Recognizer = recognizerClass();
  if (!Recognizer) throw new Error("This browser has no speech recognition");
  const listening = new Listening(new Recognizer(), language, handlers, options);
  listening.start();
  return { stop: () => listening.stop() };
}

/** One recogniser, from the first start to `stop()` or the last failure. */
class Listening {
  #recognizer;
  #handlers;
  #track;
  // Chrome on Android marks each guess as final, in a list where each contains the one before, and only
  // their confidence tells them from finals; recognising phrase by phrase avoids that.
  #isAndroid = /Android/u.test(globalThis.navigator?.userAgent ?? "");
  #agreement = new Agreement();
  #guess = ""; // at a phrase that has no final yet
  #numFinal = 0; // results of this run that were reported
  #hasHeard = false; // in this run
  #error = ""; // of this run
  #startedAtMs = 0;
  #numFailures = 0;
  #numSilences = 0;
  #isStopped = false;

  /**
   * @param {Recognizer} recognizer
   * @param {string} language
   * @param {SpeechHandlers} handlers
   * @param {SpeechOptions} options
   */
  constructor(recognizer, language, handlers, { isLocal, track }) {
    this.#recognizer = recognizer;
    this.#handlers = handlers;
    this.#track = track;
    recognizer.lang = language === "auto" ? "" : regional(language);
    recognizer.continuous = !this.#isAndroid;
    recognizer.interimResults = true;
    if (isLocal) recognizer.processLocally = true;
    recognizer.onresult = (event) => this.#hear(event);
    recognizer.onerror = ({ error }) => (this.#error = error);
    recognizer.onend = () => this.#end();
  }

  start() {
    this.#error = "";
    this.#hasHeard = false;
    this.#numFinal = 0;
    this.#startedAtMs = Date.now();
    try {
      if (this.#track) this.#recognizer.start(this.#track);
      else this.#recognizer.start();
    } catch {
      this.#end(); // it is running already, or may not run
    }
  }

  stop() {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#finish();
    this.#recognizer.abort();
  }

  /** @param {ResultEvent} event */
  #hear({ resultIndex, results }) {
    if (this.#isStopped) return;
    this.#hasHeard = true;
    this.#numFailures = 0;
    this.#numSilences = 0;
    const first = this.#isAndroid ? results.length - 1 : resultIndex;
    let guess = "";
    // Safari lists all results from the first each time: skip what was already reported.
    for (let i = Math.max(first, this.#numFinal); i < results.length; i += 1) {
      const result = results[i];
      const { transcript = "", confidence = 1 } = result?.[0] ?? {};
      const isFinal = result?.isFinal && !(this.#isAndroid && confidence === 0);
      if (isFinal) {
        this.#numFinal = i + 1;
        this.#guess = transcript.trim();
        this.#finish();
      } else guess += transcript;
    }
    if (!guess.trim()) return;
    this.#guess = guess.trim();
    this.#handlers.onInterim(this.#agreement.hear(this.#guess));
  }

  /** The phrase is over; without a final, its last guess is used, so that nothing is lost. */
  #finish() {
    const text = this.#guess;
    this.#guess = "";
    this.#agreement.reset();
    if (text) this.#handlers.onFinal(text);
  }

  #end() {
    if (this.#isStopped) return;
    this.#finish();
    if (FATAL_ERRORS.has(this.#error)) {
      this.#fail(this.#error);
      return;
    }
    if (this.#error === "no-speech") {
      this.#numSilences += 1;
      if (this.#numSilences === SILENCES) this.#handlers.onNotice("no-speech");
    } else if (!this.#hasHeard && (this.#error || Date.now() - this.#startedAtMs < LIVED_MS)) {
      this.#numFailures += 1;
      if (this.#numFailures === MAX_FAILURES) {
        this.#fail(this.#error === "network" ? "network" : "stopped");
        return;
      }
    }
    const delayMs = Math.min(RESTART_MS * 2 ** Math.max(0, this.#numFailures - 1), MAX_RESTART_MS);
    setTimeout(() => {
      if (!this.#isStopped) this.start();
    }, delayMs);
  }

  /** @param {string} key */
  #fail(key) {
    this.#isStopped = true;
    this.#handlers.onProblem(key);
  }
}

/** @param {string} language */
function regional(language) {
  return REGIONS[language] ?? language;
}
