import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomMemory } from "../src/share.js";
import { storageOf } from "../src/storage.js";
import { Memory } from "./fakes.js";

const ROOM = { id: "r", host_token: "secret", view_url: "http://host/r/r", source_id: "0123456789abcdef" };
const DAY_MS = 86_400_000;

test("a room is remembered over a reload", () => {
  const [tab, device] = [new Memory(), new Memory()];
  const first = new RoomMemory(tab, device, "t1");
  assert.equal(first.recall(), null);
  first.remember(ROOM);
  first.leave();
  assert.deepEqual(new RoomMemory(tab, device, "t1").recall(), ROOM);
  first.remember(null);
  assert.equal(new RoomMemory(tab, device, "t1").recall(), null);
});

test("a crashed tab's room is that of who goes on with its transcript, for a day", () => {
  for (const [transcript, days, expected] of /** @type {const} */ ([
    ["t1", 0.5, ROOM], ["t1", 1.5, null], ["t2", 0, null], ["", 0, null],
  ])) {
    const device = new Memory();
    new RoomMemory(new Memory(), device, "t1", () => 0).remember(ROOM);
    const next = new RoomMemory(new Memory(), device, transcript, () => days * DAY_MS);
    assert.deepEqual(next.recall(), expected, `${transcript} after ${days} days`);
  }
});

test("a closed tab's room is nobody's", () => {
  const device = new Memory();
  const closed = new RoomMemory(new Memory(), device, "t1");
  closed.remember(ROOM);
  closed.leave();
  assert.equal(new RoomMemory(new Memory(), device, "t1").recall(), null);
});

test("what is no room is forgotten", () => {
  for (const stored of ["{", "null", "5", '{"id": 3}', '{"id": "r"}']) {
    const tab = new Memory();
    tab.setItem("tokenspeed.room", stored);
    assert.equal(new RoomMemory(tab, new Memory(), "t1").recall(), null);
    assert.equal(tab.getItem("tokenspeed.room"), null);
  }
});

test("a forbidden storage forgets everything and breaks nothing", () => {
  Object.defineProperty(globalThis, "localStorage", {
    configurable: true,
    get() {
      throw new DOMException("denied", "SecurityError");
    },
  });
  const storage = storageOf("localStorage");
  const memory = new RoomMemory(storage, storage, "t1");
  memory.remember(ROOM);
  assert.equal(memory.recall(), null);
  memory.leave();
});
