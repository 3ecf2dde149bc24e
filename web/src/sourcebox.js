/**
 * The source box: turns typing, pasting, speech and the demo into segments of a session.
 *
 * Owns the segment ids and the times of segments. Knows the text box, but no captions.
 *
 * @module
 */

import { endsSentence, splitSentences } from "./sentences.js";

/**
 * @typedef {object} Segments what the box feeds; a session and the captions
 * @property {(segment: {id: string, text: string, startMs: number, endMs: number}) => void} update
 * @property {(segment: {id: string, text: string, startMs: number, endMs: number}) => void} commit
 * @property {(id: string) => void} cancel
 */

const SETTLE_MS = 1_500; // a pause after a sentence mark means that the sentence is over

/** Text of one source, cut into segments. */
export class SourceBox {
  #box;
  #segments;
  /** @type {{id: string, startMs: number} | null} */
  #open = null;
  #count = 0;
  #isPaused = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #settling;
  // Reloads keep the transcript: ids of different visits must differ.
  #prefix = Date.now().toString(36);
  #now;

  /**
   * @param {HTMLTextAreaElement} box
   * @param {Segments} segments
   * @param {() => number} now milliseconds since the transcript began
   */
  constructor(box, segments, now) {
    this.#box = box;
    this.#segments = segments;
    this.#now = now;
    box.addEventListener("input", () => this.read());
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.finish();
    });
  }

  /** Hold back what is typed, until it is set to false. @param {boolean} isPaused */
  set isPaused(isPaused) {
    this.#isPaused = isPaused;
    if (!isPaused) this.read();
  }

  /**
   * Replace what the box holds, as if typed.
   *
   * @param {string} text
   */
  write(text) {
    this.#box.value = text;
    this.#box.scrollTop = this.#box.scrollHeight;
    this.read();
  }

  /** Take over what the box holds: commit whole sentences, update the one being written. */
  read() {
    clearTimeout(this.#settling);
    if (this.#isPaused) return;
    const { sentences, rest } = splitSentences(this.#box.value);
    for (const sentence of sentences) this.#commit(sentence);
    if (sentences.length > 0) this.#box.value = rest;
    if (rest.trim()) {
      this.#segments.update(this.#segment(rest.trim()));
      if (endsSentence(rest)) this.#settling = setTimeout(() => this.finish(), SETTLE_MS);
    } else if (this.#open) {
      this.#segments.cancel(this.#open.id);
      this.#open = null;
    }
  }

  /** The sentence being written is over. */
  finish() {
    if (this.#isPaused) return;
    this.read();
    const rest = this.#box.value.trim();
    if (!rest) return;
    clearTimeout(this.#settling);
    this.#box.value = "";
    this.#commit(rest);
  }

  /** @param {string} text */
  #commit(text) {
    this.#segments.commit(this.#segment(text));
    this.#open = null;
  }

  /** @param {string} text */
  #segment(text) {
    if (!this.#open) {
      this.#count += 1;
      this.#open = { id: `${this.#prefix}-${this.#count}`, startMs: this.#now() };
    }
    return { ...this.#open, text, endMs: this.#now() };
  }
}
