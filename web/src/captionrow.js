/**
 * A caption row: the two or so lines of one language, rolling up.
 *
 * Written so that nothing a reader has read moves: committed text is added to the end of a text node
 * and never rewritten, a full line keeps its break because the browser breaks lines greedily, and a
 * row that has rolled up does not roll back down while it has text to show.
 *
 * @module
 */

import { direction, languageName } from "./languages.js";

/**
 * @typedef {import("./captions.js").Line} Line
 * @typedef {import("./captions.js").Shown} Shown
 */

/** One language. */
export class CaptionRow {
  root = document.createElement("section");
  #label = document.createElement("h2");
  #window = document.createElement("div");
  #roll = document.createElement("div");
  /** @type {Map<string, Block>} */
  #blocks = new Map();
  #offsetPx = 0;
  #numLines = 2;

  /** @param {string} key a language, or "" for the source */
  constructor(key) {
    this.root.className = key === "" ? "caption-row caption-row-source" : "caption-row";
    this.root.dataset["target"] = key;
    this.#label.className = "caption-row-label";
    this.#window.className = "caption-row-window";
    this.#roll.className = "caption-row-roll";
    this.#window.append(this.#roll);
    this.root.append(this.#label, this.#window);
    // Another width or type size breaks the lines anew: full screen, a turned phone, "+" and "−".
    new ResizeObserver(() => this.reset()).observe(this.#window);
    if (key !== "") this.setLanguage(key);
  }

  /** @param {string} language "auto" leaves it unsaid */
  setLanguage(language) {
    const isKnown = language !== "auto";
    this.#label.textContent = isKnown ? languageName(language) : "";
    this.#roll.lang = isKnown ? language : "";
    this.#roll.dir = isKnown ? direction(language) : "auto";
  }

  /**
   * Show the end of the text, however far it had rolled.
   *
   * @param {number} [numLines]
   */
  reset(numLines = this.#numLines) {
    this.#numLines = numLines;
    this.#offsetPx = 0;
    this.#rollUp();
  }

  /** @param {readonly Shown[]} shown oldest first */
  draw(shown) {
    const ids = new Set(shown.map(({ segment }) => segment.id));
    for (const [id, block] of this.#blocks) {
      if (!ids.has(id)) this.#remove(id, block);
    }
    for (const { segment, line } of shown) {
      let block = this.#blocks.get(segment.id);
      if (!block) {
        block = new Block(this.#roll.lang, this.#roll.dir);
        this.#blocks.set(segment.id, block);
        // Before what was said after it: of a page that is pasted, finals come in any order.
        this.#roll.insertBefore(block.root, this.#nextOf(shown, segment.id));
      }
      block.draw(line);
    }
    this.#rollUp();
  }

  /** @param {string} id whether every line of this segment is in sight (or it has none here) */
  showsWhole(id) {
    const block = this.#blocks.get(id);
    return block === undefined ? this.root.hidden : block.root.offsetTop >= this.#offsetPx;
  }

  /**
   * @param {readonly Shown[]} shown oldest first
   * @param {string} id
   * @returns {HTMLElement | null} the first block of what follows a segment
   */
  #nextOf(shown, id) {
    const index = shown.findIndex(({ segment }) => segment.id === id);
    const later = shown.slice(index + 1).find(({ segment }) => this.#blocks.has(segment.id));
    return later ? (this.#blocks.get(later.segment.id)?.root ?? null) : null;
  }

  /**
   * @param {string} id
   * @param {Block} block
   */
  #remove(id, block) {
    const heightPx = block.root.offsetTop < this.#offsetPx ? block.root.offsetHeight : 0;
    block.root.remove();
    this.#blocks.delete(id);
    // What is left must not seem to move: shift by the height that has gone, without a transition.
    this.#offsetPx = Math.max(0, this.#offsetPx - heightPx);
    this.#roll.style.transition = "none";
    this.#roll.style.transform = `translateY(${-this.#offsetPx}px)`;
    void this.#roll.offsetHeight;
    this.#roll.style.transition = "";
  }

  #rollUp() {
    const heightPx = this.#roll.offsetHeight;
    const overflowPx = heightPx - this.#window.clientHeight;
    const linePx = this.#window.clientHeight / this.#numLines;
    // A tail that was taken back leaves room below and does not pull the text down again, unless
    // it took every line in sight with it.
    const keptPx = Math.min(this.#offsetPx, heightPx - linePx);
    this.#offsetPx = Math.max(keptPx, overflowPx, 0);
    this.#roll.style.transform = `translateY(${-this.#offsetPx}px)`;
  }
}

/** One segment in a row: committed text, then the tail that may still change. */
class Block {
  root = document.createElement("p");
  #stable = document.createTextNode("");
  #unstable = document.createTextNode("");

  /**
   * @param {string} lang
   * @param {string} dir
   */
  constructor(lang, dir) {
    this.root.className = "block";
    this.root.lang = lang;
    this.root.dir = dir;
    const stable = document.createElement("span");
    stable.className = "stable";
    stable.append(this.#stable);
    const unstable = document.createElement("span");
    unstable.className = "unstable";
    unstable.ariaHidden = "true"; // a screen reader reads what is committed, once
    unstable.append(this.#unstable);
    this.root.append(stable, unstable);
  }

  /** @param {Line} line */
  draw({ stable, unstable, isFinal }) {
    const shown = this.#stable.data;
    if (stable.startsWith(shown)) {
      if (stable.length > shown.length) this.#stable.appendData(stable.slice(shown.length));
    } else {
      this.#stable.data = stable; // the source of a bilingual row, or a final after a lost session
    }
    if (this.#unstable.data !== unstable) this.#unstable.data = unstable;
    this.root.classList.toggle("is-final", isFinal);
  }
}
