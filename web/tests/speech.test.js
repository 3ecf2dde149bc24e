import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, mock, test } from "node:test";

import { canListen, isLocal, listen } from "../src/speech.js";

/**
 * A recogniser that behaves as browsers do: results keep their places in a list, errors are followed
 * by an end, `abort` ends it later.
 *
 * @type {any}
 */
let recognizer;
let heard;
let handlers;

class FakeRecognizer {
  starts = [];
  isRunning = false;
  results = [];
  constructor() {
    recognizer = this;
  }
  start(...given) {
    if (this.isRunning) throw new Error("InvalidStateError");
    this.isRunning = true;
    this.results = [];
    this.starts.push(given);
  }
  abort() {
    setTimeout(() => this.end());
  }
  /** The phrase at the end of the list, or a new one after a final. */
  say(transcript, isFinal = false, confidence = isFinal ? 0.9 : 0) {
    const last = this.results.at(-1);
    if (!last || last.isFinal) this.results.push({});
    const resultIndex = this.results.length - 1;
    this.results[resultIndex] = { isFinal, 0: { transcript, confidence } };
    this.onresult({ resultIndex, results: this.results });
  }
  fail(error) {
    this.onerror({ error });
    this.end();
  }
  end() {
    if (!this.isRunning) return;
    this.isRunning = false;
    this.onend();
  }
}

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  globalThis.webkitSpeechRecognition = FakeRecognizer;
  heard = [];
  handlers = {
    onInterim: ({ stable, unstable }) => heard.push(["interim", stable + unstable]),
    onFinal: (text) => heard.push(["final", text]),
    onProblem: (key) => heard.push(["problem", key]),
    onNotice: (key) => heard.push(["notice", key]),
  };
});

afterEach(() => {
  mock.timers.reset();
  delete globalThis.webkitSpeechRecognition;
});

const kinds = (kind) => heard.filter(([found]) => found === kind).map(([, text]) => text);

test("guesses and finished phrases are told apart", () => {
  listen("de", handlers);
  assert.equal(recognizer.lang, "de-DE");
  recognizer.say(" guten");
  recognizer.say("guten Morgen", true);
  recognizer.say(" wir sind");
  assert.deepEqual(heard, [["interim", "guten"], ["final", "guten Morgen"], ["interim", "wir sind"]]);
});

test("what two results agree on is stable before the phrase is over", () => {
  const stable = [];
  listen("en", { ...handlers, onInterim: (heard) => stable.push(heard.stable) });
  for (const text of ["we will", "we will look", "we will look at the", "we will look at the plan"]) {
    recognizer.say(text);
  }
  assert.deepEqual(stable, ["", "we ", "we will look ", "we will look at "]);
});

test("a guess split over several results is one phrase", () => {
  listen("en", handlers);
  const results = [
    { isFinal: false, 0: { transcript: "we will", confidence: 0 } },
    { isFinal: false, 0: { transcript: " look at", confidence: 0 } },
  ];
  recognizer.onresult({ resultIndex: 0, results });
  assert.deepEqual(heard, [["interim", "we will look at"]]);
});

test("finals that a browser repeats are said once", () => {
  listen("en", handlers); // Safari names the first result each time
  recognizer.say("one", true);
  recognizer.say("two", true);
  recognizer.onresult({ resultIndex: 0, results: recognizer.results });
  assert.deepEqual(kinds("final"), ["one", "two"]);
});

test("Chrome on Android calls guesses final, each with the one before in it", () => {
  const navigator = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", {
    value: { userAgent: "Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile" },
    configurable: true,
  });
  try {
    listen("en", handlers);
    assert.equal(recognizer.continuous, false);
    recognizer.say("good", true, 0);
    recognizer.say("good morning", true, 0);
    recognizer.say("good morning everyone", true, 0.9);
    recognizer.onresult({ resultIndex: 2, results: recognizer.results }); // and twice
    recognizer.end();
  } finally {
    if (navigator) Object.defineProperty(globalThis, "navigator", navigator);
    else delete globalThis.navigator;
  }
  assert.deepEqual(heard, [
    ["interim", "good"],
    ["interim", "good morning"],
    ["final", "good morning everyone"],
  ]);
});

