/**
 * The key of a service that asks for one: kept for the tab, exchanged for a token for each session.
 *
 * @module
 */

const STORAGE_KEY = "tokenspeed.key";

/** The service did not take the key. */
export class WrongKey extends Error {}

/**
 * @param {string} base address of the service
 * @returns {Promise<boolean>} whether it asks for a key; false if it does not say
 */
export async function isKeyRequired(base) {
  try {
    const reply = await fetch(new URL("frontend/settings", base));
    return reply.ok && (await reply.json()).keyRequired === true;
  } catch {
    return false; // not reached: the session will say so
  }
}

/**
 * @param {string} base
 * @param {string} key
 * @returns {Promise<string>} a token for one session
 * @throws {WrongKey} the service does not know the key
 * @throws {Error} the service cannot be reached
 */
export async function fetchToken(base, key) {
  const headers = { authorization: `Bearer ${key}` };
  const reply = await fetch(new URL("v1/sessions", base), { method: "POST", headers });
  if (reply.status === 401) throw new WrongKey("The service does not know this key");
  if (!reply.ok) throw new Error(`The service answered ${reply.status}`);
  return (await reply.json()).token;
}

/**
 * @param {Storage} storage
 * @returns {string | null}
 */
export function recallKey(storage) {
  try {
    return storage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}

/**
 * @param {Storage} storage
 * @param {string | null} key
 */
export function rememberKey(storage, key) {
  try {
    if (key === null) storage.removeItem(STORAGE_KEY);
    else storage.setItem(STORAGE_KEY, key);
  } catch {
    // Then it is asked for again after a reload.
  }
}
