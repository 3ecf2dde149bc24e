/**
 * How long to wait before trying again. Pure; the caller holds the clock.
 *
 * @module
 */

const FIRST_DELAY_MS = 150;
const MAX_DELAY_MS = 10_000;

/**
 * How long to wait before the next try: 150 ms at first, then 1.5 to 2 times as long, 10 s at most.
 *
 * @param {number} previousMs 0 before the first try
 * @param {() => number} random in [0, 1)
 * @returns {number} milliseconds, with jitter, so that the clients of one server do not all return at once
 */
export function nextDelayMs(previousMs, random) {
  if (previousMs === 0) return FIRST_DELAY_MS * (0.5 + 0.5 * random());
  const delayMs = Math.max(previousMs, FIRST_DELAY_MS) * (1.5 + 0.5 * random());
  return delayMs < MAX_DELAY_MS ? delayMs : MAX_DELAY_MS * (0.75 + 0.25 * random());
}
