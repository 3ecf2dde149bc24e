import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { EMPTY, applyEvent, newestLines, transcript } from "../src/captions.js";

const created = (id = "a") => ({ type: "session.created", session: { id, languages: [] } });
const delta = (append, unstable = "", segment_id = "s1", target = "de") => ({
  type: "translation.delta",
  segment_id,
  target,
  source_rev: 1,
  append,
  unstable,
});
const final = (text, segment_id = "s1", target = "de", more = {}) => ({
  type: "translation.final",
  segment_id,
  target,
  text,
  source_text: "source",
  ...more,
});
const source = (stable, segment_id = "s1", more = {}) => ({
  type: "source.local",
  segment_id,
  stable,
  ...more,
});

const replay = (...events) => events.reduce(applyEvent, EMPTY);
const line = (state, segment = 0, target = "de") => state.segments[segment].lines[target];

/** A small deterministic generator, so that a failure can be repeated. */
function* randoms(seed) {
  let state = seed;
  for (;;) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    yield state / 2 ** 31;
  }
}

describe("one segment", () => {
  test("appended text grows and the tail is replaced", () => {
    const state = replay(created(), delta("", "Gut"), delta("Guten ", "Tag"), delta("", "Morgen"));
    assert.equal(line(state).stable, "Guten ");
    assert.equal(line(state).unstable, "Morgen");
  });

  test("a final ends it and later deltas do not undo that", () => {
    const state = replay(created(), delta("Guten "), final("Guten Tag."), delta("x", "y"), final("?"));
    const { stable, unstable, isFinal } = line(state);
    assert.deepEqual([stable, unstable, isFinal], ["Guten Tag.", "", true]);
    assert.equal(state.segments[0].source, "source");
    assert.ok(state.segments[0].isCommitted);
  });

  test("a withdrawn segment is gone", () => {
    const state = replay(created(), delta("Guten "), { type: "translation.retracted", segment_id: "s1" });
    assert.deepEqual(state.segments, []);
  });

  test("a snapshot tells the whole of what was appended in a gap, and nothing of what is final", () => {
    const segment = (segment_id, text, unstable) =>
      ({ segment_id, target: "de", text, unstable, is_final: false });
    const before = [created(), delta("Guten "), final("Ja.", "s2")];
    const snapshot = {
      type: "session.snapshot",
      segments: [segment("s1", "Guten Morgen ", "zus"), segment("s2", "", "x"), segment("s3", "Wo ", "ist")],
    };
    const state = replay(...before, snapshot, delta("zusammen ", "."));
    assert.deepEqual([line(state).stable, line(state).unstable], ["Guten Morgen zusammen ", "."]);
    assert.deepEqual([line(state, 1).stable, line(state, 1).unstable], ["Ja.", ""]);
    assert.deepEqual([line(state, 2).stable, line(state, 2).unstable], ["Wo ", "ist"]);
  });

  test("targets are kept apart", () => {
    const state = replay(created(), delta("Ja"), delta("Oui", "", "s1", "fr"), final("Ja."));
    assert.equal(line(state).isFinal, true);
    assert.deepEqual([line(state, 0, "fr").stable, line(state, 0, "fr").isFinal], ["Oui", false]);
  });

  test("the page's own source comes with its times, and a commit is the last word", () => {
    const state = replay(
      source("Yes", "s1", { start_ms: 100, end_ms: 150 }),
      source("Yes.", "s1", { start_ms: 120, end_ms: 300, committed: true }),
      source("No"),
      final("Ja.", "s1", "de", { start_ms: 7, end_ms: 8 }),
    );
    const [{ source: text, startMs, endMs }] = state.segments;
    assert.deepEqual([text, startMs, endMs], ["Yes.", 100, 300]);
  });

  test("a viewer without the source takes source and times from the final", () => {
    const [segment] = replay(created(), final("Ja.", "s1", "de", { start_ms: 7, end_ms: 8 })).segments;
    assert.deepEqual([segment.source, segment.startMs, segment.endMs], ["source", 7, 8]);
  });
});

describe("the reducer", () => {
  test("never changes a state and returns the same one when nothing changes", () => {
    const freeze = (value) => {
      if (value && typeof value === "object") Object.values(value).forEach(freeze);
      return Object.freeze(value);
    };
    const events = [created(), delta("Ja", "."), source("Yes"), final("Ja."), created("b")];
    let state = freeze(EMPTY);
    for (const event of events) state = freeze(applyEvent(state, event));
    for (const event of [final("Nein."), delta("x"), created("b"), { type: "pong" }]) {
      assert.equal(applyEvent(state, event), state);
    }
  });

  test("segments keep the order in which they appeared, also when finals overtake", () => {
    const state = replay(source("1", "a"), source("2", "b"), final("Zwei", "b"), final("Eins", "a"));
    assert.deepEqual(transcript(state).map(({ id }) => id), ["a", "b"]);
  });

  test("the newest lines are those with text, oldest first", () => {
    const state = replay(final("1", "a"), final("2", "b"), source("x", "c"), delta("3", "", "d"));
    const ids = newestLines(state, "de", 2).map(({ segment }) => segment.id);
    assert.deepEqual(ids, ["b", "d"]);
    assert.deepEqual(newestLines(state, "fr", 2), []);
  });
});

describe("a new session after a lost line", () => {
  test("text on the screen stays while the new session catches up, then grows", () => {
    const before = replay(created("a"), delta("Guten Mor", "gen"));
    let state = applyEvent(before, created("b"));
    assert.equal(line(state).stable, "Guten Mor");
    state = applyEvent(state, delta("Gut", "en Morgen zu"));
    assert.deepEqual([line(state).stable, line(state).unstable], ["Guten Mor", "gen zu"]);
    state = applyEvent(state, delta("en Morgen", " zusammen"));
    assert.deepEqual([line(state).stable, line(state).unstable], ["Guten Morgen", " zusammen"]);
  });

  test("another translation waits for its final", () => {
    let state = replay(created("a"), delta("Guten Morgen"), created("b"), delta("Hallo an alle", "."));
    assert.deepEqual([line(state).stable, line(state).unstable], ["Guten Morgen", ""]);
    state = applyEvent(state, final("Hallo an alle."));
    assert.equal(line(state).stable, "Hallo an alle.");
  });

  test("for a thousand random histories what is stable only grows until the final", () => {
    const random = randoms(7);
    const next = (bound) => Math.floor(random.next().value * bound);
    const words = ["Guten ", "Morgen ", "Hallo ", "zu", "sammen ", "an ", "alle "];
    const word = () => words[next(words.length)];
    for (let i = 0; i < 1_000; i += 1) {
      let state = applyEvent(EMPTY, created("0"));
      let shown = "";
      for (let step = 0; step < 12; step += 1) {
        const event = next(4) === 0 ? created(String(step)) : delta(next(2) ? word() : "", word());
        state = applyEvent(state, event);
        const stable = state.segments[0]?.lines.de.stable ?? "";
        assert.ok(stable.startsWith(shown), `${shown} | ${stable}`);
        shown = stable;
      }
    }
  });
});
