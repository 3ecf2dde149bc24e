/**
 * The source box: turns typing, pasting, speech and the demo into segments of a session.
 *
 * Owns the segment ids and the times of segments. Knows the text box, but no captions.
 *
 * @module
 */

import { endsSentence, splitSentences } from "./sentences.js";

/**
 * @typedef {{id: string, stable: string, unstable: string, startMs: number,
 *   endMs: number}} SourceSegment
 *
 * @typedef {object} Segments what the box feeds: a session and the captions
 * @property {(segment: SourceSegment) => void} update
 * @property {(segment: SourceSegment) => void} commit
 * @property {(id: string) => void} cancel
 */

const SETTLE_MS = 1_500; // a pause after a mark that ends sentences means that this one is over

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
   * Replace what the box holds.
   *
   * @param {string} text
   */
  write(text) {
    this.#show(text);
    this.read();
  }

  /**
   * Replace what the box holds by an interim result, of which no sentence is over yet.
   *
   * @param {import("./agreement.js").Heard} heard
   */
  guess({ stable, unstable }) {
    this.#show(stable + unstable);
    clearTimeout(this.#settling);
    if (!this.#isPaused) this.#segments.update(this.#segment(stable, unstable));
  }

  /** @param {string} text */
  #show(text) {
    this.#box.value = text;
    this.#box.scrollTop = this.#box.scrollHeight;
  }

  /** Read what the box holds: commit whole sentences, update the one being written. */
  read() {
    clearTimeout(this.#settling);
    if (this.#isPaused) return;
    const { value } = this.#box;
    const { sentences, rest } = splitSentences(value);
    for (const sentence of sentences) this.#commit(sentence);
    if (sentences.length > 0) this.#keep(rest);
    if (rest.trim()) {
      // The word being typed is not known before it is finished.
      const stable = rest.search(/\S+$/u);
      const end = stable < 0 ? rest.length : stable;
      this.#segments.update(this.#segment(rest.slice(0, end), rest.slice(end)));
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

  /**
   * Leave only the end of the text in the box, with the caret where it was in that text.
   *
   * @param {string} rest
   */
  #keep(rest) {
    const isEditing = document.activeElement === this.#box;
    const fromEnd = this.#box.value.length - this.#box.selectionEnd;
    this.#box.value = rest;
    const caret = Math.max(0, rest.length - fromEnd);
    if (isEditing) this.#box.setSelectionRange(caret, caret);
  }

  /** @param {string} text */
  #commit(text) {
    this.#segments.commit(this.#segment(text, ""));
    this.#open = null;
  }

  /**
   * @param {string} stable
   * @param {string} unstable
   */
  #segment(stable, unstable) {
    if (!this.#open) {
      this.#count += 1;
      this.#open = { id: `${this.#prefix}-${this.#count}`, startMs: this.#now() };
    }
    return { ...this.#open, stable, unstable, endMs: this.#now() };
  }
}
