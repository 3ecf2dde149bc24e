import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { NOBODY, applyRoomEvent } from "../src/audience.js";
import { readOverlay } from "../src/overlaysettings.js";

const ROOM = { id: "r", name: "Talk", speakers: 1, readers: 1 };

/**
 * @param {object[]} events
 * @param {boolean} [isSource]
 */
function after(events, isSource = false) {
  return events.reduce((state, event) => applyRoomEvent(state, event, isSource), NOBODY);
}

const delta = (id, append, unstable = "") => ({ type: "translation.delta", segment_id: id, append, unstable });
const final = (id, text) => ({ type: "translation.final", segment_id: id, text });
const state = (...segments) => ({ type: "room.state", room: ROOM, segments });

describe("what a reader sees", () => {
  test("segments stand in the order of their numbers, whoever ends first", () => {
    const { segments } = after([delta("2", "b"), delta("10", "c"), delta("1", "a"), final("10", "C.")]);
    assert.deepEqual(segments.map(({ number, text, isFinal }) => [number, text, isFinal]), [
      [1, "a", false], [2, "b", false], [10, "C.", true],
    ]);
  });

  test("a state takes the place of what it names, and leaves the rest", () => {
    const { room, segments } = after([
      final("1", "One."), delta("2", "Tw", "o"),
      state({ segment_id: "2", text: "Two.", is_final: true }, { segment_id: "1", text: "", is_retracted: true }),
    ]);
    assert.equal(room?.name, "Talk");
    assert.deepEqual(segments.map(({ text, unstable }) => [text, unstable]), [["Two.", ""]]);
  });

  test("the source stands beside its translation, or is what is read", () => {
    const events = [
      { type: "source.delta", segment_id: "1", stable: "he", unstable: "llo", speaker: "Ann" },
      delta("1", "Hal"),
    ];
    const [both] = after(events).segments;
    assert.deepEqual([both?.source, both?.text, both?.speaker], ["hello", "Hal", "Ann"]);
    const [said] = after([events[0], { type: "source.final", segment_id: "1", text: "Hello." }], true).segments;
    assert.deepEqual([said?.text, said?.unstable, said?.isFinal], ["Hello.", "", true]);
    assert.deepEqual(after([events[0], { type: "source.final", segment_id: "1", text: "" }]).segments, []);
  });

  test("what is withdrawn goes, and what says nothing of a room changes nothing", () => {
    const before = after([delta("1", "a")]);
    assert.deepEqual(applyRoomEvent(before, { type: "translation.retracted", segment_id: "1" }).segments, []);
    assert.equal(applyRoomEvent(before, { type: "translation.retracted", segment_id: "9" }), before);
    assert.equal(applyRoomEvent(before, { type: "pong" }), before);
    assert.equal(applyRoomEvent(before, { type: "room.updated", room: ROOM }).room, ROOM);
  });
});

describe("an overlay's address", () => {
  test("says all, within bounds, and brings no other CSS along", () => {
    const query = "room=r&lang=DE&lines=99&size=5&hide=0&color=ff0000&bg=url(x)&align=left&mode=append_only&pass=p";
    assert.deepEqual(readOverlay(new URLSearchParams(query)), {
      room: "r", target: "de", pass: "p", lines: 8, sizePx: 12, hideMs: 0,
      color: "#ff0000", background: null, align: "flex-start", isSteady: true,
    });
  });

  test("may be short", () => {
    const { target, lines, hideMs, align } = readOverlay(new URLSearchParams("room=r"));
    assert.deepEqual([target, lines, hideMs, align], ["source", 2, 5000, "center"]);
  });
});
