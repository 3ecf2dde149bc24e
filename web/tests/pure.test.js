import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { EMPTY, applyEvent } from "../src/captions.js";
import { allTargets, exportTranscript, wrap } from "../src/export.js";
import { closest, direction, keepOffered, languageName, offeredTargets } from "../src/languages.js";
import { NO_MEASUREMENTS, WINDOW, measure, percentile } from "../src/meter.js";
import { endsSentence, splitSentences } from "../src/sentences.js";
import { readSettings, recall, remember } from "../src/settings.js";

describe("sentences", () => {
  for (const [text, sentences, rest] of [
    ["Good morning", [], "Good morning"],
    ["Good morning.", [], "Good morning."],
    ["Good morning. ", ["Good morning."], ""],
    ["One! Two? Thr", ["One!", "Two?"], "Thr"],
    ["He said “Yes.” Then", ["He said “Yes.”"], "Then"],
    ["Mr. Smith and Dr. J. Brown paid 3.5 euros, e.g. by", [], "Mr. Smith and Dr. J. Brown paid 3.5 euros, e.g. by"],
    ["Am 3. Mai kam z.B. Hr. Maier. Dann", ["Am 3. Mai kam z.B. Hr. Maier."], "Dann"],
    ["one line\ntwo", ["one line"], "two"],
    ["Wait … what", ["Wait …"], "what"],
    ["你好。我们", ["你好。"], "我们"],
    ["\n \n", [], ""],
  ]) {
    test(JSON.stringify(text), () => assert.deepEqual(splitSentences(text), { sentences, rest }));
  }

  test("no character is lost or doubled, however the text is cut", () => {
    const text = "One. Two two! Mr. Three? Fo. ur… 5. six.\nSeven eight. ";
    for (let cut = 0; cut <= text.length; cut += 1) {
      const head = splitSentences(text.slice(0, cut));
      const together = [...head.sentences, head.rest].join(" ").replace(/\s+/gu, "");
      assert.equal(together, text.slice(0, cut).replace(/\s+/gu, ""));
    }
  });

  test("a text without an end is cut at a space before it grows too long", () => {
    const text = "word ".repeat(300).trim();
    const { sentences, rest } = splitSentences(text);
    assert.ok(sentences.length > 0);
    assert.equal([...sentences, rest].join(" "), text);
    for (const part of [...sentences, rest]) assert.ok(part.length <= 400);
  });

  test("a pause ends a sentence only after its mark", () => {
    assert.equal(endsSentence("Good morning."), true);
    assert.equal(endsSentence("Good morning"), false);
    assert.equal(endsSentence("Good morning, Mr."), false);
    assert.equal(endsSentence("One. Two"), false);
  });
});

describe("meter", () => {
  const timed = (total_ms) => ({ type: "translation.delta", timing: { total_ms } });

  test("counts what was inside the budget and forgets old values in the window only", () => {
    let meter = NO_MEASUREMENTS;
    for (let i = 1; i <= WINDOW + 10; i += 1) meter = measure(meter, timed(i <= 10 ? 300 : 50));
    assert.equal(meter.count, WINDOW + 10);
    assert.equal(meter.within, WINDOW);
    assert.equal(percentile(meter.totals, 1), 50);
  });

  test("an event without a measurement changes nothing", () => {
    const meter = measure(NO_MEASUREMENTS, timed(1));
    for (const event of [{ type: "translation.delta" }, { type: "pong" }, { type: "error" }]) {
      assert.equal(measure(meter, event), meter);
    }
    assert.equal(measure(meter, { type: "pong", round_trip_ms: 3 }).roundTripMs, 3);
  });

  test("a percentile is a value that was measured", () => {
    assert.equal(percentile([], 0.5), null);
    assert.equal(percentile([5], 0.95), 5);
    assert.equal(percentile([3, 1, 2, 4], 0.5), 2);
    const hundred = Array.from({ length: 100 }, (_, i) => i + 1);
    assert.equal(percentile(hundred, 0.95), 95);
    assert.equal(percentile([10, 9], 0.5), 9); // numbers, not strings
  });
});

