/**
 * The texts of the pages in the reader's language, each in `assets/strings/XX.json`.
 *
 * To add a language, add a file and name it in `assets/strings/languages.json`. What a file lacks is
 * shown in English (`english.js`), and so is everything if the files cannot be loaded.
 *
 * @module
 */

import { ENGLISH } from "./english.js";

/**
 * @typedef {Readonly<Record<string, string>>} Strings
 * @typedef {{language: string, languages: readonly string[], strings: Strings}} Words `languages` are
 *   all that the pages have
 */

export const FIRST_LANGUAGE = "en";
const HIDDEN_MS = 800; // for how long the page stays hidden while it waits for its texts

/** @type {Words} */
const FIRST_WORDS = { language: FIRST_LANGUAGE, languages: [FIRST_LANGUAGE], strings: ENGLISH };

/**
 * @param {readonly string[]} wanted languages, most preferred first
 * @param {readonly string[]} known languages that have files
 * @returns {string}
 */
export function chooseLanguage(wanted, known) {
  return wanted.map(primary).find((code) => known.includes(code)) ?? FIRST_LANGUAGE;
}

/**
 * @param {string} base address of the page's folder
 * @param {readonly string[]} wanted languages, most preferred first
 * @returns {Promise<Words>} English ones if the others cannot be loaded
 */
export async function loadStrings(base, wanted) {
  /** @param {string} name */
  const load = async (name) => {
    const reply = await fetch(new URL(`assets/strings/${name}.json`, base));
    if (!reply.ok) throw new Error(`${reply.url} is answered with ${reply.status}`);
    return reply.json();
  };
  let found = FIRST_WORDS;
  try {
    found = { ...found, languages: await load("languages") };
    const language = chooseLanguage(wanted, found.languages);
    if (language === FIRST_LANGUAGE) return found;
    return { ...found, language, strings: { ...ENGLISH, ...(await load(language)) } };
  } catch (error) {
    console.warn("the words of the page cannot be had:", error);
    return found;
  }
}

/**
 * The texts to begin with: the wanted ones if they come soon, otherwise English ones.
 *
 * @param {string} base address of the page's folder
 * @param {readonly string[]} wanted languages, most preferred first
 * @returns {Promise<{words: Words, later: Promise<Words> | null}>} `later` are the wanted ones, if
 *   English ones are given first
 */
export async function firstStrings(base, wanted) {
  const loading = loadStrings(base, wanted);
  /** @type {Promise<null>} */
  const late = new Promise((resolve) => setTimeout(resolve, HIDDEN_MS, null));
  const soon = primary(wanted[0] ?? "") === FIRST_LANGUAGE ? null : await Promise.race([loading, late]);
  return soon ? { words: soon, later: null } : { words: FIRST_WORDS, later: loading };
}

/** @param {string} language */
function primary(language) {
  return language.toLowerCase().split("-")[0] ?? "";
}

/**
 * @param {Strings} strings
 * @param {string} key
 * @param {Readonly<Record<string, string | number>>} [values] that replace `{name}`
 * @returns {string}
 */
export function say(strings, key, values = {}) {
  return (strings[key] ?? key).replace(/\{(\w+)\}/gu, (whole, name) => String(values[name] ?? whole));
}

/**
 * Write the texts into every element that asks for them, and show the page: `data-text`,
 * `data-label` (what it is, also visible), `data-name` (what it is, for screen readers),
 * `data-title` (what it does), `data-placeholder`, `data-alt`.
 *
 * @param {string} language
 * @param {Strings} strings
 */
export function writeStrings(language, strings) {
  document.documentElement.lang = language;
  /**
   * @param {string} attribute
   * @param {(element: HTMLElement, text: string) => void} write
   */
  const each = (attribute, write) => {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      write(/** @type {HTMLElement} */ (element), say(strings, element.getAttribute(attribute) ?? ""));
    }
  };
  each("data-text", (element, text) => (element.textContent = text));
  each("data-label", (element, text) => {
    const { key } = element.dataset;
    element.ariaLabel = text;
    element.title = key === undefined ? text : `${text} (${key})`;
  });
  each("data-name", (element, text) => (element.ariaLabel = text));
  each("data-title", (element, text) => (element.title = text));
  each("data-placeholder", (element, text) => element.setAttribute("placeholder", text));
  each("data-alt", (element, text) => element.setAttribute("alt", text));
  document.documentElement.classList.add("is-ready");
}