test("a phrase that ends without a final is not lost", () => {
  const { stop } = listen("en", handlers);
  recognizer.say("half a sen");
  recognizer.fail("network");
  mock.timers.tick(1_000);
  recognizer.say("and on");
  stop();
  assert.deepEqual(kinds("final"), ["half a sen", "and on"]);
  recognizer.say("too late");
  assert.deepEqual(kinds("final"), ["half a sen", "and on"]);
});

test("it starts again after every silence, says so, and stops when it is told", () => {
  const { stop } = listen("auto", handlers);
  assert.equal(recognizer.lang, "");
  for (let starts = 1; starts <= 9; starts += 1) {
    assert.equal(recognizer.starts.length, starts);
    mock.timers.tick(8_000);
    recognizer.fail("no-speech");
    mock.timers.tick(300);
  }
  assert.deepEqual(heard, [["notice", "no-speech"]]);
  stop();
  mock.timers.tick(10_000);
  assert.equal(recognizer.starts.length, 10);
});

for (const [error, key] of [["network", "network"], ["aborted", "stopped"], ["", "stopped"]]) {
  test(`a recogniser that only fails (${error || "without a word"}) is given up after five times`, () => {
    listen("en", handlers);
    for (let i = 0; i < 20; i += 1) {
      if (error) recognizer.fail(error);
      else recognizer.end();
      mock.timers.tick(10_000);
    }
    assert.equal(recognizer.starts.length, 5);
    assert.deepEqual(heard, [["problem", key]]);
  });
}

test("what is heard in between makes up for a failure", () => {
  listen("en", handlers);
  for (let i = 0; i < 12; i += 1) {
    recognizer.fail("network");
    mock.timers.tick(10_000);
    if (i % 3 === 0) {
      recognizer.say(`phrase ${i}`, true);
    }
  }
  assert.deepEqual(kinds("problem"), []);
  assert.equal(recognizer.starts.length, 13);
});

for (const error of ["not-allowed", "service-not-allowed", "audio-capture", "language-not-supported"]) {
  test(`${error} is said once and ends it`, () => {
    listen("en", handlers);
    recognizer.fail(error);
    mock.timers.tick(60_000);
    assert.equal(recognizer.starts.length, 1);
    assert.deepEqual(heard, [["problem", error]]);
  });
}

test("a browser without recognition says so", () => {
  delete globalThis.webkitSpeechRecognition;
  assert.equal(canListen(), false);
  assert.throws(() => listen("en", handlers), /no speech recognition/);
});

test("a chosen device is listened to, on this device where that is possible", async () => {
  const asked = [];
  class Local extends FakeRecognizer {
    static state = "downloadable";
    static available = async ({ langs }) => (langs[0] === "de-DE" ? Local.state : "unavailable");
    static install = async ({ langs }) => asked.push(...langs);
  }
  globalThis.webkitSpeechRecognition = Local;
  assert.equal(await isLocal("de"), false);
  assert.deepEqual(asked, ["de-DE"]); // for the next time
  Local.state = "available";
  assert.equal(await isLocal("de"), true);
  assert.equal(await isLocal("auto"), false);
  const track = { kind: "audio" };
  listen("de", handlers, { isLocal: true, track });
  assert.equal(recognizer.processLocally, true);
  assert.deepEqual(recognizer.starts, [[track]]);
});

describe("whatever comes, each phrase is said once, in order", () => {
  for (let seed = 1; seed <= 100; seed += 1) {
    test(`seed ${seed}`, () => {
      let state = seed;
      const random = (below) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      const { stop } = listen("en", handlers);
      const spoken = [];
      for (let i = 0; i < 12 && kinds("problem").length === 0; i += 1) {
        const phrase = `phrase number ${i} of them all`;
        const words = phrase.split(" ");
        const cut = 1 + random(words.length);
        for (let count = 1; count <= cut; count += 1) recognizer.say(words.slice(0, count).join(" "));
        const event = random(4);
        if (event === 0) recognizer.fail(["network", "no-speech", "aborted"][random(3)]);
        else if (event === 1) recognizer.end();
        else recognizer.say(phrase, true);
        spoken.push(event < 2 ? words.slice(0, cut).join(" ") : phrase);
        mock.timers.tick(5_000);
      }
      stop();
      assert.deepEqual(kinds("final"), spoken);
    });
  }
});
