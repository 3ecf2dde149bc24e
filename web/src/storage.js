/**
 * The storage of the browser, or what forgets everything where the browser allows none.
 *
 * @module
 */

/**
 * @param {"localStorage" | "sessionStorage"} name
 * @returns {Storage}
 */
export function storageOf(name) {
  try {
    return globalThis[name]; // merely to look at it is an error where cookies are forbidden
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
