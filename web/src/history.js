/**
 * Keeps the transcript of a tab over a reload, and no longer than the tab.
 *
 * @module
 */

/**
 * @typedef {import("./captions.js").Segment} Segment
 */

const STORAGE_KEY = "tokenspeed.transcript.1"; // the number changes with the shape of a segment

/**
 * @param {Storage} storage
 * @returns {Segment[]} empty when nothing usable is stored
 */
export function loadTranscript(storage) {
  try {
    const stored = JSON.parse(storage.getItem(STORAGE_KEY) ?? "[]");
    return Array.isArray(stored) ? stored : [];
  } catch {
    return []; // storage turned off, or written by something else
  }
}

/**
 * @param {Storage} storage
 * @param {readonly Segment[]} segments
 */
export function saveTranscript(storage, segments) {
  try {
    storage.setItem(STORAGE_KEY, JSON.stringify(segments));
  } catch {
    // Too long for the storage, or forbidden: a reload starts empty, nothing else is lost.
  }
}
