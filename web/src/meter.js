/**
 * The latency meter: what the server measured and what the network adds. Pure; knows no page.
 *
 * @module
 */

export const BUDGET_MS = 200;
export const WINDOW = 240; // updates that median and p95 are taken over

/**
 * @typedef {object} Meter
 * @property {readonly number[]} totals newest last, `timing.total_ms` of at most WINDOW updates
 * @property {number} count all updates of this page
 * @property {number} within those of them inside the budget
 * @property {number | null} roundTripMs of the last ping
 */

/** @type {Meter} */
export const NO_MEASUREMENTS = { totals: [], count: 0, within: 0, roundTripMs: null };

/**
 * @param {Meter} meter not changed
 * @param {import("./client.js").SessionEvent} event
 * @returns {Meter} the same object when the event carries no measurement
 */
export function measure(meter, event) {
  if (event.type === "pong" && event.round_trip_ms !== undefined) {
    return { ...meter, roundTripMs: event.round_trip_ms };
  }
  const isTranslation = event.type === "translation.delta" || event.type === "translation.final";
  if (!isTranslation || !event.timing) return meter;
  const totalMs = event.timing.total_ms;
  return {
    ...meter,
    totals: [...meter.totals, totalMs].slice(-WINDOW),
    count: meter.count + 1,
    within: meter.within + (totalMs <= BUDGET_MS ? 1 : 0),
  };
}

/**
 * @param {readonly number[]} values
 * @param {number} share 0.5 for the median, 0.95 for p95
 * @returns {number | null} the smallest value that at least this share of all values do not exceed
 */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null;
}
