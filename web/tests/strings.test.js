import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { chooseLanguage, say } from "../src/strings.js";

const FOLDER = new URL("../assets/strings/", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8"));
const languages = read("languages");
const english = read("en");

test("the page speaks the first of the browser's languages that there is a file of", () => {
  assert.equal(chooseLanguage(["ja", "fr-CA", "en"], languages), "fr");
  assert.equal(chooseLanguage(["ja"], languages), "en");
  assert.equal(chooseLanguage(["it-IT"], [...languages, "it"]), "it");
});

test("every file is named, and says the same things with the same values", () => {
  const files = readdirSync(FOLDER).map((name) => name.replace(".json", ""));
  assert.deepEqual(files.filter((name) => name !== "languages").sort(), [...languages].sort());
  const values = (text) => text.match(/\{\w+\}/gu) ?? [];
  for (const language of languages) {
    const strings = read(language);
    assert.deepEqual(Object.keys(strings), Object.keys(english), language);
    for (const [key, text] of Object.entries(strings)) {
      assert.ok(text.trim(), `${language}: ${key}`);
      assert.deepEqual(values(text), values(english[key]), `${language}: ${key}`);
    }
  }
});

test("every word that the pages ask for is there, and none that nobody asks for", () => {
  const folder = new URL("../", import.meta.url);
  const pages = ["index.html", "room.html"].map((name) => readFileSync(new URL(name, folder), "utf8"));
  const asked = pages.flatMap((page) =>
    [...page.matchAll(/data-(?:text|label|name|title|placeholder|alt)="([^"]+)"/gu)].map(([, key]) => key),
  );
  for (const key of asked) assert.ok(key in english, key);
  const sources = readdirSync(new URL("src/", folder)).map((name) =>
    readFileSync(new URL(`src/${name}`, folder), "utf8"),
  );
  const code = sources.join("\n");
  for (const key of Object.keys(english)) {
    assert.ok(asked.includes(key) || code.includes(`"${key}"`), `nobody asks for ${key}`);
  }
});

test("values take their places, and what is not known is left", () => {
  assert.equal(say({ a: "{n} of {m}" }, "a", { n: 3 }), "3 of {m}");
  assert.equal(say({}, "unknown"), "unknown");
});
