import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { play } from "../src/demo.js";

let said;
let box;
let isDone;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
  said = [];
  isDone = false;
  let sentence = "";
  box = {
    write: (text) => {
      assert.ok(text.startsWith(sentence)); // it only grows
      sentence = text;
    },
    finish: () => {
      said.push(sentence);
      sentence = "";
    },
  };
});

afterEach(() => {
  mock.timers.reset();
  delete globalThis.speechSynthesis;
  delete globalThis.SpeechSynthesisUtterance;
});

/** @param {number} ms in which timers may set others */
function wait(ms) {
  for (let passed = 0; passed < ms; passed += 20) mock.timers.tick(20);
}

const FIRST = ["Good evening, ladies and gentlemen.", "Welcome to our town."];

/** A browser's voices; `speak` is what becomes of an utterance. */
function voices(found, speak) {
  globalThis.SpeechSynthesisUtterance = class {
    constructor(text) {
      this.text = text;
    }
  };
  globalThis.speechSynthesis = { getVoices: () => found, speak, cancel: () => {} };
}

const LOCAL = { lang: "en-GB", localService: true };

test("without a voice the talk comes at the pace of one", () => {
  play("en", box, () => (isDone = true));
  wait(2_400);
  assert.deepEqual(said, FIRST.slice(0, 1));
  wait(100_000);
  assert.equal(said.length, 7);
  assert.deepEqual(said.slice(0, 2), FIRST);
  assert.ok(isDone);
});

test("a voice tells where it is, and is chosen on this device", () => {
  const spoken = [];
  voices([{ lang: "fr-FR" }, { lang: "en_US", localService: false }, LOCAL], (utterance) => {
    spoken.push(utterance);
    utterance.onstart();
  });
  play("en", box, () => {});
  const [first] = spoken;
  assert.equal(first.voice, LOCAL);
  first.onboundary({ name: "word", charIndex: 0 });
  first.onboundary({ name: "word", charIndex: 5 });
  first.onend();
  wait(600);
  assert.deepEqual(said, FIRST.slice(0, 1));
  assert.equal(spoken.length, 2);
});

test("a voice that is not allowed to speak yet, or never begins, costs the sound alone", () => {
  for (const speak of [(utterance) => utterance.onerror(), () => {}]) {
    said = [];
    voices([LOCAL], speak);
    play("en", box, () => (isDone = true));
    wait(100_000);
    assert.equal(said.length, 7);
  }
});

test("who stops it hears no more", () => {
  const { stop } = play("de", box, () => (isDone = true));
  wait(500);
  stop();
  wait(100_000);
  assert.deepEqual(said, []);
  assert.equal(isDone, false);
});

test("a language without a talk hears the English one", () => {
  play("ja", box, () => {});
  wait(2_400);
  assert.deepEqual(said, FIRST.slice(0, 1));
});
