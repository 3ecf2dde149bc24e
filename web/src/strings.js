/**
 * The words of the readers' page, in the language of the browser; `assets/strings/XX.json` each.
 *
 * @module
 */

const KNOWN = ["en", "de", "fr", "es"];

/**
 * @param {readonly string[]} wanted languages of the browser, the dearest first
 * @returns {string} the first that there is a file of
 */
export function chooseLanguage(wanted) {
  const codes = wanted.map((language) => language.toLowerCase().split("-")[0] ?? "");
  return codes.find((code) => KNOWN.includes(code)) ?? "en";
}

/**
 * @param {string} language
 * @param {string} base address of the page's folder
 * @returns {Promise<Readonly<Record<string, string>>>}
 */
export async function loadStrings(language, base) {
  const reply = await fetch(new URL(`assets/strings/${language}.json`, base));
  return reply.json();
}

/**
 * Write the words into every element that asks for them: `data-text`, `data-label`.
 *
 * @param {Readonly<Record<string, string>>} strings
 */
export function writeStrings(strings) {
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = strings[element.getAttribute("data-text") ?? ""] ?? "";
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    const text = strings[element.getAttribute("data-label") ?? ""] ?? "";
    element.setAttribute("aria-label", text);
    element.setAttribute("title", text);
  }
}
