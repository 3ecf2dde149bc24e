/**
 * Keeps the screen on while it is wanted, where the browser can.
 *
 * A browser lets the lock go when the page is hidden; it is asked for again when it is seen.
 *
 * @module
 */

let isWanted = false;
/** @type {{release: () => Promise<void>} | null} */
let lock = null;

/** @param {boolean} wanted */
export function keepScreenOn(wanted) {
  isWanted = wanted;
  void settle();
}

async function settle() {
  if (!("wakeLock" in navigator)) return;
  if (!isWanted) {
    const held = lock;
    lock = null;
    await held?.release().catch(() => {});
  } else if (!document.hidden) {
    lock = await navigator.wakeLock.request("screen").catch(() => null);
    if (!isWanted) await settle(); // no more, meanwhile
  }
}

globalThis.document?.addEventListener("visibilitychange", () => {
  if (isWanted) void settle();
});
