/**
 * Which words of a recogniser's interim results can be relied on, judged by whether successive
 * results agree. Pure; knows no recogniser.
 *
 * A word is stable once two different results in a row have it at its place and `HELD` more have
 * followed it: recognisers revise the end of what they hear, seldom its beginning. Stable
 * words stay, whatever comes; only the final result may differ from them.
 *
 * Source: Liu et al. 2020, local agreement.
 *
 * @module
 */

const HELD = 2; // newest words, on which two results in a row often agree though both are wrong
const REACH = 2; // by how many words a rewritten beginning may have shifted what follows

/**
 * @typedef {{stable: string, unstable: string}} Heard `stable` ends with a space if more follows
 */

/** The interim results of one phrase. */
export class Agreement {
  /** @type {readonly string[]} */
  #stable = [];
  /** @type {readonly string[]} */
  #before = [];

  /**
   * @param {string} text the newest result, whole
   * @returns {Heard}
   */
  hear(text) {
    const words = text.split(/\s+/u).filter(Boolean);
    if (!isSame(words, this.#before)) {
      const start = this.#next(words);
      const agreed = start + common(words.slice(start), this.#before.slice(this.#next(this.#before)));
      const end = Math.min(agreed, words.length - HELD);
      if (end > start) this.#stable = [...this.#stable, ...words.slice(start, end)];
      this.#before = words;
    }
    const rest = words.slice(this.#next(words)).join(" ");
    const stable = this.#stable.join(" ");
    return { stable: stable && rest ? `${stable} ` : stable, unstable: rest };
  }

  /** The phrase is over. */
  reset() {
    this.#stable = [];
    this.#before = [];
  }

  /**
   * Where a result continues after the stable words; it may have more or fewer words in their place.
   *
   * @param {readonly string[]} words
   * @returns {number}
   */
  #next(words) {
    const count = this.#stable.length;
    if (count === 0) return 0;
    const last = bare(this.#stable[count - 1] ?? "");
    for (let distance = 0; distance <= REACH; distance += 1) {
      for (const next of [count + distance, count - distance]) {
        if (next > 0 && bare(words[next - 1] ?? "") === last) return next;
      }
    }
    return Math.min(count, words.length);
  }
}

/**
 * @param {readonly string[]} one
 * @param {readonly string[]} other
 * @returns {number} how many words both begin with
 */
function common(one, other) {
  let count = 0;
  while (count < Math.min(one.length, other.length) && bare(one[count] ?? "") === bare(other[count] ?? "")) {
    count += 1;
  }
  return count;
}

/**
 * @param {readonly string[]} one
 * @param {readonly string[]} other
 */
function isSame(one, other) {
  return one.length === other.length && common(one, other) === one.length;
}

/** @param {string} word */
function bare(word) {
  return word.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
}
