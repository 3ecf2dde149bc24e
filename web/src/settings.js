/**
 * What a viewer has chosen: taken from the address, the last visit or the defaults, in this order.
 *
 * Only this file reads the query string and the storage; it touches nothing else of the page.
 *
 * @module
 */

import { color, flag, languageCode, number } from "./query.js";

/**
 * @typedef {object} PageSettings
 * @property {string} source language of the text, "auto" = detect
 * @property {readonly string[]} targets at least one
 * @property {boolean} isDual the source is shown beside its translations
 * @property {number} numLines shown on a page of captions only (`isObs`)
 * @property {number | null} sizePx of captions, null = what fits the window
 * @property {"system" | "light" | "dark"} theme
 * @property {string | null} color of captions, as CSS
 * @property {string | null} background of captions, as CSS
 * @property {"start" | "center" | "end"} align
 * @property {string} ui language of the page itself, "" = the browser's
 * @property {boolean} hasShortcuts single keys do something outside of the text box
 * @property {string} microphone id of the device, "" = the system's
 * @property {boolean} isObs only captions, on a transparent page, for a browser source
 * @property {boolean} isDemo starts by itself
 * @property {boolean} isListening the microphone starts by itself
 */

const STORAGE_KEY = "tokenspeed.settings";
export const MIN_SIZE_PX = 16;
export const MAX_SIZE_PX = 120;
const MAX_LINES = 6;

// These are remembered; a link changes the others for one visit only.
const REMEMBERED = /** @type {const} */ ([
  "source", "targets", "isDual", "sizePx", "theme", "ui", "hasShortcuts", "microphone",
]);

/** @type {PageSettings} */
const DEFAULTS = {
  source: "en",
  targets: ["de"],
  isDual: true,
  numLines: 2,
  sizePx: null,
  theme: "system",
  color: null,
  background: null,
  align: "start",
  ui: "",
  hasShortcuts: true,
  microphone: "",
  isObs: false,
  isDemo: false,
  isListening: false,
};

const ALIGNMENTS = /** @type {const} */ ({
  left: "start",
  start: "start",
  center: "center",
  right: "end",
  end: "end",
});

/**
 * @param {URLSearchParams} query
 * @param {Partial<PageSettings>} remembered
 * @returns {PageSettings}
 */
export function readSettings(query, remembered) {
  const isObs = flag(query.get("obs")) ?? false;
  const base = { ...DEFAULTS, ...remembered, isObs };
  if (isObs) Object.assign(base, { isDual: false, align: "center" });
  const align = query.get("align") ?? "";
  const targets = query.get("target")?.split(",").map(languageCode).filter(Boolean) ?? [];
  const lines = number(query.get("lines"), 1, MAX_LINES);
  return {
    ...base,
    source: languageCode(query.get("source") ?? "") || base.source,
    targets: targets.length > 0 ? [...new Set(targets)] : base.targets,
    isDual: flag(query.get("dual")) ?? base.isDual,
    numLines: lines === null ? base.numLines : Math.round(lines),
    sizePx: number(query.get("size"), MIN_SIZE_PX, MAX_SIZE_PX) ?? base.sizePx,
    color: color(query.get("color")) ?? base.color,
    background: color(query.get("bg")) ?? base.background,
    align: align in ALIGNMENTS ? ALIGNMENTS[/** @type {"left"} */ (align)] : base.align,
    ui: languageCode(query.get("ui") ?? "") || base.ui,
    isDemo: flag(query.get("demo")) ?? base.isDemo,
    isListening: flag(query.get("mic")) ?? base.isListening,
  };
}

/**
 * @param {Storage} storage
 * @returns {Partial<PageSettings>} empty when nothing usable is stored
 */
export function recall(storage) {
  try {
    const stored = JSON.parse(storage.getItem(STORAGE_KEY) ?? "{}");
    const known = REMEMBERED.filter((name) => {
      const isList = Array.isArray(DEFAULTS[name]);
      if (isList) return Array.isArray(stored[name]) && stored[name].length > 0;
      return name === "sizePx"
        ? typeof stored[name] === "number"
        : typeof stored[name] === typeof DEFAULTS[name];
    });
    return Object.fromEntries(known.map((name) => [name, stored[name]]));
  } catch {
    return {}; // storage turned off, or written by something else
  }
}

/**
 * @param {Storage} storage
 * @param {PageSettings} settings
 */
export function remember(storage, settings) {
  const kept = Object.fromEntries(REMEMBERED.map((name) => [name, settings[name]]));
  try {
    storage.setItem(STORAGE_KEY, JSON.stringify(kept));
  } catch {
    // Without storage the choice is not remembered; everything else works.
  }
}
