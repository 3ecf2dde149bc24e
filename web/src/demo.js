/**
 * Reads a short talk aloud and passes on its words as they are heard, as a recogniser would.
 *
 * The voice is the browser's own, preferably one on this device. If there is none, or it may not
 * speak yet, the words come at the same pace without sound: no network is needed.
 *
 * @module
 */

const TALKS = /** @type {Readonly<Record<string, readonly string[]>>} */ ({
  en: [
    "Good evening, ladies and gentlemen.",
    "Welcome to our town.",
    "Today we want to talk about the new station.",
    "The first trains will leave in the spring.",
    "There will also be a new bridge over the river.",
    "Do you have any questions?",
    "Thank you very much, and have a nice day.",
  ],
  de: [
    "Willkommen in unserer Stadt.",
    "Heute möchten wir über den neuen Bahnhof sprechen.",
    "Der alte Bahnhof ist mehr als hundert Jahre alt.",
    "Haben Sie Fragen?",
    "Vielen Dank, und einen schönen Tag.",
  ],
  fr: [
    "Bienvenue dans notre ville.",
    "Aujourd'hui, nous voulons parler de la nouvelle gare.",
    "L'ancienne gare a plus de cent ans.",
    "Les premiers trains partiront au printemps.",
    "Avez-vous des questions ?",
    "Merci beaucoup, et bonne journée.",
  ],
  es: [
    "Bienvenidos a nuestra ciudad.",
    "Hoy queremos hablar de la nueva estación.",
    "La vieja estación tiene más de cien años.",
    "Los primeros trenes saldrán en primavera.",
    "Muchas gracias, y que tengan un buen día.",
  ],
});
const CHAR_MS = 65; // about 170 words a minute
const PAUSE_MS = 500; // between sentences
const START_MS = 1_500; // a voice that has not begun by then never will

/**
 * @param {string} language English if there is no talk in it
 * @param {{write: (text: string) => void, finish: () => void}} box gets what was heard of a sentence,
 *   then its end
 * @param {() => void} done
 * @returns {{stop: () => void}}
 */
export function play(language, box, done) {
  const talk = new Talk(language in TALKS ? language : "en", box, done);
  talk.next();
  return { stop: () => talk.stop() };
}

/** One reading. */
class Talk {
  #language;
  #box;
  #done;
  #voice;
  #index = 0;
  #heard = 0; // how many characters of the sentence
  #hasBoundaries = false; // whether the voice reports where it is
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} language
   * @param {{write: (text: string) => void, finish: () => void}} box
   * @param {() => void} done
   */
  constructor(language, box, done) {
    this.#language = language;
    this.#box = box;
    this.#done = done;
    this.#voice = voiceOf(language);
  }

  get #sentence() {
    return TALKS[this.#language]?.[this.#index];
  }

  next() {
    const sentence = this.#sentence;
    this.#heard = 0;
    if (sentence === undefined) this.#done();
    else if (this.#voice) this.#speak(sentence, this.#voice);
    else this.#pace(() => this.#end());
  }

  stop() {
    clearTimeout(this.#timer);
    this.#voice = null;
    globalThis.speechSynthesis?.cancel();
  }

  /**
   * @param {string} sentence
   * @param {SpeechSynthesisVoice} voice
   */
  #speak(sentence, voice) {
    const utterance = new SpeechSynthesisUtterance(sentence);
    utterance.voice = voice;
    utterance.lang = voice.lang;
    const isPresent = () => this.#voice !== null && this.#sentence === sentence;
    utterance.onstart = () => {
      clearTimeout(this.#timer);
      // A voice that does not report where it is speaks at about this pace.
      if (isPresent() && !this.#hasBoundaries) this.#pace(() => {});
    };
    utterance.onboundary = ({ name, charIndex }) => {
      if (!isPresent() || name === "sentence") return;
      this.#hasBoundaries = true;
      clearTimeout(this.#timer);
      this.#hear(wordEnd(sentence, charIndex));
    };
    utterance.onend = () => isPresent() && this.#end();
    utterance.onerror = () => isPresent() && this.#goOnSilently();
    this.#timer = setTimeout(() => this.#goOnSilently(), START_MS);
    speechSynthesis.speak(utterance);
  }

  #goOnSilently() {
    clearTimeout(this.#timer);
    this.#voice = null;
    speechSynthesis.cancel();
    this.#pace(() => this.#end());
  }

  /** @param {() => void} over */
  #pace(over) {
    const sentence = this.#sentence ?? "";
    const end = wordEnd(sentence, this.#heard);
    this.#timer = setTimeout(() => {
      this.#hear(end);
      if (end < sentence.length) this.#pace(over);
      else over();
    }, (end - this.#heard) * CHAR_MS);
  }

  /** @param {number} end of what has been heard by now */
  #hear(end) {
    if (end <= this.#heard) return;
    this.#heard = end;
    this.#box.write(this.#sentence?.slice(0, end) ?? "");
  }

  #end() {
    clearTimeout(this.#timer);
    this.#hear(this.#sentence?.length ?? 0);
    this.#box.finish();
    this.#index += 1;
    this.#timer = setTimeout(() => this.next(), PAUSE_MS);
  }
}

/**
 * @param {string} language
 * @returns {SpeechSynthesisVoice | null} the browser's, those of this device first
 */
function voiceOf(language) {
  const voices = globalThis.speechSynthesis?.getVoices() ?? [];
  const able = voices.filter(({ lang }) => lang.toLowerCase().split(/[-_]/u)[0] === language);
  return able.find(({ localService }) => localService) ?? able[0] ?? null;
}

/**
 * @param {string} text
 * @param {number} start
 * @returns {number} where the word that begins there ends
 */
function wordEnd(text, start) {
  const space = text.indexOf(" ", start + 1);
  return space < 0 ? text.length : space;
}

// A browser looks for its voices when it is first asked for them.
globalThis.speechSynthesis?.getVoices();
