/**
 * Keeps the screen on while that is wanted, if the browser can.
 *
 * A browser releases the lock when the page is hidden; it is requested again when the page is shown.
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
    if (!isWanted) await settle(); // no longer wanted by now
  }
}

globalThis.document?.addEventListener("visibilitychange", () => {
  if (isWanted) void settle();
});
