/**
 * A column of captions in one language: fills its box from the bottom and grows upward.
 *
 * Written so that text never moves while somebody reads it: committed text is added to the end of a
 * text node and never rewritten, older lines leave only by scrolling, a tail that is taken back
 * leaves its space empty instead of pulling the text down, and readers who scroll back stay there.
 *
 * Knows the DOM, but neither sessions nor rooms.
 *
 * @module
 */

import { direction } from "./languages.js";

/**
 * @typedef {object} Item one segment
 * @property {string} id
 * @property {string} text committed: only grows, unless a new session arrived at another final
 * @property {string} unstable the tail that may still change
 * @property {boolean} isFinal
 * @property {boolean} isWaiting its translation is late
 * @property {string} source the speaker's own words, shown above, "" = not shown
 * @property {string} speaker shown if another one spoke before, "" = unknown
 *
 * @typedef {object} ColumnOptions
 * @property {string} language "" = unknown; the browser finds the direction
 * @property {boolean} isLog whether screen readers announce each final
 */

const NEAR_PX = 48; // this close to the end counts as at the end
const MAX_SHOWN = 400; // captions of a column; the transcript has them all
const TRIMMED = 100; // at once, so that it happens seldom
const ROLL_MS = 160;

/** One language. */
export class Column {
  root = document.createElement("section");
  #label = document.createElement("h2");
  #scroller = document.createElement("div");
  #above = document.createElement("div");
  #live = document.createElement("div");
  #list = document.createElement("ol");
  #below = document.createElement("div");
  #now = document.createElement("button");
  /** @type {Map<string, Block>} */
  #blocks = new Map();
  #language;
  /** @type {string | null} the newest of the captions that were removed from the page */
  #trimmedId = null;
  #isFollowing = true;
  #peakPx = 0; // the height that the captions had before text was taken back, until they reach it again
  #clientPx = 0;
  #contentPx = 0;