describe("export", () => {
  const long = "Das ist ein langer Satz, der nicht in zwei Zeilen passt, weil er immer weiter geht und geht.";
  const history = [
    { type: "source.local", segment_id: "a", stable: "A & B", start_ms: 0, end_ms: 900, committed: true },
    { type: "translation.final", segment_id: "a", target: "de", text: "<A> & B", source_text: "" },
    { type: "translation.final", segment_id: "a", target: "fr", text: "A et B", source_text: "" },
    { type: "source.local", segment_id: "b", stable: "Long.", start_ms: 61_500, end_ms: 65_000, committed: true },
    { type: "translation.final", segment_id: "b", target: "de", text: long, source_text: "" },
    { type: "source.local", segment_id: "c", stable: "open", start_ms: 66_000, end_ms: 67_000 },
    { type: "translation.delta", segment_id: "c", target: "de", append: "offen", unstable: "" },
  ];
  const { segments } = history.reduce(applyEvent, EMPTY);

  test("plain text has a line for each sentence, as it was said where its translation is to come", () => {
    assert.equal(exportTranscript(segments, "txt", ["de"]), `<A> & B\n${long}\nopen\n`);
  });

  test("languages that were taken off are in the file, too", () => {
    assert.deepEqual(allTargets(segments, ["es", "fr"]), ["fr", "de"]);
  });

  test("WebVTT escapes markup and SRT does not", () => {
    const vtt = exportTranscript(segments, "vtt", ["de"]);
    assert.ok(vtt.startsWith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n&lt;A&gt; &amp; B\n"));
    const srt = exportTranscript(segments, "srt", ["de"]);
    assert.ok(srt.startsWith("1\n00:00:00,000 --> 00:00:01,000\n<A> & B\n\n2\n00:01:01,500 --> "));
  });

  test("cues follow each other, hold two short lines, and lose no word", () => {
    const cues = exportTranscript(segments, "srt", ["de"]).trim().split("\n\n");
    assert.equal(cues.length, 4);
    const words = [];
    let before = 0;
    for (const cue of cues) {
      const [, time, ...lines] = cue.split("\n");
      const [start, end] = time.split(" --> ").map((clock) => {
        const [h, m, s] = clock.replace(",", ".").split(":").map(Number);
        return (h * 60 + m) * 60 + s;
      });
      assert.ok(start >= before && end > start);
      before = end;
      assert.ok(lines.length <= 2 && lines.every((line) => line.length <= 42));
      words.push(...lines.join(" ").split(" "));
    }
    assert.deepEqual(words, `<A> & B ${long} open`.split(" "));
  });

  test("JSON keeps everything that is final, by language", () => {
    const { segments: kept } = JSON.parse(exportTranscript(segments, "json", ["de", "fr"]));
    assert.deepEqual(kept[0].translations, { de: "<A> & B", fr: "A et B" });
    assert.deepEqual([kept[1].start_ms, kept[1].end_ms], [61_500, 65_000]);
    assert.deepEqual(kept[2].translations, {});
  });

  test("wrapping never changes a line that is full when text is added", () => {
    let full = [];
    for (let i = 1; i <= long.length; i += 1) {
      if (long[i] !== " " && i < long.length) continue; // whole words
      const lines = wrap(long.slice(0, i), 20);
      assert.deepEqual(lines.slice(0, full.length), full);
      full = lines.slice(0, -1);
    }
    assert.deepEqual(wrap("Donaudampfschifffahrt", 5), ["Donaudampfschifffahrt"]);
    assert.deepEqual(wrap("", 5), []);
    assert.deepEqual(wrap("今天火车马上离开。大家早上好！", 5), ["今天火车马", "上离开。大", "家早上好！"]);
    assert.deepEqual(wrap("วันนี้รถไฟออก", 6), ["วันนี้", "รถไฟออ", "ก"]);
    assert.deepEqual(wrap("GPU 很快 OK", 6), ["GPU 很快", "OK"]);
  });
});

describe("settings", () => {
  const read = (query, remembered = {}) => readSettings(new URLSearchParams(query), remembered);

  test("the address wins over the memory, the memory over the defaults", () => {
    assert.deepEqual(read("").targets, ["de"]);
    assert.deepEqual(read("", { targets: ["fr"] }).targets, ["fr"]);
    assert.deepEqual(read("target=es,FR,es", { targets: ["fr"] }).targets, ["es", "fr"]);
    assert.equal(read("dual=0").isDual, false);
    assert.equal(read("dual").isDual, true);
    assert.equal(read("lines=3").numLines, 3);
  });

  test("OBS mode shows the translation alone, in the middle, unless told otherwise", () => {
    assert.deepEqual([read("obs").isObs, read("obs").isDual, read("obs").align], [true, false, "center"]);
    assert.deepEqual([read("obs&dual=1").isDual, read("obs&align=right").align], [true, "end"]);
  });

  test("nonsense in a link is ignored", () => {
    const settings = read("target=<b>,,&lines=x&size=&color=red;display:none&bg=url(x)&align=up");
    const { targets, numLines, sizePx, color, background, align } = settings;
    assert.deepEqual([targets, numLines, sizePx], [["de"], 2, null]);
    assert.deepEqual([color, background, align], [null, null, "start"]);
    assert.deepEqual([read("size=9999").sizePx, read("lines=99").numLines], [120, 6]);
    assert.deepEqual([read("color=fff").color, read("bg=00000080").background], ["#fff", "#00000080"]);
  });

  test("what is remembered comes back, and damage does not", () => {
    const stored = new Map();
    const storage = {
      getItem: (key) => stored.get(key) ?? null,
      setItem: (key, value) => stored.set(key, value),
    };
    remember(storage, { ...read("target=fr&size=40"), theme: "dark" });
    assert.deepEqual(recall(storage), {
      source: "en",
      targets: ["fr"],
      isDual: true,
      sizePx: 40,
      theme: "dark",
      ui: "",
      hasShortcuts: true,
      microphone: "",
    });
    for (const damage of ["{", "null", "[]", '{"targets": "de", "isDual": 1, "theme": 3}']) {
      stored.set([...stored.keys()][0], damage);
      assert.deepEqual(recall(storage), {});
    }
  });
});

describe("languages", () => {
  const model = [
    { code: "de", name: "German", targets: ["en"] },
    { code: "en", name: "English", targets: ["de", "fr"] },
  ];

  test("a language is called what it calls itself", () => {
    const names = ["en", "de", "fr", "es"].map(languageName);
    assert.deepEqual(names, ["English", "Deutsch", "Français", "Español"]);
    assert.deepEqual(["ar", "he-IL", "de", "en-US"].map(direction), ["rtl", "rtl", "ltr", "ltr"]);
    const written = ["fa", "uz-Arab", "uz", "dv", "ug", "zh-Hant", "th"].map(direction);
    assert.deepEqual(written, ["rtl", "rtl", "ltr", "rtl", "rtl", "ltr", "ltr"]);
  });

  test("a tag asks for the language that fits it", () => {
    const offered = ["pt", "pt-BR", "zh-Hans", "zh-Hant", "he", "source"];
    const wanted = ["zh-tw", "ZH-hant", "zh", "pt-PT", "pt-br", "iw", "source", "de", "", "??"];
    const found = ["zh-Hant", "zh-Hant", "zh-Hans", "pt", "pt-BR", "he", "source", undefined, undefined, undefined];
    assert.deepEqual(wanted.map((tag) => closest(tag, offered)), found);
    const chinese = [{ code: "en", name: "English", targets: ["zh-Hans", "zh-Hant"] }];
    assert.deepEqual(keepOffered(chinese, "en-us", ["zh-hant", "zh-tw"]), { source: "en", targets: ["zh-Hant"] });
  });

  test("only what the model translates is offered", () => {
    assert.deepEqual(offeredTargets(model, "en"), ["de", "fr"]);
    assert.deepEqual(offeredTargets(model, "auto"), ["en", "de", "fr"]);
    assert.deepEqual(offeredTargets(model, "xx"), []);
  });

  for (const [source, targets, kept] of [
    ["en", ["fr", "de"], { source: "en", targets: ["fr", "de"] }],
    ["en", ["ja", "fr"], { source: "en", targets: ["fr"] }],
    ["de", ["fr"], { source: "de", targets: ["en"] }],
    ["ja", ["fr"], { source: "auto", targets: ["fr"] }],
    ["auto", [], { source: "auto", targets: ["en"] }],
  ]) {
    test(`${source} to ${targets} become what can be had`, () => {
      assert.deepEqual(keepOffered(model, source, targets), kept);
    });
  }
});
