import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { canListen, listen } from "../src/speech.js";

/** @type {any} */
let recognizer;
let heard;
let handlers;

class FakeRecognizer {
  starts = 0;
  isAborted = false;
  constructor() {
    recognizer = this;
  }
  start() {
    this.starts += 1;
  }
  abort() {
    this.isAborted = true;
    this.onend();
  }
  say(...phrases) {
    const results = phrases.map(([transcript, isFinal]) => ({ isFinal, 0: { transcript } }));
    this.onresult({ resultIndex: 0, results });
  }
}

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
  globalThis.webkitSpeechRecognition = FakeRecognizer;
  heard = [];
  handlers = {
    onInterim: (text) => heard.push(["interim", text]),
    onFinal: (text) => heard.push(["final", text]),
    onProblem: (text) => heard.push(["problem", text]),
  };
});

afterEach(() => {
  mock.timers.reset();
  delete globalThis.webkitSpeechRecognition;
});

test("guesses and finished phrases are told apart", () => {
  listen("de", handlers);
  assert.equal(recognizer.lang, "de-DE");
  recognizer.say([" guten", false]);
  recognizer.say(["guten Morgen", true], [" wir", false], [" sind", false]);
  assert.deepEqual(heard, [["interim", "guten"], ["final", "guten Morgen"], ["interim", "wir sind"]]);
});

test("it starts again after every end, until it is stopped", () => {
  const { stop } = listen("auto", handlers);
  assert.equal(recognizer.lang, "");
  for (let starts = 1; starts <= 3; starts += 1) {
    assert.equal(recognizer.starts, starts);
    recognizer.onerror({ error: "no-speech" });
    recognizer.onend();
    mock.timers.tick(1_000);
  }
  stop();
  assert.ok(recognizer.isAborted);
  mock.timers.tick(10_000);
  assert.equal(recognizer.starts, 4);
  assert.deepEqual(heard, []);
});

test("a refused microphone is said once and ends it", () => {
  listen("en", handlers);
  recognizer.onerror({ error: "not-allowed" });
  recognizer.onend();
  mock.timers.tick(10_000);
  assert.equal(recognizer.starts, 1);
  assert.deepEqual(heard.map(([kind]) => kind), ["problem"]);
});

test("a browser without recognition says so", () => {
  delete globalThis.webkitSpeechRecognition;
  assert.equal(canListen(), false);
  assert.throws(() => listen("en", handlers), /no speech recognition/);
});
