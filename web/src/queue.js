/**
 * A queue between a socket that pushes and one `for await` that pulls.
 *
 * @module
 */

/**
 * @template T
 */
export class EventQueue {
  /** @type {T[]} */
  #events = [];
  /** @type {((result: IteratorResult<T, undefined>) => void) | null} */
  #waiting = null;
  #isEnded = false;

  /** @param {T} event */
  push(event) {
    if (this.#waiting) {
      this.#waiting({ done: false, value: event });
      this.#waiting = null;
    } else {
      this.#events.push(event);
    }
  }

  end() {
    this.#isEnded = true;
    this.#waiting?.({ done: true, value: undefined });
    this.#waiting = null;
  }

  /** @returns {AsyncIterator<T, undefined>} */
  iterate() {
    return {
      next: () => {
        const value = this.#events.shift();
        if (value !== undefined) return Promise.resolve({ done: false, value });
        if (this.#isEnded) return Promise.resolve({ done: true, value: undefined });
        return new Promise((resolve) => {
          this.#waiting = resolve;
        });
      },
    };
  }
}
