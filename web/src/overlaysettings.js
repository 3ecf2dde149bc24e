/**
 * What the address of an overlay asks for. Pure.
 *
 * @module
 */

import { color, number } from "./query.js";

/**
 * @typedef {object} OverlaySettings
 * @property {string} room "" = none
 * @property {string} target language, or "source"
 * @property {string | null} pass
 * @property {number} lines how many are visible
 * @property {number | null} sizePx of the text, null = what fits the window
 * @property {number} hideMs how long a silence hides the captions; 0 = never
 * @property {string | null} color as CSS
 * @property {string | null} background as CSS
 * @property {"flex-start" | "center" | "flex-end"} align
 * @property {boolean} isSteady only text that will not change
 */

const ALIGNMENTS = /** @type {const} */ ({
  left: "flex-start",
  center: "center",
  right: "flex-end",
});

/**
 * @param {URLSearchParams} query `room`, `lang`, `lines`, `size`, `hide` (seconds), `color`, `bg`,
 *   `align`, `mode`, `pass`
 * @returns {OverlaySettings}
 */
export function readOverlay(query) {
  const align = query.get("align") ?? "";
  return {
    room: query.get("room") ?? "",
    target: (query.get("lang") ?? query.get("target") ?? "source").toLowerCase(),
    pass: query.get("pass"),
    lines: Math.round(number(query.get("lines"), 1, 8) ?? 2),
    sizePx: number(query.get("size"), 12, 300),
    hideMs: Math.round((number(query.get("hide"), 0, 3600) ?? 5) * 1000),
    color: color(query.get("color")),
    background: color(query.get("bg")),
    align: align in ALIGNMENTS ? ALIGNMENTS[/** @type {"left"} */ (align)] : "center",
    isSteady: query.get("mode") === "append_only",
  };
}
