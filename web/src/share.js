/**
 * The room of the page: opens one, remembers it over a reload, says who reads along.
 *
 * Knows the REST endpoints of rooms; the session speaks in it by itself.
 *
 * @module
 */

/**
 * @typedef {object} Room
 * @property {string} id
 * @property {string} host_token
 * @property {string} view_url
 */

const STORAGE_KEY = "tokenspeed.room";

/**
 * @param {string} base address of the service
 * @param {string | null} key API key, where the service asks for one
 * @returns {Promise<Room>}
 * @throws {Error} the service says why not
 */
export async function openRoom(base, key) {
  const headers = { "content-type": "application/json", ...(key ? bearer(key) : {}) };
  const reply = await fetch(new URL("v1/rooms", base), { method: "POST", headers, body: "{}" });
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.error?.message ?? `The service answered ${reply.status}`);
  return body;
}

/**
 * @param {string} base
 * @param {Room} room
 * @returns {Promise<{readers: number, readers_by_target: Record<string, number>,
 *   is_closed: boolean} | null>} null = the room is no more
 */
export async function askRoom(base, room) {
  const reply = await fetch(roomUrl(base, room));
  return reply.ok ? reply.json() : null;
}

/**
 * @param {string} base
 * @param {Room} room
 */
export async function closeRoom(base, room) {
  await fetch(roomUrl(base, room), { method: "DELETE", headers: bearer(room.host_token) });
}

/**
 * @param {string} base
 * @param {Room} room
 * @returns {string} address of the picture for cameras
 */
export function pictureUrl(base, room) {
  return `${roomUrl(base, room).href}/qr.svg`;
}

/**
 * @param {Storage} storage
 * @returns {Room | null}
 */
export function recallRoom(storage) {
  try {
    const room = JSON.parse(storage.getItem(STORAGE_KEY) ?? "null");
    return typeof room?.id === "string" && typeof room.host_token === "string" ? room : null;
  } catch {
    return null;
  }
}

/**
 * @param {Storage} storage
 * @param {Room | null} room
 */
export function rememberRoom(storage, room) {
  try {
    if (room) storage.setItem(STORAGE_KEY, JSON.stringify(room));
    else storage.removeItem(STORAGE_KEY);
  } catch {
    // A forbidden storage costs the room at a reload, nothing else.
  }
}

/**
 * @param {string} base
 * @param {Room} room
 */
function roomUrl(base, room) {
  return new URL(`v1/rooms/${encodeURIComponent(room.id)}`, base);
}

/** @param {string} token */
function bearer(token) {
  return { authorization: `Bearer ${token}` };
}
