import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { ENGLISH as english } from "../src/english.js";
import { chooseLanguage, firstStrings, loadStrings, say } from "../src/strings.js";

const FOLDER = new URL("../assets/strings/", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8"));
const languages = read("languages");

test("the page speaks the first of the browser's languages that there is a file of", () => {
  assert.equal(chooseLanguage(["ja", "fr-CA", "en"], languages), "fr");
  assert.equal(chooseLanguage(["ja"], languages), "en");
  assert.equal(chooseLanguage(["it-IT"], [...languages, "it"]), "it");
});

test("every file is named, and says the same things with the same values", () => {
  const files = readdirSync(FOLDER).map((name) => name.replace(".json", ""));
  assert.deepEqual(files.filter((name) => name !== "languages").sort(), languages.filter((code) => code !== "en").sort());
  const values = (text) => text.match(/\{\w+\}/gu) ?? [];
  for (const language of languages.filter((code) => code !== "en")) {
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
  const modules = readdirSync(new URL("src/", folder)).filter((name) => name !== "english.js");
  const sources = modules.map((name) =>
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

/**
 * Answer the page's requests for words.
 *
 * @param {(name: string) => Promise<Response>} answer
 */
function serve(answer) {
  globalThis.fetch = /** @type {typeof fetch} */ (
    (url) => answer(String(url).match(/(\w+)\.json$/)?.[1] ?? "")
  );
}

const file = async (name) => Response.json(read(name));
const never = () => /** @type {Promise<Response>} */ (new Promise(() => {}));
const HOST = "http://host/";

test("words are those of the reader's language, or English where they cannot be had", async () => {
  serve(file);
  assert.equal((await loadStrings(HOST, ["de-AT"])).strings.close, read("de").close);
  assert.deepEqual((await loadStrings(HOST, ["ja"])).languages, languages);
  for (const answer of [
    async () => Response.error(),
    async () => new Response("<html>", { status: 404 }),
    async () => new Response("<html>"),
    async () => {
      throw new TypeError("no network");
    },
    async (name) => (name === "de" ? new Response("", { status: 500 }) : file(name)),
  ]) {
    serve(answer);
    const found = await loadStrings(HOST, ["de"]);
    assert.equal(found.language, "en");
    assert.deepEqual(found.strings, english);
  }
});

test("the page does not wait for English, nor long for anything", async () => {
  serve(never);
  for (const wanted of ["en-GB", "de"]) {
    const first = await firstStrings(HOST, [wanted]);
    assert.deepEqual(first.words.strings, english);
    assert.ok(first.later);
  }
  let come = () => {};
  const coming = new Promise((resolve) => (come = () => resolve(null)));
  serve((name) => coming.then(() => file(name)));
  const first = await firstStrings(HOST, ["de"]);
  assert.equal(first.words.language, "en");
  come();
  assert.equal((await first.later)?.language, "de");
});

test("words that come soon are the first that are seen", async () => {
  serve(file);
  const first = await firstStrings(HOST, ["fr"]);
  assert.equal(first.words.language, "fr");
  assert.equal(first.later, null);
});
