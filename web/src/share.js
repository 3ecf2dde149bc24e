/**
 * The room of the page: opens one, remembers it across reloads, reports who reads along.
 *
 * Knows the REST endpoints of rooms; speaking in the room is the session's part.
 *
 * @module
 */

import { newSourceId } from "./client.js";

/**
 * @typedef {object} Room
 * @property {string} id
 * @property {string} host_token
 * @property {string} view_url
 * @property {string} [source_id] by which the room knows this page again after a reload
 */

const STORAGE_KEY = "tokenspeed.room";
const CRASH_DAYS = 1; // how long a room is rejoined after a crash

/**
 * @param {string} base address of the service
 * @param {string | null} key API key, if the service asks for one
 * @returns {Promise<Room>}
 * @throws {Error} the service says why not
 */
export async function openRoom(base, key) {
  const headers = { "content-type": "application/json", ...(key ? bearer(key) : {}) };
  const reply = await fetch(new URL("v1/rooms", base), { method: "POST", headers, body: "{}" });
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.error?.message ?? `The service answered ${reply.status}`);
  return { ...body, source_id: newSourceId() };
}

/**
 * @param {string} base
 * @param {Room} room
 * @returns {Promise<{readers: number, readers_by_target: Record<string, number>,
 *   is_closed: boolean} | null>} null = the room no longer exists
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
 * Remembers the room of a tab: across a reload, and after a crash for the tab that continues its
 * transcript. A tab that is closed leaves its room, so that the next one does not speak there
 * without knowing it.
 */
export class RoomMemory {
  #tab;
  #device;
  #key;
  #now;

  /**
   * @param {Storage} tab lives as long as the tab does
   * @param {Storage} device outlives it
   * @param {string} transcript of the tab, "" if none is kept
   * @param {() => number} [now] milliseconds
   */
  constructor(tab, device, transcript, now = Date.now) {
    this.#tab = tab;
    this.#device = device;
    this.#key = transcript && `${STORAGE_KEY}.${transcript}`;
    this.#now = now;
  }

  /** @returns {Room | null} */
  recall() {
    const crashed = this.#key ? read(this.#device, this.#key) : null;
    const isFresh = this.#now() - crashed?.at < CRASH_DAYS * 86_400_000;
    const room = read(this.#tab, STORAGE_KEY) ?? (isFresh ? crashed.room : null);
    const isRoom = typeof room?.id === "string" && typeof room.host_token === "string";
    this.remember(isRoom ? room : null);
    return isRoom ? room : null;
  }

  /** @param {Room | null} room */
  remember(room) {
    write(this.#tab, STORAGE_KEY, room);
    if (this.#key) write(this.#device, this.#key, room && { room, at: this.#now() });
  }

  /** The page is left in the ordinary way: it has not crashed. */
  leave() {
    if (this.#key) write(this.#device, this.#key, null);
  }
}

/**
 * @param {Storage} storage
 * @param {string} key
 */
function read(storage, key) {
  try {
    return JSON.parse(storage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/**
 * @param {Storage} storage
 * @param {string} key
 * @param {unknown} value null removes it
 */
function write(storage, key, value) {
  try {
    if (value) storage.setItem(key, JSON.stringify(value));
    else storage.removeItem(key);
  } catch {
    // Without storage a reload loses the room; everything else works.
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
