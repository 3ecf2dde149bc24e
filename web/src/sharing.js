/**
 * The dialog of a room: its link, and how many read which language.
 *
 * @module
 */

import { languageName } from "./languages.js";
import { askRoom, pictureUrl } from "./share.js";
import { say } from "./strings.js";
import { element } from "./view.js";

/**
 * @typedef {import("./share.js").Room} Room
 * @typedef {import("./strings.js").Strings} Strings
 */

const READERS_MS = 2_000; // between updates of who reads along, while the dialog is open
const COPIED_MS = 2_000;

/**
 * @param {string} base
 * @param {Room} room
 * @param {Strings} strings
 */
export async function showRoom(base, room, strings) {
  /** @type {HTMLImageElement} */ (element("share-picture")).src = pictureUrl(base, room);
  /** @type {HTMLInputElement} */ (element("share-url")).value = room.view_url;
  const dialog = /** @type {HTMLDialogElement} */ (element("share-dialog"));
  if (!dialog.open) dialog.showModal();
  while (dialog.open) {
    const found = await askRoom(base, room).catch(() => null);
    if (found) element("share-readers").textContent = readers(found, strings);
    await new Promise((resolve) => setTimeout(resolve, READERS_MS));
  }
}

/**
 * @param {string} text
 * @param {Strings} strings
 */
export async function copyLink(text, strings) {
  const button = element("share-copy");
  /** @type {HTMLInputElement} */ (element("share-url")).select();
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return; // the link is selected and can be copied by hand
  }
  button.textContent = say(strings, "copied");
  setTimeout(() => (button.textContent = say(strings, "copy")), COPIED_MS);
}

/**
 * @param {{readers: number, readers_by_target: Readonly<Record<string, number>>}} found
 * @param {Strings} strings
 */
function readers({ readers: n, readers_by_target }, strings) {
  const text = say(strings, n === 0 ? "readers0" : n === 1 ? "readers1" : "readersN", { n });
  const each = Object.entries(readers_by_target).map(([target, count]) => {
    const name = target === "source" ? say(strings, "original") : languageName(target);
    return `${name} ${count}`;
  });
  return each.length === 0 ? text : `${text} ${each.join(" · ")}`;
}
