/**
 * The storage of the browser, or one that forgets everything if the browser allows none.
 *
 * @module
 */

/**
 * @param {"localStorage" | "sessionStorage"} name
 * @returns {Storage}
 */
export function storageOf(name) {
  try {
    return globalThis[name]; // even reading it throws if cookies are forbidden
  } catch {
    return new Forgetful();
  }
}

/** @implements {Storage} */
class Forgetful {
  length = 0;
  clear() {}
  getItem() {
    return null;
  }
  key() {
    return null;
  }
  removeItem() {}
  setItem() {}
}