  /** @param {ColumnOptions} options */
  constructor({ language, isLog }) {
    this.#language = language;
    this.root.className = "column";
    this.#label.className = "column-label";
    this.#scroller.className = "scroller";
    this.#scroller.tabIndex = 0;
    this.#scroller.role = "region";
    this.#above.className = "above";
    this.#live.className = "live";
    this.#list.className = "captions";
    this.#now.className = "now";
    this.#now.type = "button";
    this.#now.hidden = true;
    if (isLog) {
      this.#live.role = "log";
      this.#live.ariaLive = "polite";
      this.#live.ariaBusy = "true"; // earlier text can be read, but is not read out
    }
    this.#live.append(this.#list);
    this.#scroller.append(this.#above, this.#live, this.#below);
    this.root.append(this.#label, this.#scroller, this.#now);
    this.#scroller.addEventListener("scroll", () => this.#scrolled());
    this.#now.addEventListener("click", () => {
      this.follow();
      this.#scroller.focus({ preventScroll: true });
    });
    // Another size, a second language, a phone's keyboard, a turned phone: a view at the end stays there.
    const resized = new ResizeObserver(() => this.#resized());
    resized.observe(this.#scroller);
    resized.observe(this.#list);
  }

  /**
   * @param {string} label the language's name, as shown
   * @param {string} nowText of the button back to the end
   */
  setTexts(label, nowText) {
    setText(this.#label, label);
    setText(this.#now, nowText);
    this.#scroller.ariaLabel = label;
    this.#live.ariaLabel = this.#live.role ? label : null;
  }

  /** @param {string} language of captions from now on */
  setLanguage(language) {
    this.#language = language;
  }

  /** Go to the newest caption, and follow from there. */
  follow() {
    this.#isFollowing = true;
    this.#peakPx = 0;
    this.#settle(false);
  }

  /** Remove all captions. */
  clear() {
    for (const { root } of this.#blocks.values()) root.remove();
    this.#blocks.clear();
    this.#trimmedId = null;
    if (this.#live.role) this.#live.ariaBusy = "true";
    this.follow();
  }

  /** What was said earlier has been drawn: announce finals from now on. */
  begin() {
    if (this.#live.ariaBusy === "true") {
      requestAnimationFrame(() => (this.#live.ariaBusy = "false"));
    }
  }

  /** @param {readonly Item[]} all in order */
  draw(all) {
    const trimmedPx = this.#trim(all);
    const items = all.slice(this.#numTrimmed(all));
    const ids = new Set(items.map(({ id }) => id));
    for (const [id, { root }] of this.#blocks) {
      if (ids.has(id)) continue;
      root.remove();
      this.#blocks.delete(id);
    }
    let speaker = "";
    for (const [index, item] of items.entries()) {
      const block = this.#blockOf(item);
      const present = this.#list.children[index] ?? null;
      if (present !== block.root) this.#list.insertBefore(block.root, present);
      block.draw(item, item.speaker !== speaker);
      speaker = item.speaker;
    }
    this.#settle(trimmedPx === 0);
  }

  /**
   * Remove old captions from the page, unless somebody is reading them.
   *
   * @param {readonly Item[]} all
   * @returns {number} their height, in pixels
   */
  #trim(all) {
    const isLong = all.length - this.#numTrimmed(all) > MAX_SHOWN + TRIMMED;
    if (!isLong || !this.#isFollowing) return 0;
    this.#trimmedId = all[all.length - MAX_SHOWN - 1]?.id ?? null;
    const first = this.#blocks.get(all[all.length - MAX_SHOWN]?.id ?? "");
    const gonePx = first ? first.root.offsetTop - this.#list.offsetTop : 0;
    this.#peakPx -= gonePx;
    return gonePx;
  }

  /** @param {readonly Item[]} all */
  #numTrimmed(all) {
    return this.#trimmedId === null ? 0 : all.findIndex(({ id }) => id === this.#trimmedId) + 1;
  }

  /**
   * A final becomes a new element, so that a screen reader announces all of it at once.
   *
   * @param {Item} item
   * @returns {Block}
   */
  #blockOf(item) {
    const before = this.#blocks.get(item.id);
    if (before && before.isFinal === item.isFinal) return before;
    const block = new Block(item, this.#language);
    before?.root.replaceWith(block.root);
    this.#blocks.set(item.id, block);
    return block;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    // The box or the text has changed, and the browser has moved the view: it was not the reader.
    if (clientHeight !== this.#clientPx || scrollHeight !== this.#contentPx) return;
    this.#isFollowing = scrollTop + clientHeight >= scrollHeight - NEAR_PX;
    this.#now.hidden = this.#isFollowing;
    // There is nothing to read above the first caption.
    const firstPx = Math.min(this.#above.offsetHeight, scrollHeight - clientHeight);
    if (scrollTop < firstPx) this.#scroller.scrollTop = firstPx;
  }

  #resized() {
    this.#peakPx = Math.min(this.#peakPx, this.#list.offsetHeight + this.#below.offsetHeight);
    this.#settle(false);
  }

  /** @param {boolean} isRolling whether a new line moves in smoothly */
  #settle(isRolling) {
    const scroller = this.#scroller;
    const heightPx = this.#list.offsetHeight;
    const roomPx = Math.max(0, Math.min(this.#peakPx - heightPx, scroller.clientHeight / 3));
    this.#peakPx = heightPx + roomPx;
    this.#below.style.height = `${roomPx}px`;
    const before = scroller.scrollTop;
    if (this.#isFollowing) scroller.scrollTop = scroller.scrollHeight;
    this.#clientPx = scroller.clientHeight;
    this.#contentPx = scroller.scrollHeight;
    this.#now.hidden = this.#isFollowing;
    const rolledPx = scroller.scrollTop - before;
    if (isRolling && rolledPx > 0 && rolledPx < scroller.clientHeight / 3) this.#roll(rolledPx);
  }

  /** @param {number} px by which the captions have just moved up */
  #roll(px) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const from = [{ transform: `translateY(${px}px)` }, { transform: "translateY(0)" }];
    this.#list.animate(from, { duration: ROLL_MS, easing: "ease-out", composite: "add" });
  }
}

/** One caption of a column. */
class Block {
  root = document.createElement("li");
  #speaker = document.createElement("span");
  #spoken = document.createElement("p");
  #said = document.createElement("p");
  #stable = document.createTextNode("");
  #unstable = document.createElement("span");

  /**
   * @param {Item} item
   * @param {string} language
   */
  constructor({ id, isFinal }, language) {
    this.isFinal = isFinal;
    this.root.className = "caption";
    this.root.dataset["segment"] = id;
    this.root.classList.add(isFinal ? "is-final" : "is-open");
    // Text that may still change is announced only once it is final.
    if (!isFinal) this.root.ariaHidden = "true";
    this.#speaker.className = "speaker";
    this.#spoken.className = "spoken";
    this.#spoken.dir = "auto";
    this.#said.className = "said";
    this.#said.lang = language;
    this.#said.dir = language ? direction(language) : "auto";
    const stable = document.createElement("span");
    stable.className = "stable";
    stable.append(this.#stable);
    this.#unstable.className = "unstable";
    this.#said.append(stable, this.#unstable);
    this.root.append(this.#speaker, this.#spoken, this.#said);
  }

  /**
   * @param {Item} item
   * @param {boolean} isOther whether the caption before is another speaker's
   */
  draw({ text, unstable, isWaiting, source, speaker }, isOther) {
    this.#speaker.hidden = speaker === "" || !isOther;
    this.root.classList.toggle("is-waiting", isWaiting);
    setText(this.#speaker, speaker);
    setText(this.#spoken, source);
    this.#spoken.hidden = source === "";
    const shown = this.#stable.data;
    if (text.startsWith(shown)) {
      if (text.length > shown.length) this.#stable.appendData(text.slice(shown.length));
    } else this.#stable.data = text;
    setText(this.#unstable, unstable); // a new text node each time: nothing else moves
  }
}

/**
 * @param {HTMLElement} target
 * @param {string} text
 */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
