/**
 * The words of the pages in the reader's language; `assets/strings/XX.json` each.
 *
 * Another language is one more file, named in `assets/strings/languages.json`. What a file lacks is
 * said in English.
 *
 * @module
 */

/** @typedef {Readonly<Record<string, string>>} Strings */

export const FIRST_LANGUAGE = "en";

/**
 * @param {readonly string[]} wanted languages, the dearest first
 * @param {readonly string[]} known that there are files of
 * @returns {string}
 */
export function chooseLanguage(wanted, known) {
  const codes = wanted.map((language) => language.toLowerCase().split("-")[0] ?? "");
  return codes.find((code) => known.includes(code)) ?? FIRST_LANGUAGE;
}

/**
 * @param {string} base address of the page's folder
 * @param {readonly string[]} wanted languages, the dearest first
 * @returns {Promise<{language: string, languages: string[], strings: Strings}>}
 */
export async function loadStrings(base, wanted) {
  /** @param {string} name */
  const load = async (name) => (await fetch(new URL(`assets/strings/${name}.json`, base))).json();
  const [languages, english] = await Promise.all([load("languages"), load(FIRST_LANGUAGE)]);
  const language = chooseLanguage(wanted, languages);
  const own = language === FIRST_LANGUAGE ? {} : await load(language);
  return { language, languages, strings: { ...english, ...own } };
}

/**
 * @param {Strings} strings
 * @param {string} key
 * @param {Readonly<Record<string, string | number>>} [values] take the place of `{name}`
 * @returns {string}
 */
export function say(strings, key, values = {}) {
  return (strings[key] ?? key).replace(/\{(\w+)\}/gu, (whole, name) => String(values[name] ?? whole));
}

/**
 * Write the words into every element that asks for them, and let the page be seen: `data-text`,
 * `data-label` (what it is, for the eyes, too), `data-name` (what it is, for screen readers),
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
