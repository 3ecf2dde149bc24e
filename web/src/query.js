/**
 * Values in a page's address, checked, so that a link cannot bring anything unexpected. Pure.
 *
 * @module
 */

/**
 * @param {string} text
 * @returns {string} lower-case primary code, "" if it is none
 */
export function languageCode(text) {
  const code = text.trim().toLowerCase();
  return /^[a-z]{2,8}(-[a-z0-9]{1,8})*$/u.test(code) ? code : "";
}

/** @param {string | null} text */
export function flag(text) {
  if (text === null) return null;
  return !["0", "false", "no", "off"].includes(text.toLowerCase());
}

/**
 * @param {string | null} text
 * @param {number} min
 * @param {number} max
 */
export function number(text, min, max) {
  const value = text === null || text === "" ? NaN : Number(text);
  return Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : null;
}

/**
 * @param {string | null} text a CSS name or hex digits without the "#"
 * @returns {string | null} null for anything else, so that a link cannot bring other CSS along
 */
export function color(text) {
  if (text === null) return null;
  if (/^(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})$/iu.test(text)) return `#${text}`;
  return /^[a-z]+$/iu.test(text) ? text.toLowerCase() : null;
}
