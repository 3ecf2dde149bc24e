import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Agreement } from "../src/agreement.js";

/** A small generator with a seed, so that a failure can be repeated. */
function seeded(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const WORDS = "the trains leave in spring because a new bridge is open now and it was late".split(" ");

/** What a recogniser says while a phrase is spoken: it grows, and its end is revised. */
function results(random, reach = 3) {
  const spoken = Array.from({ length: 4 + random(14) }, () => WORDS[random(WORDS.length)]);
  const said = [];
  for (let count = 1; count <= spoken.length; count += 1 + random(2)) {
    const heard = spoken.slice(0, count);
    for (let i = Math.max(0, count - 1 - random(reach)); i < count; i += 1) {
      if (random(3) === 0) heard[i] = WORDS[random(WORDS.length)];
    }
    if (random(6) === 0) heard.splice(random(heard.length), 1); // a word falls away
    said.push(heard.join(" "));
    if (random(3) === 0) said.push(heard.join(" ")); // the same once more
  }
  return said;
}

test("a word is stable once the next result has it, too, and two more have followed", () => {
  const agreement = new Agreement();
  assert.deepEqual(agreement.hear("good"), { stable: "", unstable: "good" });
  assert.deepEqual(agreement.hear("good mourning"), { stable: "", unstable: "good mourning" });
  assert.deepEqual(agreement.hear("good morning every"), { stable: "good ", unstable: "morning every" });
  assert.deepEqual(agreement.hear("good morning everyone and"), {
    stable: "good morning ",
    unstable: "everyone and",
  });
  agreement.reset();
  assert.deepEqual(agreement.hear("welcome"), { stable: "", unstable: "welcome" });
});

test("the same result again makes nothing stable", () => {
  const agreement = new Agreement();
  for (let i = 0; i < 5; i += 1) {
    assert.deepEqual(agreement.hear("one two three four"), { stable: "", unstable: "one two three four" });
  }
});

test("a rewritten beginning leaves what was stable, and goes on after it", () => {
  const agreement = new Agreement();
  for (const text of ["we want to go", "we want to go home", "we want to go home now"]) agreement.hear(text);
  const { stable, unstable } = agreement.hear("oh we want to go home now please");
  assert.equal(stable, "we want to go home ");
  assert.equal(unstable, "now please");
});

describe("whatever a recogniser says", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    test(`seed ${seed}`, () => {
      const random = seeded(seed);
      const agreement = new Agreement();
      let before = "";
      for (const text of results(random)) {
        const { stable, unstable } = agreement.hear(text);
        assert.ok(stable.startsWith(before), `${JSON.stringify(before)} was taken back: ${stable}`);
        before = stable;
        // What may still change is the end of the newest result: nothing is made up or twice.
        assert.ok(text.endsWith(unstable), `${unstable} is not the end of ${text}`);
        const count = stable.split(" ").filter(Boolean).length + unstable.split(" ").filter(Boolean).length;
        assert.ok(Math.abs(count - text.split(" ").length) <= 2);
      }
    });
  }

  test("a phrase that is never revised is stable but for its last words", () => {
    const agreement = new Agreement();
    let heard = { stable: "", unstable: "" };
    for (let count = 1; count <= 10; count += 1) heard = agreement.hear(WORDS.slice(0, count).join(" "));
    assert.equal(heard.stable + heard.unstable, WORDS.slice(0, 10).join(" "));
    assert.equal(heard.stable.trim().split(" ").length, 8);
  });
});
