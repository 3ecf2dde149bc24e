/**
 * Speech to text by the browser, where it has it (Chrome, Edge, Safari).
 *
 * Knows no session: it reports text. Recognition ends by itself after a silence or a minute, so it
 * is started again until `stop()`.
 *
 * @module
 */

/**
 * The parts of the Web Speech API used here; TypeScript's DOM library lacks the recogniser itself.
 *
 * @typedef {{readonly isFinal: boolean, readonly [index: number]:
 *   {readonly transcript: string} | undefined}} Result
 * @typedef {{readonly resultIndex: number, readonly results:
 *   {readonly length: number, readonly [index: number]: Result | undefined}}} ResultEvent
 * @typedef {object} Recognizer
 * @property {string} lang
 * @property {boolean} continuous
 * @property {boolean} interimResults
 * @property {((event: ResultEvent) => void) | null} onresult
 * @property {((event: {readonly error: string}) => void) | null} onerror
 * @property {(() => void) | null} onend
 * @property {() => void} start
 * @property {() => void} abort
 *
 * @typedef {object} SpeechHandlers
 * @property {(text: string) => void} onInterim the present guess, whole
 * @property {(text: string) => void} onFinal a finished phrase
 * @property {(message: string) => void} onProblem recognition has stopped for good
 */

const RESTART_MS = 250;
const FATAL_ERRORS = /** @type {Readonly<Record<string, string>>} */ ({
  "not-allowed": "The browser may not use the microphone",
  "service-not-allowed": "The browser does not allow speech recognition here",
  "audio-capture": "No microphone was found",
  "language-not-supported": "The browser cannot recognise this language",
});

// A recogniser wants a region; these are the most common ones.
const REGIONS = /** @type {Readonly<Record<string, string>>} */ ({
  en: "en-US",
  de: "de-DE",
  fr: "fr-FR",
  es: "es-ES",
});

/** @returns {(new () => Recognizer) | undefined} */
function recognizerClass() {
  const scope = /** @type {Record<string, any>} */ (globalThis);
  return scope["SpeechRecognition"] ?? scope["webkitSpeechRecognition"];
}

/** @returns {boolean} whether this browser can listen at all */
export function canListen() {
  return recognizerClass() !== undefined;
}

/**
 * Start to listen.
 *
 * @param {string} language "auto" leaves the choice to the browser
 * @param {SpeechHandlers} handlers
 * @returns {{stop: () => void}}
 * @throws {Error} the browser has no speech recognition; ask `canListen()` first
 */
export function listen(language, handlers) {
  const Recognizer = recognizerClass();
  if (!Recognizer) throw new Error("This browser has no speech recognition");
  const recognizer = new Recognizer();
  let isStopped = false;
  recognizer.lang = language === "auto" ? "" : (REGIONS[language] ?? language);
  recognizer.continuous = true;
  recognizer.interimResults = true;
  recognizer.onresult = (event) => report(event, handlers);
  recognizer.onerror = ({ error }) => {
    const message = FATAL_ERRORS[error];
    if (message === undefined) return; // "no-speech", "network": onend follows and starts again
    isStopped = true;
    handlers.onProblem(message);
  };
  recognizer.onend = () => {
    setTimeout(() => {
      if (!isStopped) recognizer.start();
    }, RESTART_MS);
  };
  recognizer.start();
  return {
    stop: () => {
      isStopped = true;
      recognizer.abort();
    },
  };
}

/**
 * @param {ResultEvent} event
 * @param {SpeechHandlers} handlers
 */
function report({ resultIndex, results }, handlers) {
  let interim = "";
  for (let i = resultIndex; i < results.length; i += 1) {
    const result = results[i];
    const text = result?.[0]?.transcript ?? "";
    if (result?.isFinal) handlers.onFinal(text.trim());
    else interim += text;
  }
  if (interim) handlers.onInterim(interim.trim());
}
